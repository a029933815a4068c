//! Elements of the rule set's sets, from the typed keys of `core`, and whose they are.

use super::ruleset::TABLE;
use super::table::family_of;
use crate::error::KernelError;
use qiao_core::condition::Except;
use qiao_core::plan::{Guard, Key, Member, Object, Ownership, Value};
use qiao_core::port::{Backend, HostAddr, Listen};
use qiao_core::subnet::Family;
use qiao_core::{Owner, Subnet};
use qiao_nft::{Element, EncodeError, KeyBuilder, SetRef, Verdict, key};
use std::net::IpAddr;

/// The set of an object, and the elements that it is there: two for a plain interval, else one.
pub fn encode(object_key: &Key, object: &Object) -> Result<Option<(SetRef, Vec<Element>)>, KernelError> {
    let Some(set) = object_key.set() else { return Ok(None) };
    let reference =
        SetRef { family: family_of(set.table), table: TABLE.to_owned(), name: set.name.to_owned(), id: None };
    let comment = object.owner.mark();
    let elements = elements(object_key, &object.value)?;
    Ok(Some((reference, elements.into_iter().map(|e| commented(e, &comment)).collect())))
}

fn commented(element: Element, comment: &str) -> Element {
    if element.is_interval_end() { element } else { element.with_comment(comment) }
}

fn elements(object_key: &Key, value: &Value) -> Result<Vec<Element>, EncodeError> {
    match object_key {
        Key::Member(member) => member_elements(member),
        Key::Guard(guard) => Ok(vec![Element::new(guard_key(guard)?.build())]),
        Key::Publish(listen) => Ok(vec![published(*listen, value)?]),
        _ => Ok(Vec::new()),
    }
}

fn member_elements(member: &Member) -> Result<Vec<Element>, EncodeError> {
    let name = |name: &qiao_core::IfName| Ok(vec![Element::new(key().ifname(name.as_str())?.build())]);
    match member {
        Member::Downlink(link)
        | Member::Internal(link)
        | Member::Closed(link)
        | Member::Friend(link)
        | Member::Apart(link) => name(link),
        Member::Pair(a, b) => Ok(vec![Element::new(key().ifname(a.as_str())?.ifname(b.as_str())?.build())]),
        Member::Home(ip, link) => Ok(vec![Element::new(address(key(), *ip).ifname(link.as_str())?.build())]),
        Member::Peers(from, to) => {
            let end = |from, to| address(address(key(), from), to).build();
            Ok(vec![Element::new(end(from.first(), to.first())).with_end(end(from.last(), to.last()))?])
        }
        Member::Near(ip, net) => {
            let end = |from| address(address(key(), *ip), from).build();
            Ok(vec![Element::new(end(net.first())).with_end(end(net.last()))?])
        }
        Member::Except(except) => {
            let Except { protocol, to, ports, from } = &**except;
            let end =
                |to, port, from| address(address(key().u8(protocol.number()), to).u16_be(port), from).build();
            let first = end(to.first, ports.first(), from.first);
            Ok(vec![Element::new(first).with_end(end(to.last, ports.last(), from.last))?])
        }
        Member::Plain(ip) => Ok(vec![Element::new(address(key(), *ip).build())]),
        Member::Gateway(net, ip) | Member::Outbound(net, ip) => {
            let value = address(key(), *ip).build();
            let with_value = |element: Element| match element.is_interval_end() {
                true => element,
                false => element.with_value(value.clone()),
            };
            Ok(interval(*net)?.into_iter().map(with_value).collect())
        }
        Member::Own(net, link) => {
            let end = |ip| Ok::<_, EncodeError>(address(key(), ip).ifname(link.as_str())?.build());
            Ok(vec![Element::new(end(net.first())?).with_end(end(net.last())?)?])
        }
        Member::Subnet(net) | Member::Hidden(net) | Member::Masquerade(net) | Member::FriendSubnet(net) => {
            interval(*net)
        }
        Member::Transit(family, from, to) => {
            let names = key().u8(nfproto(*family)).ifname(from.as_str())?.ifname(to.as_str())?;
            Ok(vec![Element::new(names.build())])
        }
        Member::NoTransit(family) => {
            Ok(vec![Element::new(key().u8(nfproto(*family)).build()).with_value(Verdict::Drop)])
        }
    }
}

fn interval(net: Subnet) -> Result<Vec<Element>, EncodeError> {
    Element::new(address(key(), net.first()).build()).interval(&address(key(), net.last()).build())
}

fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => qiao_nft::Family::Ip as u8,
        Family::V6 => qiao_nft::Family::Ip6 as u8,
    }
}

fn address(builder: KeyBuilder, ip: IpAddr) -> KeyBuilder {
    match ip {
        IpAddr::V4(ip) => builder.ipv4(ip),
        IpAddr::V6(ip) => builder.ipv6(ip),
    }
}

fn guard_key(guard: &Guard) -> Result<KeyBuilder, EncodeError> {
    let port = key().ifname(guard.port().as_str())?;
    Ok(match guard {
        Guard::Port(_) | Guard::Routed(_) => port,
        Guard::Mac(_, mac) | Guard::Sender(_, mac) => port.ether(mac.octets()),
        Guard::Arp(_, mac, ip) => port.ether(mac.octets()).ipv4(*ip),
        Guard::Ip4(_, ip) => port.ipv4(*ip),
        Guard::Ip6(_, ip) => port.ipv6(*ip),
    })
}

fn published(listen: Listen, value: &Value) -> Result<Element, EncodeError> {
    let at = |port: u16| {
        let protocol = key().u8(listen.protocol.number());
        let host = match listen.host {
            HostAddr::Any(_) => protocol,
            HostAddr::One(ip) => address(protocol, ip),
        };
        host.u16_be(port).build()
    };
    let range = listen.ports.count() > 1;
    let element = Element::new(at(listen.ports.first()));
    let element = if range { element.with_end(at(listen.ports.last()))? } else { element };
    Ok(match value {
        Value::Backend(backend) => element.with_value(backend_bytes(*backend, range)),
        _ => element,
    })
}

fn backend_bytes(backend: Backend, range: bool) -> Vec<u8> {
    let ip = address(key(), backend.ip);
    if range { ip.build() } else { ip.u16_be(backend.port).build() }
}

/// Where an element leads, read as `like` is: its family, and whether it has a port of its own.
pub fn read_backend(bytes: &[u8], like: &Backend) -> Option<Backend> {
    let (ip, rest): (IpAddr, &[u8]) = match like.ip {
        IpAddr::V4(_) => (IpAddr::from(*bytes.first_chunk::<4>()?), bytes.get(4..)?),
        IpAddr::V6(_) => (IpAddr::from(*bytes.first_chunk::<16>()?), bytes.get(16..)?),
    };
    let port = rest.first_chunk().map_or(like.port, |port| u16::from_be_bytes(*port));
    Some(Backend { ip, port })
}

/// Whose an element is, by its comment; `expected` is compared first, since a hashed mark cannot be read.
pub fn owner_of(comment: Option<&str>, expected: Option<&Owner>) -> Ownership {
    let Some(comment) = comment else { return Ownership::Foreign };
    if let Some(owner) = expected.filter(|owner| owner.mark() == comment) {
        return Ownership::Marked(owner.clone());
    }
    match Owner::parse(comment) {
        Some(owner) => Ownership::Marked(owner),
        None if comment.starts_with(qiao_core::owner::MARK_PREFIX) => Ownership::Ours,
        None => Ownership::Foreign,
    }
}
