//! Questions by TCP.

use super::asked::Came;
use super::client::Client;
use super::{Back, Server};
use crate::epoll::{Interest, Token};
use crate::source::Source;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connections of one client; more are closed as they come.
const MOST_OF_ONE: usize = 64;
/// How many connections have their turn before datagrams are looked at again.
pub(super) const CLIENTS: usize = 8;
/// How many questions of one connection are answered in its turn.
const TURN: usize = 8;
/// The most octets of answers that wait for clients who do not read them.
const MOST_WAITING: usize = 1 << 20;

impl<S: Source> Server<S> {
    /// Lets a client in.
    pub(super) fn accept(&mut self, number: u32) {
        let Some(listener) = self.listeners.get(number) else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, from) = match rustix::net::acceptfrom_with(&*listener.tcp, flags) {
            Ok((socket, Some(from))) => (socket, from),
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => return self.make_room(),
            _ => return,
        };
        let Ok(source) = SocketAddr::try_from(from).map(|from| from.ip()) else { return };
        let known = self.is_known(listener.zone, source);
        let own = self.clients.values().filter(|client| client.source == source).count();
        if !known || own >= MOST_OF_ONE {
            return; // which closes it
        }
        if self.clients.len() >= self.room.connections {
            self.make_room();
        }
        let client = Client::new(socket, (source, number), Instant::now());
        let number = self.number();
        if self.streams.add(&client.socket, Token::Client(number), Interest::Read).is_ok() {
            self.clients.insert(number, client);
        }
    }

    /// Ends the connection whose client has been silent longest. Where nobody has one, it is not our room that is
    /// used up: a moment later there may be some.
    fn make_room(&mut self) {
        let longest = self.clients.iter().min_by_key(|(_, client)| client.since());
        match longest.map(|(number, _)| *number) {
            Some(number) => drop(self.clients.remove(&number)),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }

    /// Lets a few clients have their turn: those at whose connections something happened, and those who had asked
    /// more than was answered in their turn before.
    pub(super) fn serve_clients(&mut self) -> io::Result<()> {
        let mut told = Vec::new();
        self.streams.wait(Some(Duration::ZERO), &mut told)?;
        for _ in 0..self.unfinished.len().min(CLIENTS) {
            let number = self.unfinished.pop_front().unwrap_or_default();
            self.go_on_with_client(number, Instant::now());
        }
        for token in told {
            if let Token::Client(number) = token {
                self.serve_client(number)?;
            }
        }
        Ok(())
    }

    /// Something happened at a client's connection.
    fn serve_client(&mut self, number: u32) -> io::Result<()> {
        self.refresh()?;
        let Some(client) = self.clients.get_mut(&number) else { return Ok(()) };
        let alive = match client.interest {
            Interest::Write => client.send(),
            Interest::Read => client.receive(),
            Interest::None => false, // the other side is gone
        };
        if alive {
            self.go_on_with_client(number, Instant::now());
        } else {
            self.clients.remove(&number);
        }
        Ok(())
    }

    /// Answers what a client has asked by now, and waits for what comes next.
    pub(super) fn go_on_with_client(&mut self, number: u32, now: Instant) {
        for _ in 0..TURN {
            let Some(client) = self.clients.get_mut(&number) else { return };
            let (source, listener) = (client.source, client.listener);
            let message = match client.next(now) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(()) => {
                    self.clients.remove(&number);
                    return;
                }
            };
            let Some(zone) = self.listeners.get(listener).map(|listener| listener.zone) else { return };
            let came = Came { message: &message, zone, source, back: Back::Tcp(number) };
            let mut answer = Vec::new();
            let answered = self.answer(&came, &mut answer);
            let Some(client) = self.clients.get_mut(&number) else { return };
            match answered {
                true => client.answer(&answer),
                false if message.get(2).is_some_and(|flags| flags & 0x80 != 0) => {} // no question
                false => client.asked += 1,
            }
        }
        self.wait_for_client(number);
    }

    fn wait_for_client(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        let mut alive = client.send();
        let wanted = client.wanted();
        if alive && wanted != client.interest {
            client.interest = wanted;
            alive = self.streams.change(&client.socket, Token::Client(number), wanted).is_ok();
        }
        if alive && client.is_ready() && !self.unfinished.contains(&number) {
            self.unfinished.push_back(number);
        }
        let slow = client.waiting() > 0;
        if !alive {
            self.clients.remove(&number);
        } else if slow {
            self.bound_waiting();
        }
    }

    /// Ends connections of those who do not read their answers, when there are too many answers.
    fn bound_waiting(&mut self) {
        let all: usize = self.clients.values().map(Client::waiting).sum();
        let most = self.clients.iter().max_by_key(|(_, client)| client.waiting()).map(|(number, _)| *number);
        if let Some(number) = most.filter(|_| all > MOST_WAITING) {
            self.clients.remove(&number);
        }
    }

    /// Ends connections that have been silent for too long.
    pub(super) fn drop_late_clients(&mut self, now: Instant) {
        self.clients.retain(|_, client| !client.is_late(now));
    }
}
