//! Conditions of published ports: whose packets are not translated, and to which addresses of the host.
//!
//! What is asked for is what must hold; what the rule set has is the rest, as boxes that do not overlap: a packet in
//! one of them passes as if nothing were published.

use crate::endpoint::{Endpoint, Wire};
use crate::plan::{Key, Member, State, Value};
use crate::port::{HostAddr, Listen, PortRange, Protocol};
use crate::subnet::{Family, Subnet, number};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// What must hold of a packet to a published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Of which of its addresses.
    pub side: Side,
    /// The address is in one of these, which are of one family: others need not hold it.
    pub nets: Vec<Subnet>,
    /// It is in none of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// One of a packet's two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Target,
}

/// Addresses in a row, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

/// Packets to a published port that are not translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Except {
    /// The protocol.
    pub protocol: Protocol,
    /// Where they go to.
    pub to: Span,
    /// The ports.
    pub ports: PortRange,
    /// Where they come from.
    pub from: Span,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Except {
    /// The family of the addresses.
    pub fn family(&self) -> Family {
        Family::of(self.to.first)
    }
}

/// Numbers of addresses in a row.
type Row = (u128, u128);

fn rows(net: &Subnet) -> Row {
    (number(net.first()), number(net.last()))
}

fn everything(family: Family) -> Row {
    rows(&Subnet::around(family.default_route()))
}

/// What is in both, of rows that are in order and apart.
fn both(some: &[Row], others: &[Row]) -> Vec<Row> {
    let pairs = some.iter().flat_map(|a| others.iter().map(move |b| (a.0.max(b.0), a.1.min(b.1))));
    pairs.filter(|(first, last)| first <= last).collect()
}

/// What is in `whole` and in none of the rows, which are in order.
fn rest(whole: Row, rows: &[Row]) -> Vec<Row> {
    let (mut left, mut next) = (Vec::new(), Some(whole.0));
    for (first, last) in rows {
        let Some(from) = next else { break };
        if from < *first {
            left.push((from, first - 1));
        }
        next = last.checked_add(1).map(|behind| behind.max(from));
    }
    left.extend(next.filter(|from| *from <= whole.1).map(|from| (from, whole.1)));
    left
}

/// The addresses that fulfil what is asked of one side.
fn allowed(conditions: &[Condition], side: Side, family: Family) -> Vec<Row> {
    let whole = everything(family);
    let its = |condition: &&Condition| {
        condition.side == side && condition.nets.first().is_some_and(|net| net.family() == family)
    };
    conditions.iter().filter(its).fold(vec![whole], |all, condition| {
        let mut named: Vec<Row> = condition.nets.iter().map(rows).collect();
        named.sort_unstable();
        let outside = rest(whole, &named);
        both(&all, &if condition.not { outside } else { rest(whole, &outside) })
    })
}

/// What is not translated of packets to a published port.
pub fn excepted(conditions: &[Condition], listen: Listen) -> Vec<Except> {
    let family = listen.host.family();
    let own = match listen.host {
        HostAddr::Any(_) => everything(family),
        HostAddr::One(ip) => (number(ip), number(ip)),
    };
    let targets = both(&[own], &allowed(conditions, Side::Target, family));
    let sources = allowed(conditions, Side::Source, family);
    let span = |(first, last): Row| Span { first: family.address(first), last: family.address(last) };
    let except = |to, from| {
        let Listen { protocol, ports, .. } = listen;
        Except { protocol, to: span(to), ports, from: span(from) }
    };
    let whole = everything(family);
    let elsewhere = rest(own, &targets).into_iter().map(|to| except(to, whole));
    let strangers = rest(whole, &sources);
    let here = targets.iter().flat_map(|to| strangers.iter().map(|from| except(*to, *from)));
    elsewhere.chain(here).collect()
}

/// Whether clients of the loopback address are served: they come from it, and ask for it.
fn serves_loopback(conditions: &[Condition], listen: Listen) -> bool {
    let family = listen.host.family();
    let own = match (listen.host, family) {
        (HostAddr::One(ip), _) => number(ip),
        (_, Family::V4) => number(IpAddr::from([127, 0, 0, 1])),
        (_, Family::V6) => 1,
    };
    [Side::Source, Side::Target].into_iter().all(|side| {
        allowed(conditions, side, family).iter().any(|(first, last)| (*first..=*last).contains(&own))
    })
}

/// Puts what is not translated into what must exist for an endpoint.
pub(crate) fn heed(state: &mut State, endpoint: &Endpoint, wire: &Wire) {
    let conditions = &wire.extras.conditions;
    if conditions.is_empty() {
        return;
    }
    let keys: Vec<Key> = state.keys().cloned().collect();
    for key in keys {
        match key {
            Key::Loopback(listen) if !serves_loopback(conditions, listen) => drop(state.remove(&key)),
            Key::Publish(listen) => excepted(conditions, listen).into_iter().for_each(|except| {
                state.insert(
                    Key::Member(Member::Except(Box::new(except))),
                    &endpoint.owner(),
                    Value::Present,
                );
            }),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(side: Side, not: bool, nets: &[&str]) -> Condition {
        Condition { side, not, nets: nets.iter().map(|net| net.parse().unwrap()).collect() }
    }

    fn listen(host: &str) -> Listen {
        let host = HostAddr::from_ip(host.parse().unwrap());
        Listen { protocol: Protocol::Tcp, host, ports: PortRange::one(80).unwrap() }
    }

    fn boxes(conditions: &[Condition], host: &str) -> Vec<String> {
        let text = |except: &Except| format!("{} from {}", except.to, except.from);
        excepted(conditions, listen(host)).iter().map(text).collect()
    }

    #[test]
    fn what_does_not_hold_is_excepted_and_nothing_twice() {
        const ALL: &str = "0.0.0.0-255.255.255.255";
        let not_there = condition(Side::Target, true, &["192.0.2.0/24"]);
        let from_here = condition(Side::Source, false, &["10.1.0.0/16", "10.0.0.0/16"]);
        assert!(boxes(&[], "0.0.0.0").is_empty());
        assert_eq!(
            boxes(std::slice::from_ref(&not_there), "0.0.0.0"),
            [format!("192.0.2.0-192.0.2.255 from {ALL}")]
        );
        let strangers = ["0.0.0.0-9.255.255.255", "10.2.0.0-255.255.255.255"];
        assert_eq!(
            boxes(std::slice::from_ref(&from_here), "0.0.0.0"),
            strangers.map(|from| format!("{ALL} from {from}"))
        );
        let both = boxes(&[not_there.clone(), from_here.clone()], "0.0.0.0");
        assert_eq!(both.len(), 1 + 2 * 2, "{both:?}");
        assert_eq!(boxes(std::slice::from_ref(&not_there), "192.0.2.9"), [format!("192.0.2.9 from {ALL}")]);
        assert!(boxes(std::slice::from_ref(&not_there), "198.51.100.1").is_empty());
        assert!(boxes(&[not_there], "::").is_empty(), "of the other family it says nothing");
        assert_eq!(
            boxes(&[from_here], "198.51.100.1"),
            strangers.map(|from| format!("198.51.100.1 from {from}"))
        );
        let nobody = [condition(Side::Source, true, &["0.0.0.0/0"])];
        assert_eq!(boxes(&nobody, "198.51.100.1"), [format!("198.51.100.1 from {ALL}")]);
    }

    #[test]
    fn the_loopback_address_is_one_of_the_hosts() {
        for (side, not, net, host, serves) in [
            (Side::Target, true, "192.0.2.0/24", "0.0.0.0", true),
            (Side::Target, false, "192.0.2.0/24", "0.0.0.0", false),
            (Side::Source, false, "127.0.0.0/8", "127.0.0.1", true),
            (Side::Target, true, "127.0.0.2/32", "127.0.0.2", false),
            (Side::Target, true, "::1/128", "::", false),
            (Side::Target, true, "::1/128", "0.0.0.0", true),
        ] {
            assert_eq!(
                serves_loopback(&[condition(side, not, &[net])], listen(host)),
                serves,
                "{side:?} {not} {net}"
            );
        }
    }
}
