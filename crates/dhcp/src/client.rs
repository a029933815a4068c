//! Asking the daemon.

use crate::place::Place;
use crate::protocol::{Answer, LONGEST, Request};
use qiao_core::dhcp::{Ask, Keeper, Leased, Tenant, Trouble};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long a daemon may take to come up, and to answer what it need not ask anybody for.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long is waited before it is started once more.
const START: Duration = Duration::from_millis(500);

/// Asks a daemon that somebody else started.
pub fn ask(socket: &str, request: &Request, patience: Duration) -> Result<Answer, Trouble> {
    let silent = |error: io::Error| silent(socket, &error);
    let stream = UnixStream::connect(socket).map_err(silent)?;
    match exchange(stream, request, patience).map_err(silent)? {
        Answer::Trouble(trouble) => Err(trouble),
        answer => Ok(answer),
    }
}

fn silent(socket: &str, error: &io::Error) -> Trouble {
    Trouble::Silent { socket: socket.to_owned(), why: error.to_string() }
}

fn exchange(mut stream: UnixStream, request: &Request, patience: Duration) -> io::Result<Answer> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&serde_json::to_vec(request)?)?;
    stream.write_all(b"\n")?;
    stream.shutdown(Shutdown::Write)?;
    let mut bytes = Vec::new();
    match stream.take(LONGEST as u64 * 64).read_to_end(&mut bytes) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error),
    }
}

/// The engine's keeper: a daemon that the first who needs it starts, and that ends with the last lease.
#[derive(Debug)]
pub struct Engines {
    run: String,
    place: Place,
    patience: Duration,
}

impl Engines {
    /// That of the engine whose run directory this is. `patience` is how long a server is waited for.
    pub fn of(run: &str, patience: Duration) -> Self {
        Self { run: run.to_owned(), place: Place::engines(run), patience }
    }

    /// Asks it, starting it where none runs. One that is about to end may not answer; the next one will.
    fn ask(&self, request: &Request, patience: Duration) -> Result<Answer, Trouble> {
        let (begun, mut started) = (Instant::now(), None::<Instant>);
        loop {
            let error = match UnixStream::connect(&self.place.socket) {
                Ok(stream) => match exchange(stream, request, patience) {
                    Ok(Answer::Trouble(trouble)) => return Err(trouble),
                    Ok(answer) => return Ok(answer),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
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
