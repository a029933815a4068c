//! Questions that somebody else answers: asked once however many want to know, and remembered.

mod cache;
mod health;
mod line;
mod random;
pub mod reply;

use crate::epoll::{Epoll, Token};
use crate::socket::Transport;
use crate::wire::query::Query;
use cache::{Cache, CacheKey};
use health::Health;
use line::{Heard, Line};
use random::Numbers;
use reply::{Question, Reply, Verdict, judge};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long one upstream may take before the next is asked.
const PATIENCE: Duration = Duration::from_millis(1200);
/// How long a question may take in all: resolvers ask again after 5 s.
const TOTAL: Duration = Duration::from_millis(4800);
/// Questions to others at one time; each has a descriptor.
const MOST: usize = 512;
/// Of those, one client's.
const MOST_OF_ONE: usize = 128;
/// How many clients may wait for one answer.
const MOST_WAITING: usize = 512;
/// How many questions of one client go to others in a second.
const PER_SECOND: u32 = 1000;

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
    pub reply: Option<(Rc<Reply>, IpAddr)>,
}

/// A question that is being asked.
#[derive(Debug)]
struct Asking<B> {
    key: CacheKey,
    question: Question,
    waiters: Vec<Waiter<B>>,
    order: Vec<IpAddr>,
    at: usize,
    edns: bool,
    id: u16,
    line: Option<Line>,
    until: Instant,
    end: Instant,
}

/// What a client has been asking for.
#[derive(Debug, Default)]
struct Client {
    second: u32,
    waiting: usize,
}

/// All questions to others.
#[derive(Debug)]
pub struct Forwarder<B> {
    asking: HashMap<u32, Asking<B>>,
    by_key: HashMap<CacheKey, u32>,
    clients: HashMap<IpAddr, Client>,
    cache: Cache,
    health: Health,
    numbers: Numbers,
    next: u32,
    swept: Instant,
    /// Our own addresses: we never ask ourselves.
    own: Vec<IpAddr>,
}

impl<B> Forwarder<B> {
    /// Without anything to do.
    pub fn new(now: Instant) -> Self {
        Self {
            asking: HashMap::new(),
            by_key: HashMap::new(),
            clients: HashMap::new(),
            cache: Cache::default(),
            health: Health::default(),
            numbers: Numbers::default(),
            next: 0,
            swept: now,
            own: Vec::new(),
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
    pub fn ask(&mut self, epoll: &Epoll, (query, to): (&Query<'_>, &[IpAddr]), waiter: Waiter<B>) -> Asked {
        let now = Instant::now();
        let question = Question::of(query);
        let key = CacheKey::new(&question, to);
        if let Some((reply, age)) = self.cache.get(&key, now) {
            return Asked::Known(Rc::clone(reply), age);
        }
        let client = self.clients.entry(waiter.source).or_default();
        client.second += 1;
        if client.second > PER_SECOND || client.waiting >= MOST_WAITING {
            return Asked::TooMuch;
        }
        if let Some(asking) = self.by_key.get(&key).and_then(|number| self.asking.get_mut(number)) {
            client.waiting += 1;
            asking.waiters.push(waiter);
            return Asked::Waiting;
        }
        if client.waiting >= MOST_OF_ONE || self.asking.len() >= MOST {
            return Asked::TooMuch;
        }
        let order: Vec<IpAddr> = to.iter().copied().filter(|ip| !self.own.contains(ip)).collect();
        if order.is_empty() {
            return Asked::Nobody;
        }
        client.waiting += 1;
        let order = self.health.order(&order, now);
        let asking = Asking {
            key: key.clone(),
            question,
            waiters: vec![waiter],
            order,
            at: 0,
            edns: true,
            id: 0,
            line: None,
            until: now,
            end: now + TOTAL,
        };
        self.begin(epoll, (key, asking))
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
            let sent = match judge(&message, (asking.id, &asking.question)) {
                Verdict::NotIt => continue,
                Verdict::Short => self.send(epoll, (number, &mut asking), Transport::Tcp),
                Verdict::NoEdns if asking.edns => {
                    asking.edns = false;
                    self.send(epoll, (number, &mut asking), Transport::Udp)
                }
                Verdict::NoEdns | Verdict::Useless => {
                    asking.at += 1;
                    // They are there, and cannot say: asking the same twice is no use.
                    asking.at < asking.order.len() && self.send(epoll, (number, &mut asking), Transport::Udp)
                }
                Verdict::Good(reply) => return Some(self.answered(asking, (reply, from))),
            };
            if !sent {
                return Some(self.end(asking, None));
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
                return Some(self.end(asking, None));
            }
        }
        self.asking.insert(number, asking);
        None
    }

    fn answered(&mut self, asking: Asking<B>, (reply, from): (Reply, IpAddr)) -> Done<B> {
        self.health.answered(from);
        let reply = Rc::new(reply);
        self.cache.put(&asking.key, &reply, Instant::now());
        self.end(asking, Some((reply, from)))
    }

    fn end(&mut self, asking: Asking<B>, reply: Option<(Rc<Reply>, IpAddr)>) -> Done<B> {
        self.by_key.remove(&asking.key);
        self.release(&asking.waiters);
        Done { waiters: asking.waiters, reply }
    }

    fn release(&mut self, waiters: &[Waiter<B>]) {
        for waiter in waiters {
            if let Some(client) = self.clients.get_mut(&waiter.source) {
                client.waiting = client.waiting.saturating_sub(1);
            }
        }
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
            self.clients.retain(|_, client| client.waiting > 0);
            self.clients.values_mut().for_each(|client| client.second = 0);
        }
        let late: Vec<u32> = self.asking.iter().filter(|(_, a)| a.until <= now).map(|(n, _)| *n).collect();
        let late = late.into_iter().filter_map(|number| self.asking.remove(&number).map(|a| (number, a)));
        let late: Vec<_> = late.collect();
        late.into_iter().filter_map(|asking| self.go_on(epoll, asking, true)).collect()
    }
}
