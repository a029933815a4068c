//! What no endpoint is given, whoever chose it: addresses that are the network's own, its gateways' or everybody's, and
//! hardware addresses that are the bridge's or a port's. Who had them would receive what is meant for those.

use crate::mac::Mac;
use crate::name::IfName;
use crate::network::{Driver, Network, Pool};
use crate::refusal::Refusal;
use crate::subnet::Subnet;
use ipnet::IpNet;
use std::net::IpAddr;

/// Refuses an address that no endpoint of `network` may have: an unspecified, multicast, broadcast or loopback one, the
/// subnet's own (IPv6: of its routers, RFC 4291 section 2.6.1), its broadcast address, a gateway.
pub fn refuse_address(network: &Network, net: IpNet) -> Result<(), Refusal> {
    let ip = net.addr();
    let everybodys = ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || is_broadcast(ip);
    let pool = network.pools().iter().find(|pool| pool.subnet.contains(ip));
    let subnets = pool.map(|pool| pool.subnet).into_iter().chain([Subnet::around(net)]);
    if let Some(subnet) = subnets.into_iter().find(|subnet| everybodys || !subnet.usable(ip)) {
        let (first, last) = subnet.host_range();
        let (first, last) = (subnet.family().address(first), subnet.family().address(last));
        let refusal = Refusal::invalid(format!("the address `{ip}` is not for a host"));
        return Err(match everybodys {
            true => refusal,
            false => refusal.why(format!("hosts in {subnet} have {first} to {last}")),
        });
    }
    match gateways(network).find(|pool| pool.gateway == ip) {
        Some(pool) => Err(Refusal::conflict(format!("the address `{ip}` is the gateway of {}", pool.subnet))),
        None => Ok(()),
    }
}

/// The pools whose gateways are somebody: those of an open network that the host does not route are nobody's, they are
/// there for what is masqueraded.
pub fn gateways(network: &Network) -> impl Iterator<Item = &Pool> {
    let has = |inline: crate::network::Inline| inline.routed || inline.closed;
    let has = network.bridge().is_none_or(|bridge| bridge.inline.is_none_or(has));
    network.pools().iter().filter(move |_| has)
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

/// Refuses a hardware address that no endpoint of `network` may have: that of `device`, its bridge or parent, and those
/// of the host's ends of pairs.
pub fn refuse_mac(network: &Network, (device, of_device): (&IfName, Mac), mac: Mac) -> Result<(), Refusal> {
    if mac == of_device && !matches!(network.driver, Driver::Solo(_)) {
        return Err(Refusal::conflict(format!("the hardware address `{mac}` is that of `{device}`")));
    }
    if network.bridge().is_some() && mac.is_host_end() {
        return Err(Refusal::conflict(format!(
            "the hardware address `{mac}` is for the host's end of a pair"
        ))
        .why("those begin with fe")
        .fix("a hardware address that begins with 02"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetworkId;
    use crate::network::{Bridge, Inline};
    use crate::refusal::Code;

    fn network(inline: Option<Inline>) -> Network {
        let pools = ["10.9.0.0/24", "fd00:9::/64"].map(|subnet| Pool::new(subnet.parse().unwrap()));
        let driver = Driver::Bridge(Bridge {
            device: "br0".parse().unwrap(),
            pools: pools.into(),
            mtu: None,
            internal: false,
            host_access: true,
            icc: true,
            isolate: false,
            masquerade: true,
            guard: true,
            publish_address: None,
            dns: None,
            vrf: None,
            inline,
        });
        let (id, name) = (NetworkId::from_bytes([1; 32]), "n".parse().unwrap());
        Network { id, name, driver, labels: Default::default(), created: 0 }
    }

    fn code(network: &Network, net: &str) -> Option<Code> {
        refuse_address(network, net.parse().unwrap()).err().map(|refusal| refusal.code)
    }

    #[test]
    fn d2_nobody_has_what_is_everybodys() {
        for net in [
            "10.9.0.0/24",
            "10.9.0.255/24",
            "10.9.0.0/32",
            "10.9.0.255/32",
            "10.9.0.255/16",
            "10.8.255.255/16",
            "0.0.0.0/24",
            "127.0.0.1/24",
            "224.0.0.1/24",
            "255.255.255.255/32",
            "fd00:9::/64",
            "fd00:9::/128",
            "fd00:8::/64",
            "::/64",
            "::1/128",
            "ff02::1/64",
        ] {
            assert_eq!(code(&network(None), net), Some(Code::Invalid), "{net}");
        }
        for net in ["10.9.0.1/24", "10.9.0.1/32", "fd00:9::1/64"] {
            assert_eq!(code(&network(None), net), Some(Code::Conflict), "{net}");
        }
        for net in
            ["10.9.0.2/24", "10.9.0.254/32", "10.8.0.0/31", "10.8.0.1/32", "fd00:9::ffff/64", "fd00:8::/127"]
        {
            assert_eq!(code(&network(None), net), None, "{net}");
        }
    }

    /// What is masqueraded and not routed has no gateway; where a client says which it is, it is somebody.
    #[test]
    fn d2_a_gateway_is_refused_where_there_is_one() {
        let inline = |routed, closed| network(Some(Inline { routed, closed, ..Inline::default() }));
        assert_eq!(code(&inline(false, false), "10.9.0.1/24"), None);
        for network in [inline(true, false), inline(false, true), inline(true, true)] {
            assert_eq!(code(&network, "10.9.0.1/24"), Some(Code::Conflict));
        }
    }

    #[test]
    fn d2_hardware_addresses_of_the_host_are_refused() {
        let refused = |mac: &str| {
            let (device, of_device) = ("br0".parse().unwrap(), "02:00:00:00:00:01".parse().unwrap());
            refuse_mac(&network(None), (&device, of_device), mac.parse().unwrap()).is_err()
        };
        assert!(refused("02:00:00:00:00:01") && refused("fe:00:00:00:00:02"));
        assert!(!refused("02:00:00:00:00:02") && !refused("fa:00:00:00:00:02"));
    }
}
