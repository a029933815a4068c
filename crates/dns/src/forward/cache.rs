//! Answers of others, for as long as they said, and in a bounded room.

use super::reply::{Question, Reply};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The octets that all of it may take.
const ROOM: usize = 768 << 10;

/// What makes two questions equal: the question, and whom it is put to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(Box<[u8]>);

impl CacheKey {
    /// Of a question to somebody. What is in front of the question says how long it is: whoever asks chooses the
    /// question's octets, and must not make them look like one put to others.
    pub fn new(question: &Question, upstreams: &[SocketAddr]) -> Self {
        let count = u8::try_from(upstreams.len()).unwrap_or(u8::MAX);
        let mut key = vec![u8::from(question.dnssec) | u8::from(question.unchecked) << 1, count];
        for upstream in upstreams {
            match upstream {
                SocketAddr::V4(to) => key.extend(to.ip().to_ipv6_mapped().octets()),
                SocketAddr::V6(to) => key.extend(to.ip().octets()),
            }
            let scope = if let SocketAddr::V6(to) = upstream { to.scope_id() } else { 0 };
            key.extend(scope.to_be_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::query::Query;
    use std::net::IpAddr;

    fn question(name: &[u8]) -> Question {
        let message = [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name, &[0, 0, 1, 0, 1]].concat();
        Question::of(&Query::parse(&message).expect("a question"))
    }

    /// The octets of an address may be labels: 1.1.1.1 is twice the label of one octet, 1.
    #[test]
    fn no_question_passes_for_another_ones() {
        let (near, far) = (SocketAddr::from(([1, 0, 0, 1], 53)), SocketAddr::from(([1, 1, 1, 1], 53)));
        let bank = CacheKey::new(&question(b"\x03www\x04bank"), &[near, far]);
        let crafted = CacheKey::new(&question(b"\x01\x01\x01\x01\x03www\x04bank"), &[near]);
        assert_ne!(bank, crafted);
        let v6 = SocketAddr::new(IpAddr::from([1u8; 16]), 53);
        assert_ne!(
            CacheKey::new(&question(b"\x01a"), &[v6]),
            CacheKey::new(&question(b"\x01a"), &[far; 4]),
            "four addresses of four octets are not one of sixteen"
        );
    }
}
