//! Asking for names, as a container's resolver does: by code of its own.

use crate::place::Place;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(3000);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The response code: 0, or 3 for a name that is not there.
    pub code: u8,
    /// Whether it was cut short.
    pub truncated: bool,
    /// The addresses in it, in their order.
    pub addresses: Vec<IpAddr>,
    /// The whole message.
    pub bytes: Vec<u8>,
}

/// A question as it is sent.
pub fn question(id: u16, name: &str, rtype: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.extend([0]);
    message.extend(rtype.to_be_bytes());
    message.extend([0, 1]);
    message
}

/// Asks a server from a place by UDP; none if nobody answers.
pub fn lookup(place: &Place, server: &str, (name, rtype): (&str, u16)) -> Option<Reply> {
    let message = question(7, name, rtype);
    raw(place, server, &message).and_then(|bytes| read(bytes, message.len()))
}

/// Sends any message by UDP; what comes back, if anything does.
pub fn raw(place: &Place, server: &str, message: &[u8]) -> Option<Vec<u8>> {
    place.inside(|| {
        let any = if server.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).ok()?;
        socket.connect((server.parse::<IpAddr>().ok()?, 53)).ok()?;
        socket.send(message).ok()?;
        let mut buffer = vec![0; 65536];
        let length = socket.recv(&mut buffer).ok()?;
        buffer.truncate(length);
        Some(buffer)
    })
}

/// Asks by TCP.
pub fn lookup_tcp(place: &Place, server: &str, (name, rtype): (&str, u16)) -> Option<Reply> {
    let message = question(7, name, rtype);
    let framed = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    place.inside(|| {
        let mut stream = TcpStream::connect((server.parse::<IpAddr>().ok()?, 53)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(&framed).ok()?;
        let mut head = [0; 2];
        stream.read_exact(&mut head).ok()?;
        let mut bytes = vec![0; u16::from_be_bytes(head).into()];
        stream.read_exact(&mut bytes).ok()?;
        read(bytes, message.len())
    })
}

fn read(bytes: Vec<u8>, mut at: usize) -> Option<Reply> {
    let count = u16::from_be_bytes([*bytes.get(6)?, bytes[7]]);
    let mut addresses = Vec::new();
    for _ in 0..count {
        let record = bytes.get(at..at + 12)?;
        let length = usize::from(u16::from_be_bytes([record[10], record[11]]));
        let data = bytes.get(at + 12..at + 12 + length)?;
        addresses.extend(<[u8; 4]>::try_from(data).map(IpAddr::from));
        addresses.extend(<[u8; 16]>::try_from(data).map(IpAddr::from));
        at += 12 + length;
    }
    Some(Reply { code: bytes[3] & 15, truncated: bytes[2] & 2 != 0, addresses, bytes })
}
