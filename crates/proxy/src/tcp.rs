//! A connection: bytes move from socket to pipe to socket within the kernel (splice(2)).

use crate::entry::Transport;
use crate::port::socket;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{Shutdown, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

/// How much moves at one time: what a pipe holds.
const PIECE: usize = 65536;
/// How many pieces one connection moves before others have their turn.
const TURN: usize = 16;

/// A client, a container, and what is between them.
#[derive(Debug)]
pub struct Connection {
    client: OwnedFd,
    container: OwnedFd,
    connected: bool,
    since: Instant,
    up: Half,
    down: Half,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing can be done before something happens.
    Wait,
    /// There is more to do.
    Again,
    /// It is over.
    End,
}

/// One direction.
#[derive(Debug)]
struct Half {
    pipe: (OwnedFd, OwnedFd),
    filled: usize,
    ended: bool,
    done: bool,
}

impl Connection {
    /// Begins to connect a client with a container.
    pub fn open(client: OwnedFd, to: SocketAddr) -> io::Result<Self> {
        let container = socket(Transport::Tcp, to)?;
        for socket in [&client, &container] {
            sockopt::set_tcp_nodelay(socket, true)?;
            sockopt::set_socket_keepalive(socket, true)?;
        }
        match rustix::net::connect(&container, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let (up, down) = (Half::new()?, Half::new()?);
        Ok(Self { client, container, connected: false, since: Instant::now(), up, down })
    }

    /// Both sockets.
    pub fn sockets(&self) -> [&OwnedFd; 2] {
        [&self.client, &self.container]
    }

    /// When it was begun, if it is not made yet.
    pub fn connecting_since(&self) -> Option<Instant> {
        (!self.connected).then_some(self.since)
    }

    /// Moves what there is.
    pub fn go_on(&mut self) -> Then {
        match self.is_connected() {
            Ok(true) => {}
            Ok(false) => return Then::Wait,
            Err(_) => return Then::End,
        }
        let up = self.up.pump(&self.client, &self.container);
        let down = self.down.pump(&self.container, &self.client);
        match (up, down) {
            (Ok(Then::End), Ok(Then::End)) | (Err(_), _) | (_, Err(_)) => Then::End,
            (Ok(Then::Again), _) | (_, Ok(Then::Again)) => Then::Again,
            _ => Then::Wait,
        }
    }

    fn is_connected(&mut self) -> io::Result<bool> {
        if !self.connected {
            sockopt::socket_error(&self.container)??;
            self.connected = rustix::net::getpeername(&self.container).is_ok();
        }
        Ok(self.connected)
    }
}

impl Half {
    fn new() -> io::Result<Self> {
        let pipe = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { pipe, filled: 0, ended: false, done: false })
    }

    /// Moves from one socket to the other. An empty pipe is filled, a filled one emptied: so "try again" is
    /// always the word of a socket, never of a pipe that is full. The end of one's bytes is told the other.
    fn pump(&mut self, from: &OwnedFd, to: &OwnedFd) -> io::Result<Then> {
        for _ in 0..TURN {
            if self.done {
                return Ok(Then::End);
            }
            if self.filled == 0 && !self.ended {
                match piece(from, &self.pipe.1, PIECE)? {
                    None => return Ok(Then::Wait),
                    Some(0) => self.ended = true,
                    Some(count) => self.filled = count,
                }
            }
            if self.filled > 0 {
                match piece(&self.pipe.0, to, self.filled)? {
                    None => return Ok(Then::Wait),
                    Some(count) => self.filled -= count,
                }
            } else if self.ended {
                self.done = true;
                let _ = rustix::net::shutdown(to, Shutdown::Write); // it may be gone already
            }
        }
        Ok(Then::Again)
    }
}

/// Moves up to `length` bytes; none where nothing can be moved now.
fn piece(from: &OwnedFd, to: &OwnedFd, length: usize) -> io::Result<Option<usize>> {
    loop {
        match splice(from, None, to, None, length, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
