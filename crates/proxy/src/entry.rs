//! An entry: a published port as the name and the target of a symbolic link.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A transport that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The beginning of an entry's target if another program holds the ports.
const HELD: &str = "held ";

/// A published port or range of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The transport.
    pub transport: Transport,
    /// The address it is published on; the unspecified one for all of a family.
    pub host: IpAddr,
    /// The first port, 1 to 65535.
    pub first: u16,
    /// The last port, not before the first.
    pub last: u16,
    /// Where the first port leads; the others lead to the ports that follow.
    pub to: SocketAddr,
    /// Whose it is: the mark.
    pub owner: String,
    /// Whether another program holds the ports with sockets of its own: the proxy does not serve them then.
    pub held: bool,
}

impl Entry {
    /// The link's name: `tcp:8080-8080:0.0.0.0`.
    pub fn name(&self) -> String {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        format!("{transport}:{}-{}:{}", self.first, self.last, self.host)
    }

    /// The link's target: `172.17.0.2:80 MARK`, or `held 172.17.0.2:80 MARK`.
    pub fn target(&self) -> String {
        format!("{}{} {}", if self.held { HELD } else { "" }, self.to, self.owner)
    }

    /// Reads a link; none if it is no entry, or one for an address that is not the host's own.
    pub fn parse(name: &str, target: &str) -> Option<Self> {
        let (transport, rest) = name.split_once(':')?;
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return None,
        };
        let (ports, host) = rest.split_once(':')?;
        let (first, last) = ports.split_once('-')?;
        let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        let (held, target) = target.strip_prefix(HELD).map_or((false, target), |rest| (true, rest));
        let (to, owner) = target.split_once(' ')?;
        let (host, to): (IpAddr, SocketAddr) = (host.parse().ok()?, to.parse().ok()?);
        let good = first > 0 && last >= first && to.port().checked_add(last - first).is_some();
        let local = host.is_loopback() || host.is_unspecified();
        (good && local).then(|| Self { transport, host, first, last, to, owner: owner.to_owned(), held })
    }

    /// Each port: where to listen, and where that leads.
    pub fn ports(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let (host, to) = (self.listens_on(), self.to);
        (self.first..=self.last)
            .zip(to.port()..=u16::MAX)
            .map(move |(from, port)| (SocketAddr::new(host, from), SocketAddr::new(to.ip(), port)))
    }

    /// Whether it leaves ports to another one: what is published on the loopback address itself comes before what is
    /// published on all addresses, as with the hooks. A container on two networks may have both.
    pub fn stands_back(&self, other: &Self) -> bool {
        let is_of_all = self.host.is_unspecified() && !other.host.is_unspecified();
        let same = self.transport == other.transport && self.listens_on() == other.listens_on();
        is_of_all && same && self.first <= other.last && other.first <= self.last
    }

    /// Whether a port is among its ports.
    pub fn has(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// The loopback address to listen on.
    fn listens_on(&self) -> IpAddr {
        match self.host {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.name(), self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_trip() {
        for (name, target) in [
            ("tcp:8080-8080:0.0.0.0", "172.17.0.2:80 qiao:ep:front/web/eth0"),
            ("udp:10-20:::1", "[fd00::2]:10 qiao:host"),
            ("tcp:8080-8080:127.0.0.1", "held 172.17.0.2:80 qiao:host"),
        ] {
            let entry = Entry::parse(name, target).unwrap();
            assert_eq!((entry.name().as_str(), entry.target().as_str()), (name, target));
        }
    }

    #[test]
    fn the_last_port_is_one_too() {
        let entry = Entry::parse("tcp:8079-8080:0.0.0.0", "172.17.0.2:65534 x").unwrap();
        let ports: Vec<_> = entry.ports().map(|(from, to)| (from.port(), to.port())).collect();
        assert_eq!(ports, [(8079, 65534), (8080, 65535)]);
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for name in ["lock", "state", "tcp:0-1:0.0.0.0", "tcp:2-1:0.0.0.0", "sctp:1-1:::", "tcp:1-1:10.0.0.1"]
        {
            assert_eq!(Entry::parse(name, "172.17.0.2:80 x"), None, "{name}");
        }
        assert_eq!(Entry::parse("tcp:1-9:::", "172.17.0.2:65530 x"), None, "ports beyond the last");
    }
}
