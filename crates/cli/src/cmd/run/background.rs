//! `qiao run -d`: the same command once more, as the container's supervisor.
//!
//! It tells by its standard output that the container runs, and lets go of what it was started with.

use super::super::Done;
use crate::output::{line, print};
use qiao_engine::EngineError;
use serde_json::json;
use std::process::{Command, ExitCode, Stdio};

/// Set for the supervisor.
const SUPERVISOR: &str = "QIAO_SUPERVISOR";

/// Whether this is the supervisor.
pub fn is_supervisor() -> bool {
    std::env::var_os(SUPERVISOR).is_some()
}

/// Starts the supervisor, and waits until the container runs or cannot.
pub fn start(as_json: bool) -> Done {
    let failed = |error| EngineError::failed("start the container's supervisor", error);
    let mut supervisor = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(SUPERVISOR, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let said = supervisor.stdout.take().map(std::io::read_to_string).transpose().map_err(failed)?;
    let said = said.unwrap_or_default();
    let id = said.trim_end();
    if is_id(id) {
        match as_json {
            true => line(json!({"schema": "qiao.container/1", "id": id})),
            false => line(id),
        }
        return Ok(ExitCode::SUCCESS);
    }
    print(&said); // an error, for programs
    Ok(qiao_container::exec::code_of(supervisor.wait().map_err(failed)?).into())
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
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
