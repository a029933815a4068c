//! `qiao run -d`: the same command once more, as the container's supervisor.
//!
//! It tells by its standard output that the container runs, and lets go of what it was started with.

use super::super::Done;
use crate::output::print;
use qiao_engine::EngineError;
use std::process::{Command, ExitCode, Stdio};

/// Set for the supervisor.
const SUPERVISOR: &str = "QIAO_SUPERVISOR";

/// Whether this is the supervisor.
pub fn is_supervisor() -> bool {
    std::env::var_os(SUPERVISOR).is_some()
}

/// Starts the supervisor, and waits until the container runs or cannot.
pub fn start() -> Done {
    let failed = |error| EngineError::failed("start the container's supervisor", error);
    let mut supervisor = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(SUPERVISOR, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let said = supervisor.stdout.take().map(std::io::read_to_string).transpose().map_err(failed)?;
    match said.filter(|id| !id.is_empty()) {
        Some(id) => {
            print(&id);
            Ok(ExitCode::SUCCESS)
        }
        None => Ok(qiao_container::exec::code_of(supervisor.wait().map_err(failed)?).into()),
    }
}

/// Lets go of the terminal and of whoever reads what was said.
pub fn let_go() {
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}
