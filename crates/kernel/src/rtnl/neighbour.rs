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

/// An entry of a bridge's forwarding table: where frames to a hardware address go. There is one for each address.
#[derive(Clone, Copy, Debug)]
pub enum Forward {
    /// Out at this port.
    Port(u32, Mac),
    /// To the host: the address is that of the bridge itself.
    Own(u32, Mac),
}

impl Forward {
    /// The same at another index.
    pub fn at(self, index: u32) -> Self {
        match self {
            Forward::Port(_, mac) => Forward::Port(index, mac),
            Forward::Own(_, mac) => Forward::Own(index, mac),
        }
    }
}

/// Makes a forwarding entry, for good. Over another one it is made only on request: that may be the bridge's own.
pub fn forward(entry: Forward, mode: Mode) -> Request {
    let mut message = forward_message(entry);
    message.header.state = match entry {
        Forward::Port(..) => NeighbourState::Noarp,
        Forward::Own(..) => NeighbourState::Permanent,
    };
    Request::change(Message::NewNeighbour(message), mode)
}

/// Takes a forwarding entry away.
pub fn delete_forward(entry: Forward) -> Request {
    Request::change(Message::DelNeighbour(forward_message(entry)), Mode::Change)
}

/// Asks where a bridge forwards a hardware address: to whatever port.
pub fn get_forward(entry: Forward) -> Request {
    Request::get(Message::GetNeighbour(forward_message(entry)))
}

fn forward_message(entry: Forward) -> NeighbourMessage {
    let (index, mac, flags) = match entry {
        Forward::Port(index, mac) => (index, mac, NeighbourFlags::Controller),
        Forward::Own(index, mac) => (index, mac, NeighbourFlags::Own),
    };
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.flags = flags;
    message.attributes = vec![Attribute::LinkLayerAddress(mac.octets().to_vec())];
    message
}

/// Asks where `ip` is.
pub fn get(index: u32, ip: IpAddr) -> Request {
    Request::get(Message::GetNeighbour(message(index, ip)))
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
    /// Of a forwarding entry: whether frames go to the host itself.
    pub own: bool,
    /// Whether it bears our mark.
    pub ours: bool,
}

impl Neighbour {
    /// Whether it is this forwarding entry.
    pub fn is(&self, entry: Forward) -> bool {
        let (Forward::Port(index, _) | Forward::Own(index, _)) = entry;
        self.permanent && self.index == index && self.own == matches!(entry, Forward::Own(..))
    }

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
    let own = state == libc::NUD_PERMANENT;
    let mut neighbour =
        Neighbour { index: number_at(payload, 4)?, ip: None, mac: None, permanent, own, ours: false };
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
        let at =
            |mac| Neighbour { index: 1, ip: None, mac, permanent: true, ours: false, own: false }.value();
        assert_eq!(at(Some([2, 0, 0, 0, 0, 1])), Value::Mac("02:00:00:00:00:01".parse().unwrap()));
        for odd in [Some([0; 6]), Some([1, 0, 0x5e, 0, 0, 1]), None] {
            assert_eq!(at(odd), Value::Present);
        }
    }
}
