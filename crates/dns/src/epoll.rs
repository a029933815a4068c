//! Waiting for many descriptors at once.

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::time::Duration;

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Token {
    /// What the zones are read from has changed.
    Source,
    /// The host's resolvers have changed.
    Resolv,
    /// Questions by UDP.
    Udp(u32),
    /// A client by TCP.
    Tcp(u32),
    /// Something happened at clients' connections.
    Clients,
    /// A client's connection.
    Client(u32),
    /// An upstream's answer.
    Upstream(u32),
    /// Somebody who wants to know what we do.
    Control,
    /// Such a one's connection.
    Watcher(u32),
}

impl Token {
    fn number(self) -> u64 {
        let (kind, number) = match self {
            Token::Source => (0, 0),
            Token::Resolv => (1, 0),
            Token::Udp(n) => (2, n),
            Token::Tcp(n) => (3, n),
            Token::Client(n) => (4, n),
            Token::Upstream(n) => (5, n),
            Token::Control => (6, 0),
            Token::Watcher(n) => (7, n),
            Token::Clients => (8, 0),
        };
        kind << 32 | u64::from(number)
    }

    fn of(number: u64) -> Self {
        let n = number as u32;
        match number >> 32 {
            0 => Token::Source,
            1 => Token::Resolv,
            2 => Token::Udp(n),
            3 => Token::Tcp(n),
            4 => Token::Client(n),
            5 => Token::Upstream(n),
            6 => Token::Control,
            7 => Token::Watcher(n),
            _ => Token::Clients,
        }
    }
}

/// What is waited for at a descriptor. It is told again as long as it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
    /// Only that the other side is gone.
    None,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Interest::Read => EventFlags::IN,
            Interest::Write => EventFlags::OUT,
            Interest::None => EventFlags::empty(),
        }
    }
}

/// A set of descriptors that are waited for. It is one itself: something happened at one of them.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
    most: usize,
}

impl Epoll {
    /// Makes an empty one that tells of so many descriptors at one time. The others have their turn before one has
    /// it again (epoll_wait(2)).
    pub fn new(most: usize) -> io::Result<Self> {
        Ok(Self { fd: epoll::create(CreateFlags::CLOEXEC)?, most })
    }

    /// Adds a descriptor. It goes by itself when it is closed.
    pub fn add(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.fd, fd, EventData::new_u64(token.number()), interest.flags())?)
    }

    /// Waits for something else at a descriptor.
    pub fn change(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.fd, fd, EventData::new_u64(token.number()), interest.flags())?)
    }

    /// Waits, and tells whose descriptors can do more.
    pub fn wait(&self, timeout: Option<Duration>, told: &mut Vec<Token>) -> io::Result<()> {
        let timeout =
            timeout.map(|t| Timespec { tv_sec: t.as_secs() as _, tv_nsec: t.subsec_nanos().into() });
        let mut events = Vec::with_capacity(self.most);
        told.clear();
        match epoll::wait(&self.fd, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) => told.extend(events.iter().map(|event| Token::of(event.data.u64()))),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
