//! What every plugin starts with: the call, the configuration, and the engine when it is needed.

use super::variable;
use crate::app::App;
use crate::args::Global;
use qiao_core::{Endpoint, IfName, Mac};
use qiao_doors::cni::{Call, Config, Environment, Failure, Verb, Version};
use qiao_engine::{Engine, EngineError};
use qiao_kernel::Linux;
use serde_json::Value;
use std::os::unix::fs::MetadataExt;

/// A call of a plugin.
#[derive(Debug)]
pub struct Door {
    pub plugin: &'static str,
    pub call: Call,
    pub config: Config,
    /// The configuration as it came: delegates get the same.
    pub input: Vec<u8>,
    /// Where DHCP servers are asked for an interface that is yet to be made: an interface of the host that leads to
    /// them, and the hardware address. Main plugins say so before they ask for addresses.
    pub over: Option<(IfName, Mac)>,
}

impl Door {
    /// Reads what there is, and refuses what no plugin does.
    pub fn open(
        plugin: &'static str,
        (verb, environment): (Verb, Environment<'_>),
        input: Vec<u8>,
    ) -> Result<Self, Failure> {
        let call = Call::parse(verb, environment)?;
        let config = Config::parse(&input)?;
        let since = match verb {
            Verb::Check => Version::V040,
            Verb::Gc | Verb::Status => Version::V110,
            _ => Version::V010,
        };
        if config.version < since {
            let what = format!("{verb:?} is of version {} and later", since.as_str());
            return Err(Failure::version(what).because(format!("cniVersion is {}", config.version.as_str())));
        }
        if verb == Verb::Check && config.prev.is_none() {
            return Err(Failure::config("`prevResult` is missing: CHECK compares with it"));
        }
        let door = Self { plugin, call, config, input, over: None };
        if matches!(verb, Verb::Add | Verb::Check) {
            door.refuse_netns()?;
        }
        Ok(door)
    }

    /// The namespace must be there, and not be the one that this process is in.
    fn refuse_netns(&self) -> Result<(), Failure> {
        let path = self.call.netns.as_deref().unwrap_or_default();
        let identity = |path: &str| std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
        let wrong = |why: String| Failure::new(8, format!("CNI_NETNS: {path} {why}"));
        let found = identity(path).map_err(|error| wrong(format!("cannot be opened: {error}")))?;
        let own = identity("/proc/self/ns/net").ok() == Some(found);
        if own && !self.call.own_netns {
            return Err(wrong("is the namespace that the plugin is in".into()));
        }
        Ok(())
    }

    /// The engine.
    pub fn engine(&self) -> Result<Engine<Linux>, Failure> {
        let global = Global {
            state_dir: variable("QIAO_STATE_DIR"),
            run_dir: variable("QIAO_RUN_DIR"),
            config: variable("QIAO_CONFIG"),
            ..Global::default()
        };
        App::new(global).engine().map_err(failure)
    }

    /// The attachment's record.
    pub fn endpoint(&self, engine: &Engine<Linux>) -> Result<Option<Endpoint>, Failure> {
        let found = engine.store().endpoint(&self.call.sandbox, self.call.ifname.as_str());
        found.map_err(|error| failure(error.into()))
    }

    /// Whether the attachment has a record that was read and makes no sense.
    pub fn is_unreadable(&self, engine: &Engine<Linux>) -> bool {
        engine.store().is_unreadable(&self.call.sandbox, &self.call.ifname)
    }

    /// An attachment whose record makes no sense cannot be compared with it.
    pub fn refuse_unreadable(&self, engine: &Engine<Linux>) -> Result<(), Failure> {
        match self.is_unreadable(engine) {
            true => Err(Failure::new(110, format!("the record of `{}` makes no sense", self.call.sandbox))
                .because("what the attachment has is kept until it is deleted")),
            false => Ok(()),
        }
    }

    /// Container and interface.
    pub fn tenant(&self) -> (&str, &str) {
        (self.call.sandbox.as_str(), self.call.ifname.as_str())
    }

    /// What the plugins before this one said, in the version asked for: the answer of one that changes nothing.
    pub fn pass_on(&self) -> Result<Value, Failure> {
        match &self.config.prev {
            Some(prev) => prev.to_json(self.config.version),
            None => Err(Failure::config("`prevResult` is missing: this plugin comes after another one")),
        }
    }
}

/// An error of the engine as CNI has it.
pub fn failure(error: EngineError) -> Failure {
    match error {
        EngineError::Refused(refusal) => refusal.into(),
        EngineError::Failed { .. } => Failure::new(105, qiao_engine::chain(&error)),
        EngineError::Residue { ref left, .. } => {
            Failure::new(107, qiao_engine::chain(&error)).because(format!("left: {}", left.join("; ")))
        }
    }
}
