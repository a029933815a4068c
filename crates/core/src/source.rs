//! Routing by source: an address of a sandbox has a routing table of its own, so that answers leave by the interface that
//! the question came in at, whatever the other interfaces' routes are.

use crate::endpoint::{Endpoint, Way};
use crate::plan::{Key, RouteId, State, Value};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What is asked for: which addresses of an endpoint are routed by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The addresses, each with its gateway; none takes it all back.
    pub ips: Vec<(IpNet, Option<IpAddr>)>,
    /// The table; none for the first ones from 100 that nobody uses, one an address.
    pub table: Option<u32>,
    /// The routes say which address to send from.
    pub hints: bool,
}

/// The first table that is looked at for a free one, as the reference's plugin has it.
pub const FIRST_TABLE: u32 = 100;

/// How an endpoint's addresses are routed by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sourced {
    /// The tables of the addresses.
    pub tables: Vec<Selector>,
    /// The routes in them.
    pub ways: Vec<Way>,
    /// The routes of the interface that the main table has no more, and that were not ours.
    pub moved: Vec<Way>,
}

/// Which table routes what comes from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Selector {
    /// The address.
    pub from: IpAddr,
    /// The table.
    pub table: u32,
}

/// What a route has besides: which address to send from, and who set it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Origin {
    /// The address to send from.
    pub src: Option<IpAddr>,
    /// The gateway is on the link although no address says so.
    pub onlink: bool,
    /// Who set it (`rtm_protocol`); none for us.
    pub protocol: Option<u8>,
}

impl Origin {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Sourced {
    /// The routes of an interface as they are to be: `found` are those of its main table.
    pub fn new(sources: &Sources, found: &[Way], tables: &[u32]) -> Self {
        let mut sourced = Self::default();
        let is_meant =
            |way: &&Way| sources.ips.iter().any(|(net, _)| is_same_family(way.id.net.addr(), net.addr()));
        let found: Vec<&Way> = found.iter().filter(is_meant).filter(|way| !is_local(way)).collect();
        for ((net, gateway), table) in sources.ips.iter().zip(tables) {
            let (from, table) = (net.addr(), *table);
            sourced.tables.push(Selector { from, table });
            let default = gateway.map(|gateway| default_way(gateway, table));
            let copied = found.iter().filter(|way| is_of(way, (*net, sources))).map(|way| Way {
                id: RouteId { table, ..way.id },
                origin: Origin { onlink: way.via.is_some(), protocol: None, ..way.origin },
                ..(*way).clone()
            });
            for mut way in default.into_iter().chain(copied) {
                way.origin.src = way.origin.src.or(sources.hints.then_some(from));
                sourced.ways.retain(|known| known.id != way.id);
                sourced.ways.push(way);
            }
        }
        sourced.moved = found.into_iter().filter(|way| way.origin.protocol.is_some()).cloned().collect();
        sourced
    }
}

fn is_same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

/// What is of the link itself stays: neighbours are found by it.
fn is_local(way: &Way) -> bool {
    match way.id.net.addr() {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast(),
    }
}

/// Whether a route is an address's: not one that is of another one.
fn is_of(way: &Way, (net, sources): (IpNet, &Sources)) -> bool {
    let near =
        |net: &IpNet| way.origin.src == Some(net.addr()) || way.via.is_some_and(|via| net.contains(&via));
    let of_other = sources.ips.iter().any(|(other, _)| *other != net && near(other));
    is_same_family(way.id.net.addr(), net.addr()) && (near(&net) || !of_other)
}

fn default_way(gateway: IpAddr, table: u32) -> Way {
    let net = crate::subnet::Family::of(gateway).default_route();
    let origin = Origin { onlink: true, ..Origin::default() };
    Way {
        id: RouteId::new(net, (Some(table), None)),
        via: Some(gateway),
        mtu: 0,
        advmss: 0,
        scope: None,
        origin,
    }
}

/// Puts an endpoint's routes where they are to be.
pub(crate) fn relocate(state: &mut State, endpoint: &Endpoint, sourced: &Sourced) {
    let (owner, ifname) = (endpoint.owner(), &endpoint.id.ifname);
    let is_in_main = |key: &Key, value: &Value| match (key, value) {
        (Key::Route(_, net), Value::Route { dev, .. }) => dev == ifname && sourced.has_family(net.addr()),
        (Key::Way(_, id), Value::Way { dev, .. }) => {
            dev == ifname && id.table == RouteId::MAIN && sourced.has_family(id.net.addr())
        }
        _ => false,
    };
    *state = state.part(|key, object| !is_in_main(key, &object.value));
    for (key, value) in sourced.ways.iter().map(|way| way.object(&endpoint.id)) {
        state.insert(key, &owner, value);
    }
    for selector in &sourced.tables {
        state.insert(Key::Rule(endpoint.sandbox().clone(), *selector), &owner, Value::Present);
    }
}

impl Sourced {
    fn has_family(&self, ip: IpAddr) -> bool {
        self.tables.iter().any(|selector| is_same_family(selector.from, ip))
    }
}

/// The routes of the main table that were not ours, as they were.
pub(crate) fn restored(endpoint: &Endpoint, sourced: &Sourced) -> State {
    let mut state = State::default();
    for way in &sourced.moved {
        let (_, value) = way.object(&endpoint.id);
        let key = Key::Native(endpoint.sandbox().clone(), way.via.is_some(), way.id);
        state.insert(key, &endpoint.owner(), value);
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(net: &str, via: Option<&str>, src: Option<&str>) -> Way {
        let id = RouteId::new(net.parse().unwrap(), (None, None));
        let src = src.map(|ip| ip.parse().unwrap());
        let origin = Origin { src, onlink: false, protocol: Some(2) };
        Way { id, via: via.map(|ip| ip.parse().unwrap()), mtu: 0, advmss: 0, scope: None, origin }
    }

    #[test]
    fn each_address_gets_its_own_routes() {
        let ips = [("10.1.0.2/24", Some("10.1.0.1")), ("10.2.0.2/24", None), ("fd00::2/64", None)];
        let ips = ips.map(|(net, gw)| (net.parse().unwrap(), gw.map(|gw| gw.parse().unwrap()))).into();
        let found = [
            way("10.1.0.0/24", None, Some("10.1.0.2")),
            way("10.2.0.0/24", None, Some("10.2.0.2")),
            way("10.3.0.0/24", Some("10.2.0.1"), None),
            way("10.4.0.0/24", None, None),
            way("fe80::/64", None, None),
        ];
        let sourced = Sourced::new(&Sources { ips, table: None, hints: false }, &found, &[100, 101, 102]);
        let seen: Vec<_> = sourced.ways.iter().map(|way| (way.id.net.to_string(), way.id.table)).collect();
        let wanted = [
            ("0.0.0.0/0", 100),
            ("10.1.0.0/24", 100),
            ("10.4.0.0/24", 100),
            ("10.2.0.0/24", 101),
            ("10.3.0.0/24", 101),
            ("10.4.0.0/24", 101),
        ];
        assert_eq!(seen, wanted.map(|(net, table)| (net.to_owned(), table)));
        assert_eq!(sourced.moved.len(), 4, "what is of the link stays");
        assert_eq!(sourced.tables.len(), 3);
    }
}
