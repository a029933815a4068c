//! The process: one thread that answers, asks others, and sees what changes.

mod asked;
mod batch;
mod client;
mod control;
mod listen;
mod room;
mod shares;
mod streams;
mod udp;
mod watcher;

use crate::epoll::{Epoll, Interest, Token};
use crate::forward::Forwarder;
use crate::snapshot::Snapshot;
use crate::source::Source;
use crate::source::resolv::Resolv;
use crate::wire::name::Key;
use batch::Batch;
use client::Client;
use listen::Listeners;
use room::Room;
use rustix::fd::OwnedFd;
use shares::Shares;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use watcher::Watcher;

/// How a server serves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port it listens on: 53, unless somebody translates.
    pub port: u16,
    /// The host's resolvers.
    pub resolv: String,
    /// Whether nobody else is ever asked.
    pub alone: bool,
    /// A domain that names may have behind them, and which is not there.
    pub filter: Option<Key>,
    /// Where watchers come; nowhere for none.
    pub control: Option<String>,
}

/// Where an answer of others goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    /// To a client of a listener.
    Udp(u32, SocketAddr),
    /// To a client's connection.
    Tcp(u32),
    /// To a watcher.
    Watcher(u32),
}

/// A server.
pub struct Server<S> {
    source: S,
    options: Options,
    epoll: Epoll,
    /// Clients' connections by themselves: however many ask, datagrams have their turn.
    streams: Epoll,
    unfinished: VecDeque<u32>,
    snapshot: Snapshot,
    listeners: Listeners,
    forwarder: Forwarder<Back>,
    room: Room,
    shares: Shares,
    resolv: Resolv,
    batch: Option<Batch>,
    found: Vec<IpAddr>,
    turn: usize,
    clients: HashMap<u32, Client>,
    control: Option<OwnedFd>,
    watchers: HashMap<u32, Watcher>,
    remarks: Vec<String>,
    next: u32,
    swept: Instant,
    /// When to try again to listen where somebody else does, and how often that was tried.
    again: Option<(Instant, u32)>,
}

impl<S> std::fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What is told at one time.
const EVENTS: usize = 64;
/// How often is looked who has been silent for too long.
const SWEEP: Duration = Duration::from_millis(100);

impl<S: Source> Server<S> {
    /// A server that listens already.
    pub fn open(source: S, options: Options) -> io::Result<Self> {
        let mut server = Self::prepare(source, options)?;
        server.listen()?;
        Ok(server)
    }

    /// A server that knows no names yet.
    pub fn prepare(source: S, options: Options) -> io::Result<Self> {
        let (now, room) = (Instant::now(), Room::of_process());
        let control = options.control.as_deref().map(watcher::listen).transpose()?;
        let server = Self {
            source,
            epoll: Epoll::new(EVENTS)?,
            streams: Epoll::new(streams::CLIENTS)?,
            unfinished: VecDeque::new(),
            snapshot: Snapshot::default(),
            listeners: Listeners::default(),
            forwarder: Forwarder::new(now, room.questions),
            room,
            shares: Shares::new(now),
            resolv: Resolv::open(&options.resolv),
            batch: Some(Batch::new()),
            found: Vec::new(),
            turn: 0,
            clients: HashMap::new(),
            control,
            watchers: HashMap::new(),
            remarks: Vec::new(),
            next: 0,
            swept: now,
            again: None,
            options,
        };
        server.epoll.add(server.source.fd(), Token::Source, Interest::Read)?;
        if let Some(watch) = server.resolv.watch() {
            server.epoll.add(watch, Token::Resolv, Interest::Read)?;
        }
        server.epoll.add(&server.streams, Token::Clients, Interest::Read)?;
        if let Some(control) = &server.control {
            server.epoll.add(control, Token::Control, Interest::Read)?;
        }
        Ok(server)
    }

    /// Reads the names, and listens.
    pub fn listen(&mut self) -> io::Result<()> {
        self.read()
    }

    /// Notes something that those who watch should know.
    pub fn remark(&mut self, remarks: Vec<String>) {
        self.remarks.extend(remarks);
    }

    /// What the names come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The same, to be told something.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// Whether anything is listened on.
    pub fn is_serving(&self) -> bool {
        self.listeners.len() > 0
    }

    /// Serves until there is nothing left to serve.
    pub fn serve(&mut self) -> io::Result<()> {
        let mut told = Vec::new();
        while self.listeners.len() > 0 || !self.source.is_over()? {
            self.epoll.wait(self.timeout(), &mut told)?;
            for token in &told {
                self.turn(*token)?;
            }
            if !self.unfinished.is_empty() && !told.contains(&Token::Clients) {
                self.serve_clients()?;
            }
            self.forwarder.ended().into_iter().for_each(|done| self.deliver(done));
            self.sweep()?;
        }
        Ok(())
    }

    fn turn(&mut self, token: Token) -> io::Result<()> {
        match token {
            Token::Source => self.refresh()?,
            Token::Resolv => {
                if self.resolv.follow()? {
                    self.forwarder.forget();
                }
            }
            Token::Udp(number) => self.answer_datagrams(number)?,
            Token::Tcp(number) => self.accept(number),
            Token::Clients | Token::Client(_) => self.serve_clients()?,
            Token::Upstream(number) => {
                if let Some(done) = self.forwarder.hear(&self.epoll, number) {
                    self.deliver(done);
                }
            }
            Token::Control => self.accept_watcher(),
            Token::Watcher(number) => self.serve_watcher(number)?,
        }
        Ok(())
    }

    /// How long nothing need be looked at.
    fn timeout(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let busy = self.forwarder.is_busy() || !self.clients.is_empty();
        let due = self.due().map(|due| due.saturating_duration_since(Instant::now()));
        let due = due.map(|due| due.max(Duration::from_millis(1)));
        match (busy, due) {
            (true, due) => Some(due.map_or(SWEEP, |due| due.min(SWEEP))),
            (false, due) => due,
        }
    }

    /// When the networks are looked at although nothing has changed.
    fn due(&self) -> Option<Instant> {
        self.source.due().into_iter().chain(self.again.map(|(at, _)| at)).min()
    }

    fn sweep(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.due().is_some_and(|due| due <= now) {
            self.read()?;
        }
        if now.saturating_duration_since(self.swept) < SWEEP {
            return Ok(());
        }
        self.swept = now;
        for done in self.forwarder.sweep(&self.epoll, now) {
            self.deliver(done);
        }
        self.drop_late_clients(now);
        Ok(())
    }

    /// Takes in what has changed. It is done before every batch of answers.
    fn refresh(&mut self) -> io::Result<()> {
        if self.source.changed()? { self.read() } else { Ok(()) }
    }

    /// Puts another snapshot in the place of the one there is.
    fn read(&mut self) -> io::Result<()> {
        let zones = match self.source.zones() {
            Ok(zones) => zones,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            // It is short of something: what was known is served, and is read again later.
            Err(_) => {
                self.note_failure(true);
                return Ok(());
            }
        };
        let changed = self.listeners.bring_to(&zones, self.options.port);
        self.forwarder.never_ask(zones.iter().flat_map(|zone| zone.listen.iter().copied()).collect());
        self.note_failure(!changed.failed.is_empty());
        let records = self.source.records();
        self.snapshot = Snapshot::new(zones, records, self.options.filter.clone());
        for number in &changed.opened {
            if let Some(listener) = self.listeners.get(*number) {
                self.epoll.add(&*listener.udp, Token::Udp(*number), Interest::Read)?;
                self.epoll.add(&*listener.tcp, Token::Tcp(*number), Interest::Read)?;
            }
        }
        self.clients.retain(|_, client| !changed.closed.contains(&client.listener));
        for (at, zone) in self.snapshot.zones().iter().enumerate() {
            self.source.tell(zone, changed.failed.get(&at).map_or(Ok(()), |why| Err(why.clone())));
        }
        Ok(())
    }

    /// Who has the port may be about to end: soon at first, and later seldom, it is tried again.
    fn note_failure(&mut self, failed: bool) {
        const SOON: (Duration, u32) = (Duration::from_millis(20), 20);
        const SELDOM: Duration = Duration::from_secs(5);
        let tried = self.again.map_or(0, |(_, tried)| tried + 1);
        let pause = if tried < SOON.1 { SOON.0 } else { SELDOM };
        self.again = failed.then(|| (Instant::now() + pause, tried));
    }

    /// A number for whoever comes next.
    fn number(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }
}
