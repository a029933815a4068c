//! Sockets that never block.

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use std::io;
use std::net::SocketAddr;

/// A socket's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
}

/// A socket of an address's family.
pub fn socket(transport: Transport, address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, protocol) = match transport {
        Transport::Tcp => (SocketType::STREAM, ipproto::TCP),
        Transport::Udp => (SocketType::DGRAM, ipproto::UDP),
    };
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol))?)
}

/// A socket that is asked at an address. The address need not be there yet: its bridge may come a moment later, or
/// go and come back.
pub fn listen(transport: Transport, address: SocketAddr) -> io::Result<OwnedFd> {
    const WAITING: i32 = 128;
    /// What waits while zones are read anew; the kernel gives at most `net.core.rmem_max`.
    const ROOM: usize = 4 << 20;
    /// What waits for or of one client by TCP, in octets.
    const STREAM: usize = 32 << 10;
    let socket = socket(transport, address)?;
    if address.is_ipv4() {
        sockopt::set_ip_freebind(&socket, true)?;
    } else {
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_freebind(&socket, true)?;
    }
    match transport {
        Transport::Tcp => {
            // Connections that are winding down are not in the way.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            // Connections have the same: what a client does not read must not fill the kernel's memory.
            let _ = sockopt::set_socket_send_buffer_size(&socket, STREAM);
            let _ = sockopt::set_socket_recv_buffer_size(&socket, STREAM);
        }
        Transport::Udp => drop(sockopt::set_socket_recv_buffer_size(&socket, ROOM)),
    }
    rustix::net::bind(&socket, &address)?;
    if transport == Transport::Tcp {
        rustix::net::listen(&socket, WAITING)?;
    }
    Ok(socket)
}
