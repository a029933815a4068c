//! What is remembered of containers: `RUN/containers/NAME/{spec,state}.json`, until the next boot.

use crate::error::ContainerError;
use crate::spec::Spec;
use qiao_core::{Refusal, SandboxName};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::DirBuilderExt;

/// How the directory of a container that is being made begins; no name does. Behind it stands who makes it:
/// it is known from the first moment on whether that one still lives.
const NEW: &str = ".new-";

/// A process, such that another with its number is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The number.
    pub pid: u32,
    /// When it began, in clock ticks since the boot (proc_pid_stat(5), field 22).
    pub start: u64,
}

impl Process {
    /// The process with a number; none if there is no such process, or if it is only waited for.
    pub fn of(pid: u32) -> Option<Self> {
        Self::look(pid).ok()?
    }

    /// The same, or why it cannot be known.
    fn look(pid: u32) -> std::io::Result<Option<Self>> {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => Ok(Self::parse(pid, &stat)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            // It ended while it was read.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(pid: u32, stat: &str) -> Option<Self> {
        // The name may hold anything, also `)` and blanks.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        let start = fields.nth(18)?.parse().ok()?;
        (state != "Z").then_some(Self { pid, start })
    }

    /// This process.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether it lives. What belongs to one that does not is taken away, so that it does in case of doubt.
    pub fn lives(&self) -> bool {
        Self::look(self.pid).map_or(true, |found| found == Some(*self))
    }

    /// Sends it a signal, if it lives.
    pub fn signal(&self, signal: Signal) -> rustix::io::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
        // Opened first and looked at then: from here on the number may be another's, the descriptor not.
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        if Self::of(self.pid) == Some(*self) {
            pidfd_send_signal(&process, signal)
        } else {
            Err(rustix::io::Errno::SRCH)
        }
    }

    /// Waits until it has ended; false if it has not within `limit`.
    pub fn await_end(&self, limit: std::time::Duration) -> bool {
        let begun = std::time::Instant::now();
        while self.lives() {
            if begun.elapsed() >= limit {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        true
    }
}

/// How far a container has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Its command does not run yet.
    Created,
    /// Its command runs.
    Running,
    /// Its command has ended.
    Exited {
        /// With this code; 137 where nobody was there to see.
        code: u8,
        /// When, in seconds since 1970.
        at: u64,
    },
}

/// What changes about a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far it has come.
    pub status: Status,
    /// Its first process.
    pub init: Option<Process>,
    /// The `qiao run` that waits for it.
    pub supervisor: Option<Process>,
    /// When its command was started, in seconds since 1970.
    pub started: u64,
}

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    /// Where its files are.
    pub dir: String,
    /// What it shall be.
    pub spec: Spec,
    /// How it is.
    pub state: State,
}

impl Container {
    /// Whether its command runs, or is about to.
    pub fn lives(&self) -> bool {
        let init = || self.state.init.is_some_and(|init| init.lives());
        let supervisor = || self.state.supervisor.is_some_and(|supervisor| supervisor.lives());
        match self.state.status {
            Status::Created => supervisor(),
            Status::Running => init(),
            Status::Exited { .. } => false,
        }
    }

    /// Where its output is kept.
    pub fn log(&self) -> String {
        format!("{}/log", self.dir)
    }

    /// Notes how it is.
    pub fn note(&mut self, state: State) -> Result<(), ContainerError> {
        write(&format!("{}/state.json", self.dir), &state)?;
        self.state = state;
        Ok(())
    }

    /// Forgets it.
    pub fn forget(&self) -> Result<(), ContainerError> {
        remove(&self.dir)
    }
}

fn remove(dir: &str) -> Result<(), ContainerError> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(ContainerError::io(format!("remove {dir}"))(e))
        }
        _ => Ok(()),
    }
}

/// What is left of a container whose records make no sense.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// Its name.
    pub name: SandboxName,
    /// How it is, if that can be read.
    pub state: Option<State>,
    dir: String,
}

impl Damaged {
    /// Forgets it.
    pub fn forget(&self) -> Result<(), ContainerError> {
        remove(&self.dir)
    }
}

/// All containers of an engine.
#[derive(Clone, Debug)]
pub struct Containers(String);

impl Containers {
    /// Those below an engine's `run` directory.
    pub fn of(run: &str) -> Self {
        Containers(format!("{run}/containers"))
    }

    /// Takes a name for a new container.
    pub fn create(&self, spec: Spec) -> Result<Container, ContainerError> {
        let dir = format!("{}/{}", self.0, spec.name);
        let own = Process::own();
        let new = format!("{}/{}", self.0, maker_word(own));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&new)
            .map_err(ContainerError::io(format!("create {new}")))?;
        let state = State { status: Status::Created, init: None, supervisor: own, started: 0 };
        let made = write(&format!("{new}/state.json"), &state)
            .and_then(|()| write(&format!("{new}/spec.json"), &spec))
            .and_then(|()| match std::fs::rename(&new, &dir) {
                // A directory takes another's place only if that one is empty.
                Err(e) if e.kind() == std::io::ErrorKind::DirectoryNotEmpty => Err(taken(&spec.name)),
                result => result.map_err(ContainerError::io(format!("create {dir}"))),
            });
        match made {
            Ok(()) => Ok(Container { dir, spec, state }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&new);
                Err(error)
            }
        }
    }

    /// Forgets what was never finished. Gives the containers whose supervisor was killed before it took their
    /// network away or forgot them: both is still to be done, and in this order, since a name that is free
    /// may be another's at once.
    pub fn sweep(&self) -> Vec<Container> {
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(maker) = name.to_str().and_then(|name| name.strip_prefix(NEW)) else { continue };
            if !read_maker(maker).is_some_and(|maker| maker.lives()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let orphaned = |c: &Container| !c.lives() && !c.state.supervisor.is_some_and(|s| s.lives());
        let undone = |c: &Container| c.spec.remove || !matches!(c.state.status, Status::Exited { .. });
        self.all().into_iter().filter(|c| orphaned(c) && undone(c)).collect()
    }

    /// A container by its name.
    pub fn get(&self, name: &SandboxName) -> Option<Container> {
        let dir = format!("{}/{name}", self.0);
        let spec = read(&format!("{dir}/spec.json"))?;
        let state = read(&format!("{dir}/state.json"))?;
        Some(Container { dir, spec, state })
    }

    /// A container whose records make no sense: its name is taken nevertheless.
    pub fn damaged(&self, word: &str) -> Option<Damaged> {
        let name = SandboxName::new(word).ok().filter(|name| self.get(name).is_none())?;
        let dir = format!("{}/{name}", self.0);
        let is_there = std::fs::symlink_metadata(&dir).is_ok_and(|found| found.is_dir());
        is_there.then(|| Damaged { state: read(&format!("{dir}/state.json")), name, dir })
    }

    /// A container by its name or the beginning of its id.
    pub fn find(&self, word: &str) -> Result<Container, Refusal> {
        let named = SandboxName::new(word).ok().and_then(|name| self.get(&name));
        if let Some(container) = named {
            return Ok(container);
        }
        let mut like = self.all().into_iter().filter(|c| !word.is_empty() && c.spec.id.starts_with(word));
        match (like.next(), like.next()) {
            (None, _) if self.damaged(word).is_some() => {
                Err(Refusal::conflict(format!("the records of container `{word}` make no sense"))
                    .fix(format!("qiao rm -f {word}")))
            }
            (Some(container), None) => Ok(container),
            (Some(_), Some(_)) => {
                Err(Refusal::invalid(format!("several containers have an id that begins with `{word}`")))
            }
            _ => Err(Refusal::not_found(format!("there is no container {}", qiao_core::name::quoted(word)))
                .fix("qiao ps -a")),
        }
    }

    /// All, by name.
    pub fn all(&self) -> Vec<Container> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| SandboxName::new(entry.file_name().to_str()?).ok());
        let mut all: Vec<Container> = names.filter_map(|name| self.get(&name)).collect();
        all.sort_by(|a, b| a.spec.name.as_str().cmp(b.spec.name.as_str()));
        all
    }
}

/// The name of the directory that a process makes a container in: it makes one at a time.
fn maker_word(maker: Option<Process>) -> String {
    let Process { pid, start } = maker.unwrap_or(Process { pid: std::process::id(), start: 0 });
    format!("{NEW}{pid}-{start}")
}

fn read_maker(text: &str) -> Option<Process> {
    let (pid, start) = text.split_once('-')?;
    Some(Process { pid: pid.parse().ok()?, start: start.parse().ok()? })
}

fn taken(name: &SandboxName) -> ContainerError {
    Refusal::conflict(format!("the name `{name}` is taken"))
        .why("a container has it, maybe one that has ended")
        .fix("qiao ps -a")
        .fix(format!("qiao rm {name}"))
        .into()
}

fn read<T: DeserializeOwned>(path: &str) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Written whole or not at all.
fn write(path: &str, what: &impl Serialize) -> Result<(), ContainerError> {
    let new = format!("{path}.new");
    let bytes = serde_json::to_vec(what).unwrap_or_default();
    std::fs::write(&new, bytes)
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(ContainerError::io(format!("write {path}")))
}
