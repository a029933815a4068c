//! The ports that a container publishes on a network.

use super::failure::Failure;
use super::options::PortMapping;
use super::setting::{Context, Firewall};
use ipnet::IpNet;
use qiao_core::Protocol;
use qiao_core::port::{PortRange, PublishSpec};
use std::net::IpAddr;

/// What is published on a network: nothing on an internal one. Addresses of a family that the container has not on
/// this network are another one's affair.
pub fn publish(
    context: Context<'_>,
    (internal, addresses): (bool, &[IpNet]),
) -> Result<Vec<PublishSpec>, Failure> {
    let mappings = context.options.port_mappings.as_deref().unwrap_or_default();
    let specs = mappings.iter().map(specs).collect::<Result<Vec<_>, _>>()?;
    if internal || addresses.is_empty() || context.firewall == Firewall::None {
        return Ok(Vec::new());
    }
    let has = |v4: bool| addresses.iter().any(|net| net.addr().is_ipv4() == v4);
    let here = |spec: &PublishSpec| {
        let reached = spec.host_ip.is_none_or(|ip| has(ip.is_ipv4()) || ip.is_loopback() && has(true));
        let asked = !(context.rootless && spec.host_ip.is_some_and(|ip| ip.is_loopback()));
        reached && asked
    };
    let mut all: Vec<PublishSpec> = specs.into_iter().flatten().filter(here).collect();
    // The same one twice is one, and so is one on an address beside the same on all of them.
    let wide = all.clone();
    let mut seen: Vec<PublishSpec> = Vec::new();
    all.retain(|spec| {
        let on_all = PublishSpec { host_ip: None, ..spec.clone() };
        let told = seen.contains(spec) || spec.host_ip.is_some() && wide.contains(&on_all);
        seen.push(spec.clone());
        !told
    });
    Ok(all)
}

fn specs(mapping: &PortMapping) -> Result<Vec<PublishSpec>, Failure> {
    let ports = |first: u16| {
        let last = first.checked_add(mapping.range.max(1) - 1);
        let last =
            last.ok_or_else(|| Failure(format!("the ports from {first} on are more than there are")))?;
        PortRange::new(first, last).map_err(Failure::from)
    };
    let host_ip = match mapping.host_ip.as_str() {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|_| {
            Failure(format!("invalid host ip \"{text}\" provided for port {}", mapping.host_port))
        })?),
    };
    let (host, container) = (Some(ports(mapping.host_port)?), ports(mapping.container_port)?);
    let each = |protocol: &str| {
        let protocol: Protocol = protocol.parse()?;
        Ok(PublishSpec { host_ip, host, container, protocol })
    };
    mapping.protocol.split(',').map(each).collect()
}
