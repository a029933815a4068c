//! What setup says.

use super::options::{Network, Options, PerNetwork};
use serde_json::{Value, json};
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
}

/// The reply about one network.
pub fn network(options: &Options, (own, network): (&PerNetwork, &Network), joined: &Joined) -> Value {
    let gateway_of = |ip: IpAddr| {
        let subnet = network.subnets().iter().find(|subnet| subnet.subnet.contains(&ip));
        subnet.and_then(|subnet| subnet.gateway)
    };
    let subnets = joined.addresses.iter().map(|net| json!({"ipnet": net, "gateway": gateway_of(net.addr())}));
    let subnets: Vec<Value> = subnets.collect();
    let is_served = network.dns_enabled && network.driver == "bridge";
    let (servers, domains): (Vec<IpAddr>, &[&str]) = match is_served {
        true => (joined.resolvers.clone(), &["dns.podman"]),
        false => (options.dns_servers.clone().unwrap_or_default(), &[]),
    };
    json!({
        "dns_search_domains": domains,
        "dns_server_ips": servers,
        "interfaces": {
            own.interface_name.clone(): {"mac_address": joined.mac, "subnets": subnets},
        },
    })
}
