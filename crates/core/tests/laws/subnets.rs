//! The laws of choosing subnets.

use crate::generate::subnet;
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;
use qiao_core::Subnet;
use qiao_core::ipam::{Busy, BusyMap, choose_subnet};
use qiao_core::settings::AddressPool;
use qiao_core::subnet::{Family, number};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Pools of at most 32 subnets each, near one another, so that they are often full.
fn pools(family: Family) -> impl Strategy<Value = Vec<AddressPool>> {
    vec((0u32..8, 0u8..=5), 1..4).prop_map(move |pools| {
        let pool = |(at, more): (u32, u8)| {
            let base = match family {
                Family::V4 => IpNet::new_assert(Ipv4Addr::new(10, at as u8, 0, 0).into(), 16),
                Family::V6 => {
                    IpNet::new_assert(Ipv6Addr::new(0xfd00, at as u16, 0, 0, 0, 0, 0, 0).into(), 32)
                }
            };
            AddressPool { base: Subnet::around(base), size: base.prefix_len() + more }
        };
        pools.into_iter().map(pool).collect()
    })
}

fn busy(family: Family) -> impl Strategy<Value = Vec<IpNet>> {
    let near = (0u32..8, any::<u32>(), 0u8..20).prop_map(move |(at, low, shorter)| match family {
        Family::V4 => {
            IpNet::new_assert(Ipv4Addr::from(0x0a00_0000 | at << 16 | low & 0xffff).into(), 32 - shorter)
        }
        Family::V6 => {
            let ip = 0xfd00_u128 << 112 | u128::from(at) << 96 | u128::from(low) << 64;
            IpNet::new_assert(Ipv6Addr::from(ip).into(), 52 - shorter)
        }
    });
    vec(prop_oneof![9 => near, 1 => subnet().prop_map(Subnet::net)], 0..24)
}

fn candidates(pool: &AddressPool) -> Vec<Subnet> {
    let family = pool.base.family();
    let step = 1u128 << (family.bits() - pool.size);
    let first = number(pool.base.first());
    let count = 1u128 << (pool.size - pool.base.prefix_len());
    (0..count)
        .map(|n| Subnet::around(IpNet::new_assert(family.address(first + n * step), pool.size)))
        .collect()
}

/// The wide routes that stand for a default route count for nothing.
fn counts(net: &IpNet) -> bool {
    net.prefix_len() >= if net.addr().is_ipv4() { 8 } else { 7 }
}

/// Whether two prefixes share an address, found by their ends.
fn share(a: IpNet, b: IpNet) -> bool {
    let ends = |net: IpNet| (number(net.network()), number(net.broadcast()));
    let ((a_first, a_last), (b_first, b_last)) = (ends(a), ends(b));
    a.addr().is_ipv4() == b.addr().is_ipv4() && a_first <= b_last && b_first <= a_last
}

fn law(family: Family, pools: &[AddressPool], busy: &[IpNet]) -> Result<(), TestCaseError> {
    let map = BusyMap::new(busy.iter().map(|net| Busy::new(*net, net.to_string())));
    let free = |subnet: &Subnet| busy.iter().filter(|net| counts(net)).all(|net| !share(subnet.net(), *net));
    let wanted = pools.iter().flat_map(candidates).find(|subnet| free(subnet));
    let chosen = choose_subnet(family, pools.iter(), &map);
    prop_assert_eq!(chosen.ok(), wanted, "the first that nothing overlaps, or none");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn the_first_free_subnet_is_chosen_v4(pools in pools(Family::V4), busy in busy(Family::V4)) {
        law(Family::V4, &pools, &busy)?;
    }

    #[test]
    fn the_first_free_subnet_is_chosen_v6(pools in pools(Family::V6), busy in busy(Family::V6)) {
        law(Family::V6, &pools, &busy)?;
    }

    #[test]
    fn what_is_in_the_way_is_named(subnet in subnet(), busy in vec(subnet(), 0..8)) {
        let map = BusyMap::new(busy.iter().map(|s| Busy::new(s.net(), s.to_string())));
        match map.overlap(subnet) {
            Some(found) => prop_assert!(share(subnet.net(), found.net)),
            None => prop_assert!(busy.iter().all(|s| !counts(&s.net()) || !share(subnet.net(), s.net()))),
        }
    }
}
