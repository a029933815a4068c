//! Questions that somebody else answers: asked once however many want to know, and remembered.

mod cache;
mod clients;
mod health;
pub mod judge;
mod line;
mod random;
pub mod reply;

use crate::epoll::{Epoll, Token};
use crate::socket::Transport;
use crate::wire::query::Query;
use cache::{Cache, CacheKey};
use clients::Clients;
use health::Health;
use judge::{Verdict, judge};
use line::{Heard, Line};
use random::Numbers;
use reply::{Question, Reply};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The port of name servers.
pub const PORT: u16 = 53;
/// How long one upstream may take before the next is asked.
const PATIENCE: Duration = Duration::from_millis(1200);
/// How long a question may take in all: resolvers ask again after 5 s.
const TOTAL: Duration = Duration::from_millis(4800);
/// Of the questions to others at one time, one client's.
const MOST_OF_ONE: usize = 128;
/// How many messages that are not the answer may come by a line, before it is asked by TCP: only who sends from the
/// upstream's address and port is heard there, so somebody is guessing.
const MOST_WRONG: u8 = 8;

/// Somebody who waits for an answer.
#[derive(Clone, Debug)]
pub struct Waiter<B> {
    /// Where the answer goes.
    pub back: B,
    /// Whose question it is.
    pub source: IpAddr,
    /// The message with the question.
    pub message: Box<[u8]>,
    /// The most octets of the answer.
    pub limit: usize,
}

/// What becomes of a question at once.
#[derive(Debug)]
pub enum Asked {
    /// The answer is known, and this many seconds old.
    Known(Rc<Reply>, u32),
    /// It is being asked.
    Waiting,
    /// Nobody can be asked.
    Nobody,
    /// This client asks too much.
    TooMuch,
}

/// A question that has been answered, or not.
#[derive(Debug)]
pub struct Done<B> {
    /// Who waited for it.
    pub waiters: Vec<Waiter<B>>,
    /// The answer, and who gave it; none where nobody did.
    pub reply: Option<(Rc<Reply>, SocketAddr)>,
}

/// A question that is being asked.
#[derive(Debug)]
struct Asking<B> {
    key: CacheKey,
    question: Question,
    waiters: Vec<Waiter<B>>,
    order: Vec<SocketAddr>,
    at: usize,
    edns: bool,
    id: u16,
    line: Option<Line>,
    wrong: u8,
    until: Instant,
    end: Instant,
}

/// All questions to others.
#[derive(Debug)]
pub struct Forwarder<B> {
    asking: HashMap<u32, Asking<B>>,
    by_key: HashMap<CacheKey, u32>,
    clients: Clients,
    cache: Cache,
    health: Health,
    numbers: Numbers,
    next: u32,
    swept: Instant,
    /// Our own addresses: we never ask ourselves.
    own: Vec<IpAddr>,
    /// Questions at one time; each has a descriptor.
    most: usize,
    /// Those that had to make room.
    ended: Vec<Done<B>>,
}

impl<B> Forwarder<B> {
    /// Without anything to do; it asks at most so many questions at one time.
    pub fn new(now: Instant, most: usize) -> Self {
        Self {
            asking: HashMap::new(),
            by_key: HashMap::new(),
            clients: Clients::default(),
            cache: Cache::default(),
            health: Health::default(),
            numbers: Numbers::default(),
            next: 0,
            swept: now,
            own: Vec::new(),
            most,
            ended: Vec::new(),
        }
    }

    /// Says where we are asked ourselves.
    pub fn never_ask(&mut self, own: Vec<IpAddr>) {
        self.own = own;
    }

    /// Forgets what others said: there are other upstreams now.
    pub fn forget(&mut self) {
        self.cache.clear();
    }

    /// Asks, unless the answer is known.
    pub fn ask(
        &mut self,
        epoll: &Epoll,
        (query, to): (&Query<'_>, &[SocketAddr]),
        waiter: Waiter<B>,
    ) -> Asked {
        let now = Instant::now();
        let question = Question::of(query);
        let key = CacheKey::new(&question, to);
        if let Some((reply, age)) = self.cache.get(&key, now) {
            return Asked::Known(Rc::clone(reply), age);
        }
        let source = waiter.source;
        if !self.clients.may_ask(source, now) {
            return Asked::TooMuch;
        }
        if let Some(asking) = self.by_key.get(&key).and_then(|number| self.asking.get_mut(number)) {
            self.clients.wait(source);
            asking.waiters.push(waiter);
            return Asked::Waiting;
        }
        if self.clients.waiting(source) >= MOST_OF_ONE || !self.has_room(source) {
            return Asked::TooMuch;
        }
        let others = to.iter().copied().map(reached).filter(|to| !self.own.contains(&to.ip()));
        let order = self.health.order(&others.collect::<Vec<_>>(), now);
        if order.is_empty() {
            return Asked::Nobody;
        }
        let asking = Asking {
            key: key.clone(),
            question,
            waiters: vec![waiter],
            order,
            at: 0,
            edns: true,
            id: 0,
            line: None,
            wrong: 0,
            until: now,
            end: now + TOTAL,
        };
        self.clients.wait(source);
        self.begin(epoll, (key, asking))
    }

    /// Whether one more question may be asked. Who makes us ask most makes room for who makes us ask less.
    fn has_room(&mut self, source: IpAddr) -> bool {
        if self.asking.len() < self.most {
            return true;
        }
        let count = |asking: &Asking<B>| self.clients.waiting(asking.waiters[0].source);
        let heaviest = self.asking.iter().max_by_key(|(_, asking)| (count(asking), Reverse(asking.end)));
        let heaviest = heaviest.filter(|(_, asking)| count(asking) > self.clients.waiting(source) + 1);
        let Some(asking) = heaviest.map(|(number, _)| *number).and_then(|n| self.asking.remove(&n)) else {
            return false;
        };
        let done = self.end(asking, None);
        self.ended.push(done);
        true
    }

    /// What had to make room, and is not answered any more.
    pub fn ended(&mut self) -> Vec<Done<B>> {
        std::mem::take(&mut self.ended)
    }

    fn begin(&mut self, epoll: &Epoll, (key, mut asking): (CacheKey, Asking<B>)) -> Asked {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        if !self.send(epoll, (number, &mut asking), Transport::Udp) {
            self.release(&asking.waiters);
            return Asked::Nobody;
        }
        self.by_key.insert(key, number);
        self.asking.insert(number, asking);
        Asked::Waiting
    }

    /// Sends a question to the upstream whose turn it is, or to the next that can be reached; false if there is none.
    fn send(&mut self, epoll: &Epoll, (number, asking): (u32, &mut Asking<B>), transport: Transport) -> bool {
        let now = Instant::now();
        // Everybody twice: datagrams are lost.
        while asking.at < 2 * asking.order.len() && now < asking.end {
            let to = asking.order[asking.at % asking.order.len()];
            asking.id = self.numbers.next();
            let message = asking.question.message(asking.id, asking.edns);
            let line = Line::open(transport, to, &message);
            if let Ok(line) = line.and_then(|line| line.watch(epoll, Token::Upstream(number)).map(|()| line))
            {
                asking.wrong = 0;
                asking.line = Some(line); // the line before is closed, and what comes by it is heard by nobody
                asking.until = (now + PATIENCE).min(asking.end);
                return true;
            }
            self.health.failed(to, now);
            asking.at += 1;
        }
        false
    }

    /// Something came from an upstream.
    pub fn hear(&mut self, epoll: &Epoll, number: u32) -> Option<Done<B>> {
        const TURN: usize = 16;
        let mut asking = self.asking.remove(&number)?;
        for _ in 0..TURN {
            let heard =
                asking.line.as_mut().map_or(Heard::Broken, |line| line.hear(epoll, Token::Upstream(number)));
            let Heard::Message(message) = heard else {
                let broken = matches!(heard, Heard::Broken);
                return self.go_on(epoll, (number, asking), broken);
            };
            let from = asking.order[asking.at % asking.order.len()];
            let by_tcp = asking.line.as_ref().is_some_and(Line::is_stream);
            let sent = match judge(&message, (asking.id, &asking.question)) {
                Verdict::NotIt if !by_tcp && asking.wrong < MOST_WRONG => {
                    asking.wrong += 1;
                    continue;
                }
                Verdict::NotIt | Verdict::Short if !by_tcp => {
                    self.send(epoll, (number, &mut asking), Transport::Tcp)
                }
                Verdict::NoEdns if asking.edns => {
                    asking.edns = false;
                    self.send(epoll, (number, &mut asking), Transport::Udp)
                }
                Verdict::NoEdns | Verdict::Useless | Verdict::Short | Verdict::NotIt => {
                    asking.at += 1;
                    // They are there, and cannot say: asking the same twice is no use.
                    asking.at < asking.order.len() && self.send(epoll, (number, &mut asking), Transport::Udp)
                }
                Verdict::Good(reply) => return Some(self.answered(asking, (reply, from))),
            };
            if !sent {
                return Some(self.failed(asking));
            }
        }
        self.go_on(epoll, (number, asking), false)
    }

    fn go_on(
        &mut self,
        epoll: &Epoll,
        (number, mut asking): (u32, Asking<B>),
        broken: bool,
    ) -> Option<Done<B>> {
        if broken {
            let dead = asking.order[asking.at % asking.order.len()];
            self.health.failed(dead, Instant::now());
            asking.at += 1;
            if !self.send(epoll, (number, &mut asking), Transport::Udp) {
                return Some(self.failed(asking));
            }
        }
        self.asking.insert(number, asking);
        None
    }

    fn answered(&mut self, asking: Asking<B>, (reply, from): (Reply, SocketAddr)) -> Done<B> {
        self.health.answered(from);
        let reply = Rc::new(reply);
        self.cache.put(&asking.key, &reply, Instant::now());
        self.end(asking, Some((reply, from)))
    }

    /// Nobody said anything.
    fn failed(&mut self, asking: Asking<B>) -> Done<B> {
        self.cache.put(&asking.key, &Rc::new(Reply::failure()), Instant::now());
        self.end(asking, None)
    }

    fn end(&mut self, asking: Asking<B>, reply: Option<(Rc<Reply>, SocketAddr)>) -> Done<B> {
        self.by_key.remove(&asking.key);
        self.release(&asking.waiters);
        Done { waiters: asking.waiters, reply }
    }

    fn release(&mut self, waiters: &[Waiter<B>]) {
        waiters.iter().for_each(|waiter| self.clients.release(waiter.source));
    }

    /// Whether somebody waits.
    pub fn is_busy(&self) -> bool {
        !self.asking.is_empty()
    }

    /// Asks the next where one was silent for too long, and gives up what nobody answers.
    pub fn sweep(&mut self, epoll: &Epoll, now: Instant) -> Vec<Done<B>> {
        if now.saturating_duration_since(self.swept) >= Duration::from_secs(1) {
            self.swept = now;
            self.cache.sweep(now);
            self.clients.sweep(now);
        }
        let late: Vec<u32> = self.asking.iter().filter(|(_, a)| a.until <= now).map(|(n, _)| *n).collect();
        let late = late.into_iter().filter_map(|number| self.asking.remove(&number).map(|a| (number, a)));
        let late: Vec<_> = late.collect();
        late.into_iter().filter_map(|asking| self.go_on(epoll, asking, true)).collect()
    }
}

/// The address that is reached by one (RFC 4291 section 2.5.5.2, and the unspecified one, which means this host): by
/// whatever form, we never ask ourselves.
fn reached(to: SocketAddr) -> SocketAddr {
    let port = to.port();
    match to.ip().to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => (Ipv4Addr::LOCALHOST, port).into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => (Ipv6Addr::LOCALHOST, port).into(),
        IpAddr::V4(ip) => (ip, port).into(),
        IpAddr::V6(_) => to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_reach_the_same_are_the_same() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (of, by) in
            [("::ffff:10.0.0.1", "10.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("fd00::1", "fd00::1")]
        {
            assert_eq!(reached((ip(of), PORT).into()).ip(), ip(by), "{of}");
        }
    }
}
