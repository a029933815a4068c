//! Addresses of interfaces.

use super::{Mode, PROTOCOL, Request};
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{
    AddressAttribute as Attribute, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
};
use std::net::{IpAddr, Ipv6Addr};

/// Gives an interface an address. IPv6 addresses are usable at once: they were assigned by us, and nobody
/// else may use them, so there are no duplicates to detect (`IFA_F_NODAD`).
pub fn add(index: u32, net: IpNet) -> Request {
    let mut message = message(index, net);
    message.attributes.push(Attribute::Protocol(AddressProtocol::Other(PROTOCOL)));
    match net {
        IpNet::V4(net) if net.prefix_len() < 31 => {
            message.attributes.push(Attribute::Broadcast(net.broadcast()))
        }
        IpNet::V4(_) => {}
        IpNet::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
    }
    Request::change(Message::NewAddress(message), Mode::Create)
}

/// Takes an address away.
pub fn delete(index: u32, net: IpNet) -> Request {
    Request::change(Message::DelAddress(message(index, net)), Mode::Change)
}

fn message(index: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(net.addr());
    message.header.prefix_len = net.prefix_len();
    message.header.index = index;
    message.header.scope = match net.addr() {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => AddressScope::Link,
        _ => AddressScope::Universe,
    };
    message.attributes = vec![Attribute::Local(net.addr()), Attribute::Address(net.addr())];
    message
}

/// The address family of `ip`.
pub fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Asks for the addresses of one interface (the socket must be strict), or of all with index 0.
pub fn get_all(index: u32) -> Request {
    let mut message = AddressMessage::default();
    message.header.index = index;
    Request::dump(Message::GetAddress(message))
}

/// An address as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface's index.
    pub index: u32,
    /// The address with its prefix length.
    pub net: IpNet,
    /// Whether it bears our mark.
    pub ours: bool,
}

/// Reads the addresses out of an answer.
pub fn read(messages: &[Message]) -> Vec<Address> {
    let address = |message: &Message| match message {
        Message::NewAddress(address) => read_one(address),
        _ => None,
    };
    messages.iter().filter_map(address).collect()
}

fn read_one(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut address, mut ours) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            Attribute::Local(ip) => local = Some(*ip),
            Attribute::Address(ip) => address = Some(*ip),
            Attribute::Protocol(protocol) => ours = *protocol == AddressProtocol::Other(PROTOCOL),
            _ => {}
        }
    }
    let ip = local.or(address).unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let net = IpNet::new(ip, message.header.prefix_len).ok()?;
    Some(Address { index: message.header.index, net, ours })
}
