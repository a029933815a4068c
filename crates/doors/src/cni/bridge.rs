//! The `bridge` plugin: its settings, the network and the endpoint that they describe, and its result.

use super::answer::{Address, Answer, Fields, Interface, Route};
use super::call::{Args, Call};
use super::config::Config;
use super::failure::Failure;
use ipnet::IpNet;
use qiao_core::endpoint::Extras;
use qiao_core::mac::Mac;
use qiao_core::network::{Bridge, Driver, Inline, Network, Pool};
use qiao_core::owner::fnv;
use qiao_core::request::{Attach, Given, Wish};
use qiao_core::subnet::Family;
use qiao_core::{Endpoint, IfName, NetworkId, Subnet};
use std::net::IpAddr;

/// The settings of a bridge network.
#[derive(Clone, Debug)]
pub struct Settings {
    device: IfName,
    gateway: bool,
    default_gateway: bool,
    masquerade: bool,
    mtu: Option<u32>,
    hairpin: bool,
    isolated: bool,
    mac: Option<Mac>,
}

impl Settings {
    /// Reads the settings.
    pub fn parse(config: &Config, args: &Args) -> Result<Self, Failure> {
        let doc = config.doc();
        let device = doc.text("bridge")?.unwrap_or("cni0");
        let default_gateway = doc.is_on("isDefaultGateway")?;
        let hairpin = doc.is_on("hairpinMode")?;
        if hairpin && doc.is_on("promiscMode")? {
            return Err(Failure::config("`hairpinMode` and `promiscMode` exclude one another"));
        }
        refuse_rest(config)?;
        Ok(Self {
            device: IfName::new(device).map_err(Failure::from)?,
            gateway: doc.is_on("isGateway")? || default_gateway,
            default_gateway,
            masquerade: doc.is_on("ipMasq")?,
            mtu: doc.number("mtu", 65535)?.filter(|mtu| *mtu != 0).map(|mtu| mtu as u32),
            hairpin,
            isolated: doc.is_on("portIsolation")?,
            mac: mac(config, args)?,
        })
    }

    /// The bridge.
    pub fn device(&self) -> &IfName {
        &self.device
    }

    /// The hardware address; this one where none is asked for.
    pub fn mac_or(&mut self, mac: Mac) -> Mac {
        *self.mac.get_or_insert(mac)
    }

    /// What to ask of the engine, for the addresses that were given.
    pub fn request(&self, (config, call): (&Config, &Call), ipam: &Answer) -> Result<Attach, Failure> {
        let addresses: Vec<IpNet> = ipam.ips.iter().map(|ip| ip.net).collect();
        let (plain, more): (Vec<_>, Vec<_>) = ipam.routes.iter().partition(|route| route.way(None).is_none());
        let extras = Extras {
            routes: plain.into_iter().map(|route| (route.dst, gateway_of(route, ipam))).collect(),
            ways: more.into_iter().filter_map(|route| route.way(gateway_of(route, ipam))).collect(),
            hairpin: self.hairpin,
            isolated: self.isolated,
            learns: addresses.is_empty(),
            ..Extras::default()
        };
        let network = self.network(config, ipam)?;
        Ok(Attach {
            netns: call.netns.clone(),
            network: Some(network.name.clone()),
            ifname: Some(call.ifname.clone()),
            wish: Wish { mac: self.mac, ..Wish::default() },
            guard: Some(!addresses.is_empty()),
            given: Some(Box::new(Given::new(network, addresses, extras))),
            ..Attach::new(call.sandbox.clone())
        })
    }

    /// Completes what the address management said: the gateways that are the bridge's, and the default routes.
    pub fn complete(&self, ipam: &mut Answer) {
        if !self.gateway {
            return;
        }
        for ip in &mut ipam.ips {
            let first = Subnet::around(ip.net);
            ip.gateway = ip.gateway.or(Some(first.family().address(first.host_range().0)));
        }
        if !self.default_gateway {
            return;
        }
        for family in [Family::V4, Family::V6] {
            let everywhere = family.default_route();
            let gw = ipam.ips.iter().filter_map(|ip| ip.gateway).find(|gw| Family::of(*gw) == family);
            if let Some(gw) = gw.filter(|_| ipam.routes.iter().all(|route| route.dst != everywhere)) {
                ipam.routes.push(Route { dst: everywhere, gw: Some(gw), rest: Fields::new() });
            }
        }
    }

    fn network(&self, config: &Config, ipam: &Answer) -> Result<Network, Failure> {
        let name = config.network()?;
        let mut pools: Vec<Pool> = Vec::new();
        for ip in ipam.ips.iter().filter(|_| self.gateway || self.masquerade) {
            let subnet = Subnet::around(ip.net);
            if pools.iter().all(|pool| pool.subnet != subnet) {
                let own = Pool::new(subnet);
                pools.push(Pool { gateway: ip.gateway.unwrap_or(own.gateway), ..own });
            }
        }
        let bridge = Bridge {
            device: self.device.clone(),
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
            inline: Some(Inline { routed: self.gateway, ..Inline::default() }),
        };
        let id = NetworkId::from_bytes(std::array::from_fn(|i| fnv(name.as_str(), i as u64) as u8));
        Ok(Network { id, name, driver: Driver::Bridge(bridge), labels: Default::default(), created: 0 })
    }
}

/// The result: the bridge, the host's end of the pair, and the container's.
pub fn answer(
    config: &Config,
    call: &Call,
    made: (&Endpoint, &Network, Option<Mac>),
    ipam: Answer,
) -> Answer {
    let (endpoint, network, bridge_mac) = made;
    let device = network.bridge().map(|bridge| bridge.device.to_string()).unwrap_or_default();
    let mut interfaces =
        vec![Interface { name: device, mac: bridge_mac.map(|mac| mac.to_string()), ..Interface::default() }];
    if let Some(wire) = &endpoint.wire {
        interfaces[0].mtu = Some(wire.mtu);
        interfaces.push(Interface {
            name: wire.host_if.to_string(),
            mac: Some(wire.mac.host_end().to_string()),
            mtu: Some(wire.mtu),
            ..Interface::default()
        });
        interfaces.push(Interface {
            name: call.ifname.to_string(),
            mac: Some(wire.mac.to_string()),
            mtu: Some(wire.mtu),
            sandbox: call.netns.clone(),
            ..Interface::default()
        });
    }
    let inside = interfaces.len() - 1;
    let ips = ipam.ips.into_iter().map(|ip| Address { interface: Some(inside), ..ip }).collect();
    let own = config.doc().object("dns").ok().flatten().map(|dns| dns.0.clone()).unwrap_or_default();
    let dns = if own.is_empty() { ipam.dns } else { own };
    Answer { interfaces, ips, dns, ..ipam }
}

/// A route without a gateway goes to that of the family's first address.
fn gateway_of(route: &Route, ipam: &Answer) -> Option<IpAddr> {
    let same = |ip: &&Address| ip.net.addr().is_ipv4() == route.dst.addr().is_ipv4();
    route.gw.or_else(|| ipam.ips.iter().find(same).and_then(|ip| ip.gateway))
}

/// The hardware address: the runtime's, the user's, that of `CNI_ARGS`.
pub(super) fn mac(config: &Config, args: &Args) -> Result<Option<Mac>, Failure> {
    let given = args.iter().find(|(key, _)| key.eq_ignore_ascii_case("MAC")).map(|(_, mac)| mac.as_str());
    let text = config.runtime()?.text("mac")?.or(config.user()?.text("mac")?).or(given);
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Failure::config(format!("`mac`: {text} is not a hardware address")))
}

/// What is not there yet is said, rather than left out.
fn refuse_rest(config: &Config) -> Result<(), Failure> {
    let doc = config.doc();
    if let Some(vlan) = doc.number("vlan", 4094)?.filter(|vlan| *vlan != 0) {
        return Err(Failure::unsupported("vlan", vlan));
    }
    if doc.is_on("disableContainerInterface")? {
        return Err(Failure::unsupported("disableContainerInterface", true));
    }
    for key in ["forceAddress", "enabledad", "macspoofchk", "preserveDefaultVlan"] {
        doc.is_on(key)?;
    }
    match doc.list("vlanTrunk")? {
        [] => Ok(()),
        trunk => Err(Failure::unsupported("vlanTrunk", trunk.len())),
    }
}
