//! Asking the daemon.

use crate::place::Place;
use crate::protocol::{Answer, LONGEST, Request};
use qiao_core::dhcp::{Ask, Keeper, Leased, Tenant, Trouble};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long a daemon may take to come up, and to answer what it need not ask anybody for.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long is waited before it is started once more.
const START: Duration = Duration::from_millis(500);
/// The interval at which the client checks whether the caller still waits.
const SLICE: Duration = Duration::from_millis(50);
/// How long is waited before it is said what for.
const SILENCE: Duration = Duration::from_secs(1);
const INTERRUPTED: &str = "interrupted";

/// Asks a daemon that somebody else started.
pub fn ask(socket: &str, request: &Request, patience: Duration) -> Result<Answer, Trouble> {
    let silent = |error: io::Error| silent(socket, &error);
    let stream = UnixStream::connect(socket).map_err(silent)?;
    match exchange(stream, request, (patience, None)).map_err(silent)? {
        Answer::Trouble(trouble) => Err(trouble),
        answer => Ok(answer),
    }
}

fn silent(socket: &str, error: &io::Error) -> Trouble {
    Trouble::Silent { socket: socket.to_owned(), why: error.to_string() }
}

fn exchange(
    stream: UnixStream,
    request: &Request,
    (patience, waiting): (Duration, Option<&mut Waiting<'_>>),
) -> io::Result<Answer> {
    let mut stream = stream;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&serde_json::to_vec(request)?)?;
    stream.write_all(b"\n")?;
    stream.shutdown(Shutdown::Write)?;
    if let Some(waiting) = waiting {
        waiting.await_answer(&stream, patience)?;
    }
    stream.set_read_timeout(Some(patience))?;
    let mut bytes = Vec::new();
    match stream.take(LONGEST as u64 * 64).read_to_end(&mut bytes) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error),
    }
}

/// A caller that waits for a server: it is notified of what it waits for, and may stop waiting.
struct Waiting<'a> {
    patron: &'a mut Patron,
    at: String,
}

impl Waiting<'_> {
    /// Waits until there is something to read. After a while the caller is notified of what it waits for.
    fn await_answer(&mut self, stream: &UnixStream, patience: Duration) -> io::Result<()> {
        let begun = Instant::now();
        let slice = Timespec { tv_sec: 0, tv_nsec: SLICE.as_nanos() as _ };
        loop {
            let mut polled = [PollFd::new(stream, PollFlags::IN)];
            match poll(&mut polled, Some(&slice)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if (self.patron.is_gone)() {
                return Err(io::Error::other(INTERRUPTED));
            }
            if begun.elapsed() > patience {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if begun.elapsed() > SILENCE && !std::mem::replace(&mut self.patron.was_told, true) {
                let longest = patience.saturating_sub(PATIENCE).as_secs();
                (self.patron.tell)(&format!(
                    "waiting for a DHCP server at `{}`, {longest} seconds at most",
                    self.at
                ));
            }
        }
    }
}

/// The tenant that a lease is taken for.
struct Patron {
    tell: Box<dyn Fn(&str)>,
    is_gone: Box<dyn Fn() -> bool>,
    was_told: bool,
}

impl std::fmt::Debug for Patron {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patron").field("was_told", &self.was_told).finish_non_exhaustive()
    }
}

/// The engine's keeper: a daemon that the first who needs it starts, and that ends with the last lease.
#[derive(Debug)]
pub struct Engines {
    run: String,
    place: Place,
    patience: Duration,
    patron: Option<Patron>,
}

impl Engines {
    /// That of the engine whose run directory this is. `patience` is how long a server is waited for.
    pub fn of(run: &str, patience: Duration) -> Self {
        Self { run: run.to_owned(), place: Place::engines(run), patience, patron: None }
    }

    /// With a caller that is notified of a long wait, and may stop waiting.
    #[must_use]
    pub fn on_behalf_of(mut self, tell: Box<dyn Fn(&str)>, is_gone: Box<dyn Fn() -> bool>) -> Self {
        self.patron = Some(Patron { tell, is_gone, was_told: false });
        self
    }

    /// Asks it, starting it where none runs. One that is about to end may not answer; the next one will.
    fn ask(&mut self, request: &Request, patience: Duration) -> Result<Answer, Trouble> {
        let (begun, mut started) = (Instant::now(), None::<Instant>);
        loop {
            let error = match UnixStream::connect(&self.place.socket) {
                Ok(stream) => match self.exchange(stream, request, patience) {
                    Ok(Answer::Trouble(trouble)) => return Err(trouble),
                    Ok(answer) => return Ok(answer),
                    Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Other) => {
                        return Err(silent(&self.place.socket, &error));
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if begun.elapsed() > PATIENCE {
                return Err(silent(&self.place.socket, &error));
            }
            if started.is_none_or(|at| at.elapsed() > START) {
                self.start().map_err(|error| silent(&self.place.socket, &error))?;
                started = Some(Instant::now());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn exchange(&mut self, stream: UnixStream, request: &Request, patience: Duration) -> io::Result<Answer> {
        let mut waiting = match (request, &mut self.patron) {
            (Request::Acquire(ask), Some(patron)) => {
                Some(Waiting { patron, at: ask.over.first().to_string() })
            }
            _ => None,
        };
        exchange(stream, request, (patience, waiting.as_mut()))
    }

    fn start(&self) -> io::Result<()> {
        let seconds = self.patience.as_secs().max(1).to_string();
        qiao_kernel::dhcp::start_detached(&[
            crate::COMMAND,
            "-engine",
            &self.run,
            "-resendtimeout",
            &format!("{seconds}s"),
        ])
    }
}

impl Keeper for Engines {
    fn acquire(&mut self, ask: &Ask) -> Result<Leased, Trouble> {
        match self.ask(&Request::Acquire(ask.clone()), self.patience + PATIENCE)? {
            Answer::Leased(leased) => Ok(leased),
            _ => Err(silent(&self.place.socket, &io::ErrorKind::InvalidData.into())),
        }
    }

    fn release(&mut self, tenant: &Tenant) -> Result<(), Trouble> {
        if !self.place.has_leases() {
            return Ok(());
        }
        self.ask(&Request::Release(tenant.clone()), PATIENCE).map(drop)
    }

    fn tenants(&mut self) -> Result<Vec<(Tenant, u64)>, Trouble> {
        if !self.place.has_leases() {
            return Ok(Vec::new());
        }
        match self.ask(&Request::List, PATIENCE)? {
            Answer::Tenants(tenants) => Ok(tenants),
            _ => Ok(Vec::new()),
        }
    }

    fn is_dead(&mut self) -> bool {
        self.place.has_leases() && !self.place.is_kept()
    }

    fn revive(&mut self) -> Result<(), Trouble> {
        if self.is_dead() { self.ask(&Request::List, PATIENCE).map(drop) } else { Ok(()) }
    }
}
