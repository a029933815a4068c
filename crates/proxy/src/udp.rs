//! Clients of UDP: each has a socket of its own towards the container, by which its answers are known.

use crate::entry::Transport;
use crate::port::{Port, socket};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// The longest datagram.
pub const LONGEST: usize = 65536;
/// How many datagrams one socket passes on before others have their turn.
const TURN: usize = 64;

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Towards the container.
    pub socket: OwnedFd,
    port: Rc<OwnedFd>,
    address: SocketAddr,
    /// When it or the container last said something.
    pub seen: Instant,
}

impl Client {
    /// A socket for a client of a port.
    pub fn open(port: &Port, address: SocketAddr) -> io::Result<Self> {
        let towards = socket(Transport::Udp, port.to)?;
        rustix::net::connect(&towards, &port.to)?;
        Ok(Self { socket: towards, port: Rc::clone(&port.socket), address, seen: Instant::now() })
    }

    /// Passes a datagram on to the container. One that cannot be passed on is lost, as datagrams are.
    pub fn ask(&mut self, datagram: &[u8]) {
        self.seen = Instant::now();
        let _ = rustix::net::send(&self.socket, datagram, SendFlags::NOSIGNAL);
    }

    /// Passes the container's answers back; whether there may be more.
    pub fn answer(&mut self, buffer: &mut [u8]) -> bool {
        for _ in 0..TURN {
            match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((_, length)) => {
                    self.seen = Instant::now();
                    let length = length.min(buffer.len());
                    let _ = rustix::net::sendto(
                        &*self.port,
                        &buffer[..length],
                        SendFlags::NOSIGNAL,
                        &self.address,
                    );
                }
                Err(Errno::AGAIN) => return false,
                Err(_) => {} // the container refused one datagram: the next is another matter
            }
        }
        true
    }
}

/// The next datagram of a port, with its sender.
pub fn receive(port: &Port, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
    loop {
        let (length, from) = match rustix::net::recvfrom(&*port.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((_, length, from)) => (length, from),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(from) = from.and_then(address) {
            return Ok(Some((length.min(buffer.len()), from)));
        }
    }
}

fn address(any: SocketAddrAny) -> Option<SocketAddr> {
    SocketAddr::try_from(any).ok()
}
