//! Neighbours, and forwarding entries of bridge ports.

use super::address::family;
use super::{Mode, PROTOCOL, Request};
use crate::netlink::Message as Received;
use crate::netlink::attribute::{attributes, ip, number_at, number16};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::neighbour::{
    NeighbourAttribute as Attribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteProtocol;
use qiao_core::Mac;
use qiao_core::plan::Value;
use std::net::IpAddr;

/// `NDA_PROTOCOL` (linux/neighbour.h, since 5.0): who made an entry.
const NDA_PROTOCOL: u16 = 12;

/// Writes down where `ip` is, for good: nobody is asked, nobody can answer for it, and the entry does not
/// count against the limit of the collectable ones (`gc_thresh3`, 1024 for the whole kernel).
pub fn set(index: u32, ip: IpAddr, mac: Mac) -> Request {
    let mut message = message(index, ip);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(Attribute::LinkLayerAddress(mac.octets().to_vec()));
    message.attributes.push(Attribute::Protocol(RouteProtocol::Other(PROTOCOL)));
    Request::change(Message::NewNeighbour(message), Mode::Replace)
}

/// Forgets where `ip` is.
pub fn delete(index: u32, ip: IpAddr) -> Request {
    Request::change(Message::DelNeighbour(message(index, ip)), Mode::Change)
}

fn message(index: u32, ip: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(ip);
    message.header.ifindex = index;
    message.attributes = vec![Attribute::Destination(ip.into())];
    message
}

/// Writes down that a hardware address is behind a bridge port, for good.
pub fn set_port(port: u32, mac: Mac) -> Request {
    let mut message = port_message(port, mac);
    message.header.state = NeighbourState::Noarp;
    Request::change(Message::NewNeighbour(message), Mode::Replace)
}

/// Forgets that a hardware address is behind a bridge port.
pub fn delete_port(port: u32, mac: Mac) -> Request {
    Request::change(Message::DelNeighbour(port_message(port, mac)), Mode::Change)
}

fn port_message(port: u32, mac: Mac) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = port;
    message.header.flags = NeighbourFlags::Controller;
    message.attributes = vec![Attribute::LinkLayerAddress(mac.octets().to_vec())];
    message
}

/// Asks where `ip` is.
pub fn get(index: u32, ip: IpAddr) -> Request {
    Request::get(Message::GetNeighbour(message(index, ip)))
}

/// Asks whether a bridge forwards a hardware address to a port.
pub fn get_port(port: u32, mac: Mac) -> Request {
    Request::get(Message::GetNeighbour(port_message(port, mac)))
}

/// Asks for all neighbours of both families.
pub fn get_all() -> Request {
    Request::dump(Message::GetNeighbour(NeighbourMessage::default()))
}

/// A neighbour as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface's index.
    pub index: u32,
    /// Its address; none for a forwarding entry.
    pub ip: Option<IpAddr>,
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// Whether it stays for good.
    pub permanent: bool,
    /// Whether it bears our mark.
    pub ours: bool,
}

impl Neighbour {
    /// Where it is; an address that we have no type for is one that is there.
    pub fn value(&self) -> Value {
        self.mac.and_then(|mac| Mac::new(mac).ok()).map_or(Value::Present, Value::Mac)
    }
}

/// Reads the neighbours out of an answer.
pub fn read(messages: &[Received]) -> Vec<Neighbour> {
    let neighbours = messages.iter().filter(|(kind, _)| *kind == libc::RTM_NEWNEIGH);
    neighbours.filter_map(|(_, payload)| read_one(payload)).collect()
}

/// Reads a `struct ndmsg` and what follows it.
fn read_one(payload: &[u8]) -> Option<Neighbour> {
    let state = number16(payload.get(8..12)?)?;
    let permanent = matches!(state, libc::NUD_PERMANENT | libc::NUD_NOARP);
    let mut neighbour =
        Neighbour { index: number_at(payload, 4)?, ip: None, mac: None, permanent, ours: false };
    for (kind, value) in attributes(&payload[12..]) {
        match kind {
            libc::NDA_DST => neighbour.ip = ip(value),
            libc::NDA_LLADDR => neighbour.mac = value.try_into().ok(),
            NDA_PROTOCOL => neighbour.ours = value == [PROTOCOL],
            _ => {}
        }
    }
    Some(neighbour)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It would be written over else.
    #[test]
    fn b1_a_neighbour_at_an_address_of_another_kind_is_there() {
        let at = |mac| Neighbour { index: 1, ip: None, mac, permanent: true, ours: false }.value();
        assert_eq!(at(Some([2, 0, 0, 0, 0, 1])), Value::Mac("02:00:00:00:00:01".parse().unwrap()));
        for odd in [Some([0; 6]), Some([1, 0, 0x5e, 0, 0, 1]), None] {
            assert_eq!(at(odd), Value::Present);
        }
    }
}
