//! What every subcommand starts with.

use super::log;
use crate::app::App;
use crate::args::Global;
use crate::firewalld::Firewalld;
use qiao_doors::netavark::setting::Firewall;
use qiao_doors::netavark::{Command, Failure, Line, Options};
use qiao_engine::{Engine, EngineError};
use qiao_kernel::Linux;
use std::io::Read;
use std::path::Path;

/// The largest input: 16 megabytes, for very many ports.
const LARGEST: u64 = 16 << 20;

/// A call.
#[derive(Debug)]
pub struct Call {
    pub line: Line,
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

impl Call {
    /// A call with this command line.
    pub fn new(line: Line) -> Self {
        Self { line }
    }

    /// What was sent.
    pub fn input(&self) -> Result<Vec<u8>, Failure> {
        let mut input = Vec::new();
        let read = match &self.line.file {
            Some(path) => {
                std::fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut input))
            }
            None => std::io::stdin().lock().take(LARGEST).read_to_end(&mut input),
        };
        read.map_err(|error| Failure(format!("failed to load network options: IO error: {error}")))?;
        Ok(input)
    }

    /// What was sent, as the networks of a container.
    pub fn options(&self) -> Result<Options, Failure> {
        Options::parse(&self.input()?)
    }

    /// Podman's folder for what runs.
    pub fn config(&self) -> Result<&Path, Failure> {
        let command = match &self.line.command {
            Command::Setup(_) => "setup",
            Command::Teardown(_) => "teardown",
            _ => "update",
        };
        let missing = || Failure(format!("--config not specified but required for netavark {command}"));
        self.line.config.as_deref().ok_or_else(missing)
    }

    /// Who makes rules.
    pub fn firewall(&self) -> Result<Firewall, Failure> {
        let given = self.line.firewall.clone().or_else(|| variable("NETAVARK_FW"));
        let firewall: Firewall = given.as_deref().unwrap_or_default().parse()?;
        log::info("firewall", firewall.line());
        Ok(firewall)
    }

    /// The port that names are resolved at.
    pub fn dns_port(&self) -> Result<u16, Failure> {
        let Some(text) = variable("NETAVARK_DNS_PORT").filter(|text| !text.is_empty()) else { return Ok(53) };
        text.parse().map_err(|error| Failure(format!("Invalid NETAVARK_DNS_PORT {text}: {error}")))
    }

    /// The engine. In a user namespace its files are Podman's too.
    pub fn engine(&self) -> Result<Engine<Linux>, Failure> {
        let config = self.line.config.as_deref().unwrap_or(Path::new("/run/containers/networks"));
        let own = |what: &str| {
            self.line.rootless.then(|| config.join("qiao").join(what).to_string_lossy().into_owned())
        };
        let global = Global {
            state_dir: variable("QIAO_STATE_DIR").or_else(|| own("state")),
            run_dir: variable("QIAO_RUN_DIR").or_else(|| own("run")),
            config: variable("QIAO_CONFIG"),
            ..Global::default()
        };
        let app = App::new(global);
        let engine = app.engine_alone().map_err(failure)?;
        if self.line.rootless {
            return Ok(engine); // the host's firewall is not this user's
        }
        let complain = |why: &str| log::warn("firewall::firewalld", format!("firewalld: {why}"));
        Ok(engine.with_zones(Box::new(Firewalld::new(&app.paths().run, complain))))
    }
}

/// An error of the engine as Podman decodes it.
pub fn failure(error: EngineError) -> Failure {
    match error {
        EngineError::Refused(refusal) => refusal.into(),
        EngineError::Failed { .. } => Failure(qiao_engine::chain(&error)),
        EngineError::Residue { ref left, .. } => {
            Failure(format!("{}; left: {}", qiao_engine::chain(&error), left.join("; ")))
        }
    }
}
