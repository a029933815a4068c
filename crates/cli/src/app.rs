//! What commands work with: the engine, opened when it is needed.

use crate::args::Global;
use crate::firewalld::Firewalld;
use crate::settings;
use qiao_core::settings::Settings;
use qiao_core::{Code, Refusal};
use qiao_dhcp::Engines;
use qiao_engine::{Engine, EngineError};
use qiao_kernel::Linux;
use qiao_store::{Paths, Store};
use std::time::Duration;

/// What commands work with.
#[derive(Debug)]
pub struct App {
    /// What goes for all commands.
    pub global: Global,
}

impl App {
    /// Where the files are.
    pub fn paths(&self) -> Paths {
        let default = Paths::default();
        Paths {
            state: self.global.state_dir.clone().unwrap_or(default.state),
            run: self.global.run_dir.clone().unwrap_or(default.run),
        }
    }

    /// The settings.
    pub fn settings(&self) -> Result<Settings, Refusal> {
        settings::load(self.global.config.as_deref())
    }

    /// The engine.
    pub fn engine(&self) -> Result<Engine<Linux>, EngineError> {
        let complain = |why: &str| crate::output::note(format!("warning: firewalld: {why}"));
        Ok(self.engine_alone()?.with_zones(Box::new(Firewalld::new(&self.paths().run, complain))))
    }

    /// The engine, which tells no other firewall of anything.
    pub fn engine_alone(&self) -> Result<Engine<Linux>, EngineError> {
        let settings = self.settings()?;
        let paths = self.paths();
        let kernel = Linux::open()?.serving_loopback(settings.loopback, &paths.run);
        let patience = Duration::from_secs(settings.dhcp_timeout.max(1).into());
        let keeper = Box::new(Engines::of(&paths.run, patience));
        Ok(Engine::open(kernel, &paths, settings).map_err(explain_permission)?.with_keeper(keeper))
    }

    /// The store, for commands that only read.
    pub fn store(&self) -> Result<Store, EngineError> {
        Ok(Store::open(&self.paths())?)
    }
}

/// Says what to do about missing privilege before anything was begun.
fn explain_permission(error: EngineError) -> EngineError {
    if !error.is_permission() {
        return error;
    }
    let why = std::error::Error::source(&error).map(crate::output::error::chain).unwrap_or_default();
    Refusal::new(Code::NotPermitted, "cannot use the engine's files")
        .why(why)
        .fix("run it as root, or give --run-dir and --state-dir")
        .into()
}
