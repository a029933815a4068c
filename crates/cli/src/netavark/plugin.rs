//! Network drivers of others: programs that are asked as netavark asks them (its plugin API, 1.0.0).

use qiao_doors::netavark::answer::Status;
use qiao_doors::netavark::{Failure, Network, Options, PerNetwork};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A plugin.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    program: PathBuf,
}

/// What it is told.
#[derive(Debug)]
pub struct Input(Value);

impl Input {
    /// A container, and one of its networks.
    pub fn new(options: &Options, (own, network): (&PerNetwork, &Network)) -> Self {
        let mappings = options.port_mappings.iter().flatten().map(|port| {
            json!({
                "container_port": port.container_port, "host_ip": port.host_ip, "host_port": port.host_port,
                "protocol": port.protocol, "range": port.range,
            })
        });
        Self(json!({
            "container_id": options.container_id,
            "container_name": options.container_name,
            "port_mappings": mappings.collect::<Vec<Value>>(),
            "network": network,
            "network_options": {
                "aliases": own.aliases, "interface_name": own.interface_name, "static_ips": own.static_ips,
                "static_mac": own.static_mac, "options": own.options,
            },
        }))
    }
}

impl Plugin {
    /// The plugin of a driver: the first of that name.
    pub fn find(driver: &str, places: &[PathBuf]) -> Result<Self, Failure> {
        let unknown = || Failure(format!("unknown network driver {driver:?}"));
        Self::of(driver, places).ok_or_else(unknown)
    }

    /// The plugin that completes a driver's networks.
    pub fn creator(driver: &str, places: &[PathBuf]) -> Result<Self, Failure> {
        let what = format!("plugin for driver {driver:?} not found in plugin directories");
        let missing = if places.is_empty() { "plugin directory not provided".into() } else { what };
        Self::of(driver, places).ok_or(Failure(missing))
    }

    fn of(driver: &str, places: &[PathBuf]) -> Option<Self> {
        let is_word = !driver.is_empty() && !driver.contains('/') && driver != "..";
        let program = places.iter().map(|place| place.join(driver)).find(|file| is_word && is_program(file));
        program.map(|program| Self { name: driver.to_owned(), program })
    }

    /// Completes a network.
    pub fn create(&self, network: &Network) -> Result<Network, Failure> {
        let input = serde_json::to_value(network).map_err(|error| undecodable(&error))?;
        serde_json::from_slice(&self.run(&["create"], &input)?).map_err(|error| undecodable(&error))
    }

    /// Attaches a container; its reply is passed on.
    pub fn setup(&self, netns: &str, input: &Input) -> Result<Value, Failure> {
        let said = self.run(&["setup", netns], &input.0).map_err(|why| self.failed(&why))?;
        let reply = serde_json::from_slice::<Status>(&said).and_then(serde_json::to_value);
        reply.map_err(|error| self.failed(&undecodable(&error)))
    }

    /// Detaches it.
    pub fn teardown(&self, netns: &str, input: &Input) -> Result<(), Failure> {
        self.run(&["teardown", netns], &input.0).map(drop).map_err(|why| self.failed(&why))
    }

    fn failed(&self, why: &Failure) -> Failure {
        Failure(format!("plugin {:?} failed: {why}", self.name))
    }

    /// What it prints. One that does not read what it is told need not.
    fn run(&self, words: &[&str], input: &Value) -> Result<Vec<u8>, Failure> {
        let wrong = |error: std::io::Error| Failure(format!("IO error: {error}"));
        let mut command = Command::new(&self.program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(wrong)?;
        let text = input.to_string();
        let stdin = child.stdin.take();
        let told = std::thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(text.as_bytes())));
        let output = child.wait_with_output().map_err(wrong)?;
        let _ = told.join();
        if output.status.success() { Ok(output.stdout) } else { Err(self.why(&output)) }
    }

    /// Why it failed, in netavark's words.
    fn why(&self, output: &Output) -> Failure {
        let Some(code) = output.status.code() else {
            return Failure(format!("plugin {:?} killed by signal", self.name));
        };
        match serde_json::from_slice::<Said>(&output.stdout) {
            Ok(said) => Failure(format!("exit code {code}, message: {}", said.error)),
            Err(error) => Failure(format!("plugin {:?}: exit code {code}, parse error: {error}", self.name)),
        }
    }
}

/// What a plugin says that fails.
#[derive(Deserialize)]
struct Said {
    error: String,
}

fn undecodable(error: &serde_json::Error) -> Failure {
    Failure(format!("JSON Decoding error: {error}"))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
