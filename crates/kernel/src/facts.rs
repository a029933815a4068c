//! What must be known of the host to create a network and to bring it into use.

use crate::error::KernelError;
use crate::netlink::Socket;
use crate::observe::sole_engine;
use crate::rtnl::{ask_of, link, links, route};
use crate::sysctl;
use ipnet::IpNet;
use qiao_core::ipam::Busy;
use qiao_core::network::MTU_MAX;
use qiao_core::subnet::Family;
use qiao_core::{EngineId, IfName};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Facts of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The smallest MTU of the default routes' devices, in bytes.
    pub mtu: Option<u32>,
    /// The ways out: interfaces of default routes and, where they have one, the routers there.
    pub ways: Vec<(IfName, Option<IpAddr>)>,
    /// Whether bridged frames pass the routing hooks.
    pub bridge_netfilter: bool,
    /// Whether the kernel has IPv6.
    pub ipv6: bool,
    /// Whether the host has an IPv6 default route.
    pub ipv6_default: bool,
    /// The interfaces whose IPv6 default route came by router advertisement.
    pub advertised: Vec<IfName>,
    /// The prefixes that the host routes, has, or resolves names at.
    pub busy: Vec<Busy>,
    /// The names of all interfaces.
    pub links: Vec<String>,
}

/// Where resolvers are written down: what the host uses, and what is behind systemd's stub at 127.0.0.53.
const RESOLV_CONF: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Collects the facts. The routes are read whole: this is for creating networks, not for attaching to them.
pub fn facts(socket: &mut Socket, engine: EngineId) -> Result<Facts, KernelError> {
    let links = links::all(socket)?;
    sole_engine(&links, engine)?;
    let names: BTreeMap<u32, &link::Link> = links.iter().map(|link| (link.index, link)).collect();
    let mut routes = Vec::new();
    for family in [Family::V4, Family::V6] {
        routes.extend(route::read(&ask_of(socket, &route::get_all(family), family)?));
    }
    let defaults = || routes.iter().filter(|route| route.forwards && route.destination.prefix_len() == 0);
    let of_v6 = |route: &&route::Route| route.destination.addr().is_ipv6() && route.index.is_some();
    let mut busy: Vec<Busy> = routes.iter().filter_map(|route| busy_route(route, &names, engine)).collect();
    busy.extend(resolvers().into_iter().map(busy_resolver));
    Ok(Facts {
        mtu: defaults().filter_map(|route| names.get(&route.index?)).map(|link| link.mtu.min(MTU_MAX)).min(),
        ways: defaults().filter_map(|route| way(route, &names)).collect(),
        bridge_netfilter: sysctl::bridge_netfilter(),
        ipv6: sysctl::has_ipv6(),
        ipv6_default: defaults().any(|route| of_v6(&route)),
        advertised: advertised(defaults().filter(of_v6), &names),
        busy,
        links: links.iter().map(|link| link.name.clone()).collect(),
    })
}

fn way(route: &route::Route, names: &BTreeMap<u32, &link::Link>) -> Option<(IfName, Option<IpAddr>)> {
    let link = names.get(&route.index?)?;
    Some((IfName::new(&link.name).ok()?, route.via))
}

fn advertised<'a>(
    routes: impl Iterator<Item = &'a route::Route>,
    names: &BTreeMap<u32, &link::Link>,
) -> Vec<IfName> {
    let links = routes.filter(|route| route.advertised).filter_map(|route| names.get(&route.index?));
    let mut found: Vec<_> = links.filter_map(|link| IfName::new(&link.name).ok()).collect();
    found.dedup();
    found
}

/// A route takes its prefix, whatever its table and its kind; routes of ours and of the kernel's own making
/// for multicast and link-local addresses take nothing.
fn busy_route(route: &route::Route, names: &BTreeMap<u32, &link::Link>, engine: EngineId) -> Option<Busy> {
    let net = route.destination;
    let link = route.index.and_then(|index| names.get(&index));
    let of_ours = link.is_some_and(|link| link.group == engine.group());
    if !route.forwards || of_ours || net.addr().is_multicast() || is_link_local(net) {
        return None;
    }
    let by = link.map_or_else(|| "nowhere".to_owned(), |link| link.name.clone());
    let through = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
    let device = link.and_then(|link| IfName::new(&link.name).ok());
    Some(Busy { net, why: format!("{net} is routed to {by}{through}"), device })
}

fn is_link_local(net: IpNet) -> bool {
    matches!(net.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn busy_resolver(ip: IpAddr) -> Busy {
    Busy::new(IpNet::from(ip), format!("{ip} is a resolver of this host"))
}

/// The resolvers of the host, without those on the host itself.
pub fn resolvers() -> Vec<IpAddr> {
    let mut found = Vec::new();
    for path in RESOLV_CONF {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let servers = text
            .lines()
            .filter_map(|line| line.strip_prefix("nameserver"))
            .filter_map(|ip| ip.trim().parse::<IpAddr>().ok());
        found.extend(servers.filter(|ip| !ip.is_loopback()));
    }
    found.dedup();
    found
}
