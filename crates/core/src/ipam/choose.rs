//! Which subnet a network gets: one that nothing of the host uses.

use crate::name::IfName;
use crate::refusal::{Code, Refusal};
use crate::settings::AddressPool;
use crate::subnet::{Family, Subnet, number};
use ipnet::IpNet;

/// A prefix that the host uses for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The prefix.
    pub net: IpNet,
    /// What it is used for, as a fact: ``172.16.0.0/12 is routed to tun0``.
    pub why: String,
    /// The interface that it is routed to, where it is a route.
    pub device: Option<IfName>,
}

impl Busy {
    /// A prefix that is used for something else than a route.
    pub fn new(net: IpNet, why: impl Into<String>) -> Self {
        Self { net, why: why.into(), device: None }
    }
}

/// Everything the host uses, sorted so that a whole pool is searched in one pass.
#[derive(Clone, Debug, Default)]
pub struct BusyMap(Vec<Busy>);

impl BusyMap {
    /// Sorts the prefixes. Default routes are left out: they cover everything and collide with nothing. So
    /// are the two or more wide routes by which a VPN replaces the default route (`0.0.0.0/1`, `8000::/1`).
    pub fn new(busy: impl IntoIterator<Item = Busy>) -> Self {
        let mut kept: Vec<Busy> = busy.into_iter().filter(|b| !stands_for_default(b.net)).collect();
        kept.sort_by_key(|b| (b.net.addr().is_ipv6(), number(b.net.network())));
        Self(kept)
    }

    /// The first prefix that shares an address with `subnet`.
    pub fn overlap(&self, subnet: Subnet) -> Option<&Busy> {
        self.0.iter().find(|busy| subnet.overlaps(busy.net))
    }
}

/// IPv4 routes wider than any private block (10.0.0.0/8), IPv6 routes wider than the unique local one (fc00::/7).
fn stands_for_default(net: IpNet) -> bool {
    net.prefix_len() < if net.addr().is_ipv4() { 8 } else { 7 }
}

/// Why `subnet` cannot be used, if something of the host is in the way.
pub fn overlap(busy: &BusyMap, subnet: Subnet) -> Option<&Busy> {
    busy.overlap(subnet)
}

/// The first free subnet of the pools of a family.
pub fn choose_subnet<'a>(
    family: Family,
    pools: impl Iterator<Item = &'a AddressPool>,
    busy: &BusyMap,
) -> Result<Subnet, Refusal> {
    pools.filter(|pool| pool.base.family() == family).find_map(|pool| first_free(pool, busy)).ok_or_else(|| {
        Refusal::new(Code::Exhausted, "no free subnet in the address pools")
            .why("every subnet of `default-address-pools` overlaps a network, a route or a resolver of this host")
            .fix("qiao network prune                (removes networks without members)")
            .fix("qiao network create NAME --subnet 10.210.0.0/24")
    })
}

/// Walks the pool, jumping over whatever is in the way, so that it takes one step per obstacle.
fn first_free(pool: &AddressPool, busy: &BusyMap) -> Option<Subnet> {
    let family = pool.base.family();
    let step = 1u128.checked_shl(u32::from(family.bits() - pool.size))?;
    let end = number(pool.base.last());
    let mut at = number(pool.base.first());
    loop {
        let subnet = Subnet::around(IpNet::new_assert(family.address(at), pool.size));
        let Some(obstacle) = busy.overlap(subnet) else { return Some(subnet) };
        let behind = number(obstacle.net.broadcast()).max(number(subnet.last())).checked_add(1)?;
        at = behind.checked_add((step - behind % step) % step)?;
        if at > end {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn busy(nets: &[&str]) -> BusyMap {
        BusyMap::new(nets.iter().map(|n| Busy::new(n.parse().unwrap(), *n)))
    }

    fn choose(pools: &[AddressPool], nets: &[&str]) -> Option<String> {
        choose_subnet(Family::V4, pools.iter(), &busy(nets)).ok().map(|s| s.to_string())
    }

    fn pool(base: &str, size: u8) -> AddressPool {
        AddressPool { base: base.parse().unwrap(), size }
    }

    #[test]
    fn obstacles_are_avoided() {
        let pools = [pool("172.16.0.0/12", 16), pool("10.210.0.0/16", 24)];
        assert_eq!(choose(&pools, &[]).unwrap(), "172.16.0.0/16");
        assert_eq!(choose(&pools, &["172.16.0.0/24", "172.17.255.255/32"]).unwrap(), "172.18.0.0/16");
        assert_eq!(choose(&pools, &["172.16.0.0/12"]).unwrap(), "10.210.0.0/24");
        assert_eq!(choose(&pools, &["172.16.0.0/12", "10.0.0.0/8"]), None);
    }

    #[test]
    fn default_routes_are_no_obstacle() {
        let pools = [pool("172.16.0.0/12", 16)];
        assert!(choose(&pools, &["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0"]).is_some());
    }

    proptest! {
        #[test]
        fn a_choice_lies_in_the_pool_and_overlaps_nothing(nets in proptest::collection::vec((0u32..1 << 20, 12u8..=32), 0..20)) {
            let pools = [pool("10.0.0.0/12", 16)];
            let base = u32::from(std::net::Ipv4Addr::new(10, 0, 0, 0));
            let nets: Vec<IpNet> = nets.into_iter().map(|(n, l)| IpNet::new_assert(std::net::Ipv4Addr::from(base + n).into(), l).trunc()).collect();
            let map = BusyMap::new(nets.iter().map(|n| Busy::new(*n, "")));
            let all_blocked = (0..16u32).all(|i| {
                let s = Subnet::around(IpNet::new_assert(std::net::Ipv4Addr::from(base + (i << 16)).into(), 16));
                nets.iter().any(|n| s.overlaps(*n))
            });
            match choose_subnet(Family::V4, pools.iter(), &map) {
                Ok(s) => prop_assert!(pools[0].base.covers(s.net()) && nets.iter().all(|n| !s.overlaps(*n))),
                Err(_) => prop_assert!(all_blocked),
            }
        }
    }
}
