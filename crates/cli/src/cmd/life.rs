//! `qiao stop`, `qiao rm`, and what is noted of a container's life.

use super::run::into_engine;
use super::{Done, OK};
use crate::app::App;
use crate::args::{Remove, Stop};
use crate::output::{line, time};
use qiao_container::state::State;
use qiao_container::{Container, Containers, Damaged, Process, Status};
use qiao_core::{Code, Refusal, SandboxName, request};
use qiao_engine::{Engine, EngineError};
use qiao_kernel::{Kernel, Linux};
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

/// How long a supervisor may take to take the network away.
const TIDYING: Duration = Duration::from_secs(10);
/// How long a killed process may take to end.
const DYING: Duration = Duration::from_secs(5);

/// A container whose command runs.
pub fn running(state: &State, init: Option<Process>) -> State {
    State { status: Status::Running, init, started: time::now(), ..state.clone() }
}

/// A container whose command has ended.
pub fn exited(state: &State, code: u8) -> State {
    State { status: Status::Exited { code, at: time::now() }, ..state.clone() }
}

/// Takes away what belongs to containers whose supervisor was killed: they have ended with it.
pub fn tidy(containers: &Containers, engine: &mut Engine<Linux>) {
    for mut container in containers.sweep() {
        let sandbox = container.spec.name.clone();
        // Whoever cannot be detached now is found again by the next command.
        if engine.detach(&request::Detach { sandbox, network: None, ifname: None }).is_err() {
            continue;
        }
        if container.spec.remove {
            let _ = container.forget();
        } else {
            let _ = container.note(exited(&container.state, 137));
        }
    }
}

/// Stops containers.
pub fn stop(app: &App, args: &Stop) -> Done {
    let containers = Containers::of(&app.paths().run);
    let found = args.names.iter().map(|name| containers.find(name)).collect::<Result<Vec<_>, _>>()?;
    for (container, name) in found.iter().zip(&args.names) {
        end(app, container, Some(Duration::from_secs(args.time)))?;
        tell(app, name);
    }
    tell_all(app, "qiao.stopped/1", found.iter());
    Ok(OK)
}

/// Removes containers.
pub fn rm(app: &App, args: &Remove) -> Done {
    let containers = Containers::of(&app.paths().run);
    let mut found = Vec::new();
    for name in &args.names {
        if let Some(damaged) = containers.damaged(name).filter(|_| args.force) {
            remove_damaged(app, &damaged)?;
            tell(app, name);
            continue;
        }
        match containers.find(name) {
            Err(Refusal { code: Code::NotFound, .. }) if args.force => {}
            container => found.push((name, container?)),
        }
    }
    if let Some((_, running)) = found.iter().find(|(_, container)| container.lives() && !args.force) {
        let name = &running.spec.name;
        return Err(Refusal::conflict(format!("container `{name}` runs"))
            .fix(format!("qiao stop {name}"))
            .fix(format!("qiao rm -f {name}"))
            .into());
    }
    for (name, container) in &found {
        end(app, container, None)?;
        container.forget().map_err(into_engine)?;
        tell(app, name);
    }
    tell_all(app, "qiao.removed/1", found.iter().map(|(_, container)| container));
    Ok(OK)
}

/// Ends and removes a container whose records make no sense, so that its name is free: its processes are found by
/// what is left of the records, else by its network namespace.
fn remove_damaged(app: &App, damaged: &Damaged) -> Result<(), EngineError> {
    let mut engine = app.engine()?;
    let known = damaged.state.as_ref().map(|state| (state.init, state.supervisor));
    let (init, supervisor) = known.unwrap_or_else(|| (first_process(&mut engine, &damaged.name), None));
    if let Some(init) = init {
        let _ = init.signal(Signal::KILL);
        init.await_end(DYING);
    }
    supervisor.map(|process| process.await_end(TIDYING));
    engine.detach(&request::Detach { sandbox: damaged.name.clone(), network: None, ifname: None })?;
    damaged.forget().map_err(into_engine)
}

/// The process whose namespace a container is attached with, if it is still in it.
fn first_process(engine: &mut Engine<Linux>, name: &SandboxName) -> Option<Process> {
    let endpoints = engine.store().sandbox(name).ok()?;
    let netns = endpoints.into_iter().find_map(|endpoint| endpoint.netns)?;
    let number = netns.path.strip_prefix("/proc/")?.strip_suffix("/ns/net")?;
    let process = Process::of(number.parse().ok()?)?;
    engine.kernel().is_alive(&netns).then_some(process)
}

/// Docker repeats each name as it was typed, as soon as it is done.
fn tell(app: &App, name: &str) {
    if !app.global.json {
        line(name);
    }
}

/// Programs are told once, when all of them are done.
fn tell_all<'c>(app: &App, schema: &str, containers: impl Iterator<Item = &'c Container>) {
    if app.global.json {
        let names: Vec<_> = containers.map(|container| &container.spec.name).collect();
        line(json!({"schema": schema, "containers": names}));
    }
}

/// Ends a container; within `grace`, by itself. Its network is gone afterwards.
fn end(app: &App, container: &Container, grace: Option<Duration>) -> Result<(), EngineError> {
    if let Some(init) = container.state.init.filter(|_| container.lives()) {
        let asked = grace.is_some_and(|grace| init.signal(Signal::TERM).is_ok() && init.await_end(grace));
        if !asked {
            let _ = init.signal(Signal::KILL);
            init.await_end(DYING);
        }
    }
    let supervised = container.state.supervisor.is_some_and(|process| !process.await_end(TIDYING));
    if supervised {
        let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
        return Err(EngineError::failed(format!("wait for the end of `{}`", container.spec.name), error));
    }
    let containers = Containers::of(&app.paths().run);
    if containers.get(&container.spec.name).is_some() {
        tidy(&containers, &mut app.engine()?);
    }
    Ok(())
}
