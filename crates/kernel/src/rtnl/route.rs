//! Routes.

use super::address::family;
use super::{Mode, PROTOCOL, Request};
use crate::netlink::Message as Received;
use crate::netlink::attribute::{attributes, ip, number, number_at};
use ipnet::IpNet;
use netlink_packet_core::Parseable;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{
    RouteAttribute as Attribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};
use qiao_core::plan::RouteId;
use qiao_core::route::{Attributes, Kind};
use qiao_core::source::Origin;
use qiao_core::subnet::Family;
use std::net::IpAddr;

/// The table of local addresses (`RT_TABLE_LOCAL`).
const TABLE_LOCAL: u32 = 255;
/// Metrics of a route (linux/rtnetlink.h).
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;
/// Set by router advertisement (`RTPROT_RA`, linux/rtnetlink.h).
const RTPROT_RA: u8 = 9;
/// Set by an administrator (`RTPROT_STATIC`, linux/rtnetlink.h).
const RTPROT_STATIC: u8 = 4;
/// The gateway is on the link (`RTNH_F_ONLINK`, linux/rtnetlink.h).
const RTNH_F_ONLINK: u32 = 4;
/// Where a way's interface is in `struct rtnexthop`.
const NEXT_HOP_INDEX: usize = 4;
/// Kinds of routes that decide about packets to others.
const FORWARDING: [u8; 5] =
    [libc::RTN_UNICAST, libc::RTN_BLACKHOLE, libc::RTN_UNREACHABLE, libc::RTN_PROHIBIT, libc::RTN_THROW];

/// Which way a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The index of the interface.
    pub index: u32,
    /// The gateway; none where the destination is on the link.
    pub via: Option<IpAddr>,
    /// The gateway is on the link, whatever the addresses there say.
    pub onlink: bool,
    /// The address to send from.
    pub src: Option<IpAddr>,
    /// What it has besides.
    pub attributes: Attributes,
}

/// A route.
pub fn set(destination: IpNet, hop: Hop, mode: Mode) -> Request {
    let mut message = message(destination, hop.attributes);
    if hop.attributes.kind != Kind::Unicast {
        return Request::change(Message::NewRoute(message), mode);
    }
    if hop.via.is_none() && destination.addr().is_ipv4() {
        message.header.scope = RouteScope::Link;
    }
    if hop.onlink {
        message.header.flags = RouteFlags::Onlink;
    }
    message.attributes.extend(hop.via.map(|via| Attribute::Gateway(via.into())));
    message.attributes.extend(hop.src.map(|src| Attribute::PrefSource(src.into())));
    message.attributes.push(Attribute::Oif(hop.index));
    Request::change(Message::NewRoute(message), mode)
}

/// A route as the kernel told of it, made once more; none where that is none.
pub fn again(told: &[u8]) -> Option<Request> {
    let mut message = RouteMessage::parse(told).ok()?;
    message.header.flags &= RouteFlags::Onlink; // the others are the kernel's to set
    Some(Request::change(Message::NewRoute(message), Mode::Create))
}

/// The routes of an answer that lead out by an interface and that the kernel does not make by itself, as they were
/// told: those first that other routes' gateways are found by.
pub fn told_of(index: u32, messages: Vec<Received>) -> Vec<Vec<u8>> {
    let by_itself = |told: &[u8]| told.get(5) == Some(&libc::RTPROT_KERNEL);
    let told = messages.into_iter().map(|(_, told)| told).filter(|told| !by_itself(told));
    let read = told.filter_map(|told| Some((read_one(&told)?, told)));
    let mut led: Vec<_> = read.filter(|(route, _)| route.index == Some(index) && route.forwards).collect();
    led.sort_by_key(|(route, _)| route.via.is_some());
    led.into_iter().map(|(_, told)| told).collect()
}

/// What a route has besides a way to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct More {
    /// The MTU in bytes; 0 for none.
    pub mtu: u32,
    /// The maximum segment size that is advertised; 0 for none.
    pub advmss: u32,
    /// How far away the destination is.
    pub scope: u8,
    /// Which address to send from, and who set it.
    pub origin: Origin,
}

/// A route that is told by its table and its priority too.
pub fn set_way(id: RouteId, (index, via): (u32, Option<IpAddr>), (more, mode): (More, Mode)) -> Request {
    let mut message = way(id);
    if id.net.addr().is_ipv4() {
        message.header.scope = RouteScope::from(more.scope);
    }
    if let Some(protocol) = more.origin.protocol {
        message.header.protocol = RouteProtocol::from(protocol);
    }
    if more.origin.onlink {
        message.header.flags = RouteFlags::Onlink;
    }
    message.attributes.extend(via.map(|via| Attribute::Gateway(via.into())));
    message.attributes.extend(more.origin.src.map(|src| Attribute::PrefSource(src.into())));
    message.attributes.push(Attribute::Oif(index));
    let metrics = [RouteMetric::Mtu(more.mtu), RouteMetric::Advmss(more.advmss)];
    let given = |metric: &RouteMetric| !matches!(metric, RouteMetric::Mtu(0) | RouteMetric::Advmss(0));
    let metrics: Vec<RouteMetric> = metrics.into_iter().filter(given).collect();
    if !metrics.is_empty() {
        message.attributes.push(Attribute::Metrics(metrics));
    }
    Request::change(Message::NewRoute(message), mode)
}

/// Takes such a route away; of whoever set it where none is named.
pub fn delete_way(id: RouteId, index: Option<u32>, protocol: Option<u8>) -> Request {
    let mut message = way(id);
    if let Some(protocol) = protocol {
        message.header.protocol = RouteProtocol::from(protocol);
    }
    message.attributes.extend(index.map(Attribute::Oif));
    message.header.scope = RouteScope::NoWhere;
    Request::change(Message::DelRoute(message), Mode::Change)
}

fn way(id: RouteId) -> RouteMessage {
    let attributes = Attributes { metric: Some(id.priority), ..Attributes::default() };
    let mut message = message(id.net, attributes);
    message.header.table = u8::try_from(id.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.attributes.push(Attribute::Table(id.table));
    message
}

/// Takes a route of ours away.
pub fn delete(destination: IpNet, attributes: Attributes) -> Request {
    let mut message = message(destination, attributes);
    message.header.scope = RouteScope::NoWhere; // of any scope
    Request::change(Message::DelRoute(message), Mode::Change)
}

/// Asks for the route that a packet to an address takes, as it stands in its table.
pub fn get_entry(ip: IpAddr) -> Request {
    let mut message = request_for(ip);
    message.header.flags = RouteFlags::FibMatch;
    Request::get(Message::GetRoute(message))
}

/// Asks for all routes of a family that bear our mark (the socket must be strict).
pub fn get_ours(of: Family) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(of.address(0));
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    Request::dump(Message::GetRoute(message))
}

fn message(destination: IpNet, attributes: Attributes) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination.addr());
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = match attributes.administered {
        true => RouteProtocol::Static,
        false => RouteProtocol::Other(PROTOCOL),
    };
    message.header.scope = RouteScope::Universe;
    message.header.kind = match attributes.kind {
        Kind::Unicast => RouteType::Unicast,
        Kind::Blackhole => RouteType::BlackHole,
        Kind::Unreachable => RouteType::Unreachable,
        Kind::Prohibit => RouteType::Prohibit,
    };
    message.attributes.extend(attributes.metric.map(Attribute::Priority));
    if destination.prefix_len() > 0 {
        message.attributes.push(Attribute::Destination(destination.network().into()));
    }
    message
}

/// Asks for all routes of a family, in all tables.
pub fn get_all(of: Family) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(of.address(0));
    Request::dump(Message::GetRoute(message))
}

/// Asks which way a packet to `ip` would go.
pub fn get(ip: IpAddr) -> Request {
    Request::get(Message::GetRoute(request_for(ip)))
}

fn request_for(ip: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(ip);
    message.header.destination_prefix_length = Family::of(ip).bits();
    message.attributes = vec![Attribute::Destination(ip.into())];
    message
}

/// A route as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub destination: IpNet,
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The index of the interface.
    pub index: Option<u32>,
    /// Whether the gateway is on the link, whatever the addresses there say.
    pub onlink: bool,
    /// The address that the host sends from.
    pub src: Option<IpAddr>,
    /// The table.
    pub table: u32,
    /// The priority.
    pub priority: u32,
    /// The MTU in bytes; 0 for none.
    pub mtu: u32,
    /// The maximum segment size that is advertised; 0 for none.
    pub advmss: u32,
    /// How far away the destination is.
    pub scope: u8,
    /// Whether it leads to this host itself.
    pub local: bool,
    /// Whether it is a unicast, blackhole or similar route: not local, broadcast, multicast or cached.
    pub forwards: bool,
    /// Whether it came by router advertisement.
    pub advertised: bool,
    /// Whether it bears our mark.
    pub ours: bool,
    /// Whether the kernel made it by itself, with an address.
    pub by_kernel: bool,
    /// Who set it (`rtm_protocol`).
    pub protocol: u8,
    /// What it has besides; the metric is always there.
    pub attributes: Attributes,
}

/// Reads the routes out of an answer.
pub fn read(messages: &[Received]) -> Vec<Route> {
    let routes = messages.iter().filter(|(kind, _)| *kind == libc::RTM_NEWROUTE);
    routes.filter_map(|(_, payload)| read_one(payload)).collect()
}

fn kind_of(kind: u8) -> Kind {
    match kind {
        libc::RTN_BLACKHOLE => Kind::Blackhole,
        libc::RTN_UNREACHABLE => Kind::Unreachable,
        libc::RTN_PROHIBIT => Kind::Prohibit,
        _ => Kind::Unicast,
    }
}

/// Reads a `struct rtmsg` and what follows it.
fn read_one(payload: &[u8]) -> Option<Route> {
    let [family, prefix, _, _, table, protocol, scope, kind, ..] = *payload.first_chunk::<12>()?;
    let of = if i32::from(family) == libc::AF_INET { Family::V4 } else { Family::V6 };
    let mut destination = of.address(0);
    let (mut via, mut index, mut src, mut table) = (None, None, None, u32::from(table));
    let (mut metric, mut mtu, mut advmss) = (0, 0, 0);
    for (kind, value) in attributes(&payload[12..]) {
        match kind {
            libc::RTA_METRICS => attributes(value).for_each(|(kind, value)| match kind {
                RTAX_MTU => mtu = number(value).unwrap_or_default(),
                RTAX_ADVMSS => advmss = number(value).unwrap_or_default(),
                _ => {}
            }),
            libc::RTA_DST => destination = ip(value)?,
            libc::RTA_GATEWAY => via = ip(value),
            libc::RTA_OIF => index = number(value),
            libc::RTA_PREFSRC => src = ip(value),
            // Of several ways the first stands for all: a default route over two uplinks is one, too.
            libc::RTA_MULTIPATH => index = index.or_else(|| number_at(value, NEXT_HOP_INDEX)),
            libc::RTA_TABLE => table = number(value)?,
            libc::RTA_PRIORITY => metric = number(value)?,
            _ => {}
        }
    }
    Some(Route {
        destination: IpNet::new(destination, prefix).ok()?,
        via,
        index,
        onlink: number_at(payload, 8)? & RTNH_F_ONLINK != 0,
        src,
        table,
        priority: metric,
        mtu,
        advmss,
        scope,
        local: kind == libc::RTN_LOCAL,
        forwards: FORWARDING.contains(&kind) && table != TABLE_LOCAL,
        advertised: protocol == RTPROT_RA,
        ours: protocol == PROTOCOL,
        by_kernel: protocol == libc::RTPROT_KERNEL,
        protocol,
        attributes: Attributes {
            metric: Some(metric),
            administered: protocol == RTPROT_STATIC,
            kind: kind_of(kind),
        },
    })
}
