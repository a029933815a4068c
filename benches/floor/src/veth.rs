//! The least messages for a pair of interfaces: one makes it, four set up the container's end.

use crate::message::{Message, attribute, nested, text};
use std::os::fd::RawFd;

const ACK: u16 = 4;
const CREATE: u16 = 0x400 | 0x200;
const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const SETLINK: u16 = 19;
const NEWADDR: u16 = 20;
const NEWROUTE: u16 = 24;
const UP: u32 = 1;

/// A pair to be made.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The host's end.
    pub host: &'a str,
    /// Its index, which must be free.
    pub index: u32,
    /// The bridge's index.
    pub bridge: u32,
    /// The container's hardware address.
    pub mac: [u8; 6],
    /// The container's IPv4 address, of a /16.
    pub ip: [u8; 4],
}

fn link(index: u32, flags: u32) -> Vec<u8> {
    [&[0; 4][..], &index.to_ne_bytes(), &flags.to_ne_bytes(), &flags.to_ne_bytes()].concat()
}

fn end(name: &str) -> Vec<Vec<u8>> {
    const QUEUES: [u16; 2] = [31, 32];
    let mut attributes = vec![attribute(3, &text(name))];
    attributes.extend(QUEUES.map(|kind| attribute(kind, &1u32.to_ne_bytes())));
    attributes
}

/// Makes the pair: the peer is `eth0` with index 2 in the container's namespace.
pub fn new(pair: Pair<'_>, netns: RawFd) -> Vec<u8> {
    let mut peer = vec![link(2, 0)];
    peer.extend(end("eth0"));
    peer.push(attribute(1, &pair.mac));
    peer.push(attribute(28, &netns.to_ne_bytes()));
    let data = nested(2, &[attribute(1, &peer.concat())]);
    let info = nested(18, &[attribute(1, &text("veth")), data]);
    let mut message = Message::new(NEWLINK, ACK | CREATE, &link(pair.index, 0));
    message.0.extend(end(pair.host).concat());
    message.with(10, &pair.bridge.to_ne_bytes()).append(&info).finish()
}

impl Message {
    fn append(mut self, attributes: &[u8]) -> Self {
        self.0.extend(attributes);
        self
    }
}

/// Keeps a link from giving itself IPv6 addresses (`IFLA_INET6_ADDR_GEN_MODE` none).
pub fn quiet(index: u32) -> Vec<u8> {
    let inet6 = nested(10, &[attribute(8, &[1])]);
    Message::new(SETLINK, ACK, &link(index, 0)).append(&nested(26, &[inet6])).finish()
}

/// Brings a link up.
pub fn up(index: u32) -> Vec<u8> {
    Message::new(SETLINK, ACK, &link(index, UP)).finish()
}

/// Gives `eth0` its address.
pub fn address(ip: [u8; 4]) -> Vec<u8> {
    let header = [&[2, 16, 0, 0][..], &2u32.to_ne_bytes()].concat();
    Message::new(NEWADDR, ACK | CREATE, &header).with(2, &ip).with(1, &ip).finish()
}

/// The default route.
pub fn route(gateway: [u8; 4]) -> Vec<u8> {
    let header = [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    Message::new(NEWROUTE, ACK | CREATE, &header).with(5, &gateway).with(4, &2u32.to_ne_bytes()).finish()
}

/// Deletes a link.
pub fn delete(index: u32) -> Vec<u8> {
    Message::new(DELLINK, ACK, &link(index, 0)).finish()
}
