//! The laws of giving out addresses.

use ipnet::IpNet;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use qiao_core::ipam::assign;
use qiao_core::subnet::{Family, number};
use qiao_core::{Code, Pool, Refusal, Subnet};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A pool of 2 to 62 addresses, with a gateway anywhere, a range or none, and auxiliary addresses.
fn pool() -> impl Strategy<Value = Pool> {
    (any::<bool>(), 2u8..=6, any::<u32>(), any::<u32>(), 0u8..4, btree_set(any::<u32>(), 0..4))
        .prop_filter_map("its parts lie in it", |(v6, bits, base, gateway, smaller, aux)| {
            let family = if v6 { Family::V6 } else { Family::V4 };
            let first: IpAddr = match family {
                Family::V4 => Ipv4Addr::from(0x0a00_0000 | base & 0x00ff_ffff).into(),
                Family::V6 => Ipv6Addr::from(0xfd00_u128 << 112 | u128::from(base)).into(),
            };
            let subnet = Subnet::around(IpNet::new_assert(first, family.bits() - bits));
            let inside = |n: u32| family.address(number(subnet.first()) + u128::from(n) % (1 << bits));
            let range = (smaller > 0).then(|| {
                let len = (subnet.prefix_len() + smaller).min(family.bits());
                Subnet::around(IpNet::new_assert(inside(gateway.rotate_left(7)), len))
            });
            let aux: BTreeMap<_, _> = aux.into_iter().map(|n| (format!("a{n}"), inside(n))).collect();
            let pool = Pool { gateway: inside(gateway), range, aux, ..Pool::new(subnet) };
            pool.check().is_ok().then_some(pool)
        })
}

/// Every address that may be given unasked, found without arithmetic.
fn usable(pool: &Pool) -> BTreeSet<IpAddr> {
    let all = pool
        .range
        .unwrap_or(pool.subnet)
        .net()
        .hosts()
        .chain([pool.range.unwrap_or(pool.subnet).first(), pool.range.unwrap_or(pool.subnet).last()]);
    let own = |ip: &IpAddr| *ip == pool.gateway || pool.aux.values().any(|aux| aux == ip);
    let edge = |ip: &IpAddr| *ip == pool.subnet.first() || (ip.is_ipv4() && *ip == pool.subnet.last());
    all.filter(|ip| !own(ip) && !edge(ip)).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Give,
    Ask(u32),
    Free(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Give),
        1 => any::<u32>().prop_map(Step::Ask),
        2 => any::<prop::sample::Index>().prop_map(Step::Free),
    ]
}

proptest! {
    #[test]
    fn no_address_is_given_twice_nor_one_that_is_the_pools_own(pool in pool(), steps in vec(step(), 1..120)) {
        let usable = usable(&pool);
        let (mut taken, mut last) = (BTreeSet::new(), None);
        for step in steps {
            let wish = match step {
                Step::Give => None,
                Step::Ask(n) => {
                    let size = u128::from(pool.subnet.family().bits() - pool.subnet.prefix_len());
                    Some(pool.subnet.family().address(number(pool.subnet.first()) + u128::from(n) % (1 << size)))
                }
                Step::Free(which) => {
                    if !taken.is_empty() {
                        let ip = *which.get(&taken.iter().copied().collect::<Vec<IpAddr>>());
                        taken.remove(&ip);
                    }
                    continue;
                }
            };
            let free = usable.difference(&taken).count();
            match assign::<Refusal>(&pool, wish, last, &mut |ip| Ok(taken.contains(&ip).then(|| "x".into()))) {
                Ok(given) => {
                    prop_assert!(given.ip != pool.gateway && !pool.aux.values().any(|aux| *aux == given.ip));
                    prop_assert!(pool.subnet.usable(given.ip));
                    prop_assert!(taken.insert(given.ip), "{} twice", given.ip);
                    prop_assert_eq!(given.moves, wish.is_none());
                    if wish.is_none() {
                        prop_assert!(usable.contains(&given.ip), "{} is not in the range", given.ip);
                        last = Some(given.ip);
                    }
                }
                Err(refusal) if wish.is_none() => {
                    prop_assert_eq!(refusal.code, Code::Exhausted);
                    prop_assert_eq!(free, 0, "there were free addresses");
                }
                Err(_) => {}
            }
        }
    }

    #[test]
    fn a_pool_gives_all_it_has_and_then_nothing(pool in pool()) {
        let usable = usable(&pool);
        let (mut taken, mut last) = (BTreeSet::new(), None);
        while let Ok(given) =
            assign::<Refusal>(&pool, None, last, &mut |ip| Ok(taken.contains(&ip).then(|| "x".into())))
        {
            taken.insert(given.ip);
            last = Some(given.ip);
            prop_assert!(taken.len() <= usable.len());
        }
        prop_assert_eq!(taken, usable);
    }

    #[test]
    fn an_address_rests_as_long_as_others_are_free(pool in pool()) {
        let usable = usable(&pool);
        let (mut given, mut last) = (Vec::new(), None);
        for _ in 0..usable.len() {
            let ip = assign::<Refusal>(&pool, None, last, &mut |_| Ok(None)).unwrap().ip;
            given.push(ip);
            last = Some(ip);
        }
        prop_assert_eq!(given.into_iter().collect::<BTreeSet<_>>(), usable, "all of them before any again");
    }
}
