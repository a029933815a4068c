//! Reading the elements of our sets back into objects, whoever's they are.

use super::element::owner_of;
use super::ruleset::TABLE;
use super::session::Session;
use super::table::family_of;
use crate::error::KernelError;
use qiao_core::condition::{Except, Span};
use qiao_core::plan::{Guard, Key, Member, Object, Observed, Ownership, Set, Table, Value};
use qiao_core::port::{Backend, HostAddr, Listen, PortRange, Protocol};
use qiao_core::subnet::{Family, number};
use qiao_core::{IfName, Mac, Subnet};
use qiao_nft::{Element, ElementValue, Query, Reply, SetRef, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is in our sets.
#[derive(Debug, Default)]
pub struct Contents {
    /// The elements that say something, each with its comment.
    objects: BTreeMap<Key, (Option<String>, Value)>,
    /// The others, and those without a mark of ours: which set, and why.
    strays: Vec<String>,
}

impl Contents {
    /// Dumps all of our sets, each once.
    pub fn read(session: &mut Session) -> Result<Self, KernelError> {
        let mut contents = Self::default();
        for (table, name, kind) in SETS {
            let set =
                SetRef { family: family_of(table), table: TABLE.to_owned(), name: name.to_owned(), id: None };
            match dump(session, &set) {
                Ok(mut elements) => contents.take((table, name), kind, &mut elements),
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(contents)
    }

    fn take(&mut self, set: (Table, &'static str), kind: Kind, elements: &mut [Element]) {
        elements.sort_by(|a, b| (&a.key, !a.is_interval_end()).cmp(&(&b.key, !b.is_interval_end())));
        for (at, element) in elements.iter().enumerate().filter(|(_, element)| !element.is_interval_end()) {
            let decoded = match kind {
                Kind::Interval(_) | Kind::Addressed(..) => interval_member(kind, &elements[at..]),
                _ => decode(kind, element),
            };
            let decoded = decoded.filter(|(key, _)| key.set() == Some(Set { table: set.0, name: set.1 }));
            let comment = element.comment.clone();
            match decoded
                .filter(|_| is_plain(element) && owner_of(comment.as_deref(), None) != Ownership::Foreign)
            {
                Some((key, value)) => drop(self.objects.insert(key, (comment, value))),
                None => self.strays.push(format!("an element of set `{}` that is not qiao's", set.1)),
            }
        }
    }

    /// What is in the sets that qiao did not put there.
    pub fn strays(&self) -> &[String] {
        &self.strays
    }

    /// Every element that bears a mark of ours.
    pub fn survey(&self, observed: &mut Observed) {
        for (key, (comment, value)) in &self.objects {
            observed.insert(key.clone(), owner_of(comment.as_deref(), None), value.clone());
        }
    }

    /// What is there of an object.
    pub fn get(&self, key: &Key, wanted: &Object) -> Option<(Ownership, Value)> {
        let (comment, value) = self.objects.get(key)?;
        let value = match (value, &wanted.value, key) {
            // A range keeps the ports, whatever the backend's is said to be.
            (Value::Backend(found), Value::Backend(like), Key::Publish(listen))
                if listen.ports.count() > 1 =>
            {
                Value::Backend(Backend { ip: found.ip, port: like.port })
            }
            (Value::Backend(_), _, _) => value.clone(),
            _ => wanted.value.clone(),
        };
        Some((owner_of(comment.as_deref(), Some(&wanted.owner)), value))
    }
}

/// Whether an element has nothing that ours have not: it counts nothing, goes by itself, or stands for all keys.
fn is_plain(element: &Element) -> bool {
    element.flags & !Element::INTERVAL_END == 0
        && element.timeout.is_none()
        && element.object.is_none()
        && element.exprs.is_empty()
}

/// The elements of a set. A hash set that was just filled is still being spread over more buckets
/// (`rhashtable`), and a dump meanwhile shows some elements twice and others not at all, without saying so: seen
/// in 5 of 60 dumps right after 10,000 elements were added (6.18). So it is dumped anew until nothing is double.
fn dump(session: &mut Session, set: &SetRef) -> Result<Vec<Element>, KernelError> {
    const TRIES: u32 = 10;
    for again in 0..TRIES {
        let replies = session.dump(&Query::Elements(set.clone()))?;
        let elements: Vec<Element> = replies.into_iter().flat_map(elements_of).collect();
        if !has_doubles(&elements) {
            return Ok(elements);
        }
        std::thread::sleep(std::time::Duration::from_millis(1 << again));
    }
    Err(KernelError::Interrupted)
}

/// Whether an element is there twice. The end of an interval may be the beginning of the next.
fn has_doubles(elements: &[Element]) -> bool {
    let mut seen = BTreeSet::new();
    !elements.iter().all(|e| seen.insert((&e.key, &e.key_end, e.is_interval_end())))
}

fn elements_of(reply: Reply) -> Vec<Element> {
    match reply {
        Reply::Elements { elements, .. } => elements,
        _ => Vec::new(),
    }
}

/// What the elements of a set say.
#[derive(Clone, Copy)]
enum Kind {
    Name(fn(IfName) -> Member),
    Pair,
    Own(Family),
    Interval(fn(Subnet) -> Member),
    Home(Family),
    Peers(Family),
    Near(Family),
    Except(Family),
    Plain(Family),
    Addressed(Family, fn(Subnet, IpAddr) -> Member),
    Routed,
    Senders,
    NoTransit,
    Transit,
    Ports,
    Macs,
    Arps,
    Addresses(Family),
    /// Whether the key has an address.
    Published(Family, bool),
}

const SETS: [(Table, &str, Kind); 47] = {
    use Family::{V4, V6};
    use Table::{Bridge, Inet};
    [
        (Inet, "downlinks", Kind::Name(Member::Downlink)),
        (Inet, "internal", Kind::Name(Member::Internal)),
        (Inet, "closed", Kind::Name(Member::Closed)),
        (Inet, "friends", Kind::Name(Member::Friend)),
        (Inet, "apart", Kind::Name(Member::Apart)),
        (Inet, "pairs", Kind::Pair),
        (Inet, "own4", Kind::Own(V4)),
        (Inet, "own6", Kind::Own(V6)),
        (Inet, "subnets4", Kind::Interval(Member::Subnet)),
        (Inet, "subnets6", Kind::Interval(Member::Subnet)),
        (Inet, "hidden4", Kind::Interval(Member::Hidden)),
        (Inet, "hidden6", Kind::Interval(Member::Hidden)),
        (Inet, "friends4", Kind::Interval(Member::FriendSubnet)),
        (Inet, "friends6", Kind::Interval(Member::FriendSubnet)),
        (Inet, "masquerade4", Kind::Interval(Member::Masquerade)),
        (Inet, "masquerade6", Kind::Interval(Member::Masquerade)),
        (Inet, "routed", Kind::Routed),
        (Inet, "senders", Kind::Senders),
        (Inet, "homes4", Kind::Home(V4)),
        (Inet, "homes6", Kind::Home(V6)),
        (Inet, "peers4", Kind::Peers(V4)),
        (Inet, "peers6", Kind::Peers(V6)),
        (Inet, "near4", Kind::Near(V4)),
        (Inet, "near6", Kind::Near(V6)),
        (Inet, "except4", Kind::Except(V4)),
        (Inet, "except6", Kind::Except(V6)),
        (Inet, "plain4", Kind::Plain(V4)),
        (Inet, "plain6", Kind::Plain(V6)),
        (Inet, "gateways4", Kind::Addressed(V4, Member::Gateway)),
        (Inet, "gateways6", Kind::Addressed(V6, Member::Gateway)),
        (Inet, "outbound4", Kind::Addressed(V4, Member::Outbound)),
        (Inet, "outbound6", Kind::Addressed(V6, Member::Outbound)),
        (Inet, "no_transit", Kind::NoTransit),
        (Inet, "transit", Kind::Transit),
        (Bridge, "ports", Kind::Ports),
        (Bridge, "macs", Kind::Macs),
        (Bridge, "arps", Kind::Arps),
        (Bridge, "ip4s", Kind::Addresses(V4)),
        (Bridge, "ip6s", Kind::Addresses(V6)),
        (Inet, "publish4", Kind::Published(V4, true)),
        (Inet, "publish6", Kind::Published(V6, true)),
        (Inet, "publish_any4", Kind::Published(V4, false)),
        (Inet, "publish_any6", Kind::Published(V6, false)),
        (Inet, "ranges4", Kind::Published(V4, true)),
        (Inet, "ranges6", Kind::Published(V6, true)),
        (Inet, "ranges_any4", Kind::Published(V4, false)),
        (Inet, "ranges_any6", Kind::Published(V6, false)),
    ]
};

/// Takes the fields of a key from the front, each padded to four bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let field = *self.0.first_chunk()?;
        self.0 = self.0.get(N.next_multiple_of(4)..).unwrap_or(&[]);
        Some(field)
    }

    fn name(&mut self) -> Option<IfName> {
        let bytes = self.take::<16>()?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(16);
        IfName::new(std::str::from_utf8(&bytes[..end]).ok()?).ok()
    }

    fn mac(&mut self) -> Option<Mac> {
        Mac::new(self.take()?).ok()
    }

    fn ip(&mut self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.take::<4>().map(|b| Ipv4Addr::from(b).into()),
            Family::V6 => self.take::<16>().map(|b| Ipv6Addr::from(b).into()),
        }
    }

    fn port(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }
}

fn decode(kind: Kind, element: &Element) -> Option<(Key, Value)> {
    let mut fields = Fields(&element.key);
    let key = match kind {
        Kind::Name(member) => Key::Member(member(fields.name()?)),
        Kind::Pair => Key::Member(Member::Pair(fields.name()?, fields.name()?)),
        Kind::NoTransit if element.value != Some(ElementValue::Verdict(Verdict::Drop)) => return None,
        Kind::NoTransit => Key::Member(Member::NoTransit(family_of_number(fields.take::<1>()?)?)),
        Kind::Transit => {
            let family = family_of_number(fields.take::<1>()?)?;
            Key::Member(Member::Transit(family, fields.name()?, fields.name()?))
        }
        Kind::Own(family) => own(family, element)?,
        Kind::Home(family) => Key::Member(Member::Home(fields.ip(family)?, fields.name()?)),
        Kind::Peers(family) => peers(family, element)?,
        Kind::Near(family) => near(family, element)?,
        Kind::Except(family) => Key::Member(Member::Except(Box::new(except(family, element)?))),
        Kind::Plain(family) => Key::Member(Member::Plain(fields.ip(family)?)),
        Kind::Routed => Key::Guard(Guard::Routed(fields.name()?)),
        Kind::Senders => Key::Guard(Guard::Sender(fields.name()?, fields.mac()?)),
        Kind::Ports => Key::Guard(Guard::Port(fields.name()?)),
        Kind::Macs => Key::Guard(Guard::Mac(fields.name()?, fields.mac()?)),
        Kind::Arps => {
            Key::Guard(Guard::Arp(fields.name()?, fields.mac()?, Ipv4Addr::from(fields.take::<4>()?)))
        }
        Kind::Addresses(family) => Key::Guard(address_guard(fields.name()?, fields.ip(family)?)),
        Kind::Published(family, has_address) => return published(element, (family, has_address)),
        Kind::Interval(_) | Kind::Addressed(..) => return None,
    };
    Some((key, Value::Present))
}

fn family_of_number([family]: [u8; 1]) -> Option<Family> {
    [(qiao_nft::Family::Ip, Family::V4), (qiao_nft::Family::Ip6, Family::V6)]
        .into_iter()
        .find_map(|(number, found)| (number as u8 == family).then_some(found))
}

fn address_guard(port: IfName, ip: IpAddr) -> Guard {
    match ip {
        IpAddr::V4(ip) => Guard::Ip4(port, ip),
        IpAddr::V6(ip) => Guard::Ip6(port, ip),
    }
}

fn own(family: Family, element: &Element) -> Option<Key> {
    let mut fields = Fields(&element.key);
    let first = fields.ip(family)?;
    let last = Fields(element.key_end.as_deref().unwrap_or(&element.key)).ip(family)?;
    Some(Key::Member(Member::Own(prefix(first, last)?, fields.name()?)))
}

fn peers(family: Family, element: &Element) -> Option<Key> {
    let mut first = Fields(&element.key);
    let mut last = Fields(element.key_end.as_deref().unwrap_or(&element.key));
    let from = prefix(first.ip(family)?, last.ip(family)?)?;
    Some(Key::Member(Member::Peers(from, prefix(first.ip(family)?, last.ip(family)?)?)))
}

fn near(family: Family, element: &Element) -> Option<Key> {
    let mut first = Fields(&element.key);
    let mut last = Fields(element.key_end.as_deref().unwrap_or(&element.key));
    let (ip, _) = (first.ip(family)?, last.ip(family)?);
    Some(Key::Member(Member::Near(ip, prefix(first.ip(family)?, last.ip(family)?)?)))
}

fn except(family: Family, element: &Element) -> Option<Except> {
    let read = |key: &[u8]| {
        let mut fields = Fields(key);
        let protocol = Protocol::from_number(fields.take::<1>()?[0])?;
        Some((protocol, fields.ip(family)?, fields.port()?, fields.ip(family)?))
    };
    let (protocol, to, port, from) = read(&element.key)?;
    let (_, to_last, last, from_last) = read(element.key_end.as_deref().unwrap_or(&element.key))?;
    let span = |first, last| Span { first, last };
    let ports = PortRange::new(port, last).ok()?;
    Some(Except { protocol, to: span(to, to_last), ports, from: span(from, from_last) })
}

/// The address that an interval is mapped to.
fn mapped(family: Family, element: &Element) -> Option<IpAddr> {
    let Some(ElementValue::Bytes(bytes)) = &element.value else { return None };
    Fields(bytes).ip(family)
}

/// The prefix from the first address to the last, if there is one.
fn prefix(first: IpAddr, last: IpAddr) -> Option<Subnet> {
    let size = number(last).checked_sub(number(first))?;
    let host_bits = 128 - size.leading_zeros() as u8;
    let length = Family::of(first).bits().checked_sub(host_bits)?;
    let subnet = Subnet::new(ipnet::IpNet::new(first, length).ok()?).ok()?;
    (subnet.last() == last).then_some(subnet)
}

/// The interval that the first of these elements begins; they are in order, ends before beginnings.
fn interval_member(kind: Kind, elements: &[Element]) -> Option<(Key, Value)> {
    let (first, rest) = elements.split_first()?;
    let end = rest.iter().find(|element| element.is_interval_end()).map(|element| &element.key);
    let subnet = interval(&first.key, end)?;
    let member = match kind {
        Kind::Interval(member) => member(subnet),
        Kind::Addressed(family, member) => member(subnet, mapped(family, first)?),
        _ => return None,
    };
    Some((Key::Member(member), Value::Present))
}

fn interval(first: &[u8], behind: Option<&Vec<u8>>) -> Option<Subnet> {
    let family = if first.len() == 4 { Family::V4 } else { Family::V6 };
    let last = match behind {
        Some(key) => family.address(number(Fields(key).ip(family)?).checked_sub(1)?),
        None => family.address(u128::MAX),
    };
    prefix(Fields(first).ip(family)?, last)
}

fn published(element: &Element, (family, has_address): (Family, bool)) -> Option<(Key, Value)> {
    let read = |key: &[u8]| {
        let mut fields = Fields(key);
        let protocol = Protocol::from_number(fields.take::<1>()?[0])?;
        let host = if has_address { HostAddr::One(fields.ip(family)?) } else { HostAddr::Any(family) };
        Some((protocol, host, fields.port()?))
    };
    let (protocol, host, first) = read(&element.key)?;
    let (_, _, last) = read(element.key_end.as_deref().unwrap_or(&element.key))?;
    let listen = Listen { protocol, host, ports: PortRange::new(first, last).ok()? };
    let Some(ElementValue::Bytes(bytes)) = &element.value else { return None };
    let mut fields = Fields(bytes);
    let ip = fields.ip(family)?;
    let port = if first == last { fields.port()? } else { first };
    Some((Key::Publish(listen), Value::Backend(Backend { ip, port })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_seen() {
        let (a, b) = (Element::new([1, 2]), Element::new([1, 3]));
        let end = Element { flags: Element::INTERVAL_END, ..a.clone() };
        assert!(!has_doubles(&[]));
        assert!(!has_doubles(&[a.clone(), b.clone()]));
        assert!(!has_doubles(&[a.clone(), end.clone(), b.clone()]), "an interval ends where the next begins");
        assert!(has_doubles(&[a.clone(), b.clone(), a.clone()]));
        let commented = Element { comment: Some("another".into()), ..a.clone() };
        assert!(has_doubles(&[a, commented]), "the key is what counts");
        assert!(has_doubles(&[end.clone(), b, end]));
    }

    #[test]
    fn prefixes_are_found_from_their_ends() {
        let prefix_of = |first: &str, last: &str| prefix(first.parse().unwrap(), last.parse().unwrap());
        let text = |found: Option<Subnet>| found.map(|subnet| subnet.to_string());
        assert_eq!(text(prefix_of("10.0.0.0", "10.0.0.255")).as_deref(), Some("10.0.0.0/24"));
        assert_eq!(text(prefix_of("10.0.0.7", "10.0.0.7")).as_deref(), Some("10.0.0.7/32"));
        assert_eq!(text(prefix_of("fd00::", "fd00::ffff:ffff:ffff:ffff")).as_deref(), Some("fd00::/64"));
        assert_eq!(text(prefix_of("0.0.0.0", "255.255.255.255")).as_deref(), Some("0.0.0.0/0"));
        for (first, last) in [("10.0.0.1", "10.0.0.2"), ("10.0.0.0", "10.0.0.2"), ("10.0.0.9", "10.0.0.1")] {
            assert_eq!(text(prefix_of(first, last)), None, "{first} to {last}");
        }
    }
}
