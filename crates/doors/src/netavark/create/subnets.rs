//! Subnets: those that were asked for, and those that are chosen.

use super::{Host, SubnetPool, Used};
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

/// The first subnet of the pools that is free.
pub fn free(pools: &[SubnetPool], taken: &[IpNet]) -> Result<IpNet, Failure> {
    let subnets = |pool: &SubnetPool| match pool.base {
        IpNet::V4(base) => base.subnets(pool.size).ok(),
        IpNet::V6(_) => None,
    };
    let mut all = pools.iter().filter_map(subnets).flatten().map(IpNet::V4);
    let found = all.find(|subnet| taken.iter().all(|other| !overlap(subnet, other)));
    found.ok_or_else(|| Failure("could not find free subnet from subnet pools".into()))
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
    let mut seen: Vec<IpNet> = taken.to_vec();
    for subnet in network.subnets.iter_mut().flatten() {
        let net = subnet.subnet.trunc();
        subnet.subnet = net;
        network.ipv6_enabled |= net.addr().is_ipv6();
        if let Some(_other) = seen.iter().find(|other| overlap(other, &net)) {
            return Err(Failure(format!("subnet {net} is already used on the host or by another config")));
        }
        seen.push(net);
        if net.addr().is_ipv4() && net.prefix_len() > 30 {
            return Err(Failure(format!("subnet {net} is too small: at most a /30")));
        }
        check_parts(subnet)?;
        if wants_gateway && subnet.gateway.is_none() {
            subnet.gateway = Some(first(net));
        }
    }
    Ok(())
}

fn check_parts(subnet: &Subnet) -> Result<(), Failure> {
    let inside = |what: &str, ip: Option<IpAddr>| match ip.filter(|ip| !subnet.subnet.contains(ip)) {
        Some(ip) => Err(Failure(format!("{what} {ip} not in subnet {}", subnet.subnet))),
        None => Ok(()),
    };
    inside("gateway", subnet.gateway)?;
    let Some(range) = &subnet.lease_range else { return Ok(()) };
    inside("lease range start ip", range.start_ip)?;
    inside("lease range end ip", range.end_ip)?;
    match (range.start_ip, range.end_ip) {
        (Some(start), Some(end)) if start > end => {
            Err(Failure(format!("lease range start ip {start} is behind its end ip {end}")))
        }
        _ => Ok(()),
    }
}

/// The first address that a host may have.
fn first(net: IpNet) -> IpAddr {
    let subnet = qiao_core::Subnet::around(net);
    subnet.family().address(qiao_core::subnet::number(subnet.first()) + 1)
}
