//! One call of one plugin, as a runtime makes it.

use crate::answer::Answer;
use crate::attachment::Attachment;
use crate::stage::Stage;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

/// A call that is not made yet.
#[derive(Debug)]
pub struct Call {
    command: Command,
    input: Vec<u8>,
}

/// A call that was made, and has not ended.
#[derive(Debug)]
pub struct Running {
    child: Child,
    writer: JoinHandle<()>,
}

impl Call {
    /// A plugin is called with its configuration for an attachment; the configuration says which plugin.
    pub fn new(stage: &Stage, verb: &str, (config, attachment): (&Value, &Attachment)) -> Self {
        let plugin = config["type"].as_str().unwrap_or_default();
        let mut command = Command::new(stage.program(plugin));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(stage.environment()).envs(attachment.env(verb, &stage.search_path()));
        command.process_group(0);
        Self { command, input: config.to_string().into_bytes() }
    }

    /// With a variable changed.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self
    }

    /// Without a variable.
    pub fn without(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    /// With other bytes on standard input.
    pub fn input(mut self, bytes: &[u8]) -> Self {
        self.input = bytes.to_vec();
        self
    }

    /// Starts the plugin.
    pub fn start(mut self) -> Running {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        let mut stdin = child.stdin.take().expect("a pipe");
        // A plugin that refuses at once does not read its input.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&self.input)));
        Running { child, writer }
    }

    /// Runs the plugin to its end.
    pub fn run(self) -> Answer {
        self.start().wait()
    }
}

impl Running {
    /// Kills the plugin and what it started.
    pub fn kill(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }

    /// Waits for the plugin's end.
    pub fn wait(self) -> Answer {
        let output = self.child.wait_with_output().expect("wait for a plugin");
        self.writer.join().expect("the input's writer ends");
        Answer::of(output)
    }
}

/// A plugin's configuration as a runtime derives it from a network's (SPEC.md, "Deriving request configuration
/// from plugin configuration").
pub fn request(
    (version, name): (&str, &str),
    plugin: &Value,
    attachment: &Attachment,
    previous: Option<&Value>,
) -> Value {
    let mut request = plugin.clone();
    request["cniVersion"] = json!(version);
    request["name"] = json!(name);
    let declared = |capability: &str| plugin["capabilities"][capability] == true;
    let offered = attachment.capabilities.as_object().cloned().unwrap_or_default();
    let config: serde_json::Map<_, _> = offered.into_iter().filter(|(key, _)| declared(key)).collect();
    if !config.is_empty() {
        request["runtimeConfig"] = Value::Object(config);
    }
    if let Some(previous) = previous {
        request["prevResult"] = previous.clone();
    }
    request
}
