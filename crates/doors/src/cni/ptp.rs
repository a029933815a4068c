//! The `ptp` plugin: a pair of interfaces and routes, no bridge. It is a routed network that is open.

use super::answer::Answer;
use super::config::Config;
use super::failure::Failure;
use super::main_plugin::{masquerades, mtu};
use ipnet::IpNet;
use qiao_core::endpoint::Extras;
use qiao_core::mac::Mac;
use qiao_core::network::{Bridge, Driver, Inline, Network, Pool};
use qiao_core::{IfName, Subnet};

/// The device that has the gateways' addresses, of all such networks.
const DEVICE: &str = "qiao-ptp";

/// The settings of a point-to-point network.
#[derive(Clone, Debug)]
pub struct Settings {
    masquerade: bool,
    mtu: Option<u32>,
}

impl Settings {
    /// Reads the settings.
    pub fn parse(config: &Config) -> Result<Self, Failure> {
        Ok(Self { masquerade: masquerades(config)?, mtu: mtu(config)? })
    }

    /// Each address is alone on its link, and has a gateway.
    pub fn complete(&self, ipam: &mut Answer) -> Result<(), Failure> {
        if ipam.ips.is_empty() {
            return Err(Failure::config("`ipam` is missing: a point-to-point link needs an address"));
        }
        for ip in &mut ipam.ips {
            let first = Pool::new(Subnet::around(ip.net)).gateway;
            let gateway = ip.gateway.unwrap_or(first);
            if gateway == ip.net.addr() || gateway.is_ipv4() != ip.net.addr().is_ipv4() {
                let what = format!("the address {} has no gateway", ip.net);
                return Err(Failure::config(what).because("a point-to-point link leads to one"));
            }
            ip.gateway = Some(gateway);
        }
        Ok(())
    }

    /// The network.
    pub fn driver(&self, ipam: &Answer) -> Result<Driver, Failure> {
        let mut pools: Vec<Pool> = Vec::new();
        for ip in &ipam.ips {
            let own = Pool::new(Subnet::around(ip.net));
            let pool = Pool { gateway: ip.gateway.unwrap_or(own.gateway), ..own };
            if !pools.contains(&pool) {
                pools.push(pool);
            }
        }
        Ok(Driver::Routed(Bridge {
            device: IfName::new(DEVICE).map_err(Failure::from)?,
            pools,
            mtu: self.mtu,
            internal: false,
            host_access: true,
            icc: true,
            isolate: false,
            masquerade: self.masquerade,
            guard: true,
            publish_address: None,
            dns: None,
            vrf: None,
            inline: Some(Inline { routed: true, apart: false, ..Inline::default() }),
        }))
    }
}

/// The subnets are reached by their gateways, in front of what the address management says. The gateways of routes with
/// attributes are on the link: nothing else says so.
pub fn wish(extras: &mut Extras, network: &Network) -> Option<Mac> {
    let pools = network.pools().iter();
    let mut routes: Vec<_> = pools.map(|pool| (pool.subnet.net(), Some(pool.gateway))).collect();
    routes.retain(|(net, _)| net.prefix_len() < net.max_prefix_len());
    routes.append(&mut extras.routes);
    for via in extras.ways.iter().filter_map(|way| way.via) {
        let alone = IpNet::from(via);
        if routes.iter().all(|(net, _)| *net != alone) {
            routes.push((alone, None));
        }
    }
    extras.routes = routes;
    None
}
