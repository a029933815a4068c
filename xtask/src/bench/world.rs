//! The hosts that are measured: a network namespace for each program, so that none pays for another's rules.

use crate::bench::sample::{Sample, sample};
use anyhow::{Context, Result};
use qiao_testbed::{Place, stdout};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long the kernel may clean up after a sample, so that the next does not pay for it.
const QUIET: Duration = Duration::from_millis(150);

/// Where the programs are.
#[derive(Debug)]
pub struct World {
    programs: PathBuf,
    cgroup: String,
}

/// A container that is attached.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its namespace.
    pub place: &'a Place,
    /// Tells it from all others, from 1 on.
    pub number: usize,
    /// The first of its ports; every second is published.
    pub port: u16,
    /// How many.
    pub ports: u16,
}

/// A program to time: where, what, and with what on its standard input.
#[derive(Debug)]
pub struct Run<'a> {
    /// The host.
    pub host: &'a Place,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// A file for its standard input.
    pub input: Option<&'a Path>,
    /// A file for its standard output.
    pub output: Option<&'a Path>,
    /// Its environment besides ours.
    pub env: Vec<(&'static str, String)>,
}

impl World {
    /// Looks for the programs.
    pub fn new(programs: &Path, cgroup: &str) -> Result<Self> {
        let programs = programs.canonicalize().with_context(|| format!("find {}", programs.display()))?;
        fs::create_dir_all("/run/bench").context("create a directory")?;
        Ok(Self { programs, cgroup: cgroup.to_owned() })
    }

    /// What `qiao` is told by its environment.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("QIAO_STATE_DIR", "/run/bench/state".to_owned()),
            ("QIAO_RUN_DIR", "/run/bench/run".to_owned()),
            ("QIAO_CGROUP", self.cgroup.clone()),
        ]
    }

    /// The path of a program of ours.
    pub fn program(&self, name: &str) -> String {
        self.programs.join(name).display().to_string()
    }

    /// Runs a program and says what it took.
    pub fn time(&self, run: &Run<'_>) -> Result<Sample> {
        let mut timed = Command::new(self.program("timed"));
        timed.arg(run.host.path()).args(&run.words).envs(run.env.iter().map(|(key, value)| (key, value)));
        if let Some(input) = run.input {
            timed.stdin(File::open(input).context("open the input")?);
        }
        timed.envs(run.output.map(|path| ("TIMED_OUT", path)));
        sample(&mut timed)
    }

    /// Waits until the kernel has cleaned up.
    pub fn settle(&self) {
        std::thread::sleep(QUIET);
    }

    /// A new namespace for a container.
    pub fn place(&self, name: &str) -> Place {
        Place::new(name)
    }

    /// A host of its own.
    pub fn host(&self, name: &str) -> Place {
        let host = Place::new(&format!("host-{name}"));
        host.run("ip link set lo up");
        host
    }
}

/// Loads rules into a host with `nft`.
pub fn load(host: &Place, rules: &str) -> Result<()> {
    let file = format!("/run/bench/{}.nft", host.name());
    fs::write(&file, rules).context("write the rules")?;
    stdout(&format!("ip netns exec {} nft -f {file}", host.name()));
    Ok(())
}
