//! What the name server must know of an endpoint: one line of text, in the target of a symbolic link.
//!
//! ```text
//! RUN/names/web@eth0 -> front 172.18.0.1/16,fd00::1/64 - 172.18.0.2,fd00::2 web,www 192.0.2.53 80/tcp
//!                       network gateways                 addresses          names   upstreams  ports
//! ```
//! `-` stands for an empty list; in the third place is `internal` where nothing leaves the network.

use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The longest line: what a symbolic link holds (`PATH_MAX` less the closing NUL, linux/limits.h), with room to spare.
pub const LINE_MAX: usize = 4000;

/// An endpoint as the name server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The network.
    pub network: String,
    /// Where the server is asked: the network's gateways, with the prefix lengths of its subnets.
    pub gateways: Vec<IpNet>,
    /// Whether nothing leaves the network.
    pub internal: bool,
    /// The endpoint's addresses.
    pub addresses: Vec<IpAddr>,
    /// The sandbox's name, then its aliases.
    pub names: Vec<String>,
    /// Whom its questions go to that nobody here can answer; nobody for the host's resolvers.
    pub upstreams: Vec<IpAddr>,
    /// What it publishes: `80/tcp`.
    pub ports: Vec<String>,
}

const EMPTY: &str = "-";
const INTERNAL: &str = "internal";

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let internal = if self.internal { INTERNAL } else { EMPTY };
        write!(
            f,
            "{} {} {internal} {} {} {} {}",
            self.network,
            list(&self.gateways),
            list(&self.addresses),
            list(&self.names),
            list(&self.upstreams),
            list(&self.ports)
        )
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return EMPTY.to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl FromStr for Named {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let columns: Vec<&str> = text.split(' ').collect();
        let [network, gateways, internal, addresses, names, upstreams, ports] = columns[..] else {
            return Err(());
        };
        Ok(Self {
            network: network.to_owned(),
            gateways: parse(gateways)?,
            internal: internal == INTERNAL,
            addresses: parse(addresses)?,
            names: parse(names)?,
            upstreams: parse(upstreams)?,
            ports: parse(ports)?,
        })
    }
}

fn parse<T: FromStr>(text: &str) -> Result<Vec<T>, ()> {
    if text == EMPTY {
        return Ok(Vec::new());
    }
    text.split(',').map(|item| item.parse().map_err(drop)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_round_trip() {
        for text in [
            "front 172.18.0.1/16,fd00::1/64 - 172.18.0.2,fd00::2 web,www 192.0.2.53 80/tcp,53/udp",
            "back 172.19.0.1/24 internal - db - -",
        ] {
            assert_eq!(text.parse::<Named>().unwrap().to_string(), text);
        }
        for bad in ["", "front", "front x - - - - -", "a b c d e f g h"] {
            assert!(bad.parse::<Named>().is_err(), "{bad}");
        }
    }
}
