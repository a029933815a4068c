//! Routes.

use super::address::family;
use super::{Mode, PROTOCOL, Request};
use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute as Attribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol,
    RouteScope, RouteType,
};
use qiao_core::subnet::Family;
use std::net::IpAddr;

/// The table of local addresses (`RT_TABLE_LOCAL`).
const TABLE_LOCAL: u32 = 255;

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
}

/// A route.
pub fn set(destination: IpNet, hop: Hop, mode: Mode) -> Request {
    let mut message = message(destination);
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

/// Takes a route of ours away.
pub fn delete(destination: IpNet) -> Request {
    let mut message = message(destination);
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

fn message(destination: IpNet) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination.addr());
    message.header.destination_prefix_length = destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
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
    /// Whether it leads to this host itself.
    pub local: bool,
    /// Whether it is a unicast, blackhole or similar route: not local, broadcast, multicast or cached.
    pub forwards: bool,
    /// Whether it came by router advertisement.
    pub advertised: bool,
    /// Whether it bears our mark.
    pub ours: bool,
}

/// Reads the routes out of an answer.
pub fn read(messages: &[Message]) -> Vec<Route> {
    let route = |message: &Message| match message {
        Message::NewRoute(route) => read_one(route),
        _ => None,
    };
    messages.iter().filter_map(route).collect()
}

fn read_one(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    let of = if header.address_family == netlink_packet_route::AddressFamily::Inet {
        Family::V4
    } else {
        Family::V6
    };
    let mut destination = of.address(0);
    let (mut via, mut index, mut src, mut table) = (None, None, None, u32::from(header.table));
    for attribute in &message.attributes {
        match attribute {
            Attribute::Destination(address) => destination = ip(address)?,
            Attribute::Gateway(address) => via = ip(address),
            Attribute::PrefSource(address) => src = ip(address),
            Attribute::Oif(oif) => index = Some(*oif),
            // Of several ways the first stands for all: a default route over two uplinks is one, too.
            Attribute::MultiPath(hops) => index = index.or(hops.first().map(|hop| hop.interface_index)),
            Attribute::Table(number) => table = *number,
            _ => {}
        }
    }
    let kinds = [
        RouteType::Unicast,
        RouteType::BlackHole,
        RouteType::Unreachable,
        RouteType::Prohibit,
        RouteType::Throw,
    ];
    Some(Route {
        destination: IpNet::new(destination, header.destination_prefix_length).ok()?,
        via,
        index,
        onlink: header.flags.contains(RouteFlags::Onlink),
        src,
        table,
        local: header.kind == RouteType::Local,
        forwards: kinds.contains(&header.kind) && table != TABLE_LOCAL,
        advertised: header.protocol == RouteProtocol::Ra,
        ours: header.protocol == RouteProtocol::Other(PROTOCOL),
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}
