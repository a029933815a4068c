//! Which address an endpoint gets: a function of the pool, of what is taken, and of what is wished for.

use crate::network::Pool;
use crate::refusal::{Code, Refusal};
use crate::subnet::number;
use std::net::IpAddr;

/// The holder of an address; none where the address is free. An error ends the search.
pub type Taken<'a, E> = dyn FnMut(IpAddr) -> Result<Option<String>, E> + 'a;

/// An address that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The address.
    pub ip: IpAddr,
    /// Whether the next search starts behind it (an address that was wished for does not move the search).
    pub moves: bool,
}

/// Finds an address: the one wished for, or the next free one behind `last`, around the end.
///
/// Starting behind the last one given out delays the reuse of an address as long as the pool allows.
pub fn assign<E: From<Refusal>>(
    pool: &Pool,
    wish: Option<IpAddr>,
    last: Option<IpAddr>,
    taken: &mut Taken<'_, E>,
) -> Result<Assigned, E> {
    match wish {
        Some(ip) => check_wish(pool, ip, taken).map(|()| Assigned { ip, moves: false }),
        None => next_free(pool, last, taken).map(|ip| Assigned { ip, moves: true }),
    }
}

fn check_wish<E: From<Refusal>>(pool: &Pool, ip: IpAddr, taken: &mut Taken<'_, E>) -> Result<(), E> {
    check_place(pool, ip)?;
    match taken(ip)? {
        Some(owner) => Err(Refusal::conflict(format!("the address `{ip}` is taken by {owner}")).into()),
        None => Ok(()),
    }
}

/// Refuses an address that no endpoint of the pool can have.
fn check_place(pool: &Pool, ip: IpAddr) -> Result<(), Refusal> {
    let subnet = pool.subnet;
    if !subnet.contains(ip) {
        return Err(Refusal::invalid(format!("the address `{ip}` is outside {subnet}")));
    }
    if !subnet.usable(ip) {
        let (first, last) = subnet.host_range();
        let family = subnet.family();
        return Err(Refusal::invalid(format!("the address `{ip}` is not for a host")).why(format!(
            "hosts in {subnet} have {} to {}",
            family.address(first),
            family.address(last)
        )));
    }
    if ip == pool.gateway {
        return Err(Refusal::conflict(format!("the address `{ip}` is the gateway of {subnet}")));
    }
    if pool.reserved(ip) {
        return Err(Refusal::conflict(format!("the address `{ip}` is reserved (--aux-address)")));
    }
    Ok(())
}

fn next_free<E: From<Refusal>>(
    pool: &Pool,
    last: Option<IpAddr>,
    taken: &mut Taken<'_, E>,
) -> Result<IpAddr, E> {
    let (low, high) = pool.automatic();
    let family = pool.subnet.family();
    let start = last.map(number).filter(|n| (low..high).contains(n)).map_or(low, |n| n + 1);
    let candidates = (start..=high).chain(low..start).map(|n| family.address(n));
    for ip in candidates.filter(|ip| !pool.reserved(*ip)) {
        if taken(ip)?.is_none() {
            return Ok(ip);
        }
    }
    Err(exhausted(pool).into())
}

fn exhausted(pool: &Pool) -> Refusal {
    let from = pool.range.unwrap_or(pool.subnet);
    Refusal::new(Code::Exhausted, format!("no free address in {from}"))
        .fix("qiao network allocations          (who has which)")
        .fix("qiao gc                           (frees those of containers that are gone)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn pool() -> Pool {
        Pool::new("10.0.0.0/29".parse().unwrap())
    }

    fn give(pool: &Pool, last: Option<IpAddr>, used: &BTreeSet<IpAddr>) -> Result<IpAddr, Refusal> {
        assign(pool, None, last, &mut |ip| Ok(used.contains(&ip).then(|| "x".to_owned()))).map(|a| a.ip)
    }

    #[test]
    fn exactly_the_usable_addresses_are_given() {
        let (mut used, mut last) = (BTreeSet::new(), None);
        for _ in 0..5 {
            let ip = give(&pool(), last, &used).unwrap();
            assert!(used.insert(ip), "{ip} twice");
            last = Some(ip);
        }
        assert_eq!(give(&pool(), last, &used).unwrap_err().code, Code::Exhausted);
        let freed = "10.0.0.4".parse().unwrap();
        used.remove(&freed);
        assert_eq!(give(&pool(), last, &used).unwrap(), freed);
    }

    #[test]
    fn reuse_is_delayed() {
        let last = Some("10.0.0.3".parse().unwrap());
        assert_eq!(give(&pool(), last, &BTreeSet::new()).unwrap().to_string(), "10.0.0.4");
        let end = Some("10.0.0.6".parse().unwrap());
        assert_eq!(give(&pool(), end, &BTreeSet::new()).unwrap().to_string(), "10.0.0.2");
    }

    #[test]
    fn wishes_are_checked() {
        let wish = |ip: &str| assign::<Refusal>(&pool(), Some(ip.parse().unwrap()), None, &mut |_| Ok(None));
        assert!(wish("10.0.0.5").is_ok());
        for bad in ["10.0.0.0", "10.0.0.1", "10.0.0.7", "10.0.1.2", "fd00::2"] {
            assert!(wish(bad).is_err(), "{bad}");
        }
        let taken: Result<_, Refusal> =
            assign(&pool(), Some("10.0.0.5".parse().unwrap()), None, &mut |_| Ok(Some("web".into())));
        assert_eq!(taken.unwrap_err().code, Code::Conflict);
    }

    /// A /64 has more addresses than a search could ever ask about.
    #[test]
    fn g3_an_error_ends_the_search_at_once() {
        let pool = Pool::new("fd00::/64".parse().unwrap());
        let mut asked = 0;
        let error = assign(&pool, None, None, &mut |_| {
            asked += 1;
            if asked < 3 { Ok(Some("web".to_owned())) } else { Err(Refusal::invalid("unreadable")) }
        });
        assert_eq!((error.unwrap_err().message.as_str(), asked), ("unreadable", 3));
    }

    proptest! {
        #[test]
        fn what_is_given_is_usable_and_free(used in proptest::collection::btree_set(0u32..70, 0..60), last in 0u32..80) {
            let mut pool = Pool::new("10.0.0.0/26".parse().unwrap());
            pool.range = Some("10.0.0.16/28".parse().unwrap());
            pool.aux.insert("a".into(), "10.0.0.20".parse().unwrap());
            let base = u32::from(std::net::Ipv4Addr::new(10, 0, 0, 0));
            let used: BTreeSet<IpAddr> = used.into_iter().map(|n| std::net::Ipv4Addr::from(base + n).into()).collect();
            let last = IpAddr::from(std::net::Ipv4Addr::from(base + last));
            let free = (16..32).filter(|n| *n != 20 && !used.contains(&std::net::Ipv4Addr::from(base + n).into())).count();
            match give(&pool, Some(last), &used) {
                Ok(ip) => prop_assert!(pool.range.unwrap().contains(ip) && pool.subnet.usable(ip) && !pool.reserved(ip) && !used.contains(&ip)),
                Err(_) => prop_assert_eq!(free, 0),
            }
        }
    }
}
