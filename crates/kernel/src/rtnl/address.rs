//! Addresses of interfaces.

use super::{Mode, PROTOCOL, Request};
use crate::netlink::Message as Received;
use crate::netlink::attribute::{attributes, ip, number_at};
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{
    AddressAttribute as Attribute, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
};
use qiao_core::subnet::Family;
use std::net::IpAddr;

/// `IFA_PROTO` (linux/if_addr.h, since 5.18): who made an address.
const IFA_PROTO: u16 = 11;

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

/// The same for those of one family only.
pub fn get_all_of(family: Family) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
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
pub fn read(messages: &[Received]) -> Vec<Address> {
    let addresses = messages.iter().filter(|(kind, _)| *kind == libc::RTM_NEWADDR);
    addresses.filter_map(|(_, payload)| read_one(payload)).collect()
}

/// Reads a `struct ifaddrmsg` and what follows it.
fn read_one(payload: &[u8]) -> Option<Address> {
    let [_, prefix, ..] = *payload.first_chunk::<8>()?;
    let (mut local, mut address, mut ours) = (None, None, false);
    for (kind, value) in attributes(&payload[8..]) {
        match kind {
            libc::IFA_LOCAL => local = ip(value),
            libc::IFA_ADDRESS => address = ip(value),
            IFA_PROTO => ours = value == [PROTOCOL],
            _ => {}
        }
    }
    let net = IpNet::new(local.or(address)?, prefix).ok()?;
    Some(Address { index: number_at(payload, 4)?, net, ours })
}
