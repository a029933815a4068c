//! `qiao exec`: this program goes inside from a sealed copy, and starts the command there.

use super::Done;
use super::run::into_engine;
use crate::app::App;
use crate::args::Exec;
use crate::output;
use qiao_container::exec::Program;
use qiao_container::{Containers, Process};
use qiao_core::Refusal;
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// Where the copy finds what to do: an environment is read by its owner only, arguments by everybody.
const TASK: &str = "QIAO_TASK";

#[derive(Debug, Serialize, Deserialize)]
struct Task {
    init: Process,
    command: Vec<String>,
    env: Vec<(String, String)>,
    workdir: Option<String>,
    user: Option<(u32, u32)>,
}

/// Runs a command in a container.
pub fn exec(app: &App, args: &Exec) -> Done {
    let container = Containers::of(&app.paths().run).find(&args.name)?;
    let init = container.state.init.filter(|_| container.lives());
    let init = init.ok_or_else(|| {
        Refusal::conflict(format!("container `{}` does not run", container.spec.name)).fix("qiao ps -a")
    })?;
    let mut env = container.spec.env;
    for (key, value) in &args.env {
        env.retain(|(known, _)| known != key);
        env.push((key.clone(), value.clone()));
    }
    let workdir = args.workdir.clone().or(container.spec.workdir);
    let user = args.user.or(container.spec.user);
    let task = Task { init, command: args.command.clone(), env, workdir, user };
    Err(into_engine(qiao_container::exec::become_copy(TASK, &task)))
}

/// Does what the copy is for.
pub fn enter() -> ExitCode {
    let task = std::env::var(TASK).ok().and_then(|text| serde_json::from_str::<Task>(&text).ok());
    let Some(task) = task else { return ExitCode::from(125) };
    let program =
        Program { command: &task.command, env: &task.env, workdir: task.workdir.as_deref(), user: task.user };
    match qiao_container::exec::run(task.init, &program) {
        Ok(code) => code.into(),
        Err(qiao_container::ContainerError::Init { message, code }) => {
            output::note(format!("error: {message}"));
            code.into()
        }
        Err(error) => {
            output::note(format!("error: {error}"));
            ExitCode::from(125)
        }
    }
}
