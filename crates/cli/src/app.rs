//! What commands work with: the engine, opened when it is needed.

use crate::args::Global;
use crate::firewalld::Firewalld;
use crate::settings;
use qiao_container::Interrupt;
use qiao_core::settings::Settings;
use qiao_core::{Code, Refusal};
use qiao_dhcp::Engines;
use qiao_engine::{Engine, EngineError};
use qiao_kernel::Linux;
use qiao_store::{Paths, Store};
use std::cell::{Cell, OnceCell};
use std::time::{Duration, Instant};

/// How long an interrupted command waits for others.
const TIDYING: Duration = Duration::from_secs(3);

/// What commands work with.
#[derive(Debug)]
pub struct App {
    /// What goes for all commands.
    pub global: Global,
    /// What may end a command while it waits, where signals do not by themselves.
    interrupt: OnceCell<Interrupt>,
    /// Whether they still do.
    armed: Cell<bool>,
    /// Until when is waited then.
    deadline: Cell<Option<Instant>>,
    /// Whether notes about what the command waits for are printed.
    tells: Cell<bool>,
}

impl App {
    /// For these options.
    pub fn new(global: Global) -> Self {
        Self {
            global,
            interrupt: OnceCell::new(),
            armed: Cell::new(false),
            deadline: Cell::new(None),
            tells: Cell::new(false),
        }
    }

    /// From now on what takes long is said on standard error.
    pub fn tell_waits(&self) {
        self.tells.set(true);
    }

    /// From now on signals end no command by themselves, but what it waits for.
    pub fn catch_signals(&self) -> Result<(), EngineError> {
        let caught = Interrupt::catch().map_err(|error| EngineError::failed("catch signals", error))?;
        let _ = self.interrupt.set(caught);
        self.armed.set(true);
        Ok(())
    }

    /// What was begun is taken back now, and nobody waits for long: another signal ends that, and so does the time.
    /// What had come to its end is taken away whatever comes.
    pub fn tidy_up(&self, had_begun: bool) {
        self.interrupt.get().into_iter().for_each(Interrupt::reset);
        self.armed.set(had_begun && self.armed.get());
        self.deadline.set(Some(Instant::now() + TIDYING));
    }

    /// The exit code of a command that was interrupted.
    pub fn interrupted(&self) -> Option<u8> {
        self.interrupt.get().and_then(Interrupt::code)
    }

    /// Where the files are.
    pub fn paths(&self) -> Paths {
        let default = Paths::default();
        Paths {
            state: self.global.state_dir.clone().unwrap_or(default.state),
            run: self.global.run_dir.clone().unwrap_or(default.run),
        }
    }

    /// The settings.
    pub fn settings(&self) -> Result<Settings, Refusal> {
        settings::load(self.global.config.as_deref())
    }

    /// The engine.
    pub fn engine(&self) -> Result<Engine<Linux>, EngineError> {
        let complain = |why: &str| crate::output::note(format!("warning: firewalld: {why}"));
        Ok(self.engine_alone()?.with_zones(Box::new(Firewalld::new(&self.paths().run, complain))))
    }

    /// The engine, which tells no other firewall of anything.
    pub fn engine_alone(&self) -> Result<Engine<Linux>, EngineError> {
        let settings = self.settings()?;
        let paths = self.paths();
        let kernel = Linux::open()?.serving_loopback(settings.loopback, &paths.run);
        let patience = Duration::from_secs(settings.dhcp_timeout.max(1).into());
        let mut keeper = Engines::of(&paths.run, patience);
        let interrupt = self.interrupt.get().filter(|_| self.armed.get());
        if self.tells.get() {
            let caught = interrupt.cloned().unwrap_or_default();
            let is_gone = Box::new(move || caught.code().is_some());
            keeper = keeper.on_behalf_of(Box::new(|what| crate::output::note(what)), is_gone);
        }
        let engine = Engine::open(kernel, &paths, settings).map_err(explain_permission)?;
        let engine = engine.with_keeper(Box::new(keeper));
        Ok(match interrupt.cloned() {
            Some(caught) => {
                let deadline = self.deadline.get();
                let is_late = move || deadline.is_some_and(|deadline| Instant::now() > deadline);
                engine.interrupted_by(Box::new(move || caught.code().is_some() || is_late()))
            }
            None => engine,
        })
    }

    /// The store, for commands that only read.
    pub fn store(&self) -> Result<Store, EngineError> {
        Ok(Store::open(&self.paths())?)
    }
}

/// Says what to do about missing privilege before anything was begun.
fn explain_permission(error: EngineError) -> EngineError {
    if !error.is_permission() {
        return error;
    }
    let why = std::error::Error::source(&error).map(crate::output::error::chain).unwrap_or_default();
    Refusal::new(Code::NotPermitted, "cannot use the engine's files")
        .why(why)
        .fix("run it as root, or give --run-dir and --state-dir")
        .into()
}
