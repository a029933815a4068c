//! The client (RFC 2131 section 4.4), without sockets and clocks: it is told what was heard and what time it is, and
//! says what is to be sent and what came of it. Times are milliseconds since the boot.

use crate::frame::{Heard, To};
use crate::message::{Kind, Message};
use crate::option::{Options, code};
use crate::terms::terms;
use ipnet::Ipv4Net;
use qiao_core::Mac;
use qiao_core::dhcp::Terms;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The least time to the next renewal, whatever a server says: it must not keep us busy.
const LEAST: u64 = 1000;
/// A server that does not answer a request is given up after so many, and others are looked for.
const REQUESTS: u32 = 4;
/// The longest message we take (option 57): what fits into a packet of Ethernet.
const LARGEST: u16 = 1472;

/// How long and how often is asked, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Until something is sent again for the first time; later twice as long, and so on.
    pub first: u64,
    /// At most so long.
    pub longest: u64,
    /// When no server is waited for any more.
    pub give_up: u64,
}

/// Who asks, and for what.
#[derive(Clone, Debug)]
pub struct Config {
    /// The hardware address.
    pub mac: Mac,
    /// The client's identifier (option 61).
    pub identifier: Vec<u8>,
    /// The address that is wished for.
    pub wish: Option<Ipv4Addr>,
    /// Options that are sent besides.
    pub provide: Vec<(u8, Vec<u8>)>,
    /// Options that are asked for.
    pub request: Vec<u8>,
    /// Answers have to be sent to everybody: nobody answers for the address yet.
    pub broadcast: bool,
    /// An offer is enough.
    pub only_offer: bool,
    /// How long and how often is asked.
    pub timing: Timing,
}

/// A lease, and when something is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// On which terms.
    pub terms: Terms,
    /// The hardware address of whoever is on the way to the server.
    pub hop: [u8; 6],
    /// When the server is asked for more time (T1); none for a lease that is for ever.
    pub renew: Option<u64>,
    /// When any server is (T2).
    pub rebind: Option<u64>,
    /// When the address must not be used any more.
    pub expire: Option<u64>,
}

/// What is to be done, or what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Send(To, Message),
    /// There is a lease, or it is as long as it was once more.
    Bound,
    /// A server would give this.
    Offered(Terms),
    /// The lease of this address is over, and why; another is being asked for.
    Lost(Ipv4Net, String),
    /// There is none, and why.
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Selecting,
    Requesting(Terms),
    Bound,
    Renewing,
    Rebinding,
}

/// A client.
#[derive(Clone, Debug)]
pub struct Machine {
    config: Config,
    phase: Phase,
    bound: Option<Bound>,
    xid: u32,
    seed: u64,
    since: u64,
    tries: u32,
    due: Option<u64>,
    /// When it is given up.
    end: Option<u64>,
    complaint: Option<String>,
}

impl Machine {
    /// A client that begins to ask. `seed` is a random number that is not zero.
    pub fn begin(config: Config, (now, seed): (u64, u64)) -> Self {
        let end = Some(now + config.timing.give_up);
        let mut machine = Self::new(config, seed);
        machine.end = end;
        machine.enter(Phase::Selecting, now);
        machine
    }

    /// A client that has a lease already.
    pub fn resume(config: Config, bound: Bound, seed: u64) -> Self {
        let mut machine = Self::new(config, seed);
        machine.due = bound.renew;
        machine.phase = Phase::Bound;
        machine.bound = Some(bound);
        machine
    }

    fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            phase: Phase::Idle,
            bound: None,
            xid: 0,
            seed: seed | 1,
            since: 0,
            tries: 0,
            due: None,
            end: None,
            complaint: None,
        }
    }

    /// The lease.
    pub fn bound(&self) -> Option<&Bound> {
        self.bound.as_ref()
    }

    /// Whether answers are waited for.
    pub fn listens(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Bound)
    }

    /// When there is something to do.
    pub fn due(&self) -> Option<u64> {
        self.due
    }

    /// Does what is due; none where nothing is.
    pub fn tick(&mut self, now: u64) -> Option<Output> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        let passed = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let bound = |at: fn(&Bound) -> Option<u64>| self.bound.as_ref().and_then(at);
        let (renew, rebind, expire) = (bound(|b| b.renew), bound(|b| b.rebind), bound(|b| b.expire));
        match self.phase.clone() {
            Phase::Idle => {
                self.due = None;
                None
            }
            Phase::Selecting | Phase::Requesting(_) if passed(self.end) => Some(self.fail()),
            Phase::Selecting => Some(self.again(now, Kind::Discover)),
            Phase::Requesting(_) if self.tries >= REQUESTS => {
                self.complaint = Some("a server offered an address, and then said nothing more".into());
                self.enter(Phase::Selecting, now);
                self.tick(now)
            }
            Phase::Requesting(_) => Some(self.again(now, Kind::Request)),
            _ if passed(expire) => Some(self.lose(now, "it was not renewed in time")),
            Phase::Bound | Phase::Renewing if passed(rebind) => {
                Some(self.ask_on(Phase::Rebinding, now, expire))
            }
            Phase::Rebinding => Some(self.ask_on(Phase::Rebinding, now, expire)),
            Phase::Bound | Phase::Renewing if passed(renew) => {
                Some(self.ask_on(Phase::Renewing, now, rebind))
            }
            Phase::Bound | Phase::Renewing => {
                self.due = renew;
                None
            }
        }
    }

    /// Takes what was heard; none where it means nothing to us.
    pub fn hear(&mut self, now: u64, heard: &Heard<'_>) -> Option<Output> {
        let message = Message::decode(heard.payload)?;
        let is_ours = message.reply && message.xid == self.xid && message.chaddr == self.config.mac;
        if !is_ours || !self.listens() {
            return None;
        }
        let server = message.options.address(code::SERVER_IDENTIFIER);
        match (self.phase.clone(), message.kind()?) {
            (Phase::Selecting, Kind::Offer) => self.offered(now, &message),
            (Phase::Requesting(wanted), Kind::Ack) if server == Some(wanted.server) => {
                let terms = self.usable(&message)?;
                (terms.address.addr() == wanted.address.addr())
                    .then(|| self.bind(now, terms, heard, &message))
            }
            (Phase::Requesting(wanted), Kind::Nak) if server == Some(wanted.server) => {
                self.complaint = Some(refusal(&message));
                self.config.wish = None;
                self.enter(Phase::Selecting, now);
                self.due = Some(now + self.config.timing.first);
                None
            }
            (Phase::Renewing | Phase::Rebinding, Kind::Ack) => {
                let terms = self.usable(&message)?;
                // The interface has the address with the prefix that it was given with first.
                let address = self.bound.as_ref().map(|bound| bound.terms.address)?;
                (address.addr() == terms.address.addr())
                    .then(|| self.bind(now, Terms { address, ..terms }, heard, &message))
            }
            (Phase::Renewing, Kind::Nak) if server != self.bound.as_ref().map(|b| b.terms.server) => None,
            (Phase::Renewing | Phase::Rebinding, Kind::Nak) => Some(self.lose(now, &refusal(&message))),
            _ => None,
        }
    }

    /// What tells the server that the address is not needed any more (RFC 2131 section 4.4.6).
    pub fn release(&mut self) -> Option<Output> {
        let bound = self.bound.take()?;
        self.phase = Phase::Idle;
        self.due = None;
        self.new_exchange(0);
        let mut message = self.message(Kind::Release, 0);
        message.ciaddr = bound.terms.address.addr();
        message.options.put(code::SERVER_IDENTIFIER, &bound.terms.server.octets());
        Some(Output::Send(To::One(bound.hop, bound.terms.server), message))
    }

    fn offered(&mut self, now: u64, message: &Message) -> Option<Output> {
        let terms = self.usable(message)?;
        if self.config.only_offer {
            self.phase = Phase::Idle;
            self.due = None;
            return Some(Output::Offered(terms));
        }
        self.phase = Phase::Requesting(terms);
        self.tries = 0;
        self.due = Some(now);
        self.tick(now)
    }

    fn usable(&mut self, message: &Message) -> Option<Terms> {
        match terms(message) {
            Ok(terms) => Some(terms),
            Err(why) => {
                self.complaint = Some(format!("what a server offered cannot be used: {why}"));
                None
            }
        }
    }

    fn bind(&mut self, now: u64, terms: Terms, heard: &Heard<'_>, message: &Message) -> Output {
        let times = terms.seconds.map(|seconds| times(u64::from(seconds) * 1000, message));
        let at = |which: fn((u64, u64, u64)) -> u64| times.map(|times| now + which(times));
        let bound =
            Bound { terms, hop: heard.from, renew: at(|t| t.0), rebind: at(|t| t.1), expire: at(|t| t.2) };
        self.due = bound.renew;
        self.bound = Some(bound);
        self.phase = Phase::Bound;
        self.end = None;
        self.complaint = None;
        Output::Bound
    }

    fn fail(&mut self) -> Output {
        self.phase = Phase::Idle;
        self.due = None;
        let seconds = self.config.timing.give_up.div_ceil(1000);
        let nobody = || format!("no server answered within {seconds} s");
        Output::Failed(self.complaint.take().unwrap_or_else(nobody))
    }

    /// The lease is over. The same address is asked for from now on, for as long as it takes.
    fn lose(&mut self, now: u64, why: &str) -> Output {
        let lost = self.bound.take().map(|bound| bound.terms.address).unwrap_or_default();
        self.config.wish = Some(lost.addr());
        self.end = None;
        self.enter(Phase::Selecting, now);
        self.due = Some(now + self.config.timing.first);
        Output::Lost(lost, why.to_owned())
    }

    fn enter(&mut self, phase: Phase, now: u64) {
        self.phase = phase;
        self.tries = 0;
        self.due = Some(now);
        self.new_exchange(now);
    }

    fn new_exchange(&mut self, now: u64) {
        self.xid = (self.random() >> 16) as u32;
        self.since = now;
    }

    /// Sends again what is not answered, each time after twice the time (RFC 2131 section 4.1), and not just when
    /// everybody else does.
    fn again(&mut self, now: u64, kind: Kind) -> Output {
        let Timing { first, longest, .. } = self.config.timing;
        let wait = (first << self.tries.min(16)).min(longest).max(1);
        let wait = wait - wait / 8 + self.random() % (wait / 4 + 1);
        self.tries += 1;
        self.due = Some(self.end.map_or(now + wait, |end| end.min(now + wait)));
        let mut message = self.message(kind, now);
        match &self.phase {
            Phase::Requesting(terms) => {
                message.options.put(code::REQUESTED_ADDRESS, &terms.address.addr().octets());
                message.options.put(code::SERVER_IDENTIFIER, &terms.server.octets());
            }
            _ => self
                .config
                .wish
                .iter()
                .for_each(|ip| message.options.put(code::REQUESTED_ADDRESS, &ip.octets())),
        }
        Output::Send(To::All, message)
    }

    /// Asks for more time, again when half of what is left until `limit` is over (RFC 2131 section 4.4.5).
    fn ask_on(&mut self, phase: Phase, now: u64, limit: Option<u64>) -> Output {
        if self.phase != phase {
            self.phase = phase;
            self.new_exchange(now);
        }
        let length = self.bound.as_ref().and_then(|b| Some(b.expire? - b.renew?)).unwrap_or(LEAST);
        let least = (length / 8).clamp(LEAST, 60_000);
        let limit = limit.unwrap_or(now + least);
        self.due = Some(limit.min(now + (limit.saturating_sub(now) / 2).max(least)));
        let mut message = self.message(Kind::Request, now);
        message.broadcast = false;
        let Some(bound) = &self.bound else { return Output::Send(To::All, message) };
        message.ciaddr = bound.terms.address.addr();
        match self.phase {
            Phase::Renewing => Output::Send(To::One(bound.hop, bound.terms.server), message),
            _ => Output::Send(To::All, message),
        }
    }

    fn message(&self, kind: Kind, now: u64) -> Message {
        let mut options = Options::default();
        options.put(code::MESSAGE_TYPE, &[kind as u8]);
        options.put(code::CLIENT_IDENTIFIER, &self.config.identifier);
        if kind != Kind::Release {
            options.put(code::MAXIMUM_SIZE, &LARGEST.to_be_bytes());
            options.put(code::PARAMETER_REQUEST_LIST, &self.config.request);
            self.config.provide.iter().for_each(|(code, content)| options.put(*code, content));
        }
        Message {
            reply: false,
            xid: self.xid,
            secs: u16::try_from(now.saturating_sub(self.since) / 1000).unwrap_or(u16::MAX),
            broadcast: self.config.broadcast && kind != Kind::Release,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: self.config.mac,
            options,
        }
    }

    /// xorshift64 (Marsaglia, 2003): the numbers only keep exchanges apart.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }
}

/// T1, T2 and the end of a lease, from its beginning: what the server says where that makes sense, else half and
/// seven eighths (RFC 2131 section 4.4.5).
fn times(length: u64, message: &Message) -> (u64, u64, u64) {
    let said = |code| message.options.number(code).map(|seconds| u64::from(seconds) * 1000);
    let (renew, rebind) = match (said(code::RENEWAL_TIME), said(code::REBINDING_TIME)) {
        (Some(renew), Some(rebind)) if renew < rebind && rebind < length => (renew, rebind),
        (Some(renew), None) if renew < length * 7 / 8 => (renew, length * 7 / 8),
        _ => (length / 2, length * 7 / 8),
    };
    let renew = renew.max(LEAST);
    (renew, rebind.max(renew), length.max(renew))
}

fn refusal(message: &Message) -> String {
    let words = message.options.text(code::MESSAGE).unwrap_or_default();
    let words: String = words.chars().filter(|c| !c.is_control()).take(100).collect();
    if words.is_empty() { "the server refused it".into() } else { format!("the server refused it: {words}") }
}
