//! Answers of others, for as long as they said, and in a bounded room.

use super::reply::{Question, Reply};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The octets that all of it may take.
const ROOM: usize = 768 << 10;

/// What makes two questions equal: the question, and whom it is put to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(Box<[u8]>);

impl CacheKey {
    /// Of a question to somebody.
    pub fn new(question: &Question, upstreams: &[IpAddr]) -> Self {
        let mut key = vec![u8::from(question.dnssec) | u8::from(question.unchecked) << 1];
        for ip in upstreams {
            match ip {
                IpAddr::V4(ip) => key.extend(ip.octets()),
                IpAddr::V6(ip) => key.extend(ip.octets()),
            }
        }
        key.extend(&*question.bytes);
        Self(key.into())
    }
}

/// The answers.
#[derive(Debug, Default)]
pub struct Cache {
    kept: HashMap<CacheKey, (Rc<Reply>, Instant)>,
    order: VecDeque<(CacheKey, Instant)>,
    size: usize,
}

impl Cache {
    /// An answer that may still be given, and its age in seconds.
    pub fn get(&self, key: &CacheKey, now: Instant) -> Option<(&Rc<Reply>, u32)> {
        let (reply, came) = self.kept.get(key)?;
        let age = now.saturating_duration_since(*came).as_secs();
        (age < u64::from(reply.ttl)).then_some((reply, age as u32))
    }

    /// Keeps an answer. The oldest make room.
    pub fn put(&mut self, key: &CacheKey, reply: &Rc<Reply>, now: Instant) {
        if reply.ttl == 0 || reply.size() > ROOM / 8 {
            return;
        }
        self.size += cost(key, reply);
        self.order.push_back((key.clone(), now));
        if let Some((old, _)) = self.kept.insert(key.clone(), (Rc::clone(reply), now)) {
            self.size -= cost(key, &old);
        }
        while self.size > ROOM || self.order.len() > 4096 {
            let Some((key, came)) = self.order.pop_front() else { break };
            self.drop_if(&key, came);
        }
    }

    /// Forgets what is too old to be given.
    pub fn sweep(&mut self, now: Instant) {
        while let Some((key, came)) = self.order.front().cloned() {
            let (kept, ttl) = match self.kept.get(&key) {
                Some((reply, at)) => (*at == came, u64::from(reply.ttl)),
                None => (false, 0),
            };
            if kept && now.saturating_duration_since(came) < Duration::from_secs(ttl) {
                break;
            }
            self.order.pop_front();
            self.drop_if(&key, came);
        }
    }

    /// Forgets everything: other upstreams may answer otherwise.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn drop_if(&mut self, key: &CacheKey, came: Instant) {
        let is = self.kept.get(key).is_some_and(|(_, at)| *at == came);
        if let Some((reply, _)) = is.then(|| self.kept.remove(key)).flatten() {
            self.size -= cost(key, &reply);
        }
    }
}

fn cost(key: &CacheKey, reply: &Reply) -> usize {
    2 * key.0.len() + reply.size() + 96
}
