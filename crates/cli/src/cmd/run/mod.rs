//! `qiao run`: a container, its network, and the wait for its end.

mod background;
mod files;
mod network;
mod spec;

use super::{Done, life};
use crate::app::App;
use crate::args::Run;
use crate::output::{self, line};
use network::Wires;
use qiao_container::{
    Container, ContainerError, Containers, Output, Spec, Started, Status, logs::Log, new_longer_name,
};
use qiao_core::{Code, Refusal, SandboxName};
use qiao_engine::EngineError;
use std::process::ExitCode;

/// Runs a container.
pub fn run(app: &App, args: &Run) -> Done {
    if args.detach && !background::is_supervisor() {
        return background::start(app.global.json);
    }
    app.tell_waits();
    if args.detach {
        background::end_with_starter();
    }
    app.catch_signals()?; // what was made so far is taken away then
    let spec = spec::of(args)?;
    let mut engine = app.engine()?;
    let wires = Wires::of(&engine, args)?;
    let containers = Containers::of(&app.paths().run);
    life::tidy(&containers, &mut engine);
    drop(engine);
    let mut container = create(&containers, spec, args.name.is_none()).map_err(into_engine)?;
    let ended = supervise(app, &mut container, &wires);
    finish(app, &mut container, ended)
}

/// Takes the container's name; one that nobody asked for is made anew where another has it.
fn create(containers: &Containers, mut spec: Spec, made_up: bool) -> Result<Container, ContainerError> {
    const TRIES: usize = 16;
    for _ in 0..TRIES {
        match containers.create(spec.clone()) {
            Err(ContainerError::Refused(refusal)) if made_up && refusal.code == Code::Conflict => {
                let name = new_longer_name().map_err(ContainerError::io("make a name"))?;
                spec.name = SandboxName::new(&name)?;
            }
            result => return result,
        }
    }
    containers.create(spec)
}

/// The container's life, from its first process to its last.
fn supervise(app: &App, container: &mut Container, wires: &Wires<'_>) -> Result<u8, RunError> {
    let mut output = match container.spec.detached {
        true => Output::Kept(Log::create(&container.log())?),
        false => Output::Inherited,
    };
    let mut started = qiao_container::start(&container.spec, &output)?;
    let joined = wires.attach(app, &container.spec, &started);
    if let Some(code) = app.interrupted() {
        return Err(RunError::Interrupted(code)); // from here on signals are the command's
    }
    let joined = joined?;
    let files = wires.files(&app.settings().map_err(EngineError::from)?, &container.spec, &joined);
    started.go(&files)?;
    container.note(life::running(&container.state, started.process()))?;
    if container.spec.detached {
        line(&container.spec.id);
        background::let_go();
    }
    Ok(wait(started, &mut output)?)
}

fn wait(started: Started, output: &mut Output) -> Result<u8, ContainerError> {
    started.wait(output)
}

/// Takes the network away, and notes or forgets the container.
fn finish(app: &App, container: &mut Container, ended: Result<u8, RunError>) -> Done {
    let never_ran = container.state.status == Status::Created;
    app.tidy_up(never_ran);
    // First, so that a full disk, which keeps the note from being written, keeps no address and no port.
    let detached = network::detach(app, &container.spec.name);
    if let Ok(code) = &ended {
        let note = container.note(life::exited(&container.state, *code));
        note.map_err(into_engine)?;
    }
    if container.spec.remove || never_ran {
        container.forget().map_err(into_engine)?;
    }
    let code = match ended {
        Ok(code) => code,
        Err(RunError::Container(ContainerError::Init { message, code })) => {
            output::note(format!("error: {message}"));
            code
        }
        Err(RunError::Interrupted(code)) => {
            if let Err(error) = detached {
                let why = qiao_engine::chain(&error);
                output::note(format!("warning: the next command takes its network away: {why}"));
            }
            return Ok(ExitCode::from(code));
        }
        Err(RunError::Container(error)) => return Err(into_engine(error)),
        Err(RunError::Engine(error)) => return Err(error),
    };
    detached.map(|()| ExitCode::from(code))
}

/// Why a container did not come to its end.
#[derive(Debug)]
pub enum RunError {
    /// It could not be started.
    Container(ContainerError),
    /// Its network could not be made.
    Engine(EngineError),
    /// A signal came before its command ran: the exit code.
    Interrupted(u8),
}

impl From<ContainerError> for RunError {
    fn from(error: ContainerError) -> Self {
        RunError::Container(error)
    }
}

impl From<EngineError> for RunError {
    fn from(error: EngineError) -> Self {
        RunError::Engine(error)
    }
}

/// The same, as commands tell it.
pub fn into_engine(error: ContainerError) -> EngineError {
    match error {
        ContainerError::Refused(refusal) => refusal.into(),
        ContainerError::Io { act, source } => EngineError::failed(act, source),
        ContainerError::Init { message, .. } => Refusal::invalid(message).into(),
    }
}
