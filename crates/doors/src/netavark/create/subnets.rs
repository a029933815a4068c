//! Subnets: those that were asked for, and those that are chosen.

use super::{Choice, Host, SubnetPool, Used};
use crate::netavark::failure::Failure;
use crate::netavark::options::{Network, Subnet};
use ipnet::{IpNet, Ipv6Net};
use std::net::{IpAddr, Ipv6Addr};

/// What a subnet must not overlap; nothing if it need not be free.
pub fn taken(must_be_free: bool, used: &Used, host: &Host) -> Vec<IpNet> {
    if must_be_free { used.subnets.iter().chain(&host.subnets).copied().collect() } else { Vec::new() }
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Adds a subnet.
pub fn push(network: &mut Network, subnet: IpNet) {
    network.subnets.get_or_insert_default().push(Subnet { gateway: None, lease_range: None, subnet });
}

/// The first subnet of the pools that is free. Where it need not be, it is the first of all when none is.
pub fn free(choice: &Choice, taken: &[IpNet]) -> Result<IpNet, Failure> {
    let mut why = "could not find free subnet from subnet pools";
    let mut subnets = |pool: &SubnetPool| match pool.base {
        IpNet::V4(base) if pool.size > 32 => {
            why = "Failed to create network from pool: invalid IP prefix length";
            base.subnets(33).ok()
        }
        IpNet::V4(base) => base.subnets(pool.size as u8).ok(),
        IpNet::V6(_) => None,
    };
    let pools: Vec<_> = choice.subnet_pools.iter().filter_map(&mut subnets).collect();
    let mut all = pools.iter().flat_map(Clone::clone).map(IpNet::V4);
    let first = all.clone().next().filter(|_| !choice.check_used_subnets);
    let found = all.find(|subnet| taken.iter().all(|other| !overlap(subnet, other)));
    found.or(first).ok_or_else(|| Failure(why.into()))
}

/// A /64 of a random unique local prefix (RFC 4193) that is free.
pub fn unique_local(random: &[u8; 32], taken: &[IpNet]) -> Result<IpNet, Failure> {
    let prefix = |bytes: &[u8]| {
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..8].copy_from_slice(bytes);
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(octets), 64))
    };
    let found = random.chunks_exact(7).map(prefix);
    let mut free = found.filter(|subnet| taken.iter().all(|other| !overlap(subnet, other)));
    free.next().ok_or_else(|| Failure("could not find free IPv6 subnet".into()))
}

/// Checks the subnets, and gives them the gateways that are missing.
pub fn check(network: &mut Network, taken: &[IpNet]) -> Result<(), Failure> {
    let wants_gateway = !network.internal || network.dns_enabled;
    apart(network.subnets())?;
    for subnet in network.subnets.iter_mut().flatten() {
        subnet.subnet = subnet.subnet.trunc();
        let net = subnet.subnet;
        network.ipv6_enabled |= net.addr().is_ipv6();
        if taken.iter().any(|other| overlap(other, &net)) {
            return Err(Failure(format!("subnet {net} is already used on the host or by another config")));
        }
        contains(subnet, "gateway", subnet.gateway)?;
        if wants_gateway && subnet.gateway.is_none() {
            subnet.gateway = Some(first(net)?);
        }
        check_range(subnet)?;
    }
    Ok(())
}

/// Refuses subnets of which one is in another.
pub fn apart(subnets: &[Subnet]) -> Result<(), Failure> {
    for (i, Subnet { subnet: one, .. }) in subnets.iter().enumerate() {
        let others = subnets.get(i + 1..).unwrap_or_default();
        match others.iter().find(|other| overlap(one, &other.subnet)) {
            None => {}
            Some(other) if other.subnet == *one => {
                return Err(Failure(format!("duplicate subnet defined: {one}")));
            }
            Some(other) => return Err(Failure(format!("overlapping subnets: {one} and {}", other.subnet))),
        }
    }
    Ok(())
}

fn contains(subnet: &Subnet, what: &str, ip: Option<IpAddr>) -> Result<(), Failure> {
    match ip.filter(|ip| !subnet.subnet.contains(ip)) {
        Some(ip) => Err(Failure(format!("{what} {ip} not in subnet {}", subnet.subnet))),
        None => Ok(()),
    }
}

fn check_range(subnet: &Subnet) -> Result<(), Failure> {
    let Some(range) = &subnet.lease_range else { return Ok(()) };
    let end = |what: &str, text: &Option<String>| {
        let ip = text.as_ref().map(|text| text.parse()).transpose();
        let ip = ip.map_err(|error| Failure(format!("invalid {what}: {error}")))?;
        contains(subnet, &format!("lease range {what}"), ip).map(|()| ip)
    };
    match (end("start_ip", &range.start_ip)?, end("end_ip", &range.end_ip)?) {
        (Some(start), Some(end)) if start > end => {
            Err(Failure(format!("lease range start_ip {start} must be less than or equal to end_ip {end}")))
        }
        _ => Ok(()),
    }
}

/// The first address that a host may have. There must be another one.
fn first(net: IpNet) -> Result<IpAddr, Failure> {
    let longest = if net.addr().is_ipv4() { 31 } else { 128 };
    if net.prefix_len() >= longest {
        return Err(Failure(format!(
            "could not create gateway for subnet {net} because it has a {longest} or greater subnet prefix"
        )));
    }
    let subnet = qiao_core::Subnet::around(net);
    Ok(subnet.family().address(qiao_core::subnet::number(subnet.first()) + 1))
}
