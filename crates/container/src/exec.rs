//! Starting a program inside: the command itself, and those of `qiao exec`.

use crate::error::ContainerError;
use crate::rights;
use crate::spec::Spec;
use crate::state::Process;
use qiao_core::name::quoted;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, pidfd_open};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

/// The word that makes this program run another one inside a container.
pub const ENTER: &str = "container-exec";

/// A program to start.
#[derive(Debug)]
pub struct Program<'a> {
    /// It and its words.
    pub command: &'a [String],
    /// Its whole environment.
    pub env: &'a [(String, String)],
    /// Its working directory.
    pub workdir: Option<&'a str>,
    /// Its user and group.
    pub user: Option<(u32, u32)>,
}

impl<'a> Program<'a> {
    /// A container's command.
    pub fn of(spec: &'a Spec) -> Self {
        Program { command: &spec.command, env: &spec.env, workdir: spec.workdir.as_deref(), user: spec.user }
    }
}

/// Starts a program; the error carries the exit code that shells use.
pub fn start(program: &Program<'_>) -> Result<Child, ContainerError> {
    let Some((first, words)) = program.command.split_first() else {
        return Err(ContainerError::Init { message: "no command".into(), code: 127 });
    };
    if let Some(dir) = program.workdir {
        std::env::set_current_dir(dir).map_err(|error| ContainerError::Init {
            message: format!("cannot go to {}: {error}", quoted(dir)),
            code: 126,
        })?;
    }
    // What the caller of `qiao` has open, maybe a directory of the host, is no business of the command's.
    qiao_kernel::sandbox::close_rest_on_exec().map_err(ContainerError::io("close what is open"))?;
    let mut command = Command::new(first);
    command.args(words).env_clear().envs(program.env.iter().map(|(key, value)| (key, value)));
    if let Some((user, group)) = program.user {
        command.uid(user).gid(group);
    }
    qiao_kernel::sandbox::die_with_parent(&mut command);
    command.spawn().map_err(|error| ContainerError::Init {
        message: format!("cannot run {}: {error}", quoted(first)),
        code: if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 },
    })
}

/// Enters the namespaces of a container's first process, for good, and gives up what its command has not.
/// This process must run from a sealed copy, and have one thread.
pub fn enter(init: Process) -> Result<(), ContainerError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(ContainerError::io("guard this process"))?;
    let gone = || ContainerError::io("enter the container")(rustix::io::Errno::SRCH);
    let pid = Pid::from_raw(init.pid as i32).ok_or_else(gone)?;
    let target = pidfd_open(pid, PidfdFlags::empty()).map_err(ContainerError::io("enter the container"))?;
    if !init.lives() {
        return Err(gone()); // the number may be another's by now
    }
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::CONTROL_GROUP;
    move_into_thread_name_spaces(target.as_fd(), all)
        .map_err(ContainerError::io("enter the container's namespaces"))?;
    rights::drop_all_but_kept().map_err(ContainerError::io("drop capabilities"))
}

/// The exit code that shells give a process's end.
pub fn code_of(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(125)
}

/// Becomes a sealed copy of this program that finds `task` in the variable `name`. It returns only to fail.
pub fn become_copy(name: &str, task: &impl serde::Serialize) -> ContainerError {
    let act = "become a copy of this program";
    if let Err(error) = qiao_kernel::sandbox::close_rest_on_exec() {
        return ContainerError::io(act)(error);
    }
    match (crate::sealed::command(), serde_json::to_string(task)) {
        (Ok((mut command, _copy)), Ok(task)) => {
            ContainerError::io(act)(command.arg(ENTER).env(name, task).exec())
        }
        (Err(error), _) => ContainerError::io(act)(error),
        (_, Err(error)) => ContainerError::io(act)(std::io::Error::from(error)),
    }
}

/// Runs a program in a container and hands signals on to it; gives the exit code.
pub fn run(init: Process, program: &Program<'_>) -> Result<u8, ContainerError> {
    use crate::signals::{HANDED_ON, Inbox, is_key};
    use rustix::event::{PollFd, PollFlags, poll};
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
    enter(init)?;
    let inbox = Inbox::open(&HANDED_ON).map_err(ContainerError::io("catch signals"))?;
    let mut child = start(program)?;
    let pid = Pid::from_child(&child);
    let end = pidfd_open(pid, PidfdFlags::empty()).map_err(ContainerError::io("watch the command"))?;
    loop {
        if let Some(status) = child.try_wait().map_err(ContainerError::io("wait for the command"))? {
            return Ok(code_of(status));
        }
        let mut polled: Vec<PollFd<'_>> = inbox.polled().collect();
        polled.push(PollFd::new(&end, PollFlags::IN));
        let _ = poll(&mut polled, None);
        for signal in inbox.take().into_iter().filter(|signal| !(terminal && is_key(*signal))) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}
