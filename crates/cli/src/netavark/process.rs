//! The name server's process: whether it runs, that it reads its files again, and its start.

use super::log;
use crate::aardvark::EARLY;
use qiao_doors::netavark::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The file that the server writes its process number into.
const PID_FILE: &str = "aardvark.pid";
/// How often is looked whether one that ends has changed its mind, and for how long.
const STEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
const PATIENCE: Duration = Duration::from_secs(1);

/// In which network namespace a server is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// In ours: it is to serve what is made here.
    Here,
    /// In any: Podman enters none for `update`.
    Anywhere,
}

/// A server that runs.
struct Server(OwnedFd);

/// The server of a folder, if it runs. Its number may be another process's by now (it is asked what it is), and the
/// handle is its own: whatever happens from here on, nobody else gets the signal.
fn running(folder: &Path, wanted: Where) -> Option<Server> {
    let text = fs::read_to_string(folder.join(PID_FILE)).ok()?;
    let number: i32 = text.trim().parse().ok()?;
    let handle = pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty()).ok()?;
    let is_it = is_server(number, folder) && (wanted == Where::Anywhere || is_here(number));
    is_it.then_some(Server(handle))
}

/// Whether a process is a name server that serves this folder.
fn is_server(number: i32, folder: &Path) -> bool {
    let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
    let words: Vec<&OsStr> = line.split(|byte| *byte == 0).map(OsStr::from_bytes).collect();
    let program = words.first().and_then(|word| Path::new(word).file_name());
    let serves = words.windows(2).any(|pair| pair[0] == "--config" && pair[1] == folder.as_os_str());
    program.is_some_and(|name| name == "aardvark-dns") && serves && words.contains(&OsStr::new("run"))
}

/// Whether a process is in our network namespace: one that was left in another serves nobody here.
fn is_here(number: i32) -> bool {
    let theirs = fs::read_link(format!("/proc/{number}/ns/net"));
    theirs.is_ok_and(|theirs| fs::read_link("/proc/self/ns/net").is_ok_and(|ours| ours == theirs))
}

/// Lets the server of a folder read its files again; none if there is none.
pub fn notify(folder: &Path, wanted: Where) -> Option<Told> {
    let server = running(folder, wanted)?;
    pidfd_send_signal(&server.0, Signal::HUP).ok().map(|()| Told(server, folder.join(PID_FILE)))
}

/// A server that was told.
pub struct Told(Server, PathBuf);

impl Told {
    /// Whether it goes on. One that has taken its file away is about to end: either it hears us in time and puts the
    /// file back, or it ends.
    pub fn stays(&self) -> bool {
        let begun = Instant::now();
        while !self.1.exists() {
            let mut end = [PollFd::new(&self.0.0, PollFlags::IN)];
            let has_ended = poll(&mut end, Some(&STEP)).is_ok_and(|count| count > 0);
            if has_ended || begun.elapsed() > PATIENCE {
                return false;
            }
        }
        true
    }
}

/// What to start.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    pub program: &'a Path,
    pub folder: &'a Path,
    pub port: u16,
    pub rootless: bool,
}

/// Starts a server. It has bound its addresses when this returns.
pub fn start(what: Start<'_>) -> Result<(), Failure> {
    let wrong = |why: String| Failure(format!("error while applying dns entries: {why}"));
    let _ = fs::remove_file(what.folder.join(PID_FILE)); // of one that is gone
    // A file, not a pipe: the server goes on, and may keep what it was started with.
    let mut said = memory().map_err(|error| wrong(format!("IO error: {error}")))?;
    let errors = said.try_clone().map_err(|error| wrong(format!("IO error: {error}")))?;
    let mut command = line(what);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let status = command.status();
    let status = status.map_err(|error| wrong(format!("start {}: {error}", what.program.display())))?;
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    let _ = said.rewind().and_then(|()| said.read_to_string(&mut text));
    Err(wrong(match text.trim() {
        "" => "aardvark-dns exited unexpectedly without error message".into(),
        text => format!("aardvark-dns failed to start: {text}"),
    }))
}

/// In a scope of its own where systemd runs: else it would end with the service that runs Podman.
fn line(what: Start<'_>) -> Command {
    let scoped = Path::new("/run/systemd/system").exists();
    let mut command = Command::new(if scoped { OsStr::new("systemd-run") } else { what.program.as_os_str() });
    if scoped {
        command.args(["-q", "--scope"]).args(what.rootless.then_some("--user")).arg(what.program);
    }
    command.arg("--config").arg(what.folder).args(["-p", &what.port.to_string(), "run"]);
    command.env("RUST_LOG", log::level());
    command
}

/// A server that has begun, and waits to be told that there are names. Let go, it ends; so it does when we are killed.
#[derive(Debug)]
pub struct Early {
    child: Child,
    go: Option<ChildStdin>,
    ready: ChildStdout,
    serves: bool,
}

impl Early {
    /// Starts one, where the program is our own: others would read the names at once. What goes wrong is told when it
    /// is started again later.
    pub fn start(what: Start<'_>) -> Option<Self> {
        let own = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        if what.folder.join(PID_FILE).exists() || own(what.program)? != own(Path::new("/proc/self/exe"))? {
            return None;
        }
        let mut command = line(what);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).env(EARLY, "1");
        let mut child = command.spawn().ok()?;
        let (go, ready) = (child.stdin.take(), child.stdout.take()?);
        Some(Self { child, go, ready, serves: false })
    }

    /// Lets it read the names.
    pub fn go(mut self, folder: &Path) -> Reading {
        let _ = fs::remove_file(folder.join(PID_FILE)); // of one that is gone
        let told = self.go.as_mut().is_some_and(|go| go.write_all(b"+").is_ok());
        Reading { server: self, told }
    }
}

/// A server that reads the names.
#[derive(Debug)]
pub struct Reading {
    server: Early,
    told: bool,
}

impl Reading {
    /// Waits until it serves them; whether it does. It goes on without us then.
    pub fn serves(mut self) -> bool {
        self.server.serves = self.told && self.server.ready.read_exact(&mut [0]).is_ok();
        self.server.serves
    }
}

impl Drop for Early {
    /// One that does not serve ends.
    fn drop(&mut self) {
        drop(self.go.take());
        if !self.serves {
            let _ = self.child.wait();
        }
    }
}

fn memory() -> std::io::Result<fs::File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    Ok(rustix::fs::memfd_create("aardvark-dns says", flags)?.into())
}
