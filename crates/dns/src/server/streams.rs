//! Questions by TCP.

use super::asked::Came;
use super::client::Client;
use super::{Back, Server};
use crate::epoll::{Interest, Token};
use crate::source::Source;
use rustix::net::SocketFlags;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

/// Connections at one time.
const MOST: usize = 1024;
/// Of those, one client's; more are closed as they come.
const MOST_OF_ONE: usize = 64;
/// How many questions of one connection are answered before others have their turn.
const TURN: usize = 64;

impl<S: Source> Server<S> {
    /// Lets a client in.
    pub(super) fn accept(&mut self, number: u32) {
        let Some(listener) = self.listeners.get(number) else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok((socket, Some(from))) = rustix::net::acceptfrom_with(&*listener.tcp, flags) else { return };
        let Ok(source) = SocketAddr::try_from(from).map(|from| from.ip()) else { return };
        let zone = &self.snapshot.zones()[listener.zone];
        let known = zone.member(source).is_some() || zone.listen.contains(&source);
        let own = self.clients.values().filter(|client| client.source == source).count();
        if !known || own >= MOST_OF_ONE || self.clients.len() >= MOST {
            return; // which closes it
        }
        let client = Client::new(socket, (source, number), Instant::now());
        let number = self.number();
        if self.epoll.add(&client.socket, Token::Client(number), Interest::Read).is_ok() {
            self.clients.insert(number, client);
        }
    }

    /// Something happened at a client's connection.
    pub(super) fn serve_client(&mut self, number: u32) -> io::Result<()> {
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
            alive = self.epoll.change(&client.socket, Token::Client(number), wanted).is_ok();
        }
        if !alive {
            self.clients.remove(&number);
        }
    }

    /// Ends connections that have been silent for too long.
    pub(super) fn drop_late_clients(&mut self, now: Instant) {
        self.clients.retain(|_, client| !client.is_late(now));
    }
}
