//! Who may ask how much when more comes than can be answered. A listener's datagrams wait in one row: who fills it
//! would hold up all others. While a row does not get shorter, one client's questions are answered up to 1000 in a
//! second; what is above is dropped as it is read, which is far quicker than answering it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// So many full batches after one another are more than can be answered.
const FULL: u32 = 2;
/// How many questions of one client are answered then, in a turn.
const MOST: u32 = 100;
/// How long a turn is.
const TURN: Duration = Duration::from_millis(100);

/// What each client has asked while it was too much.
#[derive(Debug)]
pub struct Shares {
    asked: HashMap<IpAddr, u32>,
    since: Instant,
}

impl Shares {
    /// Nobody has.
    pub fn new(now: Instant) -> Self {
        Self { asked: HashMap::new(), since: now }
    }

    /// Begins a batch, when so many were full before it; whether all in it is answered, whoever sent it.
    pub fn is_free(&mut self, full: u32) -> bool {
        if full == 0 || (full < FULL && self.asked.is_empty()) {
            return true;
        }
        let now = Instant::now();
        if now.saturating_duration_since(self.since) >= TURN {
            self.asked.clear();
            self.since = now;
        }
        full < FULL && self.asked.is_empty()
    }

    /// Whether one more question of a client is answered.
    pub fn may_ask(&mut self, ip: IpAddr) -> bool {
        let asked = self.asked.entry(ip).or_default();
        *asked = asked.saturating_add(1);
        *asked <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_too_much_is_not_answered_while_there_is_too_much() {
        let (loud, other) = (IpAddr::from([10, 0, 0, 2]), IpAddr::from([10, 0, 0, 3]));
        let mut shares = Shares::new(Instant::now());
        assert!((0..FULL).all(|full| shares.is_free(full)), "a few at once are no flood");
        assert!(!shares.is_free(FULL));
        assert_eq!((0..5000).filter(|_| shares.may_ask(loud)).count(), MOST as usize);
        assert!(shares.may_ask(other));
        assert!(!shares.is_free(1) && !shares.may_ask(loud), "it goes on at once");
        assert!(shares.is_free(0), "nobody else waits");
        shares.since -= TURN;
        assert!(shares.is_free(1) && !shares.is_free(FULL) && shares.may_ask(loud), "the next turn");
    }
}
