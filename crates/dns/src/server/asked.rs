//! One question, however it came: answered, refused, or put to somebody else.

use super::{Back, Server};
use crate::forward::{Asked, Done, PORT, Waiter};
use crate::snapshot::{Asker, Outcome, Why};
use crate::source::Source;
use crate::wire::answer::{Answer, Code, refusal};
use crate::wire::name;
use crate::wire::query::{Fault, Query};
use crate::zone::Upstreams;
use domain::base::iana::Rtype;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// A question as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came<'m> {
    /// The message.
    pub message: &'m [u8],
    /// The network whose gateway was asked.
    pub zone: usize,
    /// From where.
    pub source: IpAddr,
    /// Where the answer goes.
    pub back: Back,
}

impl Came<'_> {
    /// The most octets of an answer.
    fn limit(&self, query: &Query<'_>) -> usize {
        match self.back {
            Back::Udp(..) => query.udp_limit(),
            Back::Tcp(_) | Back::Watcher(_) => usize::from(u16::MAX),
        }
    }
}

impl<S: Source> Server<S> {
    /// Answers a question into `to`; false if there is no answer, or not yet.
    pub(super) fn answer(&mut self, came: &Came<'_>, to: &mut Vec<u8>) -> bool {
        let query = match Query::parse(came.message) {
            Ok(query) => query,
            Err(Fault::Silent) => return false,
            Err(fault) => return self.refuse(came, fault, to),
        };
        self.turn = self.turn.wrapping_add(1);
        let limit = came.limit(&query);
        let asker = Asker { zone: came.zone, source: came.source, limit, turn: self.turn };
        match self.snapshot.answer(&query, &asker, (to, &mut self.found)) {
            Outcome::Answered(why) => {
                self.note(came, &query, || why.as_str().to_owned());
                true
            }
            Outcome::Stranger => false,
            Outcome::Ask(upstreams) => self.ask(came, (&query, limit, upstreams), to),
        }
    }

    /// Whether somebody is a member of a network, or the host.
    pub(super) fn is_known(&self, zone: usize, source: IpAddr) -> bool {
        let zone = &self.snapshot.zones()[zone];
        zone.member(source).is_some() || zone.listen.contains(&source)
    }

    fn refuse(&self, came: &Came<'_>, fault: Fault, to: &mut Vec<u8>) -> bool {
        if !self.is_known(came.zone, came.source) {
            return false;
        }
        match fault {
            Fault::Format(id, flags) => to.extend(refusal(id, flags, Code::FormErr)),
            Fault::Operation(id, flags) => to.extend(refusal(id, flags, Code::NotImp)),
            Fault::Silent => return false,
        }
        true
    }

    fn ask(
        &mut self,
        came: &Came<'_>,
        (query, limit, upstreams): (&Query<'_>, usize, Upstreams),
        to: &mut Vec<u8>,
    ) -> bool {
        let upstreams = match upstreams.is_empty() {
            true => self.resolv.servers().clone(),
            false => upstreams.iter().map(|ip| SocketAddr::new(*ip, PORT)).collect(),
        };
        let asked = match self.options.alone {
            true => Asked::Nobody,
            false => {
                let (back, source) = (came.back, came.source);
                let waiter = Waiter { back, source, message: query.plain(), limit };
                self.forwarder.ask(&self.epoll, (query, &upstreams), waiter)
            }
        };
        let (code, why) = match asked {
            Asked::Waiting => return false,
            Asked::Known(reply, age) => {
                reply.write(to, query, (age, limit));
                self.note(came, query, || format!("remembered for {age} s"));
                return true;
            }
            Asked::Nobody if self.options.alone => (Code::NxDomain, "nobody else is asked"),
            Asked::Nobody => (Code::ServFail, "there is nobody to ask"),
            Asked::TooMuch => (Code::Refused, "too many questions that others must answer"),
        };
        Answer::new(to, query, limit).finish(query, (code, true));
        self.note(came, query, || why.to_owned());
        true
    }

    /// Gives everybody who waited the answer.
    pub(super) fn deliver(&mut self, done: Done<Back>) {
        let by = done.reply.as_ref().map(|(_, by)| *by);
        for waiter in done.waiters {
            let Ok(query) = Query::parse(&waiter.message) else { continue };
            let mut answer = Vec::new();
            match &done.reply {
                Some((reply, _)) => reply.write(&mut answer, &query, (0, waiter.limit)),
                None => {
                    Answer::new(&mut answer, &query, waiter.limit).finish(&query, (Code::ServFail, true));
                }
            }
            let came = Came { message: &waiter.message, zone: 0, source: waiter.source, back: waiter.back };
            self.note(&came, &query, || match by {
                Some(by) => format!("asked {}", without_port(by)),
                None => Why::Unwanted.as_str().to_owned() + ": nobody who was asked said anything",
            });
            self.give(waiter.back, &answer);
        }
    }

    fn give(&mut self, back: Back, answer: &[u8]) {
        match back {
            Back::Udp(listener, to) => {
                if let Some(listener) = self.listeners.get(listener) {
                    let flags = rustix::net::SendFlags::NOSIGNAL;
                    let _ = rustix::net::sendto(&*listener.udp, answer, flags, &to);
                }
            }
            Back::Tcp(number) => {
                if let Some(client) = self.clients.get_mut(&number) {
                    client.asked = client.asked.saturating_sub(1);
                    client.answer(answer);
                    self.go_on_with_client(number, Instant::now());
                }
            }
            Back::Watcher(number) => self.tell_answer(number, answer),
        }
    }

    /// Tells the watchers of a question.
    fn note(&self, came: &Came<'_>, query: &Query<'_>, why: impl Fn() -> String) {
        let mine = |number: u32| came.back == Back::Watcher(number);
        for (number, watcher) in &self.watchers {
            if watcher.logs || mine(*number) {
                let name = name::text(query.key.get());
                let how = match came.back {
                    Back::Udp(..) => "udp",
                    Back::Tcp(_) => "tcp",
                    Back::Watcher(_) => "query",
                };
                let rtype = Rtype::from_int(query.rtype);
                watcher.tell(&format!("{} {how} {name} {rtype} {}", came.source, why()));
            }
        }
    }
}

/// An upstream as people write it: `fe80::1%2`, without the port that all have.
fn without_port(upstream: SocketAddr) -> String {
    match upstream {
        SocketAddr::V6(to) if to.scope_id() > 0 => format!("{}%{}", to.ip(), to.scope_id()),
        to => to.ip().to_string(),
    }
}
