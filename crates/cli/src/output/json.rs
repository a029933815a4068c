//! JSON of networks and endpoints: Docker's field names, ours under `Engine`.

use super::time::rfc3339;
use qiao_core::endpoint::Wire;
use qiao_core::subnet::Family;
use qiao_core::{Bridge, Child, Endpoint, Network, Pool};
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// An endpoint.
pub fn endpoint(endpoint: &Endpoint) -> Value {
    let wire = endpoint.wire.as_ref();
    json!({
        "container": endpoint.sandbox(),
        "network": endpoint.network(),
        "interface": endpoint.id.ifname,
        "netns": endpoint.netns.as_ref().map(|n| &n.path),
        "host_interface": wire.map(|w| &w.host_if),
        "mac": wire.map(Wire::own_mac),
        "addresses": endpoint.addresses(),
        "gateways": wire.map(|w| w.gateways.clone()).unwrap_or_default(),
        "mtu": wire.map(|w| w.mtu),
        "guard": wire.map(|w| w.guard),
        "ports": endpoint.publish().iter().map(publish).collect::<Vec<_>>(),
        "attached": rfc3339(endpoint.attached),
    })
}

/// A published port.
pub fn publish(publish: &qiao_core::Publish) -> Value {
    let (listen, backend) = (publish.listen, publish.backend);
    json!({
        "protocol": listen.protocol,
        "host_ip": listen.host.ip(),
        "host_port": listen.ports.first(),
        "range": listen.ports.count(),
        "container_ip": backend.ip,
        "container_port": backend.port,
    })
}

/// A network with its members, as `docker network inspect` shows it.
pub fn network(network: &Network, members: &[Endpoint]) -> Value {
    let bridge = network.bridge();
    json!({
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created),
        "Scope": "local",
        "Driver": network.driver.as_str(),
        "EnableIPv4": network.has(Family::V4) || network.is_dhcp(),
        "EnableIPv6": network.has(Family::V6),
        "IPAM": {"Driver": if network.is_dhcp() { "dhcp" } else { "default" }, "Options": {}, "Config": network.pools().iter().map(pool).collect::<Vec<_>>()},
        "Internal": network.is_internal(),
        "Attachable": false,
        "Ingress": false,
        "ConfigOnly": false,
        "Containers": members.iter().map(member).collect::<Map<_, _>>(),
        "Options": bridge.map(options).or(network.child().map(child_options)).unwrap_or_default(),
        "Labels": network.labels,
        "Engine": {"bridge": bridge.map(engine), "child": network.child(), "members": members.len()},
    })
}

fn pool(pool: &Pool) -> Value {
    let mut config = json!({"Subnet": pool.subnet, "Gateway": pool.gateway});
    if let Some(range) = pool.range {
        config["IPRange"] = json!(range);
    }
    if !pool.aux.is_empty() {
        config["AuxiliaryAddresses"] = json!(pool.aux);
    }
    config
}

fn member(endpoint: &Endpoint) -> (String, Value) {
    let of = |family: Family| {
        endpoint.addresses().iter().find(|net| Family::of(net.addr()) == family).map(ToString::to_string)
    };
    let mac = endpoint.wire.as_ref().and_then(Wire::own_mac).map(|mac| mac.to_string());
    let fields = json!({
        "Name": endpoint.sandbox(),
        "EndpointID": endpoint.id.key(),
        "MacAddress": mac.unwrap_or_default(),
        "IPv4Address": of(Family::V4).unwrap_or_default(),
        "IPv6Address": of(Family::V6).unwrap_or_default(),
    });
    (endpoint.sandbox().to_string(), fields)
}

fn options(bridge: &Bridge) -> Value {
    let mut options = json!({
        "com.docker.network.bridge.name": bridge.device,
        "com.docker.network.bridge.enable_icc": bridge.icc.to_string(),
        "com.docker.network.bridge.enable_ip_masquerade": bridge.masquerade.to_string(),
    });
    if let Some(mtu) = bridge.mtu {
        options["com.docker.network.driver.mtu"] = json!(mtu.to_string());
    }
    if let Some(ip) = bridge.publish_address {
        options["com.docker.network.bridge.host_binding_ipv4"] = json!(ip.to_string());
    }
    options
}

fn child_options(child: &Child) -> Value {
    let kind = child.mode.kind();
    let mut options = json!({"parent": child.parent, format!("{kind}_mode"): child.mode.name()});
    if let Some(mtu) = child.mtu {
        options["com.docker.network.driver.mtu"] = json!(mtu.to_string());
    }
    options
}

fn engine(bridge: &Bridge) -> Value {
    json!({
        "device": bridge.device,
        "isolate": bridge.isolate,
        "guard": bridge.guard,
        "icc": bridge.icc,
        "masquerade": bridge.masquerade,
        "host_access": bridge.host_access,
        "mtu": bridge.mtu,
        "dns": bridge.dns,
    })
}

/// The addresses of an endpoint, for a table.
pub fn addresses(endpoint: &Endpoint) -> String {
    let ips: Vec<String> = endpoint.addresses().iter().map(|net| net.addr().to_string()).collect();
    ips.join(",")
}

/// An address as it stands in front of a port.
pub fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
