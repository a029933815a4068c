//! All that is known at one moment, and the answer to a question: a function of both. Nothing here waits, and
//! nothing that can be seen changes.

mod view;

use crate::records::{self, Records};
use crate::reserved::{self, Reserved};
use crate::wire::answer::{Answer, Code, TTL, name_data};
use crate::wire::name::{self, Key, labels};
use crate::wire::query::{IN, Query, rtype};
use crate::zone::{ContainerId, Upstreams, Zone};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use view::View;

/// All that is known at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    zones: Vec<Rc<Zone>>,
    records: Rc<Records>,
    /// The domain that names may have besides, and which nobody else is asked about.
    filter: Option<Key>,
    /// The networks of containers that have asked, by their places.
    networks: RefCell<HashMap<ContainerId, Option<Rc<[u32]>>>>,
}

/// What becomes of a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer was written, for this reason.
    Answered(Why),
    /// Somebody else must be asked; nobody in particular for the host's own resolvers.
    Ask(Upstreams),
    /// Who asks is no member of the network: it gets nothing.
    Stranger,
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A container is called so.
    Container,
    /// A container is called so, and has nothing of this type.
    OtherType,
    /// Somebody wrote it down.
    Record,
    /// None of the asker's networks leads anywhere, nor has anybody of that name.
    Internal,
    /// The domain is that of the containers, and none is called so.
    OwnDomain,
    /// The name means whoever says it.
    Localhost,
    /// The name is nobody's, or that of an address of the asker's networks which nobody has.
    Nobody,
    /// The question is of a kind that is not answered.
    Unwanted,
}

impl Why {
    /// The same in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Container => "a container",
            Why::OtherType => "a container without such a record",
            Why::Record => "a record that was added",
            Why::Internal => "internal network: nobody else is asked",
            Why::OwnDomain => "no container: nobody else is asked about this domain",
            Why::Localhost => "who asks is meant: nobody else is asked",
            Why::Nobody => "nobody has it: nobody else is asked",
            Why::Unwanted => "not answered",
        }
    }
}

/// Who asks, and how the answer may be.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The network whose gateway was asked.
    pub zone: usize,
    /// From where.
    pub source: IpAddr,
    /// The most octets of the answer.
    pub limit: usize,
    /// Which of several addresses comes first.
    pub turn: usize,
}

impl Snapshot {
    /// Of these networks.
    pub fn new(zones: Vec<Rc<Zone>>, records: Rc<Records>, filter: Option<Key>) -> Self {
        Self { zones, records, filter, networks: RefCell::default() }
    }

    /// The networks.
    pub fn zones(&self) -> &[Rc<Zone>] {
        &self.zones
    }

    /// Answers a question, or says who else must be asked. `found` is room for addresses.
    pub fn answer(
        &self,
        query: &Query<'_>,
        asker: &Asker,
        (to, found): (&mut Vec<u8>, &mut Vec<IpAddr>),
    ) -> Outcome {
        let zone = &*self.zones[asker.zone];
        let member = zone.member(asker.source);
        // The host itself may ask too: its questions come from the gateway's own address.
        if member.is_none() && !zone.listen.contains(&asker.source) {
            return Outcome::Stranger;
        }
        let asking = Asking { view: View::of(self, (asker.zone, member)), zone, query, asker };
        let begin = |to| Answer::new(to, query, asker.limit);
        let recursive = asking.view.way_out().is_some();
        if query.edns.is_some_and(|edns| edns.version > 0) {
            begin(to).finish(query, (Code::BadVers, recursive));
            return Outcome::Answered(Why::Unwanted);
        }
        // Neither other classes nor types that are no records' (transfers, RFC 5936; keys, RFC 8945).
        if query.class != IN || matches!(query.rtype, 0 | rtype::OPT | 249..=254) {
            begin(to).finish(query, (Code::Refused, recursive));
            return Outcome::Answered(Why::Unwanted);
        }
        let start = to.len();
        let mut answer = begin(to);
        if let Some(why) = asking.try_known(self, (&mut answer, found)) {
            answer.finish(query, (Code::NoError, recursive));
            return Outcome::Answered(why);
        }
        match self.others(&asking) {
            Ok(upstreams) => {
                to.truncate(start);
                Outcome::Ask(upstreams)
            }
            Err(why) => {
                answer.finish(query, (Code::NxDomain, recursive));
                Outcome::Answered(why)
            }
        }
    }

    /// Who else is asked about a name that is not known here, or why nobody is.
    fn others(&self, asking: &Asking<'_>) -> Result<Upstreams, Why> {
        let key = asking.query.key.get();
        let (zone, member) = asking.view.way_out().ok_or(Why::Internal)?;
        if self.before_filter(key).is_some() {
            return Err(Why::OwnDomain);
        }
        if let Some(forward) = self.records.upstreams(key) {
            return Ok(forward.clone());
        }
        if asking.is_nobodys(key) { Err(Why::Nobody) } else { Ok(zone.upstreams(member).clone()) }
    }

    /// A name without the domain that names may have besides; none if it has not that one.
    fn before_filter<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        self.filter.as_deref().and_then(|filter| name::before(key, filter))
    }
}

/// A question that is being answered.
struct Asking<'a> {
    view: View<'a>,
    zone: &'a Zone,
    query: &'a Query<'a>,
    asker: &'a Asker,
}

impl Asking<'_> {
    fn try_known(
        &self,
        snapshot: &Snapshot,
        (answer, found): (&mut Answer<'_>, &mut Vec<IpAddr>),
    ) -> Option<Why> {
        let key = self.query.key.get();
        if let Some(records) = snapshot.records.find(key, &self.zone.name) {
            let fitting = records.filter(|r| r.rtype == self.query.rtype || self.query.rtype == rtype::ANY);
            for record in fitting {
                answer.push((record.rtype, records::TTL), &record.data);
            }
            return Some(Why::Record);
        }
        if let Some(why) = self.reverse(key, answer) {
            return Some(why);
        }
        found.clear();
        let filtered = snapshot.before_filter(key);
        if self.named(key, found) || filtered.is_some_and(|key| self.named(key, found)) {
            return Some(self.addresses(answer, found));
        }
        self.service(key, answer).or_else(|| self.localhost(key, answer))
    }

    /// Collects the addresses of a name, with or without its network's behind it; whether there is such a name.
    fn named(&self, key: &[u8], found: &mut Vec<IpAddr>) -> bool {
        let mut known = false;
        for zone in self.view.zones() {
            known |= zone.find(key, found);
        }
        if known {
            return true;
        }
        for zone in self.view.zones() {
            known |= zone.before_own(key).is_some_and(|key| zone.find(key, found));
        }
        known
    }

    fn addresses(&self, answer: &mut Answer<'_>, found: &mut Vec<IpAddr>) -> Why {
        match self.query.rtype {
            rtype::A => found.retain(IpAddr::is_ipv4),
            rtype::AAAA => found.retain(IpAddr::is_ipv6),
            rtype::ANY => {}
            _ => found.clear(),
        }
        if found.is_empty() {
            return Why::OtherType;
        }
        let turn = self.asker.turn % found.len();
        let (after, first) = found.split_at(turn);
        let _ = first.iter().chain(after).all(|ip| answer.push_address(*ip));
        Why::Container
    }

    fn reverse(&self, key: &[u8], answer: &mut Answer<'_>) -> Option<Why> {
        let ip = reverse(key)?;
        let mut names = self.view.zones().flat_map(|zone| zone.names_of(ip)).peekable();
        names.peek()?;
        if !matches!(self.query.rtype, rtype::PTR | rtype::ANY) {
            return Some(Why::OtherType);
        }
        let _ = names.all(|name| answer.push((rtype::PTR, TTL), &name_data(name)));
        Some(Why::Container)
    }

    /// What whoever asks is himself.
    fn localhost(&self, key: &[u8], answer: &mut Answer<'_>) -> Option<Why> {
        let rtype = self.query.rtype;
        match reserved::of(key, reverse(key))? {
            Reserved::Localhost => {
                let fits = |ip: &&IpAddr| {
                    rtype == rtype::ANY || rtype == if ip.is_ipv4() { rtype::A } else { rtype::AAAA }
                };
                let _ = reserved::LOCALHOST.iter().filter(fits).all(|ip| answer.push_address(*ip));
            }
            Reserved::Loopback if matches!(rtype, rtype::PTR | rtype::ANY) => {
                answer.push((rtype::PTR, TTL), &name_data(reserved::LOCALHOST_KEY));
            }
            Reserved::Loopback => {}
            Reserved::Absent => return None,
        }
        Some(Why::Localhost)
    }

    /// Whether others can only guess: the name is nobody's, or that of an address which nobody has here.
    fn is_nobodys(&self, key: &[u8]) -> bool {
        let ip = reverse(key);
        let is_here =
            |ip: &IpAddr| self.view.zones().any(|zone| zone.subnets.iter().any(|net| net.contains(ip)));
        ip.as_ref().is_some_and(is_here) || reserved::of(key, ip) == Some(Reserved::Absent)
    }

    /// `_443._tcp.web`: whether `web` offers the port (RFC 2782, with the number for want of a registered name).
    fn service(&self, key: &[u8], answer: &mut Answer<'_>) -> Option<Why> {
        let mut parts = labels(key);
        let digits = std::str::from_utf8(parts.next()?).ok()?.strip_prefix('_')?;
        let protocol = std::str::from_utf8(parts.next()?).ok()?.strip_prefix('_')?;
        let port = service_port(digits)?;
        let target = &key[digits.len() + protocol.len() + 4..];
        let offers = |zone: &Zone| {
            let short = zone.before_own(target).unwrap_or(target);
            zone.offers(short, (port, protocol))
        };
        self.view.zones().any(offers).then_some(())?;
        if !matches!(self.query.rtype, rtype::SRV | rtype::ANY) {
            return Some(Why::OtherType);
        }
        let head = [[0, 0], [0, 0], port.to_be_bytes()].concat();
        answer.push((rtype::SRV, TTL), &[head, name_data(target)].concat());
        Some(Why::Container)
    }
}

/// The address that a name is the reverse name of.
fn reverse(key: &[u8]) -> Option<IpAddr> {
    key.ends_with(b"\x04arpa").then(|| name::reverse(key)).flatten()
}

/// A port by its number, or by a name that everybody knows (IANA, Service Name and Port Number Registry).
fn service_port(text: &str) -> Option<u16> {
    const KNOWN: [(&str, u16); 12] = [
        ("http", 80),
        ("https", 443),
        ("ssh", 22),
        ("domain", 53),
        ("smtp", 25),
        ("imap", 143),
        ("ldap", 389),
        ("mysql", 3306),
        ("postgresql", 5432),
        ("redis", 6379),
        ("sip", 5060),
        ("amqp", 5672),
    ];
    let known = KNOWN.iter().find(|(name, _)| *name == text).map(|(_, port)| *port);
    known.or_else(|| text.parse().ok())
}
