//! `qiao netns NAME -- COMMAND`: the host's tools in a container's network.

use super::Done;
use crate::app::App;
use crate::args::Netns;
use qiao_core::Refusal;
use qiao_engine::EngineError;
use qiao_kernel::NetnsHandle;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Enters the namespace and becomes the command.
pub fn run(app: &App, args: &Netns) -> Done {
    let endpoints = app.store()?.sandbox(&args.name)?;
    let known = endpoints.iter().find_map(|endpoint| endpoint.netns.as_ref());
    let known = known
        .ok_or_else(|| Refusal::not_found(format!("there is no container `{}`", args.name)).fix("qiao ps"))?;
    let handle = NetnsHandle::reopen(known)?.ok_or_else(|| gone(args))?;
    handle.enter()?;
    let Some((program, words)) = args.command.split_first() else {
        return Err(Refusal::invalid("no command").into());
    };
    let error = Command::new(program).args(words).exec();
    crate::output::note(format!(
        "error: cannot run {}: {error}",
        qiao_core::name::quoted(&program.to_string_lossy())
    ));
    Ok(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}

fn gone(args: &Netns) -> EngineError {
    Refusal::not_found(format!("the network namespace of `{}` is gone", args.name)).fix("qiao gc").into()
}
