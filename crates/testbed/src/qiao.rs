//! The command under test.

use serde_json::Value;
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The command, with directories of its own.
#[derive(Clone, Debug)]
pub struct Qiao {
    program: PathBuf,
    directory: String,
    cgroup: Option<String>,
}

/// What came of a command.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Qiao {
    /// The command, keeping its files below `directory`, and its hooks for loopback clients at `cgroup`.
    pub fn new(directory: &str, cgroup: Option<String>) -> Self {
        Self { program: program(), directory: directory.to_owned(), cgroup }
    }

    /// The cgroup whose sockets it may put hooks on; there is none of this path where there can be none.
    pub fn cgroup(&self) -> &str {
        self.cgroup.as_deref().unwrap_or("/nonexistent")
    }

    /// Where its files are.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The directory of what does not survive a reboot.
    pub fn run_dir(&self) -> String {
        format!("{}/run", self.directory)
    }

    /// The directory of what does.
    pub fn state_dir(&self) -> String {
        format!("{}/state", self.directory)
    }

    /// The program and its environment.
    pub fn command(&self) -> Command {
        self.under(&[])
    }

    /// The program with its environment, started by another program.
    pub fn under(&self, words: &[String]) -> Command {
        let mut command = match words.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
        command.env("QIAO_STATE_DIR", self.state_dir()).env("QIAO_RUN_DIR", self.run_dir());
        command.env("QIAO_CGROUP", self.cgroup());
        command.stdin(Stdio::null());
        command
    }

    /// Runs it with a line of words.
    pub fn run(&self, line: &str) -> Outcome {
        self.words(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs it with words of any kind.
    pub fn words<S: AsRef<OsStr>>(&self, words: &[S]) -> Outcome {
        Outcome::of(self.command().args(words).output().expect("start qiao"))
    }

    /// Runs it with a line of words; it must succeed.
    pub fn ok(&self, line: &str) -> Outcome {
        let outcome = self.run(line);
        assert_eq!(outcome.code, Some(0), "`qiao {line}`: {outcome}");
        outcome
    }

    /// Runs it as a CNI plugin for `eth0` of a container: its name, and the path of its namespace.
    pub fn plugin(&self, (plugin, verb): (&str, &str), container: (&str, &str), config: &str) -> Outcome {
        let mut command = self.command();
        command
            .arg0(plugin)
            .env("CNI_COMMAND", verb)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/nonexistent");
        command.env("CNI_CONTAINERID", container.0).env("CNI_NETNS", container.1);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start qiao");
        child.stdin.take().expect("a pipe").write_all(config.as_bytes()).expect("write the configuration");
        Outcome::of(child.wait_with_output().expect("wait for qiao"))
    }

    /// The same; it must succeed.
    pub fn plugin_ok(&self, call: (&str, &str), container: (&str, &str), config: &str) -> Outcome {
        let outcome = self.plugin(call, container, config);
        assert_eq!(outcome.code, Some(0), "{call:?} {container:?}: {outcome}");
        outcome
    }

    /// Runs it with a line of words and `--json`; it must succeed, and its answer is the result.
    pub fn json(&self, line: &str) -> Value {
        self.ok(&format!("{line} --json")).json()
    }
}

impl Outcome {
    /// What came of a process.
    pub fn of(Output { status, stdout, stderr }: Output) -> Self {
        Self {
            code: status.code(),
            signal: status.signal(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// The document that it printed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {:?}, signal {:?}\n{}{}", self.code, self.signal, self.stdout, self.stderr)
    }
}

/// `QIAO_BIN`, or the program that was built next to this test.
fn program() -> PathBuf {
    if let Some(given) = env::var_os("QIAO_BIN") {
        return given.into();
    }
    let test = env::current_exe().expect("the path of this program");
    let built = test.ancestors().skip(1).take(2).map(|dir| dir.join("qiao")).find(|file| file.is_file());
    built.expect("qiao is built first: `cargo build -p qiao`, or give its path in QIAO_BIN")
}

/// The names of the reference's CNI plugins.
const PLUGINS: &[&str] = &[
    "bandwidth",
    "bridge",
    "dhcp",
    "dummy",
    "firewall",
    "host-device",
    "host-local",
    "ipvlan",
    "loopback",
    "macvlan",
    "portmap",
    "ptp",
    "sbr",
    "static",
    "tap",
    "tuning",
    "vlan",
    "vrf",
];

/// Whether the command, started under this name, says that it is a CNI plugin.
pub fn has_plugin(name: &str) -> bool {
    let mut command = Command::new(program());
    let said = command.arg0(name).env_remove("CNI_COMMAND").stdin(Stdio::null()).output();
    said.is_ok_and(|said| said.stderr.starts_with(format!("CNI {name} ").as_bytes()))
}

/// Fills a directory with our CNI plugins: links to the command, of all the names under which it is one.
pub fn link_plugins(dir: &Path) {
    let program = program();
    for link in PLUGINS.iter().filter(|name| has_plugin(name)).map(|name| dir.join(name)) {
        symlink(&program, &link).unwrap_or_else(|error| panic!("{}: {error}", link.display()));
    }
}

/// Fills a directory with what Podman looks for: links to the command.
pub fn link_helpers(dir: &Path) {
    let program = program();
    for name in ["netavark", "aardvark-dns"] {
        symlink(&program, dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
