//! What setup says.

use super::options::{Network, Options, PerNetwork};
use qiao_core::dhcp::Terms;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a network is to a container that has joined it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The interface's hardware address.
    pub mac: String,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<ipnet::IpNet>,
    /// Where names are resolved; empty where nobody does it.
    pub resolvers: Vec<IpAddr>,
    /// What a DHCP server of the neighbourhood gave.
    pub lease: Option<Terms>,
}

/// What a plugin replies about a network, as far as it is passed on.
#[derive(Debug, Deserialize, Serialize)]
pub struct Status {
    dns_search_domains: Option<Vec<String>>,
    dns_server_ips: Option<Vec<IpAddr>>,
    interfaces: Option<BTreeMap<String, Interface>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Interface {
    mac_address: String,
    subnets: Option<Vec<Address>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Address {
    gateway: Option<IpAddr>,
    ipnet: ipnet::IpNet,
}

/// The reply about one network.
pub fn network(options: &Options, (own, network): (&PerNetwork, &Network), joined: &Joined) -> Value {
    let gateway_of = |ip: IpAddr| {
        let subnet = network.subnets().iter().find(|subnet| subnet.subnet.contains(&ip));
        let router = joined.lease.as_ref().and_then(|lease| lease.routers.first());
        subnet.and_then(|subnet| subnet.gateway).or(router.map(|ip| IpAddr::V4(*ip)))
    };
    let subnets = joined.addresses.iter().map(|net| json!({"ipnet": net, "gateway": gateway_of(net.addr())}));
    let subnets: Vec<Value> = subnets.collect();
    let (servers, domains) = names(options, network, joined);
    json!({
        "dns_search_domains": domains,
        "dns_server_ips": servers,
        "interfaces": {
            own.interface_name.clone(): {"mac_address": joined.mac, "subnets": subnets},
        },
    })
}

/// Who resolves names for the container, and in which domains: we do, or those that it or the neighbourhood named.
fn names(options: &Options, network: &Network, joined: &Joined) -> (Vec<IpAddr>, Vec<String>) {
    if network.dns_enabled && network.driver == "bridge" {
        return (joined.resolvers.clone(), vec!["dns.podman".into()]);
    }
    let own = options.dns_servers.clone().unwrap_or_default();
    match &joined.lease {
        Some(lease) if own.is_empty() => {
            (lease.dns.iter().map(|ip| IpAddr::V4(*ip)).collect(), lease.domain.iter().cloned().collect())
        }
        _ => (own, Vec::new()),
    }
}
