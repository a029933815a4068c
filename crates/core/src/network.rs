//! Networks: what an administrator creates once and endpoints are attached to.

use crate::child::Child;
use crate::name::{IfName, NetworkId, NetworkName};
use crate::owner::fnv;
use crate::refusal::Refusal;
use crate::solo::Solo;
use crate::subnet::{Family, Subnet, number};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The smallest MTU a network may have: what IPv4 guarantees (RFC 791); IPv6 needs 1280 (RFC 8200).
pub const MTU_MIN: u32 = 68;
/// The smallest MTU of a network with IPv6 (RFC 8200 section 5).
pub const MTU_MIN_V6: u32 = 1280;
/// The largest MTU a veth takes (`ETH_MAX_MTU`, `linux/if_ether.h`).
pub const MTU_MAX: u32 = 65535;

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The id: random, never used again.
    pub id: NetworkId,
    /// The name: unique on a host.
    pub name: NetworkName,
    /// What kind of network, with that kind's settings.
    pub driver: Driver,
    /// The user's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was created, in seconds since 1970 (UTC).
    pub created: u64,
}

/// The kinds of network. Closed: a new kind makes the compiler list every place that must know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Driver {
    /// A bridge of the host, with network address translation to the outside.
    Bridge(Bridge),
    /// A pair of interfaces and a route for each endpoint. The settings are those of a bridge network; its
    /// device has no ports, it carries the gateways' addresses.
    Routed(Bridge),
    /// An interface of each endpoint's own on an interface of the host: macvlan, ipvlan or a VLAN.
    Child(Child),
    /// An interface of each endpoint's own that hangs on nothing of the host's.
    Solo(Solo),
    /// Endpoints that another program attaches, and that more is asked for: they are never ours to make or delete.
    Adopted(Adopted),
    /// The host's own network.
    Host,
    /// Only a loopback interface.
    None,
}

impl Driver {
    /// `bridge`, `routed`, `macvlan`, `ipvlan`, `vlan`, `dummy`, `tap`, `host-device`, `adopted`, `host` or `none`;
    /// Docker says `null` for the last.
    pub fn as_str(&self) -> &'static str {
        match self {
            Driver::Bridge(_) => "bridge",
            Driver::Routed(_) => "routed",
            Driver::Child(child) => child.mode.kind(),
            Driver::Solo(solo) => solo.kind(),
            Driver::Adopted(_) => "adopted",
            Driver::Host => "host",
            Driver::None => "null",
        }
    }
}

/// The settings of a network that the host routes for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// The bridge device.
    pub device: IfName,
    /// The pools, at most one of each family.
    pub pools: Vec<Pool>,
    /// The MTU in bytes, or none for that of the default route's device.
    pub mtu: Option<u32>,
    /// Nothing in or out except members (and the host, see `host_access`).
    pub internal: bool,
    /// Whether members of an internal network reach the host. Members of other networks always do.
    pub host_access: bool,
    /// Whether members reach one another.
    pub icc: bool,
    /// Whether other networks are kept out.
    pub isolate: bool,
    /// Whether packets to the outside carry the host's address.
    pub masquerade: bool,
    /// Whether each port may send only what belongs to it.
    pub guard: bool,
    /// Where `-p` without an address publishes, or none for the settings' default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_address: Option<IpAddr>,
    /// The names of its members; none where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// The VRF (virtual routing and forwarding) that the bridge is made in; it is somebody else's, and there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<IfName>,
    /// Of a network that its door describes anew with every request (CNI): what only such a one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<Inline>,
}

/// The names of a network's members: asked at the gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// Whom other questions go to; nobody for the settings' or the host's resolvers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<IpAddr>,
}

/// What only networks have that their door describes anew with every request. Unless closed, they are open: everybody
/// reaches their members and is reached. They are kept for as long as they have members, and may share a bridge, with
/// one another and with whoever made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inline {
    /// The bridge has the gateways' addresses, and the host routes for the members.
    pub routed: bool,
    /// Members of other networks like it do not reach its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
    /// The bridge tells VLANs apart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub filtering: bool,
    /// The VLAN of the bridge that the gateways are in; none for the one that is not tagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// It is not open: it keeps out whom a network of our own kind keeps out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// The port that names are resolved at, where it is not 53: what members send to port 53 of a gateway goes
    /// there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_port: Option<u16>,
    /// The addresses are those that a DHCP server gives which is reached by the bridge, somebody else's; there are no
    /// pools.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dhcp: bool,
    /// The IPv4 address that members bear outside, where it is not just any of the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound4: Option<Ipv4Addr>,
    /// The same for IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound6: Option<Ipv6Addr>,
}

impl Inline {
    /// The address of a family that members bear outside.
    pub fn outbound(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.outbound4.map(IpAddr::V4),
            Family::V6 => self.outbound6.map(IpAddr::V6),
        }
    }
}

/// The network of endpoints that another program attaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adopted {
    /// The bridges that are kept apart from others like them: its endpoints are behind them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub apart: BTreeSet<IfName>,
}

impl Network {
    /// The settings of a network that the host routes for: a bridge network, or a routed one.
    pub fn bridge(&self) -> Option<&Bridge> {
        match &self.driver {
            Driver::Bridge(bridge) | Driver::Routed(bridge) => Some(bridge),
            Driver::Child(_) | Driver::Solo(_) | Driver::Adopted(_) | Driver::Host | Driver::None => None,
        }
    }

    /// The network of endpoints that another program attaches.
    pub fn adopted(&self) -> Option<&Adopted> {
        match &self.driver {
            Driver::Adopted(adopted) => Some(adopted),
            _ => None,
        }
    }

    /// The settings of a macvlan, ipvlan or VLAN network.
    pub fn child(&self) -> Option<&Child> {
        match &self.driver {
            Driver::Child(child) => Some(child),
            _ => None,
        }
    }

    /// Whether its door describes it anew with every request: it is kept for as long as it has members.
    pub fn is_inline(&self) -> bool {
        match &self.driver {
            Driver::Bridge(bridge) | Driver::Routed(bridge) => bridge.inline.is_some(),
            Driver::Child(child) => child.inline,
            Driver::Solo(_) | Driver::Adopted(_) => true,
            Driver::Host | Driver::None => false,
        }
    }

    /// The pools, at most one of each family; none where no addresses are given out.
    pub fn pools(&self) -> &[Pool] {
        match &self.driver {
            Driver::Bridge(bridge) | Driver::Routed(bridge) => &bridge.pools,
            Driver::Child(child) => &child.pools,
            Driver::Solo(_) | Driver::Adopted(_) | Driver::Host | Driver::None => &[],
        }
    }

    /// Whether its addresses are a DHCP server's.
    pub fn is_dhcp(&self) -> bool {
        match &self.driver {
            Driver::Bridge(bridge) => bridge.inline.is_some_and(|inline| inline.dhcp),
            Driver::Child(child) => child.dhcp,
            _ => false,
        }
    }

    /// Whether the network has addresses of the family.
    pub fn has(&self, family: Family) -> bool {
        self.pools().iter().any(|pool| pool.subnet.family() == family)
    }

    /// Whether it leads nowhere: its endpoints get no default route.
    pub fn is_internal(&self) -> bool {
        match &self.driver {
            Driver::Bridge(bridge) | Driver::Routed(bridge) => bridge.internal,
            Driver::Child(child) => child.internal,
            Driver::Solo(_) | Driver::Adopted(_) | Driver::Host | Driver::None => false,
        }
    }

    /// An address of a pool as an endpoint's interface has it: on a routed network nothing but it is on the link.
    pub fn endpoint_net(&self, pool: &Pool, ip: IpAddr) -> IpNet {
        match self.driver {
            Driver::Routed(_) => ip.into(),
            _ => pool.subnet.with_host(ip),
        }
    }

    /// The number that the hardware addresses of this network carry.
    pub fn mac_number(&self) -> u16 {
        fnv(self.id.as_str(), 0) as u16
    }
}

impl Bridge {
    /// Whether the host routes for the members.
    pub fn is_routed(&self) -> bool {
        self.inline.is_none_or(|inline| inline.routed)
    }

    /// Where the neighbourhood of its ports is met from the host: on the bridge, or on the interface in their VLAN.
    pub fn neighbour_if(&self) -> IfName {
        self.in_vlan(self.inline.and_then(|inline| inline.vlan))
    }

    /// The interface that has the gateways' addresses: the bridge, or a VLAN of it.
    pub fn gateway_if(&self) -> IfName {
        self.in_vlan(self.inline.filter(|inline| inline.routed).and_then(|inline| inline.vlan))
    }

    fn in_vlan(&self, vlan: Option<u16>) -> IfName {
        let name = vlan.and_then(|id| IfName::new(&format!("{}.{id}", self.device)).ok());
        name.unwrap_or_else(|| self.device.clone())
    }

    /// Takes in what another description of the same network has besides.
    pub fn widen(&mut self, other: &Bridge) {
        let is_new =
            |pool: &&Pool| self.pools.iter().all(|p| (p.subnet, p.gateway) != (pool.subnet, pool.gateway));
        let more = other.pools.iter().filter(is_new);
        self.pools.extend(more.cloned().collect::<Vec<_>>());
        self.masquerade |= other.masquerade;
        if let (Some(own), Some(other)) = (&mut self.inline, other.inline) {
            own.routed |= other.routed;
            own.apart |= other.apart;
            own.filtering |= other.filtering;
            own.closed |= other.closed;
            own.dns_port = other.dns_port.or(own.dns_port);
        }
    }

    /// The pool of a family.
    pub fn pool(&self, family: Family) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.family() == family)
    }

    /// Whether the network has addresses of the family.
    pub fn has(&self, family: Family) -> bool {
        self.pool(family).is_some()
    }

    /// The pool that an address is of.
    pub fn pool_of(&self, ip: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.contains(ip))
    }

    /// Refuses settings that contradict one another.
    pub fn check(&self) -> Result<(), Refusal> {
        check_pools(&self.pools, self.mtu)
    }
}

/// Refuses pools that no network can have, or not with this MTU.
pub(crate) fn check_pools(pools: &[Pool], mtu: Option<u32>) -> Result<(), Refusal> {
    let families: Vec<_> = pools.iter().map(|p| p.subnet.family()).collect();
    if families.is_empty() {
        return Err(Refusal::invalid("a network needs a subnet"));
    }
    if families.len() != families.iter().collect::<BTreeSet<_>>().len() {
        return Err(
            Refusal::invalid("a network takes one subnet of each family").fix("create a second network")
        );
    }
    if let Some(mtu) = mtu {
        check_mtu(mtu, families.contains(&Family::V6))?;
    }
    pools.iter().try_for_each(Pool::check)
}

/// Refuses an MTU that the network could not have.
pub fn check_mtu(mtu: u32, v6: bool) -> Result<(), Refusal> {
    if v6 && (MTU_MIN..MTU_MIN_V6).contains(&mtu) {
        return Err(Refusal::invalid(format!("the MTU {mtu} is too small for IPv6"))
            .why(format!("a link with IPv6 has {MTU_MIN_V6} bytes at least (RFC 8200 section 5)")));
    }
    if (MTU_MIN..=MTU_MAX).contains(&mtu) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("`{mtu}` is not an MTU")).why(format!("{MTU_MIN} to {MTU_MAX} bytes")))
}

/// A subnet to take addresses from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The subnet.
    pub subnet: Subnet,
    /// The gateway: the bridge's own address.
    pub gateway: IpAddr,
    /// Where addresses are taken from when none is asked for; the whole subnet where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Subnet>,
    /// Addresses that are never given out, by name (`--aux-address`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aux: BTreeMap<String, IpAddr>,
    /// The subnet was asked for although the host uses some of it (`--force`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
}

impl Pool {
    /// A pool whose gateway is the first address of the subnet that a host may have.
    pub fn new(subnet: Subnet) -> Self {
        let gateway = subnet.family().address(subnet.host_range().0);
        Self { subnet, gateway, range: None, aux: BTreeMap::new(), forced: false }
    }

    /// The gateway as the bridge carries it.
    pub fn gateway_net(&self) -> IpNet {
        self.subnet.with_host(self.gateway)
    }

    /// The first and the last address that is given out unasked, as numbers.
    pub fn automatic(&self) -> (u128, u128) {
        let (first, last) = self.subnet.host_range();
        let Some(range) = self.range else { return (first, last) };
        (first.max(number(range.first())), last.min(number(range.last())))
    }

    /// Whether `ip` is the pool's own: the gateway or an auxiliary address.
    pub fn reserved(&self, ip: IpAddr) -> bool {
        ip == self.gateway || self.aux.values().any(|aux| *aux == ip)
    }

    /// Refuses a pool whose parts do not lie in it, or that has no address to give.
    pub fn check(&self) -> Result<(), Refusal> {
        let subnet = self.subnet;
        check_subnet(subnet)?;
        let outside = |what: &str, ip: IpAddr| {
            Refusal::invalid(format!("{what} `{ip}` is not an address for a host in {subnet}"))
        };
        if !subnet.usable(self.gateway) {
            return Err(outside("the gateway", self.gateway));
        }
        if let Some(range) = self.range.filter(|range| !subnet.covers(range.net())) {
            return Err(Refusal::invalid(format!("the range {range} does not lie in {subnet}")));
        }
        match self.aux.iter().find(|(_, ip)| !subnet.usable(**ip)) {
            Some((name, ip)) => {
                Err(outside(&format!("the auxiliary address {}", crate::name::quoted(name)), *ip))
            }
            None => Ok(()),
        }
    }
}

/// Refuses subnets that no container network can be: too small, or not unicast.
fn check_subnet(subnet: Subnet) -> Result<(), Refusal> {
    if subnet.family().bits() - subnet.prefix_len() < 2 {
        return Err(Refusal::invalid(format!("{subnet} is too small"))
            .why("a gateway and a container need a /30 or, in IPv6, a /126"));
    }
    if subnet.prefix_len() < 8 {
        return Err(Refusal::invalid(format!("{subnet} is too large")).why("a network is a /8 or smaller"));
    }
    let first = subnet.first();
    let link_local = matches!(first, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let reserved = matches!(first, IpAddr::V4(ip) if ip.octets()[0] >= 240 || ip.octets()[0] == 0);
    if first.is_multicast() || first.is_loopback() || link_local || reserved {
        return Err(Refusal::invalid(format!("{subnet} cannot be a container network"))
            .why("multicast, loopback, link-local and reserved addresses are not for hosts"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str, gateway: &str) -> Pool {
        Pool { gateway: gateway.parse().unwrap(), ..Pool::new(subnet.parse().unwrap()) }
    }

    #[test]
    fn the_gateway_is_the_first_address() {
        assert_eq!(Pool::new("172.17.0.0/16".parse().unwrap()).gateway.to_string(), "172.17.0.1");
        assert_eq!(Pool::new("fd00::/64".parse().unwrap()).gateway.to_string(), "fd00::1");
    }

    #[test]
    fn parts_must_lie_in_the_subnet() {
        assert!(pool("10.1.0.0/24", "10.1.0.254").check().is_ok());
        for gateway in ["10.1.0.0", "10.1.0.255", "10.2.0.1", "fd00::1"] {
            assert!(pool("10.1.0.0/24", gateway).check().is_err(), "{gateway}");
        }
        let mut ranged = pool("10.1.0.0/24", "10.1.0.1");
        ranged.range = Some("10.2.0.0/25".parse().unwrap());
        assert!(ranged.check().is_err());
        let mut aux = pool("10.1.0.0/24", "10.1.0.1");
        aux.aux.insert("printer".into(), "10.1.0.255".parse().unwrap());
        assert!(aux.check().is_err());
    }

    #[test]
    fn some_subnets_are_never_networks() {
        for bad in [
            "224.0.0.0/24",
            "127.0.0.0/16",
            "240.0.0.0/24",
            "0.0.0.0/8",
            "10.0.0.0/31",
            "10.0.0.0/7",
            "ff00::/64",
            "fe80::/64",
            "fd00::/127",
        ] {
            assert!(Pool::new(bad.parse().unwrap()).check().is_err(), "{bad}");
        }
    }
}
