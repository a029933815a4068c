//! Starting a container's first process, and waiting for its end.

use crate::control::{Control, Said};
use crate::error::ContainerError;
use crate::init::INIT;
use crate::logs::Log;
use crate::sealed;
use crate::signals::{HANDED_ON, Inbox, is_key};
use crate::spec::{Files, Spec};
use crate::state::Process;
use qiao_kernel::sandbox::{bury_all_but, close_rest_on_exec, in_new_pid_namespace};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

/// Where a command's output goes.
#[derive(Debug)]
pub enum Output {
    /// Where ours goes.
    Inherited,
    /// Into a file.
    Kept(Log),
}

/// A first process, which waits for its network.
#[derive(Debug)]
pub struct Started {
    init: Child,
    control: Control,
    inbox: Inbox,
    terminal: bool,
    ended: bool,
}

/// Starts the first process of a container. It waits, in namespaces of its own, for [`Started::go`].
pub fn start(spec: &Spec, output: &Output) -> Result<Started, ContainerError> {
    close_rest_on_exec().map_err(ContainerError::io("close what is open"))?;
    let (mut command, _copy) = sealed::command().map_err(ContainerError::io("copy this program"))?;
    let (mut control, other) = Control::pair().map_err(ContainerError::io("make a pair of sockets"))?;
    rustix::io::fcntl_setfd(&other, rustix::io::FdFlags::empty())
        .map_err(ContainerError::io("hand a socket on"))?;
    command.arg0("qiao").arg(INIT).arg(other.as_raw_fd().to_string()).env_clear();
    if matches!(output, Output::Kept(_)) {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    // What deletes interfaces and closes sockets for us ends long before the container: nobody else buries it.
    let caught = [&HANDED_ON[..], &[Signal::CHILD]].concat();
    let inbox = Inbox::open(&caught).map_err(ContainerError::io("catch signals"))?;
    let init = in_new_pid_namespace(|| command.spawn())
        .map_err(ContainerError::io("start a process in a new PID namespace"))?;
    drop(other);
    control.say(spec).map_err(ContainerError::io("tell the container's first process what to be"))?;
    let mut started = Started { init, control, inbox, terminal: spec.terminal, ended: false };
    match started.control.answer()? {
        Said::Ready => Ok(started),
        said => Err(ContainerError::Init { message: format!("unexpected: {said:?}"), code: 125 }),
    }
}

impl Started {
    /// The first process.
    pub fn process(&self) -> Option<Process> {
        Process::of(self.init.id())
    }

    /// Its network namespace.
    pub fn netns(&self) -> String {
        format!("/proc/{}/ns/net", self.init.id())
    }

    /// Lets the command run.
    pub fn go(&mut self, files: &Files) -> Result<(), ContainerError> {
        self.control.say(files).map_err(ContainerError::io("tell the container's first process to go on"))?;
        self.control.answer().map(|_| ())
    }

    /// Waits for the end, hands signals on, keeps the output; gives the exit code.
    pub fn wait(mut self, output: &mut Output) -> Result<u8, ContainerError> {
        let pid = self.pid();
        let end = pidfd_open(pid, PidfdFlags::empty()).map_err(ContainerError::io("watch the container"))?;
        let mut pipes = Pipes { out: self.init.stdout.take(), err: self.init.stderr.take() };
        loop {
            let (over, readable) =
                self.await_something(&end, &pipes).map_err(ContainerError::io("wait for the container"))?;
            for signal in self.inbox.take() {
                if signal == Signal::CHILD {
                    bury_all_but(pid);
                } else if !(self.terminal && is_key(signal)) {
                    let _ = kill_process(pid, signal);
                }
            }
            if let Output::Kept(log) = output {
                pipes.read(readable, log);
            }
            if over && (pipes.are_done() || readable == (false, false)) {
                break;
            }
        }
        self.ended = true;
        let status = self.init.wait().map_err(ContainerError::io("wait for the container"))?;
        Ok(crate::exec::code_of(status))
    }

    /// Whether it is over, and which of its outputs can be read.
    fn await_something(&self, end: &OwnedFd, pipes: &Pipes) -> rustix::io::Result<(bool, (bool, bool))> {
        let mut polled = vec![PollFd::new(end, PollFlags::IN)];
        polled.extend(pipes.out.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        polled.extend(pipes.err.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let known = polled.len();
        polled.extend(self.inbox.polled());
        match poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let mut happened = polled[..known].iter().map(|one| !one.revents().is_empty());
        let over = happened.next().unwrap_or(false);
        let out = pipes.out.is_some() && happened.next().unwrap_or(false);
        let err = pipes.err.is_some() && happened.next().unwrap_or(false);
        Ok((over, (out, err)))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.init)
    }
}

impl Drop for Started {
    /// A container that nobody waits for does not go on.
    fn drop(&mut self) {
        if !self.ended {
            let _ = kill_process(self.pid(), Signal::KILL);
            let _ = self.init.wait();
        }
    }
}

#[derive(Debug)]
struct Pipes {
    out: Option<std::process::ChildStdout>,
    err: Option<std::process::ChildStderr>,
}

impl Pipes {
    fn read(&mut self, (out, err): (bool, bool), log: &mut Log) {
        if out && !pump(self.out.as_mut(), "stdout", log) {
            self.out = None;
        }
        if err && !pump(self.err.as_mut(), "stderr", log) {
            self.err = None;
        }
    }

    fn are_done(&self) -> bool {
        self.out.is_none() && self.err.is_none()
    }
}

/// Whether there may be more.
fn pump(pipe: Option<&mut (impl Read + AsFd)>, stream: &'static str, log: &mut Log) -> bool {
    let mut bytes = [0; 16 * 1024];
    match pipe.map(|pipe| pipe.read(&mut bytes)) {
        Some(Ok(count @ 1..)) => {
            log.take(stream, &bytes[..count]);
            true
        }
        Some(Err(error)) => error.kind() == std::io::ErrorKind::Interrupted,
        _ => false,
    }
}
