//! Endpoints: one interface of one sandbox on one network.

use crate::condition::Condition;
use crate::dhcp::Terms;
use crate::mac::Mac;
use crate::name::{Hostname, IfName, NetworkName, SandboxName};
use crate::owner::{EndpointId, Owner, fnv};
use crate::plan::{Key, RouteId, Value};
use crate::port::Publish;
use crate::route::{Attributes, Static};
use crate::shape::Shaping;
use crate::solo::Lent;
use crate::source::{Origin, Sourced};
use crate::subnet::{Family, Subnet};
use crate::vrf::Vrf;
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
    /// Another program made it: it is never ours to delete.
    Adopted,
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
    /// The host's interface: its end of the pair, the parent, or the device as it is called there; of an adopted one
    /// that by which the host reaches it.
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
    /// Routes of the sandbox with more than that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<Way>,
    /// Frames may leave by the port they came in at.
    pub hairpin: bool,
    /// The port does not reach other ports like it.
    pub isolated: bool,
    /// Kept apart from others that are: the port of a routed network, the bridge of an adopted endpoint.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
    /// The bridge learns who is behind the port: for those whose addresses we do not know.
    pub learns: bool,
    /// What it is called besides its name, where its network has names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Names>,
    /// Settings of the sandbox's that were changed, with what they were before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tuned: Vec<Tuned>,
    /// Which clients of its published ports it knows by the host's address.
    #[serde(skip_serializing_if = "Clients::is_default")]
    pub clients: Clients,
    /// What must hold of packets to its published ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The families in which `iptables` would drop what the host forwards for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opened: Vec<Family>,
    /// The zone that its addresses are in, of a firewall that is a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The caller holds its published ports with sockets of its own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// What it publishes once another endpoint of its sandbox does not any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Publish>,
    /// Where it is, if another program attached it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Place>,
    /// Which of its addresses are routed by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sourced: Option<Sourced>,
    /// The device that its interface is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vrf: Option<Vrf>,
    /// How fast it may send and receive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shaped: Option<Shaping>,
    /// The VLANs of the port, on a bridge that tells them apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlans: Option<PortVlans>,
    /// The interface inside stays down.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
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

/// A route with more than a destination and a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// Which.
    pub id: RouteId,
    /// The gateway; none where the destination is on the link.
    pub via: Option<IpAddr>,
    /// The MTU in bytes; 0 for that of the interface.
    pub mtu: u32,
    /// The maximum segment size that TCP advertises, in bytes; 0 for what the MTU makes it.
    pub advmss: u32,
    /// How far away the destination is, where that is not what follows from the gateway.
    pub scope: Option<u8>,
    /// Which address to send from, and who set it.
    #[serde(default, skip_serializing_if = "Origin::is_none")]
    pub origin: Origin,
}

impl Way {
    /// The object that it is.
    pub fn object(&self, id: &EndpointId) -> (Key, Value) {
        const LINK: u8 = 253;
        let is_v4 = self.id.net.addr().is_ipv4();
        let near = if self.via.is_none() { LINK } else { 0 };
        let scope = if is_v4 { self.scope.unwrap_or(near) } else { 0 };
        let (dev, via, mtu, advmss) = (id.ifname.clone(), self.via, self.mtu, self.advmss);
        let origin = self.origin;
        (Key::Way(id.sandbox.clone(), self.id), Value::Way { dev, via, mtu, advmss, scope, origin })
    }
}

/// Which clients of published ports are known by the host's address rather than by their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clients {
    /// Those on its own link, itself included: its answers would not come back through the host otherwise.
    #[default]
    Members,
    /// All.
    All,
    /// None: those on its own link get no answer.
    None,
}

impl Clients {
    fn is_default(&self) -> bool {
        *self == Clients::default()
    }
}

/// Where an endpoint is that another program attached: what the host's routes and links tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Place {
    /// The subnets that are on the link by which the host reaches it; of a link of its own its address alone.
    pub link: Vec<Subnet>,
    /// The bridge that it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<IfName>,
    /// The port of that bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<IfName>,
    /// The port is kept apart from others because of us.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub isolates: bool,
    /// A frame may have to leave by the port that it came in at (`br_netfilter`), which it would not without us.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hairpins: bool,
}

/// A setting of a sandbox that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuned {
    /// Which.
    pub what: Tunable,
    /// What it was.
    pub before: Value,
    /// What it is to be.
    pub after: Value,
}

/// A setting of a sandbox: of the endpoint's interface, or of its network namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tunable {
    /// The interface's hardware address.
    Mac,
    /// The interface's MTU, in bytes.
    Mtu,
    /// The length of the interface's queue, in packets.
    QueueLength,
    /// The interface takes frames that are not for it: 0 or 1.
    Promiscuous,
    /// The interface takes the frames of all groups: 0 or 1.
    AllMulticast,
    /// A setting below `/proc/sys`, by its path.
    Sysctl(String),
}

impl Tunable {
    /// The object that it is.
    pub fn key(&self, id: &EndpointId) -> Key {
        let (sandbox, ifname) = (id.sandbox.clone(), id.ifname.clone());
        match self {
            Tunable::Mac => Key::SandboxMac(sandbox, ifname),
            Tunable::Sysctl(path) => Key::SandboxSysctl(sandbox, path.clone()),
            what => Key::Tuned(sandbox, ifname, what.clone()),
        }
    }
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

impl Extras {
    /// Whether there is nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an adopted endpoint is kept apart from others.
    pub fn is_apart(&self) -> bool {
        self.isolated || self.apart
    }

    /// The routes asked for, those without attributes first.
    pub fn all_routes(&self) -> impl Iterator<Item = Static> {
        let plain = |(to, via): &(IpNet, _)| Static {
            to: *to,
            via: *via,
            dev: None,
            attributes: Attributes::default(),
        };
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
        let changed = self.extras.tuned.iter().filter(|_| self.join.is_pair());
        let first = changed.filter(|tuned| tuned.what == Tunable::Mac).find_map(|tuned| match tuned.before {
            Value::Mac(mac) => Some(mac),
            _ => None,
        });
        first.unwrap_or(self.mac)
    }

    /// The hardware address, where the interface has one of its own.
    pub fn own_mac(&self) -> Option<Mac> {
        (!matches!(self.join, Join::Ipvlan | Join::Vlan)).then_some(self.mac)
    }

    /// The routes asked for, but for those to a subnet of the interface's own that are on the link: the kernel makes them
    /// with the addresses. `more` is an address that it has besides.
    pub fn made_routes(&self, more: Option<IpNet>) -> impl Iterator<Item = Static> {
        let nets: Vec<IpNet> = self.addresses.iter().copied().chain(more).collect();
        let is_own = move |to: &IpNet| nets.iter().any(|net| has_subnet(net) && net.trunc() == to.trunc());
        let is_plain = |route: &Static| {
            route.via.is_none() && route.dev.is_none() && route.attributes == Attributes::default()
        };
        self.extras.all_routes().filter(move |route| !(is_plain(route) && is_own(&route.to)))
    }

    /// The address of a family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().map(IpNet::addr).find(|ip| Family::of(*ip) == family)
    }
}

/// Whether an address has others on its link: the kernel makes a route to them.
pub fn has_subnet(net: &IpNet) -> bool {
    net.prefix_len() < net.max_prefix_len()
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
pub(crate) fn base32(value: u64, digits: u32) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    (0..digits).map(|i| char::from(ALPHABET[(value >> (5 * i)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b3_the_kernel_makes_routes_to_the_own_subnets() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let routes = [
            ("10.1.0.0/24", None),
            ("10.1.0.0/24", Some("10.1.0.9".parse().unwrap())),
            ("10.2.0.0/24", None),
            ("10.9.0.1/32", None),
            ("fe80::/64", None),
        ];
        let wire = Wire {
            join: Join::Pair,
            host_if: "q-web".parse().unwrap(),
            mac: "02:42:ac:11:00:02".parse().unwrap(),
            addresses: vec![net("10.1.0.5/24"), net("10.9.0.1/32")],
            mtu: 1500,
            gateways: Vec::new(),
            publish: Vec::new(),
            guard: true,
            allow: Vec::new(),
            extras: Extras { routes: routes.map(|(to, via)| (net(to), via)).to_vec(), ..Extras::default() },
        };
        let made = |more| wire.made_routes(more).map(|route| route.to.to_string()).collect::<Vec<_>>();
        assert_eq!(made(None), ["10.1.0.0/24", "10.2.0.0/24", "10.9.0.1/32", "fe80::/64"]);
        assert_eq!(made(Some(net("fe80::5/64"))), ["10.1.0.0/24", "10.2.0.0/24", "10.9.0.1/32"]);
        assert!(wire.made_routes(None).next().unwrap().via.is_some(), "one with a gateway is made");
    }

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
