//! Addresses that a DHCP server of the neighbourhood gives (RFC 2131): what is asked for, and on which terms it is
//! given. Taken before a plan is made, like every other lease, so that a plan has no unknowns.

use crate::endpoint::Netns;
use crate::mac::Mac;
use crate::name::IfName;
use crate::owner::fnv;
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use thiserror::Error;

/// Who has a lease: one sandbox's one interface on one network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tenant {
    /// The sandbox.
    pub sandbox: String,
    /// The network.
    pub network: String,
    /// The interface in the sandbox; empty where a network has one of each sandbox.
    pub ifname: String,
}

impl Tenant {
    /// A name for files: 32 hexadecimal digits.
    pub fn key(&self) -> String {
        let text = self.to_string();
        format!("{:016x}{:016x}", fnv(&text, 0), fnv(&text, 1))
    }

    /// The hardware address that the tenant always has, so that a server that knows it gives it the same address
    /// again.
    pub fn mac(&self) -> Mac {
        let bytes = fnv(&self.to_string(), 2).to_be_bytes();
        let bytes = [(bytes[0] & 0xfc) | 0x02, bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]];
        Mac::new(bytes).expect("locally administered, and no group's")
    }
}

impl fmt::Display for Tenant {
    /// `SANDBOX/NETWORK/IFNAME`: the client identifier that the reference's plugin sends, too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.sandbox, self.network, self.ifname)
    }
}

/// Where the server is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// At the sandbox's own interface, which is there already.
    Sandbox(IfName),
    /// At an interface of the host that leads to the same neighbourhood: the sandbox's own is not there yet.
    Host(IfName),
    /// At the sandbox's own interface, and at one of the host that leads to the same neighbourhood as long as that is not
    /// there, or no more: what is asked at the port needs no bridge that hears everything (promiscuous).
    Port {
        /// The bridge, or another interface of the host.
        bridge: IfName,
        /// The interface in the sandbox.
        ifname: IfName,
    },
}

impl Over {
    /// The interface where it is asked first.
    pub fn first(&self) -> &IfName {
        match self {
            Self::Sandbox(name) | Self::Host(name) | Self::Port { bridge: name, .. } => name,
        }
    }
}

/// A question for an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Who asks.
    pub tenant: Tenant,
    /// The sandbox's namespace: the lease ends with it.
    pub sandbox: Netns,
    /// Where the server is asked.
    pub over: Over,
    /// The hardware address; none for that of the sandbox's interface.
    pub mac: Option<Mac>,
    /// The address that is wished for.
    pub wish: Option<Ipv4Addr>,
    /// Options that are sent besides (RFC 2132): code and content, up to 255 bytes each.
    pub provide: Vec<(u8, Vec<u8>)>,
    /// Options that are asked for (option 55).
    pub request: Vec<u8>,
    /// Take what the server offers for an answer, and leave it: for plans.
    #[serde(default)]
    pub only_offer: bool,
}

/// What a server gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The address with its prefix length.
    pub address: Ipv4Net,
    /// The server's identifier.
    pub server: Ipv4Addr,
    /// The routers, on the same link; the first is the best.
    pub routers: Vec<Ipv4Addr>,
    /// Further routes; without a gateway what is on the link (option 121, RFC 3442).
    pub routes: Vec<(Ipv4Net, Option<Ipv4Addr>)>,
    /// The name servers.
    pub dns: Vec<Ipv4Addr>,
    /// The domain.
    pub domain: Option<String>,
    /// The MTU in bytes.
    pub mtu: Option<u32>,
    /// How long, in seconds; none for ever.
    pub seconds: Option<u32>,
}

impl Terms {
    /// The address, as endpoints have it.
    pub fn net(&self) -> IpNet {
        self.address.into()
    }
}

/// A lease that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// On which terms.
    pub terms: Terms,
    /// The hardware address that has it.
    pub mac: Mac,
}

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// No server gave any, or not what was asked for.
    #[error("no address by DHCP at `{at}`: {why}")]
    Nothing {
        /// The interface.
        at: IfName,
        /// Why.
        why: String,
    },
    /// It could not be asked for: the interface or the namespace is not as it must be.
    #[error("{0}")]
    Refused(String),
    /// The process that keeps the leases does not answer.
    #[error("the DHCP daemon does not answer at {socket}: {why}")]
    Silent {
        /// Where it is looked for.
        socket: String,
        /// Why.
        why: String,
    },
}

/// Who keeps leases: renews them for as long as their sandboxes live, whatever becomes of the commands that took
/// them.
pub trait Keeper: fmt::Debug {
    /// Takes a lease. One that the tenant has in the same sandbox already is given again.
    fn acquire(&mut self, ask: &Ask) -> Result<Leased, Trouble>;

    /// Gives a lease back; that there is none is no trouble.
    fn release(&mut self, tenant: &Tenant) -> Result<(), Trouble>;

    /// Who has a lease, and for how many seconds.
    fn tenants(&mut self) -> Result<Vec<(Tenant, u64)>, Trouble>;

    /// Whether leases are there that nobody keeps: whoever kept them was killed.
    fn is_dead(&mut self) -> bool;

    /// Sees to it that leases which are there are kept.
    fn revive(&mut self) -> Result<(), Trouble>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_keep_their_hardware_address_and_no_two_share_one() {
        let tenant =
            |ifname: &str| Tenant { sandbox: "web".into(), network: "lan".into(), ifname: ifname.into() };
        assert_eq!(tenant("").mac(), tenant("").mac());
        assert_ne!(tenant("").mac(), tenant("eth0").mac());
        assert_eq!(tenant("").mac().octets()[0] & 3, 2, "locally administered, unicast");
        assert_eq!(tenant("eth0").key().len(), 32);
    }
}
