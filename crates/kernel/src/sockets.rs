//! Whether a socket of the host is in the way of a published port.

use qiao_core::port::{Listen, Protocol};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use std::net::SocketAddr;

/// Why a port cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InTheWay {
    /// A socket of the host has the port.
    Socket(u16),
    /// The host does not have the address.
    NoSuchAddress,
    /// The process may not bind the port.
    NotPermitted(u16),
}

/// Looks whether all ports could be bound now. Binding asks the very code that would refuse a server later.
pub fn in_the_way(listen: Listen) -> Option<InTheWay> {
    listen.ports.ports().find_map(|port| port_in_the_way(listen, port))
}

fn port_in_the_way(listen: Listen, port: u16) -> Option<InTheWay> {
    match bind(listen, port) {
        Ok(()) => None,
        Err(rustix::io::Errno::ADDRINUSE) => Some(InTheWay::Socket(port)),
        Err(rustix::io::Errno::ADDRNOTAVAIL) => Some(InTheWay::NoSuchAddress),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => Some(InTheWay::NotPermitted(port)),
        // A kernel without SCTP or IPv6 has no sockets that could be in the way.
        Err(_) => None,
    }
}

fn bind(listen: Listen, port: u16) -> rustix::io::Result<()> {
    let ip = listen.host.ip();
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, protocol) = match listen.protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol))?;
    if listen.protocol != Protocol::Udp {
        // Connections that are winding down are not in the way, listeners are.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &SocketAddr::new(ip, port))
}
