//! A line to an upstream: a socket of its own for each question, so that the kernel chooses a port at random and
//! lets nobody else's packets in.

use crate::epoll::{Epoll, Interest, Token};
use crate::socket::{Transport, socket};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::net::SocketAddr;

/// The longest message.
const LONGEST: usize = 65535;

/// A line.
#[derive(Debug)]
pub struct Line {
    socket: OwnedFd,
    stream: Option<Stream>,
}

/// What is on its way by TCP: each message has its length before it.
#[derive(Debug)]
struct Stream {
    out: Vec<u8>,
    sent: usize,
    came: Vec<u8>,
}

/// What a line has.
#[derive(Debug)]
pub enum Heard {
    /// A message.
    Message(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// The other side does not listen, or hung up.
    Broken,
}

impl Line {
    /// Sends a message to an upstream.
    pub fn open(transport: Transport, to: SocketAddr, message: &[u8]) -> io::Result<Self> {
        let socket = socket(transport, to)?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        if transport == Transport::Udp {
            rustix::net::send(&socket, message, SendFlags::NOSIGNAL)?;
            return Ok(Self { socket, stream: None });
        }
        let out = [&(message.len() as u16).to_be_bytes(), message].concat();
        Ok(Self { socket, stream: Some(Stream { out, sent: 0, came: Vec::new() }) })
    }

    /// Whether it is one of TCP.
    pub fn is_stream(&self) -> bool {
        self.stream.is_some()
    }

    /// Waits at it.
    pub fn watch(&self, epoll: &Epoll, token: Token) -> io::Result<()> {
        let interest = if self.stream.is_some() { Interest::Write } else { Interest::Read };
        epoll.add(&self.socket, token, interest)
    }

    /// What came, after something happened at the line.
    pub fn hear(&mut self, epoll: &Epoll, token: Token) -> Heard {
        match &mut self.stream {
            None => datagram(&self.socket),
            Some(stream) if stream.sent < stream.out.len() => {
                let done = stream.send(&self.socket);
                let all = stream.sent == stream.out.len();
                match done {
                    Ok(()) if all && epoll.change(&self.socket, token, Interest::Read).is_err() => {
                        Heard::Broken
                    }
                    Ok(()) => Heard::Nothing,
                    Err(_) => Heard::Broken,
                }
            }
            Some(stream) => stream.receive(&self.socket),
        }
    }
}

fn datagram(socket: &OwnedFd) -> Heard {
    let mut buffer = [0u8; 4096];
    loop {
        match rustix::net::recv(socket, &mut buffer, RecvFlags::empty()) {
            Ok((_, length)) => return Heard::Message(buffer[..length.min(buffer.len())].to_vec()),
            Err(Errno::AGAIN) => return Heard::Nothing,
            Err(Errno::INTR) => {}
            Err(_) => return Heard::Broken,
        }
    }
}

impl Stream {
    fn send(&mut self, socket: &OwnedFd) -> io::Result<()> {
        match rustix::net::send(socket, &self.out[self.sent..], SendFlags::NOSIGNAL) {
            Ok(sent) => self.sent += sent,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn receive(&mut self, socket: &OwnedFd) -> Heard {
        let mut buffer = [0u8; 4096];
        match rustix::net::recv(socket, &mut buffer, RecvFlags::empty()) {
            Ok((_, 0)) => return Heard::Broken,
            Ok((_, length)) => self.came.extend(&buffer[..length.min(buffer.len())]),
            Err(Errno::AGAIN | Errno::INTR) => return Heard::Nothing,
            Err(_) => return Heard::Broken,
        }
        let Some((head, rest)) = self.came.split_at_checked(2) else { return Heard::Nothing };
        let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
        if rest.len() > LONGEST {
            return Heard::Broken;
        }
        rest.get(..length).map_or(Heard::Nothing, |message| Heard::Message(message.to_vec()))
    }
}
