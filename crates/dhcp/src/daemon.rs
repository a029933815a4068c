//! The process: one thread, no runtime. It waits for whoever asks, for servers, and for the time.

use crate::call::Call;
use crate::machine::Timing;
use crate::place::{Place, Records};
use crate::protocol::{Answer, Request};
use crate::tenancy::{Event, Settings, Tenancy, seconds_since};
use qiao_core::dhcp::{Ask, Tenant, Trouble};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixListener;

/// How often is looked whether the sandboxes live, in milliseconds.
const LOOK: u64 = 3000;
/// How long a daemon without a lease stays that shall end with the last, in milliseconds.
const IDLE: u64 = 1000;

/// How a daemon is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its leases are, and where it is asked.
    pub place: Place,
    /// Ends when it has had no lease for a while.
    pub ends: bool,
    /// Stands before the paths of namespaces: for a daemon that sees the host's files elsewhere.
    pub prefix: String,
    /// Servers shall send answers to everybody.
    pub broadcast: bool,
    /// How long and how often servers are asked.
    pub timing: Timing,
}

/// Which of them: what is only offered is kept apart.
type Key = (Tenant, bool);

/// Keeps leases until it is told to end; with [`Options::ends`] until there are none. Whoever keeps them already
/// goes on.
pub fn keep(options: Options, listener: UnixListener, records: Records) -> io::Result<()> {
    // Each exchange is two descriptors, and a process has 1024 unless it asks for more.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let mut daemon = Daemon::new(options, listener, records)?;
    daemon.take_up()?;
    while !daemon.is_over() {
        daemon.turn()?;
    }
    // Whoever has connected by now and is not heard finds no answer, and asks the next one.
    let _ = std::fs::remove_file(&daemon.options.place.socket);
    Ok(())
}

struct Daemon {
    options: Options,
    settings: Settings,
    listener: UnixListener,
    records: Records,
    tenancies: BTreeMap<Key, Tenancy>,
    calls: Vec<Call>,
    looked: u64,
    busy: u64,
}

impl Daemon {
    fn new(options: Options, listener: UnixListener, records: Records) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let settings =
            Settings { timing: options.timing, broadcast: options.broadcast, prefix: options.prefix.clone() };
        let now = now();
        let (tenancies, calls) = (BTreeMap::new(), Vec::new());
        Ok(Self { options, settings, listener, records, tenancies, calls, looked: now, busy: now })
    }

    /// Takes up what is written down.
    fn take_up(&mut self) -> io::Result<()> {
        for record in self.records.all().map_err(io::Error::other)? {
            let key = (record.ask.tenant.clone(), false);
            self.tenancies.insert(key, Tenancy::resume(record, &self.settings, (now(), seed())));
        }
        self.look();
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.options.ends
            && self.tenancies.is_empty()
            && self.calls.is_empty()
            && now().saturating_sub(self.busy) > IDLE
    }

    fn turn(&mut self) -> io::Result<()> {
        self.wait()?;
        self.accept();
        self.answer();
        let keys: Vec<Key> = self.tenancies.keys().cloned().collect();
        keys.iter().for_each(|key| self.go_on(key));
        if now().saturating_sub(self.looked) >= LOOK {
            self.look();
        }
        if !self.tenancies.is_empty() || !self.calls.is_empty() {
            self.busy = now();
        }
        Ok(())
    }

    /// Waits until somebody says something, or something is due.
    fn wait(&self) -> io::Result<()> {
        let now = now();
        let dues = self.tenancies.values().filter_map(Tenancy::due);
        let look = (!self.tenancies.is_empty()).then_some(self.looked + LOOK);
        let idle = self.options.ends.then_some(now + IDLE);
        let call = self.calls.iter().map(Call::deadline);
        let until = dues.chain(look).chain(idle).chain(call).min().map(|due| due.saturating_sub(now));
        let timeout =
            until.map(|ms| Timespec { tv_sec: (ms / 1000) as _, tv_nsec: (ms % 1000 * 1_000_000) as _ });
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        fds.extend(self.calls.iter().map(|call| PollFd::from_borrowed_fd(call.as_fd(), PollFlags::IN)));
        let heard = self.tenancies.values().filter_map(Tenancy::socket);
        fds.extend(heard.map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)));
        // A caller that waits for a lease sends nothing more: only a hang-up is received.
        let callers = self.tenancies.values().flat_map(Tenancy::callers);
        fds.extend(callers.map(|call| PollFd::from_borrowed_fd(call, PollFlags::empty())));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            self.calls.extend(Call::new(stream, now()));
        }
    }

    /// Carries out what was asked for, as far as it is said by now.
    fn answer(&mut self) {
        for mut call in std::mem::take(&mut self.calls) {
            match call.read(now()) {
                Ok(None) => self.calls.push(call),
                Ok(Some(request)) => self.carry_out(request, call),
                Err(_) => {} // it makes no sense, or nobody is there any more
            }
        }
    }

    fn carry_out(&mut self, request: Request, call: Call) {
        match request {
            Request::Acquire(ask) => self.acquire(ask, call),
            Request::Release(tenant) => {
                self.end(&(tenant, false));
                call.answer(&Answer::Nothing);
            }
            Request::Look(tenant) => {
                let leased = self.tenancies.get(&(tenant, false)).and_then(Tenancy::leased);
                call.answer(&leased.map_or(Answer::Nothing, Answer::Leased));
            }
            Request::List => {
                let leases = self.tenancies.iter().filter(|((_, only_offer), _)| !only_offer);
                let now = now();
                let tenants =
                    leases.map(|((t, _), tenancy)| (t.clone(), seconds_since(tenancy.since(), now)));
                call.answer(&Answer::Tenants(tenants.collect()));
            }
        }
    }

    fn acquire(&mut self, ask: Ask, call: Call) {
        let key = (ask.tenant.clone(), ask.only_offer);
        for known in [(ask.tenant.clone(), false), key.clone()] {
            if let Some(known) = self.tenancies.get_mut(&known).filter(|known| known.serves(&ask)) {
                return known.wait_for(call);
            }
        }
        self.end(&key);
        match Tenancy::begin(ask, &self.settings, (now(), seed())) {
            Ok(mut tenancy) => {
                tenancy.wait_for(call);
                self.tenancies.insert(key.clone(), tenancy);
                self.go_on(&key);
            }
            Err(why) => drop(call.answer(&Answer::Trouble(Trouble::Refused(why)))),
        }
    }

    /// Does all that is due for one tenant, and hears what was said to it.
    fn go_on(&mut self, key: &Key) {
        let Some(tenancy) = self.tenancies.get_mut(key) else { return };
        tenancy.forget_callers();
        match tenancy.go_on(now()) {
            Event::None => {}
            Event::Changed => {
                if let Err(error) = self.records.put(&tenancy.record()) {
                    tell(&format!("{}: {error}", key.0));
                    if !tenancy.is_told() {
                        // A lease that a restart would forget is none.
                        let trouble = Trouble::Refused(format!("cannot write the lease down: {error}"));
                        tenancy.tell_trouble(&trouble);
                        return self.end(key);
                    }
                }
                tenancy.tell_waiting();
            }
            Event::Ended => self.forget(key),
        }
        // Whoever wanted it may be gone: then nobody knows of it.
        if self.tenancies.get(key).is_some_and(Tenancy::is_unwanted) {
            self.end(key);
        }
    }

    /// Looks whether the sandboxes live.
    fn look(&mut self) {
        self.looked = now();
        let gone = self.tenancies.iter().filter(|(_, tenancy)| !tenancy.lives());
        let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            tell(&format!("{}: its namespace is gone", key.0));
            self.end(&key);
        }
    }

    /// Gives a lease back and forgets it.
    fn end(&mut self, key: &Key) {
        if let Some(tenancy) = self.tenancies.get_mut(key) {
            tenancy.release();
            self.forget(key);
        }
    }

    fn forget(&mut self, key: &Key) {
        let known = self.tenancies.remove(key).filter(|_| !key.1);
        let forgotten = known.map(|tenancy| self.records.forget(&tenancy.ask().tenant));
        if let Some(Err(error)) = forgotten {
            tell(&format!("{}: {error}", key.0));
        }
    }
}

/// Says something to whoever reads the daemon's log.
pub(crate) fn tell(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The time, in milliseconds since the boot, whether the machine slept or not.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => now(),
    }
}
