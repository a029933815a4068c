//! The connections and clients of all ports.

use crate::entry::Transport;
use crate::epoll::Epoll;
use crate::limits::Limits;
use crate::port::Port;
use crate::tcp::{Connection, Then};
use crate::udp::{Client, LONGEST, receive};
use rustix::fd::OwnedFd;
use rustix::net::SocketFlags;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

/// How many clients one port lets in before others have their turn.
const TURN: usize = 64;

/// Who is served, and what was told of them. Each has a token; that of a port is its owner's.
#[derive(Debug)]
pub struct Traffic {
    /// What is waited for.
    pub epoll: Epoll,
    limits: Limits,
    next: u64,
    connections: HashMap<u64, (u64, Connection)>,
    clients: HashMap<u64, (u64, SocketAddr, Client)>,
    by_address: HashMap<(u64, SocketAddr), u64>,
    ready: VecDeque<u64>,
    buffer: Vec<u8>,
}

impl Traffic {
    /// Nobody is served yet. Tokens below `first` are the caller's.
    pub fn new(limits: Limits, first: u64) -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new()?,
            limits,
            next: first,
            connections: HashMap::new(),
            clients: HashMap::new(),
            by_address: HashMap::new(),
            ready: VecDeque::new(),
            buffer: vec![0; LONGEST],
        })
    }

    /// A token that nobody has.
    pub fn token(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Puts a token where its turn will come without anything having to happen.
    pub fn again(&mut self, token: u64) {
        self.ready.push_back(token);
    }

    /// Whose turn it is.
    pub fn take_ready(&mut self) -> VecDeque<u64> {
        std::mem::take(&mut self.ready)
    }

    /// Whether somebody's turn has come.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Goes on with a connection or a client.
    pub fn go_on(&mut self, token: u64) {
        if let Some((_, connection)) = self.connections.get_mut(&token) {
            match connection.go_on() {
                Then::Wait => {}
                Then::Again => self.ready.push_back(token),
                Then::End => drop(self.connections.remove(&token)),
            }
        } else if let Some((_, _, client)) = self.clients.get_mut(&token)
            && client.answer(&mut self.buffer)
        {
            self.ready.push_back(token);
        }
    }

    /// Lets in who is at a port.
    pub fn let_in(&mut self, owner: u64, port: &Port) {
        for _ in 0..TURN {
            let more = match port.transport {
                Transport::Tcp => self.accept(owner, port),
                Transport::Udp => self.receive(owner, port),
            };
            if !more {
                return;
            }
        }
        self.ready.push_back(owner);
    }

    /// Whether there may be more.
    fn accept(&mut self, owner: u64, port: &Port) -> bool {
        use rustix::io::Errno;
        match rustix::net::accept_with(&*port.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(client) => {
                if self.connections.len() < self.limits.connections {
                    let _ = self.connect(owner, client, port.to); // what cannot be connected is closed
                }
                true
            }
            Err(Errno::AGAIN) => false,
            // Out of descriptors: the next second has another try.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => false,
            Err(_) => true,
        }
    }

    fn connect(&mut self, owner: u64, client: OwnedFd, to: SocketAddr) -> io::Result<()> {
        let connection = Connection::open(client, to)?;
        let token = self.token();
        connection.sockets().into_iter().try_for_each(|socket| self.epoll.add(socket, token))?;
        self.connections.insert(token, (owner, connection));
        Ok(())
    }

    fn receive(&mut self, owner: u64, port: &Port) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let received = receive(port, &mut buffer);
        if let Ok(Some((length, from))) = received
            && let Some((_, _, client)) = self.client(owner, (port, from))
        {
            client.ask(&buffer[..length]);
        }
        self.buffer = buffer;
        !matches!(received, Ok(None))
    }

    /// The client of this address, a new one where it is new.
    fn client(
        &mut self,
        owner: u64,
        (port, from): (&Port, SocketAddr),
    ) -> Option<&mut (u64, SocketAddr, Client)> {
        let known = self.by_address.get(&(owner, from)).copied();
        let token = match known {
            Some(token) => token,
            None => self.admit(owner, (port, from)).ok()?,
        };
        self.clients.get_mut(&token)
    }

    fn admit(&mut self, owner: u64, (port, from): (&Port, SocketAddr)) -> io::Result<u64> {
        if self.clients.len() >= self.limits.clients {
            let silent = self.clients.iter().min_by_key(|(_, (.., client))| client.seen);
            let silent = silent.map(|(token, _)| *token);
            silent.into_iter().for_each(|token| self.dismiss(token));
        }
        let client = Client::open(port, from)?;
        let token = self.token();
        self.epoll.add(&client.socket, token)?;
        self.clients.insert(token, (owner, from, client));
        self.by_address.insert((owner, from), token);
        Ok(token)
    }

    fn dismiss(&mut self, token: u64) {
        if let Some((owner, from, _)) = self.clients.remove(&token) {
            self.by_address.remove(&(owner, from));
        }
    }

    /// Ends everything of a port.
    pub fn close(&mut self, owner: u64) {
        self.connections.retain(|_, (of, _)| *of != owner);
        self.clients.retain(|_, (of, ..)| *of != owner);
        self.by_address.retain(|(of, _), _| *of != owner);
    }

    /// Ends what has been silent, or tried to connect, for too long.
    pub fn sweep(&mut self, now: Instant) {
        let Limits { idle, patience, .. } = self.limits;
        let silent = |client: &Client| now.saturating_duration_since(client.seen) > idle;
        let gone: Vec<u64> =
            self.clients.iter().filter(|(_, (.., client))| silent(client)).map(|(token, _)| *token).collect();
        gone.into_iter().for_each(|token| self.dismiss(token));
        self.connections.retain(|_, (_, connection)| {
            connection.connecting_since().is_none_or(|since| now.saturating_duration_since(since) <= patience)
        });
    }
}
