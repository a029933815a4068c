//! The process: it serves what the table says until nothing is left to serve.

use crate::entry::Entry;
use crate::limits::Limits;
use crate::port::Port;
use crate::table::Table;
use crate::traffic::Traffic;
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// The token of the table's changes.
const TABLE: u64 = 0;
/// How often is looked who has been silent for too long.
const SWEEP: Duration = Duration::from_secs(1);
/// How long another process may keep the lock that only looked at it.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

/// Serves what `RUN/loopback` says, and returns when nothing is left to serve, or when another process serves
/// it already. Errors are those of the system: without epoll, inotify or the directory there is no serving.
pub fn serve(run: &str, limits: Limits) -> io::Result<()> {
    let Some(table) = Table::open(run)? else { return Ok(()) };
    let Some(_lock) = lock(&table)? else { return Ok(()) };
    confine();
    let mut server = Server::new(table, run, limits)?;
    server.table.clear_states()?;
    server.read_all()?;
    while !server.is_over() {
        server.turn()?;
    }
    Ok(())
}

fn lock(table: &Table) -> io::Result<Option<OwnedFd>> {
    let start = Instant::now();
    loop {
        let lock = table.lock()?;
        if lock.is_some() || start.elapsed() > LOCK_PATIENCE {
            return Ok(lock);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Gives up what is not needed, as far as the system lets us: the proxy works without, too.
fn confine() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let _ = set_no_new_privs(true);
    let bind = CapabilitySet::NET_BIND_SERVICE;
    let sets = CapabilitySets { effective: bind, permitted: bind, inheritable: CapabilitySet::empty() };
    let _ = set_capabilities(None, sets);
    let _ = std::fs::write("/proc/self/comm", "qiao-proxy");
}

struct Server {
    table: Table,
    changes: OwnedFd,
    gone: bool,
    entries: HashMap<String, (Entry, Vec<u64>)>,
    ports: HashMap<u64, Port>,
    traffic: Traffic,
    swept: Instant,
}

impl Server {
    fn new(table: Table, run: &str, limits: Limits) -> io::Result<Self> {
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let renamed = WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM;
        let removed = WatchFlags::DELETE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        let what = WatchFlags::CREATE | renamed | removed | WatchFlags::ONLYDIR;
        inotify::add_watch(&changes, format!("{run}/loopback"), what)?;
        let traffic = Traffic::new(limits, TABLE)?;
        traffic.epoll.add(&changes, TABLE)?;
        Ok(Self {
            table,
            changes,
            gone: false,
            entries: HashMap::new(),
            ports: HashMap::new(),
            traffic,
            swept: Instant::now(),
        })
    }

    fn is_over(&self) -> bool {
        self.gone || self.entries.is_empty()
    }

    /// Waits until something happens, and does what there is to do.
    fn turn(&mut self) -> io::Result<()> {
        let timeout = if self.traffic.is_ready() { Duration::ZERO } else { SWEEP };
        let mut tokens = self.traffic.take_ready();
        tokens.extend(self.traffic.epoll.wait(timeout)?);
        for token in tokens {
            match self.ports.get(&token) {
                _ if token == TABLE => self.read_changes()?,
                Some(port) => self.traffic.let_in(token, port),
                None => self.traffic.go_on(token),
            }
        }
        if self.swept.elapsed() >= SWEEP {
            self.sweep();
        }
        Ok(())
    }

    /// Also looks at every port again: one that had no descriptors left a while ago may have clients waiting.
    fn sweep(&mut self) {
        self.swept = Instant::now();
        self.traffic.sweep(self.swept);
        let ports: Vec<u64> = self.ports.keys().copied().collect();
        ports.into_iter().for_each(|token| self.traffic.again(token));
    }

    /// Reads which entries have changed.
    fn read_changes(&mut self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let (mut changed, mut all) = (BTreeSet::new(), false);
        let mut reader = inotify::Reader::new(&self.changes, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let over =
                ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
            self.gone |= event.events().intersects(over);
            all |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            changed.extend(event.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        match all {
            true => self.read_all(),
            false => changed.iter().try_for_each(|name| self.read(name)),
        }
    }

    fn read_all(&mut self) -> io::Result<()> {
        let entries = self.table.entries()?;
        let names: BTreeSet<String> =
            entries.iter().map(Entry::name).chain(self.entries.keys().cloned()).collect();
        names.iter().try_for_each(|name| self.read(name))
    }

    /// Brings one name to what the table says. An entry that could not be served stays known, so that what
    /// is in its way keeps being told.
    fn read(&mut self, name: &str) -> io::Result<()> {
        let wanted = self.table.entry(name)?.filter(|entry| !entry.held);
        if wanted.as_ref() == self.entries.get(name).map(|(entry, _)| entry) {
            return Ok(());
        }
        let before = self.entries.remove(name);
        if let Some((_, tokens)) = &before {
            tokens.iter().for_each(|token| self.close(*token));
            self.table.clear_state(name)?;
        }
        let behind = self.stop_behind([before.map(|(entry, _)| entry).as_ref(), wanted.as_ref()]);
        wanted.into_iter().chain(behind).try_for_each(|entry| self.put(entry))
    }

    /// Takes out the entries that stand back behind any of these.
    fn stop_behind(&mut self, first: [Option<&Entry>; 2]) -> Vec<Entry> {
        let is_behind = |entry: &Entry| first.into_iter().flatten().any(|other| entry.stands_back(other));
        let behind = self.entries.extract_if(|_, (entry, _)| is_behind(entry)).collect::<Vec<_>>();
        let mut stopped = Vec::new();
        for (_, (entry, tokens)) in behind {
            tokens.into_iter().for_each(|token| self.close(token));
            stopped.push(entry);
        }
        stopped
    }

    fn put(&mut self, entry: Entry) -> io::Result<()> {
        let opened = self.open(&entry);
        self.table.set_state(&entry, opened.as_ref().map(|_| ()).map_err(ToString::to_string))?;
        self.entries.insert(entry.name(), (entry, opened.unwrap_or_default()));
        Ok(())
    }

    fn open(&mut self, entry: &Entry) -> io::Result<Vec<u64>> {
        let others: Vec<&Entry> = self.entries.values().map(|(other, _)| other).collect();
        let mut tokens = Vec::new();
        for port in Port::open_all(entry, &others)? {
            let token = self.traffic.token();
            self.traffic.epoll.add(&*port.socket, token)?;
            self.ports.insert(token, port);
            tokens.push(token);
        }
        Ok(tokens)
    }

    fn close(&mut self, token: u64) {
        self.ports.remove(&token);
        self.traffic.close(token);
    }
}
