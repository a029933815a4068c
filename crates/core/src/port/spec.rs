//! What `-p` asks for, in Docker's words.

use super::{PortRange, Protocol};
use crate::name::quoted;
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What `-p` asks for: `[host address:][host port[-port]:]container port[-port][/protocol]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishSpec {
    /// The address of the host, or none for all of them.
    pub host_ip: Option<IpAddr>,
    /// The ports of the host, or none for any free ones.
    pub host: Option<PortRange>,
    /// The ports of the container.
    pub container: PortRange,
    /// The protocol.
    pub protocol: Protocol,
}

impl PublishSpec {
    /// Refuses ranges that do not fit together. A host range for one container port means "the first free".
    pub fn check(&self) -> Result<(), Refusal> {
        match self.host {
            Some(host) if host.count() != self.container.count() && self.container.count() != 1 => Err(
                Refusal::invalid(format!("cannot publish {self}: the ranges differ in length")).why(format!(
                    "{} ports of the host for {} of the container",
                    host.count(),
                    self.container.count()
                )),
            ),
            _ => Ok(()),
        }
    }

    /// Whether the host ports are a choice of several rather than all of them.
    pub fn is_choice(&self) -> bool {
        self.host.is_none_or(|host| host.count() != self.container.count())
    }
}

impl fmt::Display for PublishSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            Some(ip) => write!(f, "{ip}:")?,
            None => {}
        }
        match self.host {
            Some(host) => write!(f, "{host}:")?,
            None if self.host_ip.is_some() => f.write_str(":")?,
            None => {}
        }
        write!(f, "{}/{}", self.container, self.protocol)
    }
}

impl FromStr for PublishSpec {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let bad = |r: Refusal| r.context(format!("cannot publish {}", quoted(text)));
        let (body, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
        let (host_ip, ports) = split_host(body).map_err(bad)?;
        let (host, container) = match ports.rsplit_once(':') {
            Some(("", container)) => (None, container),
            Some((host, container)) => (Some(host.parse().map_err(bad)?), container),
            None => (None, ports),
        };
        let container = container.parse().map_err(bad)?;
        let spec = Self { host_ip, host, container, protocol: protocol.parse().map_err(bad)? };
        spec.check()?;
        Ok(spec)
    }
}

/// Takes the host address off the front: `[::1]:…`, or what stands before the second colon from the right.
fn split_host(body: &str) -> Result<(Option<IpAddr>, &str), Refusal> {
    let (host, ports) = match body.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or_else(|| Refusal::invalid("`[` without `]:`"))?,
        None => match body.match_indices(':').rev().nth(1) {
            Some((at, _)) => (&body[..at], &body[at + 1..]),
            None => return Ok((None, body)),
        },
    };
    if host.is_empty() {
        return Ok((None, ports));
    }
    let ip = host.parse().map_err(|_| Refusal::invalid(format!("{} is not an address", quoted(host))))?;
    Ok((Some(ip), ports))
}
