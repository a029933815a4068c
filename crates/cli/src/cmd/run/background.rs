//! `qiao run -d`: the same command once more, as the container's supervisor.
//!
//! It tells by its standard output that the container runs, and lets go of what it was started with.

use super::super::Done;
use crate::output::{line, print};
use qiao_container::Interrupt;
use qiao_engine::EngineError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
use serde_json::json;
use std::io::{self, Read};
use std::process::{Child, Command, ExitCode, Stdio};

/// Set for the supervisor.
const SUPERVISOR: &str = "QIAO_SUPERVISOR";

/// Whether this is the supervisor.
pub fn is_supervisor() -> bool {
    std::env::var_os(SUPERVISOR).is_some()
}

/// Starts the supervisor, and waits until the container runs or cannot. A signal to this process is passed on to the
/// supervisor.
pub fn start(as_json: bool) -> Done {
    let failed = |error| EngineError::failed("start the container's supervisor", error);
    let interrupt = Interrupt::catch().map_err(failed)?;
    let mut supervisor = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(SUPERVISOR, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let said = hear(&mut supervisor, &interrupt).map_err(failed)?;
    let id = said.trim_end();
    if is_id(id) && interrupt.code().is_none() {
        match as_json {
            true => line(json!({"schema": "qiao.container/1", "id": id})),
            false => line(id),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let code = qiao_container::exec::code_of(supervisor.wait().map_err(failed)?);
    if interrupt.code().is_none() {
        print(&said); // an error, for programs
    }
    Ok(interrupt.code().unwrap_or(code).into())
}

/// Hears the supervisor out, and hands on that it shall end.
fn hear(supervisor: &mut Child, interrupt: &Interrupt) -> io::Result<String> {
    let Some(mut pipe) = supervisor.stdout.take() else { return Ok(String::new()) };
    let slice = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    let (mut said, mut asked) = (Vec::new(), false);
    loop {
        if interrupt.code().is_some() && !std::mem::replace(&mut asked, true) {
            kill_process(Pid::from_child(supervisor), Signal::TERM)?;
        }
        let mut polled = [PollFd::new(&pipe, PollFlags::IN)];
        match poll(&mut polled, Some(&slice)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut bytes = [0; 1024];
        match pipe.read(&mut bytes) {
            Ok(0) => return Ok(String::from_utf8_lossy(&said).into_owned()),
            Ok(count) => said.extend(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The supervisor ends with who started it, until the container runs.
pub fn end_with_starter() {
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    let starter = std::env::var(SUPERVISOR).ok().and_then(|pid| pid.parse().ok());
    let is_gone = starter.and_then(Pid::from_raw) != getppid();
    if is_gone {
        let _ = kill_process(getpid(), Signal::TERM); // it was gone before
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Lets go of the terminal and of whoever reads what was said.
pub fn let_go() {
    let _ = set_parent_process_death_signal(None);
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}
