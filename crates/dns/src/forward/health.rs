//! Which upstreams do not answer: they are asked last, and seldom.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long one that failed once is asked last.
const FIRST: Duration = Duration::from_secs(5);
/// How long one that keeps failing is asked last.
const LONGEST: Duration = Duration::from_secs(60);

/// The upstreams that failed.
#[derive(Debug, Default)]
pub struct Health(HashMap<IpAddr, (Instant, u32)>);

impl Health {
    /// Notes that one failed.
    pub fn failed(&mut self, ip: IpAddr, now: Instant) {
        let (until, times) = self.0.entry(ip).or_insert((now, 0));
        *times = (*times + 1).min(8);
        *until = now + (FIRST * 2u32.pow(*times - 1)).min(LONGEST);
    }

    /// Notes that one answered.
    pub fn answered(&mut self, ip: IpAddr) {
        self.0.remove(&ip);
    }

    /// Whether it failed a short while ago.
    pub fn is_dead(&self, ip: IpAddr, now: Instant) -> bool {
        self.0.get(&ip).is_some_and(|(until, _)| *until > now)
    }

    /// The upstreams in the order in which they are asked, at most three: those that answer first.
    pub fn order(&self, all: &[IpAddr], now: Instant) -> Vec<IpAddr> {
        const MOST: usize = 3;
        let mut order = all.to_vec();
        order.sort_by_key(|ip| self.is_dead(*ip, now));
        order.truncate(MOST);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_asked_last_and_again_after_a_while() {
        let (a, b) = (IpAddr::from([1, 1, 1, 1]), IpAddr::from([2, 2, 2, 2]));
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
