//! Entries: a published port as the map of the programs holds it, one port an entry, and as the plan does.

use qiao_core::plan::{Key, Object, Ownership, Value};
use qiao_core::port::{Backend, HostAddr, Listen, PortRange, Protocol};
use qiao_core::{Owner, owner};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// How many bits count: all that follow; address (IPv4 mapped into IPv6; zero for all of a family), port in the order of
/// the network, protocol, a zero byte.
pub const KEY_LEN: usize = 24;
/// The bits that count.
pub const KEY_BITS: u32 = 8 * (KEY_LEN as u32 - 4);
/// Backend address, its port in the order of the network; first and last port of the published range, which
/// tell what the entry is a part of; two zero bytes; the owner's mark.
pub const VALUE_LEN: usize = 24 + owner::MARK_MAX;

/// The key of an entry.
pub type RawKey = [u8; KEY_LEN];
/// The value of an entry.
pub type RawValue = [u8; VALUE_LEN];

/// The entries of a published port.
pub fn encode(listen: Listen, backend: Backend, owner: &Owner) -> Vec<(RawKey, RawValue)> {
    let ports = listen.ports.ports().zip(backend.port..=u16::MAX);
    ports
        .map(|(host, port)| (key(listen, host), value(listen.ports, Backend { port, ..backend }, owner)))
        .collect()
}

/// The keys of a published port's entries.
pub fn keys(listen: Listen) -> impl Iterator<Item = RawKey> {
    listen.ports.ports().map(move |port| key(listen, port))
}

fn key(listen: Listen, port: u16) -> RawKey {
    let mut key = [0; KEY_LEN];
    key[..4].copy_from_slice(&KEY_BITS.to_ne_bytes());
    key[4..20].copy_from_slice(&bytes(listen.host.ip()));
    key[20..22].copy_from_slice(&port.to_be_bytes());
    key[22] = listen.protocol.number();
    key
}

fn value(ports: PortRange, backend: Backend, owner: &Owner) -> RawValue {
    let mut value = [0; VALUE_LEN];
    value[..16].copy_from_slice(&bytes(backend.ip));
    value[16..18].copy_from_slice(&backend.port.to_be_bytes());
    value[18..20].copy_from_slice(&ports.first().to_ne_bytes());
    value[20..22].copy_from_slice(&ports.last().to_ne_bytes());
    value.iter_mut().skip(24).zip(owner.mark().bytes()).for_each(|(to, from)| *to = from);
    value
}

fn bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
    Some(ip.to_ipv4_mapped().map_or(ip.into(), IpAddr::V4))
}

fn number(bytes: &[u8], decode: fn([u8; 2]) -> u16) -> Option<u16> {
    bytes.try_into().ok().map(decode)
}

/// A published port, as far as its entries are there.
#[derive(Debug)]
struct Group {
    owner: Ownership,
    backend: Backend,
    count: u32,
}

/// The published ports that these entries are of. One of which entries are missing or lead elsewhere than
/// the others has the value [`Value::Present`]: it is there, and not as it must be.
pub fn decode(entries: &[(RawKey, RawValue)]) -> Vec<(Key, Ownership, Value)> {
    let mut groups: BTreeMap<Listen, Group> = BTreeMap::new();
    for (listen, group) in entries.iter().filter_map(|(key, value)| single(key, value)) {
        let Some(known) = groups.get_mut(&listen) else {
            groups.insert(listen, group);
            continue;
        };
        if (&known.owner, known.backend) == (&group.owner, group.backend) {
            known.count += 1;
        }
    }
    let whole = |listen: &Listen, group: &Group| group.count == u32::from(listen.ports.count());
    let value = |listen: &Listen, group: &Group| {
        if whole(listen, group) { Value::Backend(group.backend) } else { Value::Present }
    };
    groups
        .iter()
        .map(|(listen, group)| (Key::Loopback(*listen), group.owner.clone(), value(listen, group)))
        .collect()
}

/// What one entry is a part of, and the backend of that part's first port.
fn single(key: &RawKey, value: &RawValue) -> Option<(Listen, Group)> {
    let port = number(&key[20..22], u16::from_be_bytes)?;
    let first = number(&value[18..20], u16::from_ne_bytes)?;
    let ports = PortRange::new(first, number(&value[20..22], u16::from_ne_bytes)?).ok()?;
    let protocol = Protocol::from_number(key[22])?;
    let listen = Listen { protocol, host: HostAddr::from_ip(address(&key[4..20])?), ports };
    let here = number(&value[16..18], u16::from_be_bytes)?;
    let backend = Backend { ip: address(&value[..16])?, port: here.checked_sub(port.checked_sub(first)?)? };
    let mark: Vec<u8> = value[24..].iter().copied().take_while(|byte| *byte != 0).collect();
    let owner = crate::nft::owner_of(std::str::from_utf8(&mark).ok(), None);
    Some((listen, Group { owner, backend, count: 1 }))
}

/// The entries of an object of a plan.
pub fn of_object(key: &Key, object: &Object) -> Option<Vec<(RawKey, RawValue)>> {
    match (key, &object.value) {
        (Key::Loopback(listen), Value::Backend(backend) | Value::Held(backend)) => {
            Some(encode(*listen, *backend, &object.owner))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(host: &str, ports: &str) -> Listen {
        let host = HostAddr::from_ip(host.parse().unwrap());
        Listen { protocol: Protocol::Udp, host, ports: ports.parse().unwrap() }
    }

    #[test]
    fn entries_round_trip() {
        let owner = Owner::Network("blue".parse().unwrap());
        let cases = [
            ("0.0.0.0", "53", "172.17.0.2"),
            ("::", "10-30", "fd00::2"),
            ("127.0.0.5", "9", "172.17.0.2"),
            ("::1", "8", "172.17.0.2"),
        ];
        for (host, ports, ip) in cases {
            let (listen, backend) = (listen(host, ports), Backend { ip: ip.parse().unwrap(), port: 1000 });
            let entries = encode(listen, backend, &owner);
            assert_eq!(entries.len(), usize::from(listen.ports.count()));
            let expected = (Key::Loopback(listen), Ownership::Marked(owner.clone()), Value::Backend(backend));
            assert_eq!(decode(&entries), [expected], "{host} {ports}");
        }
    }

    /// The last port there is has no next one.
    #[test]
    fn the_last_port_is_one_too() {
        let backend = Backend { ip: "172.17.0.2".parse().unwrap(), port: u16::MAX };
        let entries = encode(listen("0.0.0.0", "65535"), backend, &Owner::Host);
        assert_eq!(decode(&entries)[0].2, Value::Backend(backend));
    }

    #[test]
    fn a_range_with_a_gap_is_not_as_it_must_be() {
        let backend = Backend { ip: "172.17.0.2".parse().unwrap(), port: 10 };
        let mut entries = encode(listen("0.0.0.0", "10-30"), backend, &Owner::Host);
        entries.remove(7);
        assert_eq!(decode(&entries)[0].2, Value::Present);
    }
}
