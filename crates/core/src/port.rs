//! Published ports: what is asked (`-p`), what it becomes, and what is in the way of what.

mod spec;

pub use spec::PublishSpec;

use crate::name::quoted;
use crate::refusal::Refusal;
use crate::subnet::Family;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A transport protocol that can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP (RFC 9293).
    Tcp,
    /// UDP (RFC 768).
    Udp,
    /// SCTP (RFC 9260).
    Sctp,
}

impl Protocol {
    /// The IP protocol number (`linux/in.h`).
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    /// The protocol with this IP protocol number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|p| p.number() == number)
    }

    /// `tcp`, `udp` or `sctp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = Refusal;
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let found = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|p| p.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            Refusal::invalid(format!("{} is not a protocol that can be published", quoted(text)))
                .why("tcp, udp or sctp")
        })
    }
}

/// One port or several in a row: 1 to 65535, `first` not after `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports `first` to `last`. Port 0 and an empty range are refused.
    pub fn new(first: u16, last: u16) -> Result<Self, Refusal> {
        if first == 0 || last < first {
            return Err(Refusal::invalid(format!("`{first}-{last}` is not a range of ports"))
                .why("ports are 1 to 65535"));
        }
        Ok(Self { first, last })
    }

    /// The one port `port`.
    pub fn one(port: u16) -> Result<Self, Refusal> {
        Self::new(port, port)
    }

    /// The first port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The last port.
    pub fn last(self) -> u16 {
        self.last
    }

    /// How many ports: 1 to 65535.
    pub fn count(self) -> u16 {
        self.last - self.first + 1
    }

    /// Whether the two share a port.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Every port.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

impl TryFrom<(u16, u16)> for PortRange {
    type Error = Refusal;
    fn try_from((first, last): (u16, u16)) -> Result<Self, Refusal> {
        Self::new(first, last)
    }
}

impl From<PortRange> for (u16, u16) {
    fn from(range: PortRange) -> (u16, u16) {
        (range.first, range.last)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for PortRange {
    type Err = Refusal;
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::new(parse_port(first)?, parse_port(last)?)
    }
}

fn parse_port(text: &str) -> Result<u16, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or_else(|| {
        Refusal::invalid(format!("{} is not a port", quoted(text))).why("ports are 1 to 65535")
    })
}

/// Where a published port is: on every address of the host in one family, or on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostAddr {
    /// Every address of the host in the family.
    Any(Family),
    /// This one.
    One(IpAddr),
}

impl HostAddr {
    /// `0.0.0.0` and `::` mean every address of their family.
    pub fn from_ip(ip: IpAddr) -> Self {
        if ip.is_unspecified() { HostAddr::Any(Family::of(ip)) } else { HostAddr::One(ip) }
    }

    /// The address as it is written: `0.0.0.0` or `::` for every address.
    pub fn ip(self) -> IpAddr {
        match self {
            HostAddr::Any(family) => family.address(0),
            HostAddr::One(ip) => ip,
        }
    }

    /// The address family.
    pub fn family(self) -> Family {
        Family::of(self.ip())
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (HostAddr::One(a), HostAddr::One(b)) => a == b,
            _ => self.family() == other.family(),
        }
    }

    /// Whether clients of the loopback address are served.
    pub fn covers_loopback(self) -> bool {
        match self {
            HostAddr::Any(_) => true,
            HostAddr::One(ip) => ip.is_loopback(),
        }
    }
}

impl fmt::Display for HostAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            IpAddr::V4(ip) => write!(f, "{ip}"),
            IpAddr::V6(ip) => write!(f, "[{ip}]"),
        }
    }
}

/// The host's side of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Listen {
    /// The protocol.
    pub protocol: Protocol,
    /// The address or addresses.
    pub host: HostAddr,
    /// The port or ports.
    pub ports: PortRange,
}

impl Listen {
    /// Whether a packet could belong to both.
    pub fn conflicts(self, other: Self) -> bool {
        self.protocol == other.protocol && self.ports.overlaps(other.ports) && self.host.overlaps(other.host)
    }

    /// Whether every port of `other` is one of these, at the same address.
    pub fn covers(self, other: Self) -> bool {
        (self.protocol, self.host) == (other.protocol, other.host)
            && self.ports.first <= other.ports.first
            && other.ports.last <= self.ports.last
    }

    /// Whether clients of the loopback address are served. SCTP has no hooks when it connects, and no proxy.
    pub fn serves_loopback(self) -> bool {
        self.protocol != Protocol::Sctp && self.host.covers_loopback()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.ports, self.protocol)
    }
}

/// Where packets to a published port go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Backend {
    /// The container's address.
    pub ip: IpAddr,
    /// The container's port for the first port of the host.
    pub port: u16,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

/// A published port: `listen` of the host goes to `backend` of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Publish {
    /// The host's side.
    pub listen: Listen,
    /// The container's side.
    pub backend: Backend,
}

/// The shortest range that becomes one interval element instead of one element a port. Intervals cost every
/// other interval a copy per change (pipapo), single ports cost 4 µs each and are found faster.
pub const INTERVAL_MIN: u16 = 16;

impl Publish {
    /// The pieces the firewall holds: the whole where it is one port or a long range that keeps its numbers,
    /// else one piece a port.
    pub fn pieces(self) -> Vec<Publish> {
        let Publish { listen, backend } = self;
        let whole = listen.ports.count() >= INTERVAL_MIN && listen.ports.first() == backend.port;
        if whole || listen.ports.count() == 1 {
            return vec![self];
        }
        self.singles().collect()
    }

    /// Each port by itself.
    pub fn singles(self) -> impl Iterator<Item = Publish> {
        let ports = self.listen.ports.ports().zip(self.backend.port..=u16::MAX);
        ports.map(move |(host, port)| self.piece(host, port))
    }

    fn piece(self, host: u16, port: u16) -> Publish {
        let ports = PortRange { first: host, last: host };
        Publish { listen: Listen { ports, ..self.listen }, backend: Backend { port, ..self.backend } }
    }
}

/// Joins ports that follow one another on both sides into ranges, in the order in which they come: what is written down of
/// thousands of ports is short then. The firewall's pieces are the same, but for those of long ranges.
pub fn joined(ports: Vec<Publish>) -> Vec<Publish> {
    let mut sorted: Vec<(usize, Publish)> = ports.into_iter().enumerate().collect();
    sorted.sort_by_key(|(_, p)| (p.listen.protocol, p.listen.host, p.backend.ip, p.listen.ports.first));
    let mut runs: Vec<(usize, Publish)> = Vec::with_capacity(sorted.len());
    for (at, next) in sorted {
        match runs.last_mut().filter(|(_, run)| run.is_followed_by(next)) {
            Some((first, run)) => {
                *first = at.min(*first);
                run.listen.ports.last = next.listen.ports.last;
            }
            None => runs.push((at, next)),
        }
    }
    runs.sort_by_key(|(at, _)| *at);
    runs.into_iter().map(|(_, run)| run).collect()
}

impl Publish {
    fn is_followed_by(self, next: Publish) -> bool {
        let place = |p: Publish| (p.listen.protocol, p.listen.host, p.backend.ip);
        let length = u32::from(self.listen.ports.count());
        let follows = |own: u16, other: u16| u32::from(own) + length == u32::from(other);
        place(self) == place(next)
            && follows(self.listen.ports.first, next.listen.ports.first)
            && follows(self.backend.port, next.backend.port)
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Publish { listen, backend } = self;
        let last = backend.port + (listen.ports.count() - 1);
        write!(f, "{}:{}->", listen.host, listen.ports)?;
        if last == backend.port {
            write!(f, "{last}/{}", listen.protocol)
        } else {
            write!(f, "{}-{last}/{}", backend.port, listen.protocol)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> PublishSpec {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn reads_every_form_docker_takes() {
        assert_eq!(spec("80").to_string(), "80/tcp");
        assert_eq!(spec("8080:80").to_string(), "8080:80/tcp");
        assert_eq!(spec("127.0.0.1:8080:80/udp").to_string(), "127.0.0.1:8080:80/udp");
        assert_eq!(spec("127.0.0.1::80").to_string(), "127.0.0.1::80/tcp");
        assert_eq!(spec("[::1]:8080:80").to_string(), "[::1]:8080:80/tcp");
        assert_eq!(spec("8000-8010:9000-9010/SCTP").to_string(), "8000-8010:9000-9010/sctp");
        assert!(
            spec("8000-8010:80").is_choice() && spec("80").is_choice() && !spec("80-81:80-81").is_choice()
        );
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for bad in [
            "",
            ":",
            "0",
            "65536",
            "-1:80",
            "80:",
            "80:0",
            "8080:80/icmp",
            "8080:80/",
            "1.2.3:80:80",
            "1-2:1-3",
            "9-8:80",
            "[::1:80:80",
            "[::1]80:80",
            "::1:80:80x",
            "a:80",
            "+80",
            " 80",
            "80 ",
        ] {
            assert!(bad.parse::<PublishSpec>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sctp_serves_no_loopback_clients() {
        let listen = |protocol, host: &str| Listen {
            protocol,
            host: HostAddr::from_ip(host.parse().unwrap()),
            ports: PortRange::one(80).unwrap(),
        };
        assert!(listen(Protocol::Tcp, "0.0.0.0").serves_loopback());
        assert!(listen(Protocol::Udp, "::1").serves_loopback());
        assert!(!listen(Protocol::Udp, "10.0.0.1").serves_loopback());
        assert!(!listen(Protocol::Sctp, "0.0.0.0").serves_loopback());
    }

    #[test]
    fn a_wildcard_conflicts_with_every_address_of_its_family() {
        let listen = |host: &str, ports: &str| Listen {
            protocol: Protocol::Tcp,
            host: HostAddr::from_ip(host.parse().unwrap()),
            ports: ports.parse().unwrap(),
        };
        assert!(listen("0.0.0.0", "80").conflicts(listen("127.0.0.1", "79-81")));
        assert!(!listen("0.0.0.0", "80").conflicts(listen("::", "80")));
        assert!(!listen("10.0.0.1", "80").conflicts(listen("10.0.0.2", "80")));
        assert!(!listen("0.0.0.0", "80").conflicts(listen("0.0.0.0", "81")));
        let udp = Listen { protocol: Protocol::Udp, ..listen("0.0.0.0", "80") };
        assert!(!udp.conflicts(listen("0.0.0.0", "80")));
    }

    #[test]
    fn f1_ports_in_a_row_are_joined() {
        let publish = |host: &str, (ports, port): (&str, u16)| Publish {
            listen: Listen {
                protocol: Protocol::Tcp,
                host: HostAddr::from_ip(host.parse().unwrap()),
                ports: ports.parse().unwrap(),
            },
            backend: Backend { ip: "172.17.0.2".parse().unwrap(), port },
        };
        let any = |ports: &str, port| publish("0.0.0.0", (ports, port));
        let one = publish("127.0.0.1", ("8082", 82));
        let mixed = vec![
            any("8082", 82),
            any("443", 443),
            any("8081", 81),
            one,
            any("8083-8085", 83),
            any("8086", 80),
        ];
        assert_eq!(joined(mixed), [any("8081-8085", 81), any("443", 443), one, any("8086", 80)]);
        let all = (1..=u16::MAX).map(|port| any(&port.to_string(), port)).rev().collect();
        assert_eq!(joined(all), [any("1-65535", 1)]);
        let odd: Vec<_> = (1..100).step_by(2).map(|port| any(&port.to_string(), port)).collect();
        assert_eq!(joined(odd.clone()), odd);
        assert!(
            any("80-90", 80).listen.covers(any("85", 8085).listen)
                && !one.listen.covers(any("8082", 82).listen)
        );
    }

    #[test]
    fn long_ranges_stay_whole_and_shifted_ones_do_not() {
        let publish = |host: &str, port| Publish {
            listen: Listen {
                protocol: Protocol::Udp,
                host: HostAddr::Any(Family::V4),
                ports: host.parse().unwrap(),
            },
            backend: Backend { ip: "172.17.0.2".parse().unwrap(), port },
        };
        assert_eq!(publish("10000-20000", 10000).pieces().len(), 1);
        let shifted = publish("10000-10019", 5000).pieces();
        assert_eq!(
            (shifted.len(), shifted[19].backend.port, shifted[19].listen.ports.first()),
            (20, 5019, 10019)
        );
        assert_eq!(publish("80-82", 80).pieces().len(), 3);
    }
}
