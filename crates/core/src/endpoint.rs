//! Endpoints: one interface of one sandbox on one network.

use crate::dhcp::Terms;
use crate::mac::Mac;
use crate::name::{Hostname, IfName, NetworkName, SandboxName};
use crate::owner::{EndpointId, Owner, fnv};
use crate::port::Publish;
use crate::route::{Attributes, Static};
use crate::solo::Lent;
use crate::subnet::Family;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A network namespace: the path it was opened at and what it was then. The path may be used again by
/// another namespace, and so may the inode: the kernel gives the next one the number of the last that went
/// (`proc_alloc_inum`), so that `ip netns del` and `ip netns add` make it the same. The cookie is never used
/// again before the next boot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Netns {
    /// The path.
    pub path: String,
    /// The device number of the namespace file system.
    pub dev: u64,
    /// The inode number: the identity of the namespace among those that live.
    pub ino: u64,
    /// The cookie (`SO_NETNS_COOKIE`): its identity among all of this boot; 0 where it is not known.
    #[serde(default)]
    pub cookie: u64,
}

impl Netns {
    /// Whether both are one namespace, as far as is known.
    pub fn is_same(&self, other: &Netns) -> bool {
        let unknown = self.cookie == 0 || other.cookie == 0;
        (self.dev, self.ino) == (other.dev, other.ino) && (unknown || self.cookie == other.cookie)
    }
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Which endpoint.
    pub id: EndpointId,
    /// The sandbox's namespace; none on the host's own network.
    pub netns: Option<Netns>,
    /// The wire, where the network has one (`host` and `none` have not).
    pub wire: Option<Wire>,
    /// When it was attached, in seconds since 1970 (UTC).
    pub attached: u64,
}

/// What joins a sandbox's interface to the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// It is one end of a pair, the other is the host's.
    #[default]
    Pair,
    /// It is a macvlan child of the host's.
    Macvlan,
    /// It is an ipvlan child of the host's, and has its hardware address.
    Ipvlan,
    /// It is a VLAN of the host's, and has its hardware address.
    Vlan,
    /// Nothing does: it is by itself.
    Nothing,
}

impl Join {
    /// Whether it is a pair.
    pub fn is_pair(&self) -> bool {
        *self == Join::Pair
    }
}

/// The pair of interfaces that joins a sandbox to a network, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wire {
    /// What joins the sandbox's interface to the host.
    #[serde(default, skip_serializing_if = "Join::is_pair")]
    pub join: Join,
    /// The host's interface: its end of the pair, the parent, or the device as it is called there.
    pub host_if: IfName,
    /// The hardware address of the sandbox's end; of an ipvlan child or a VLAN what it would be, had
    /// it one of its own.
    pub mac: Mac,
    /// The sandbox's addresses with their prefix lengths, at most one of each family.
    pub addresses: Vec<IpNet>,
    /// The MTU in bytes.
    pub mtu: u32,
    /// The gateways that the default routes go to; empty where another endpoint has them.
    pub gateways: Vec<IpAddr>,
    /// The published ports.
    pub publish: Vec<Publish>,
    /// Whether the port may send only what belongs to it.
    pub guard: bool,
    /// Addresses the port may send from besides its own.
    pub allow: Vec<IpAddr>,
    /// What was asked for besides.
    #[serde(default, skip_serializing_if = "Extras::is_none")]
    pub extras: Extras,
}

/// What an endpoint has besides what its network's settings make of it: CNI configurations ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Extras {
    /// Routes of the sandbox: destination, and gateway if it is not on the link.
    pub routes: Vec<(IpNet, Option<IpAddr>)>,
    /// Frames may leave by the port they came in at.
    pub hairpin: bool,
    /// The port does not reach other ports like it.
    pub isolated: bool,
    /// The bridge learns who is behind the port: for those whose addresses we do not know.
    pub learns: bool,
    /// What it is called besides its name, where its network has names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Names>,
    /// The sandbox's end was given another hardware address after it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Of such an end on a routed network: the hardware address that it was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_mac: Option<Mac>,
    /// The port of a routed network is kept apart from others that are.
    pub apart: bool,
    /// The VLANs of the port, on a bridge that tells them apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlans: Option<PortVlans>,
    /// The interface inside stays down.
    pub down: bool,
    /// Of a device of the host's: how it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lent: Option<Lent>,
    /// The terms on which a DHCP server gave the address, as they were at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leased: Option<Box<Terms>>,
    /// Routes with attributes of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statics: Vec<Static>,
    /// No default route by this endpoint, whatever its network has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_default: bool,
    /// What its default routes have besides.
    #[serde(skip_serializing_if = "Attributes::is_none")]
    pub defaults: Attributes,
}

/// The VLANs of a bridge port (IEEE 802.1Q), by their ids, 1 to 4094.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PortVlans {
    /// The one that untagged frames are of.
    pub native: Option<u16>,
    /// Those whose frames go out untagged.
    pub untagged: BTreeSet<u16>,
    /// Those whose frames go out tagged.
    pub tagged: BTreeSet<u16>,
}

/// What an endpoint is called besides its sandbox's name, and who answers its other questions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Names {
    /// Other names.
    pub aliases: Vec<Hostname>,
    /// Whom its other questions go to; nobody for the network's.
    pub upstreams: Vec<IpAddr>,
}

impl Extras {
    /// Whether there is nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The routes asked for, those without attributes first.
    pub fn all_routes(&self) -> impl Iterator<Item = Static> {
        let plain = |(to, via): &(IpNet, _)| Static { to: *to, via: *via, attributes: Attributes::default() };
        self.routes.iter().map(plain).chain(self.statics.iter().cloned())
    }
}

impl Endpoint {
    /// Whose the endpoint's objects are.
    pub fn owner(&self) -> Owner {
        Owner::Endpoint(self.id.clone())
    }

    /// The network's name.
    pub fn network(&self) -> &NetworkName {
        &self.id.network
    }

    /// The sandbox's name.
    pub fn sandbox(&self) -> &SandboxName {
        &self.id.sandbox
    }

    /// The published ports.
    pub fn publish(&self) -> &[Publish] {
        self.wire.as_ref().map_or(&[], |wire| &wire.publish)
    }

    /// The addresses, with their prefix lengths.
    pub fn addresses(&self) -> &[IpNet] {
        self.wire.as_ref().map_or(&[], |wire| &wire.addresses)
    }

    /// The terms on which a DHCP server gave the address, where one did.
    pub fn leased(&self) -> Option<&Terms> {
        self.wire.as_ref().and_then(|wire| wire.extras.leased.as_deref())
    }
}

impl Wire {
    /// The hardware address that the pair was made with: the host's end is named after it.
    pub fn first_mac(&self) -> Mac {
        self.extras.first_mac.unwrap_or(self.mac)
    }

    /// The hardware address, where the interface has one of its own.
    pub fn own_mac(&self) -> Option<Mac> {
        (!matches!(self.join, Join::Ipvlan | Join::Vlan)).then_some(self.mac)
    }

    /// The address of a family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().map(IpNet::addr).find(|ip| Family::of(*ip) == family)
    }
}

/// The name of the host's end: `q-`, up to five characters of the sandbox's name, and seven digits of a
/// hash. `attempt` gives another one should a name be taken.
pub fn host_if(sandbox: &SandboxName, ifname: &IfName, attempt: u64) -> IfName {
    let hint: String = sandbox.as_str().chars().filter(char::is_ascii_alphanumeric).take(5).collect();
    let hash = fnv(&format!("{sandbox}@{ifname}"), attempt);
    let name = format!("q-{hint}-{}", base32(hash, 7));
    IfName::new(&name).expect("2 + 5 + 1 + 7 alphanumeric characters are an interface name")
}

/// The low bits of `value` as `digits` characters of base 32.
fn base32(value: u64, digits: u32) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    (0..digits).map(|i| char::from(ALPHABET[(value >> (5 * i)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ends_are_named_after_their_sandbox() {
        let (web, eth0) = ("web".parse().unwrap(), "eth0".parse().unwrap());
        let name = host_if(&web, &eth0, 0);
        assert!(name.as_str().starts_with("q-web-"), "{name}");
        assert_ne!(name, host_if(&web, &eth0, 1));
        assert_ne!(name, host_if(&web, &"eth1".parse().unwrap(), 0));
        let long = host_if(&"a-very-long-name".parse().unwrap(), &eth0, 0);
        assert_eq!(long.as_str().len(), 15);
    }
}
