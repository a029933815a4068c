//! Which upstreams do not answer: they are asked last, and seldom.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long one that failed once is asked last.
const FIRST: Duration = Duration::from_secs(5);
/// How long one that keeps failing is asked last.
const LONGEST: Duration = Duration::from_secs(60);

/// The upstreams that failed.
#[derive(Debug, Default)]
pub struct Health(HashMap<SocketAddr, (Instant, u32)>);

impl Health {
    /// Notes that one failed.
    pub fn failed(&mut self, upstream: SocketAddr, now: Instant) {
        let (until, times) = self.0.entry(upstream).or_insert((now, 0));
        *times = (*times + 1).min(8);
        *until = now + (FIRST * 2u32.pow(*times - 1)).min(LONGEST);
    }

    /// Notes that one answered.
    pub fn answered(&mut self, upstream: SocketAddr) {
        self.0.remove(&upstream);
    }

    /// Whether it failed a short while ago.
    pub fn is_dead(&self, upstream: SocketAddr, now: Instant) -> bool {
        self.0.get(&upstream).is_some_and(|(until, _)| *until > now)
    }

    /// The upstreams in the order in which they are asked, at most three: those that answer first.
    pub fn order(&self, all: &[SocketAddr], now: Instant) -> Vec<SocketAddr> {
        const MOST: usize = 3;
        let mut order = all.to_vec();
        order.sort_by_key(|upstream| self.is_dead(*upstream, now));
        order.truncate(MOST);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_asked_last_and_again_after_a_while() {
        let (a, b) = (SocketAddr::from(([1, 1, 1, 1], 53)), SocketAddr::from(([2, 2, 2, 2], 53)));
        let (mut health, now) = (Health::default(), Instant::now());
        health.failed(a, now);
        assert_eq!(health.order(&[a, b], now), [b, a]);
        assert_eq!(health.order(&[a, b], now + Duration::from_secs(6)), [a, b]);
        health.failed(a, now);
        assert!(health.is_dead(a, now + Duration::from_secs(6)), "twice as long the second time");
        health.answered(a);
        assert_eq!(health.order(&[a, b], now), [a, b]);
    }
}
