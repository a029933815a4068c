//! What each client makes us ask of others, so that none takes more than its share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many questions of one client go to others in a second.
const PER_SECOND: u32 = 1000;
/// How many answers one client may wait for.
const MOST: usize = 512;
/// How many all of them may wait for; who waits for few only may still come.
const MOST_OF_ALL: usize = 4096;
const FEW: usize = 4;

/// What a client has been asking for.
#[derive(Debug)]
struct Client {
    since: Instant,
    asked: u32,
    waiting: usize,
}

/// All clients that others are asked for.
#[derive(Debug, Default)]
pub struct Clients {
    by_ip: HashMap<IpAddr, Client>,
    waiting: usize,
}

impl Clients {
    /// Whether one more question of a client may be put to others.
    pub fn may_ask(&mut self, ip: IpAddr, now: Instant) -> bool {
        let client = self.by_ip.entry(ip).or_insert(Client { since: now, asked: 0, waiting: 0 });
        if now.saturating_duration_since(client.since) >= Duration::from_secs(1) {
            (client.since, client.asked) = (now, 0);
        }
        client.asked += 1;
        let room = client.waiting < FEW || self.waiting < MOST_OF_ALL;
        client.asked <= PER_SECOND && client.waiting < MOST && room
    }

    /// How many answers a client waits for.
    pub fn waiting(&self, ip: IpAddr) -> usize {
        self.by_ip.get(&ip).map_or(0, |client| client.waiting)
    }

    /// A client waits for one more.
    pub fn wait(&mut self, ip: IpAddr) {
        if let Some(client) = self.by_ip.get_mut(&ip) {
            client.waiting += 1;
            self.waiting += 1;
        }
    }

    /// A client waits for one less.
    pub fn release(&mut self, ip: IpAddr) {
        if let Some(client) = self.by_ip.get_mut(&ip).filter(|client| client.waiting > 0) {
            client.waiting -= 1;
            self.waiting -= 1;
        }
    }

    /// Forgets those who have not asked anything for a while.
    pub fn sweep(&mut self, now: Instant) {
        let recent = |client: &Client| now.saturating_duration_since(client.since) < Duration::from_secs(1);
        self.by_ip.retain(|_, client| client.waiting > 0 || recent(client));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn a_second_is_a_second_also_when_nothing_happened_in_between() {
        let (mut clients, now) = (Clients::default(), Instant::now());
        (0..PER_SECOND).for_each(|_| assert!(clients.may_ask(ONE, now)));
        assert!(!clients.may_ask(ONE, now + Duration::from_millis(900)));
        assert!(clients.may_ask(ONE, now + Duration::from_secs(9)));
    }

    #[test]
    fn many_who_wait_keep_nobody_out() {
        let (mut clients, now) = (Clients::default(), Instant::now());
        for n in 0..16u8 {
            let ip = IpAddr::from([10, 0, 1, n]);
            while clients.may_ask(ip, now) {
                clients.wait(ip);
            }
        }
        assert!(clients.waiting < MOST_OF_ALL + 16 * FEW, "{}", clients.waiting);
        assert!(clients.may_ask(ONE, now));
    }
}
