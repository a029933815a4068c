//! A port that is listened on, and where it leads.

use crate::entry::{Entry, Transport};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// A port that is listened on.
#[derive(Debug)]
pub struct Port {
    /// The transport.
    pub transport: Transport,
    /// The socket; clients of UDP get their answers from it.
    pub socket: Rc<OwnedFd>,
    /// Where it leads.
    pub to: SocketAddr,
}

impl Port {
    /// Listens on every port of an entry but for those that it leaves to others, or on none.
    pub fn open_all(entry: &Entry, others: &[&Entry]) -> io::Result<Vec<Self>> {
        let is_left = |port: u16| others.iter().any(|other| entry.stands_back(other) && other.has(port));
        let ports = entry.ports().filter(|(from, _)| !is_left(from.port()));
        ports.map(|(from, to)| Self::open(entry.transport, (from, to))).collect()
    }

    fn open(transport: Transport, (from, to): (SocketAddr, SocketAddr)) -> io::Result<Self> {
        let socket = socket(transport, from)?;
        if transport == Transport::Tcp {
            // Connections that are winding down are not in the way.
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        if from.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        rustix::net::bind(&socket, &from)?;
        if transport == Transport::Tcp {
            rustix::net::listen(&socket, 4096)?;
        }
        Ok(Self { transport, socket: Rc::new(socket), to })
    }
}

/// A socket that never blocks, of the family of an address.
pub fn socket(transport: Transport, address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, protocol) = match transport {
        Transport::Tcp => (SocketType::STREAM, ipproto::TCP),
        Transport::Udp => (SocketType::DGRAM, ipproto::UDP),
    };
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol))?)
}
