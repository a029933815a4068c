//! Whose an object is: the mark that is written into the kernel with it.

use crate::name::{IfName, NetworkName, SandboxName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest mark, in bytes: fits a link alias (`IFALIASZ`, 256 with its NUL) and an nftables comment
/// (`NFT_USERDATA_MAXLEN`, 256 with two bytes of header and a NUL).
pub const MARK_MAX: usize = 120;
/// What every mark begins with.
pub const MARK_PREFIX: &str = "qiao:";

/// Whose an object is. Nothing without one of these marks is ever changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The host: what all networks share.
    Host,
    /// A network.
    Network(NetworkName),
    /// An endpoint: one interface of one sandbox.
    Endpoint(EndpointId),
}

/// Which endpoint: the sandbox, the interface in it, and its network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EndpointId {
    /// The sandbox.
    pub sandbox: SandboxName,
    /// The interface inside the sandbox.
    pub ifname: IfName,
    /// The network.
    pub network: NetworkName,
}

impl EndpointId {
    /// `sandbox@ifname`: unique on a host, and a safe file name.
    pub fn key(&self) -> String {
        format!("{}@{}", self.sandbox, self.ifname)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network, self.sandbox, self.ifname)
    }
}

impl Owner {
    /// The mark as text. A name that would make it longer than [`MARK_MAX`] is replaced by its hash, so that
    /// two owners never share a mark.
    pub fn mark(&self) -> String {
        let text = match self {
            Owner::Host => [MARK_PREFIX, "host"].concat(),
            Owner::Network(network) => [MARK_PREFIX, "net:", network.as_str()].concat(),
            Owner::Endpoint(EndpointId { sandbox, ifname, network }) => {
                // Every element bears one and is compared by it: formatting would take ten times as long.
                let (network, sandbox, ifname) = (network.as_str(), sandbox.as_str(), ifname.as_str());
                [MARK_PREFIX, "ep:", network, "/", sandbox, "/", ifname].concat()
            }
        };
        if text.len() <= MARK_MAX {
            text
        } else {
            format!("{MARK_PREFIX}hash:{:016x}{:016x}", fnv(&text, 0), fnv(&text, 1))
        }
    }

    /// Reads a mark. A hashed one cannot be read back: it is ours, but only comparing tells whose.
    pub fn parse(mark: &str) -> Option<Self> {
        let rest = mark.strip_prefix(MARK_PREFIX)?;
        if rest == "host" {
            return Some(Owner::Host);
        }
        if let Some(name) = rest.strip_prefix("net:") {
            return NetworkName::new(name).ok().map(Owner::Network);
        }
        let mut parts = rest.strip_prefix("ep:")?.split('/');
        let network = NetworkName::new(parts.next()?).ok()?;
        let sandbox = SandboxName::new(parts.next()?).ok()?;
        let ifname = IfName::new(parts.next()?).ok()?;
        parts.next().is_none().then_some(Owner::Endpoint(EndpointId { sandbox, ifname, network }))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Host => f.write_str("host"),
            Owner::Network(network) => write!(f, "network {network}"),
            Owner::Endpoint(id) => write!(f, "endpoint {}/{}", id.sandbox, id.ifname),
        }
    }
}

/// FNV-1a, 64 bits, with a salt mixed in first: names derived from ids must be the same in every release.
pub const fn fnv(text: &str, salt: u64) -> u64 {
    let hash = fnv_more(0xcbf2_9ce4_8422_2325, &salt.to_le_bytes());
    fnv_more(hash, text.as_bytes())
}

const fn fnv_more(mut hash: u64, bytes: &[u8]) -> u64 {
    // A constant function has no iterators.
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(sandbox: &str) -> Owner {
        let (ifname, network) = ("eth0".parse().unwrap(), "blue".parse().unwrap());
        Owner::Endpoint(EndpointId { sandbox: sandbox.parse().unwrap(), ifname, network })
    }

    #[test]
    fn marks_round_trip() {
        for owner in [Owner::Host, Owner::Network("blue".parse().unwrap()), endpoint("web.1")] {
            assert_eq!(Owner::parse(&owner.mark()), Some(owner));
        }
        for foreign in ["", "docker", "qiao", "qiao:", "qiao:ep:a/b", "qiao:ep:a/b/c/d", "qiao:net:a b"] {
            assert_eq!(Owner::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn long_names_keep_marks_short_and_apart() {
        let (a, b) = (endpoint(&"a".repeat(128)), endpoint(&format!("{}b", "a".repeat(127))));
        assert!(a.mark().len() <= MARK_MAX && b.mark().len() <= MARK_MAX);
        assert_ne!(a.mark(), b.mark());
    }
}
