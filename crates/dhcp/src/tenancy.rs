//! One tenant's lease: the client, the socket while it listens, and who waits for it.

use crate::call::Call;
use crate::daemon::tell;
use crate::frame::{frame, heard};
use crate::machine::{Config, Machine, Output, Timing};
use crate::option::code;
use crate::place::Record;
use crate::protocol::Answer;
use ipnet::IpNet;
use qiao_core::dhcp::{Ask, Leased, Over, Terms, Trouble};
use qiao_core::endpoint::Netns;
use qiao_core::{IfName, Mac};
use qiao_kernel::dhcp::{Packets, Taken};
use qiao_kernel::{NetnsHandle, OpenError};
use rustix::fd::{AsFd, BorrowedFd};

/// So many frames are heard before others have their turn.
const AT_ONCE: usize = 32;
/// The largest frame that is read: a message is smaller than a packet of Ethernet.
const LARGEST: usize = 2048;

/// What all tenants have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long and how often servers are asked.
    pub timing: Timing,
    /// Servers shall send answers to everybody.
    pub broadcast: bool,
    /// Stands before the paths of namespaces.
    pub prefix: String,
}

impl Settings {
    fn open(&self, sandbox: &Netns) -> Option<NetnsHandle> {
        NetnsHandle::reopen(&self.seen(sandbox)).ok().flatten()
    }

    /// A namespace as it is seen from here.
    fn seen(&self, sandbox: &Netns) -> Netns {
        Netns { path: format!("{}{}", self.prefix, sandbox.path), ..sandbox.clone() }
    }
}

/// What came of going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing that must be written down.
    None,
    /// It is to be written down, and then told to those who wait.
    Changed,
    /// It is over.
    Ended,
}

/// A tenant's lease.
#[derive(Debug)]
pub struct Tenancy {
    ask: Ask,
    mac: Mac,
    machine: Machine,
    packets: Option<Packets>,
    waiting: Vec<Call>,
    taken: Option<(u32, IpNet)>,
    /// The routes that went with it.
    routes: Vec<Vec<u8>>,
    since: u64,
    /// Whether anybody was ever told of it.
    told: bool,
    settings: Settings,
}

impl Tenancy {
    /// Begins to ask. Why that cannot be.
    pub fn begin(mut ask: Ask, settings: &Settings, (now, seed): (u64, u64)) -> Result<Self, String> {
        let path = settings.seen(&ask.sandbox).path;
        let handle = NetnsHandle::identify(&path).map_err(|error| unusable(&path, error))?;
        // Whoever asks may not know the cookie; whoever looks later needs it.
        ask.sandbox = Netns { path: ask.sandbox.path, ..handle.identity().clone() };
        let packets = open(&ask.over, (&handle, ask.mac))?;
        let mac = ask.mac.or(packets.mac()).ok_or("its interface is no Ethernet")?;
        let machine = Machine::begin(config(&ask, mac, settings), (now, seed));
        Ok(Self {
            ask,
            mac,
            machine,
            packets: Some(packets),
            waiting: Vec::new(),
            taken: None,
            routes: Vec::new(),
            since: now,
            told: false,
            settings: settings.clone(),
        })
    }

    /// Takes up what was written down.
    pub fn resume(record: Record, settings: &Settings, (now, seed): (u64, u64)) -> Self {
        let Record { ask, mac, bound, taken, routes, since } = record;
        let mut config = config(&ask, mac, settings);
        let machine = match bound {
            Some(bound) => Machine::resume(config, bound, seed),
            None => {
                config.timing.give_up = u64::MAX / 2 - now; // as long as it takes
                config.wish = taken.and_then(|(_, net)| match net {
                    IpNet::V4(net) => Some(net.addr()),
                    IpNet::V6(_) => None,
                });
                Machine::begin(config, (now, seed))
            }
        };
        let (packets, waiting, settings) = (None, Vec::new(), settings.clone());
        Self { ask, mac, machine, packets, waiting, taken, routes, since, told: true, settings }
    }

    /// How it is written down.
    pub fn record(&self) -> Record {
        Record {
            ask: self.ask.clone(),
            mac: self.mac,
            bound: self.machine.bound().cloned(),
            taken: self.taken,
            routes: self.routes.clone(),
            since: self.since,
        }
    }

    /// How it was asked for.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// When it was given first.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// The lease.
    pub fn leased(&self) -> Option<Leased> {
        self.machine.bound().map(|bound| Leased { terms: bound.terms.clone(), mac: self.mac })
    }

    /// When something is due.
    pub fn due(&self) -> Option<u64> {
        self.machine.due()
    }

    /// Where servers are heard, while they are.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.packets.as_ref().map(AsFd::as_fd)
    }

    /// Whether it is what somebody asks for. The namespace at its path may be another by now, which has the number
    /// of the one before, and the interface in it may be another than it was.
    pub fn serves(&self, ask: &Ask) -> bool {
        let Ok(handle) = NetnsHandle::identify(&self.settings.seen(&ask.sandbox).path) else { return false };
        let mac = match (&ask.over, ask.mac) {
            (Over::Sandbox(name), None) => handle.packets(name).ok().and_then(|packets| packets.mac()),
            (_, mac) => mac,
        };
        let held = self.machine.bound().map(|bound| bound.terms.address.addr());
        let wished = ask.wish.is_none_or(|wish| held.is_none_or(|held| held == wish));
        let is_same = handle.identity().is_same(&self.ask.sandbox) && self.ask.over == ask.over;
        is_same && mac == Some(self.mac) && wished && self.taken.is_none()
    }

    /// Somebody waits for it, or is told at once.
    pub fn wait_for(&mut self, call: Call) {
        self.waiting.push(call);
        if self.machine.bound().is_some() {
            self.tell_waiting();
        }
    }

    /// Those who wait for it.
    pub fn callers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.waiting.iter().map(AsFd::as_fd)
    }

    /// Forgets those who do not wait any longer.
    pub fn forget_callers(&mut self) {
        self.waiting.retain(|call| !call.is_over());
    }

    /// Whether those who wanted it did not wait.
    pub fn is_unwanted(&self) -> bool {
        !self.told && self.waiting.is_empty()
    }

    /// Whether somebody was told of it: from then on it is in use.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// Does what is due and hears what was said.
    pub fn go_on(&mut self, now: u64) -> Event {
        let mut event = Event::None;
        for output in self.outputs(now) {
            match self.carry_out(output) {
                Event::None => {}
                Event::Ended => return Event::Ended,
                Event::Changed => event = Event::Changed,
            }
        }
        if !self.machine.listens() {
            self.packets = None;
        }
        event
    }

    fn outputs(&mut self, now: u64) -> Vec<Output> {
        let mut outputs = Vec::new();
        let mut buffer = [0; LARGEST];
        for _ in 0..AT_ONCE {
            let Some(Ok(Some(bytes))) = self.packets.as_ref().map(|p| p.receive(&mut buffer)) else { break };
            outputs.extend(heard(bytes).and_then(|heard| self.machine.hear(now, &heard)));
        }
        outputs.extend(self.machine.tick(now));
        outputs
    }

    fn carry_out(&mut self, output: Output) -> Event {
        match output {
            Output::Send(to, message) => {
                if let Err(why) = self.send(&frame((self.mac, message.ciaddr), to, &message.encode())) {
                    tell(&format!("{}: {why}", self.ask.tenant));
                }
                Event::None
            }
            Output::Bound => self.bound(),
            Output::Offered(terms) => {
                self.tell_all(&Answer::Leased(Leased { terms, mac: self.mac }));
                Event::Ended
            }
            Output::Lost(address, why) => {
                tell(&format!("{}: the lease is over: {why}", self.ask.tenant));
                self.take_away(address.into());
                Event::Changed
            }
            Output::Failed(why) => {
                self.tell_trouble(&self.nothing(why));
                Event::Ended
            }
        }
    }

    fn nothing(&self, why: String) -> Trouble {
        Trouble::Nothing { at: self.ask.over.first().clone(), why }
    }

    fn bound(&mut self) -> Event {
        let Some(terms) = self.machine.bound().map(|bound| bound.terms.clone()) else { return Event::None };
        let wanted = self.ask.wish.filter(|wish| *wish != terms.address.addr() && self.taken.is_none());
        if let Some(wish) = wanted {
            let why = format!("the server gives {}, not {wish}", terms.address.addr());
            self.tell_trouble(&self.nothing(why));
            self.release();
            return Event::Ended;
        }
        match self.taken.take() {
            Some((index, net)) if net.addr() == terms.net().addr() => self.give_back((index, net), &terms),
            Some(_) => {
                tell(&format!(
                    "{}: it is given {} now, and has to be started again",
                    self.ask.tenant, terms.address
                ));
                self.release();
                Event::Ended
            }
            None => Event::Changed,
        }
    }

    /// The address must not be used any more (RFC 2131 section 4.4.5).
    fn take_away(&mut self, address: IpNet) {
        self.taken = Some((0, address));
        match self.settings.open(&self.ask.sandbox).map(|handle| handle.take_address(address)) {
            Some(Ok(taken)) => {
                let Taken { index, routes } = taken.unwrap_or_default();
                (self.taken, self.routes) = (Some((index, address)), routes);
            }
            Some(Err(error)) => tell(&format!("{}: {error}", self.ask.tenant)),
            None => {}
        }
    }

    fn give_back(&mut self, (index, net): (u32, IpNet), terms: &Terms) -> Event {
        let taken = Taken { index, routes: std::mem::take(&mut self.routes) };
        let Some(handle) = self.settings.open(&self.ask.sandbox).filter(|_| index != 0) else {
            return Event::Changed;
        };
        match handle.give_address(&taken, net) {
            Ok(()) => tell(&format!("{}: it has {} again", self.ask.tenant, terms.address)),
            Err(error) => tell(&format!("{}: {error}", self.ask.tenant)),
        }
        Event::Changed
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.packets.is_none() {
            let gone = || "its namespace is gone".to_owned();
            self.packets = Some(match &self.ask.over {
                Over::Host(_) => open_at_host(&self.ask.over)?,
                over => match (self.settings.open(&self.ask.sandbox), over) {
                    (Some(handle), over) => open(over, (&handle, Some(self.mac)))?,
                    // What is left to say is that the lease is over.
                    (None, Over::Port { .. }) => open_at_host(over)?,
                    (None, _) => return Err(gone()),
                },
            });
        }
        let packets = self.packets.as_ref().ok_or("no socket")?;
        let sent = packets.send(bytes).map_err(|error| error.to_string());
        // Its interface may be gone, and another be there by the next time.
        sent.inspect_err(|_| self.packets = None)
    }

    /// Gives the lease back, as far as the server can be told.
    pub fn release(&mut self) {
        if let Some(Output::Send(to, message)) = self.machine.release() {
            let _ = self.send(&frame((self.mac, message.ciaddr), to, &message.encode()));
        }
    }

    /// Whether its sandbox is there.
    pub fn lives(&self) -> bool {
        NetnsHandle::is_alive(&self.settings.seen(&self.ask.sandbox))
    }

    /// Tells those who wait what there is. One who does not hear it does not have it.
    pub fn tell_waiting(&mut self) {
        if let Some(leased) = self.leased() {
            self.tell_all(&Answer::Leased(leased));
        }
    }

    /// Tells those who wait that there is nothing.
    pub fn tell_trouble(&mut self, trouble: &Trouble) {
        self.tell_all(&Answer::Trouble(trouble.clone()));
    }

    fn tell_all(&mut self, answer: &Answer) {
        for call in self.waiting.drain(..) {
            self.told |= call.answer(answer);
        }
    }
}

/// Seconds between two times in milliseconds.
pub fn seconds_since(then: u64, now: u64) -> u64 {
    now.saturating_sub(then) / 1000
}

fn config(ask: &Ask, mac: Mac, settings: &Settings) -> Config {
    let own = ask.provide.iter().find(|(code, _)| *code == code::CLIENT_IDENTIFIER);
    // Type 0: no hardware address, but a name (RFC 2132 section 9.14).
    let name = || [&[0], ask.tenant.to_string().as_bytes()].concat().into_iter().take(254).collect();
    let identifier = own.map_or_else(name, |(_, content)| content.clone());
    Config {
        mac,
        identifier,
        wish: ask.wish,
        provide: ask.provide.iter().filter(|(code, _)| *code != code::CLIENT_IDENTIFIER).cloned().collect(),
        request: ask.request.clone(),
        broadcast: settings.broadcast || !matches!(ask.over, Over::Sandbox(_)),
        only_offer: ask.only_offer,
        timing: settings.timing,
    }
}

fn open(over: &Over, (handle, mac): (&NetnsHandle, Option<Mac>)) -> Result<Packets, String> {
    match over {
        Over::Sandbox(name) => handle.packets(name).map_err(|error| said(name, &error)),
        Over::Host(_) => open_at_host(over),
        Over::Port { ifname, .. } => match handle.packets(ifname) {
            Ok(packets) if packets.mac().is_some() && packets.mac() == mac => Ok(packets),
            _ => open_at_host(over),
        },
    }
}

fn open_at_host(over: &Over) -> Result<Packets, String> {
    let name = over.first();
    Packets::open(name, false).map_err(|error| said(name, &error))
}

fn said(name: &IfName, error: &qiao_kernel::KernelError) -> String {
    format!("cannot ask DHCP servers at `{name}`: {error}")
}

fn unusable(path: &str, error: OpenError) -> String {
    match error {
        OpenError::Gone => format!("there is no network namespace at {path}"),
        OpenError::Refused(refusal) => refusal.to_string(),
        OpenError::Failed(error) => error.to_string(),
    }
}
