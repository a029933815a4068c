//! Main plugins: those that make an interface in the container. Each reads its own settings into a network and a
//! request; what they share is here.

use super::answer::{Address, Answer, Fields, Interface, Route};
use super::call::{Args, Call};
use super::config::Config;
use super::failure::Failure;
use super::{bridge, child, ptp, solo};
use ipnet::IpNet;
use qiao_core::endpoint::{Extras, Way, Wire, has_subnet};
use qiao_core::mac::Mac;
use qiao_core::network::{Driver, Network};
use qiao_core::owner::fnv;
use qiao_core::plan::RouteId;
use qiao_core::request::{Attach, Given, Wish};
use qiao_core::{Endpoint, IfName, NetworkId};
use std::net::IpAddr;

/// The settings of a main plugin.
#[derive(Clone, Debug)]
pub enum Settings {
    /// `bridge`, and `qiao`.
    Bridge(bridge::Settings),
    /// `ptp`.
    Ptp(ptp::Settings),
    /// `macvlan`, `ipvlan` and `vlan`.
    Child(child::Settings),
    /// `dummy`, `tap` and `host-device`.
    Solo(solo::Settings),
}

/// An attachment that was made, as the result needs it.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// The endpoint.
    pub endpoint: &'a Endpoint,
    /// Its network.
    pub network: &'a Network,
    /// The hardware address of its bridge, where it has one.
    pub bridge_mac: Option<Mac>,
    /// The hardware address of the container's interface.
    pub mac: Option<Mac>,
}

impl Settings {
    /// Reads the settings of a plugin.
    pub fn parse(plugin: &str, config: &Config, args: &Args) -> Result<Self, Failure> {
        Ok(match plugin {
            "ptp" => Settings::Ptp(ptp::Settings::parse(config)?),
            "macvlan" | "ipvlan" | "vlan" => Settings::Child(child::Settings::parse(plugin, config, args)?),
            "dummy" | "tap" | "host-device" => Settings::Solo(solo::Settings::parse(plugin, config, args)?),
            _ => Settings::Bridge(bridge::Settings::parse(config, args)?),
        })
    }

    /// The network that is described, with the pools of the addresses that were given.
    pub fn network(&self, config: &Config, ipam: &Answer) -> Result<Network, Failure> {
        let driver = match self {
            Settings::Bridge(settings) => settings.driver(ipam),
            Settings::Ptp(settings) => settings.driver(ipam)?,
            Settings::Child(settings) => settings.driver()?,
            Settings::Solo(settings) => settings.driver(),
        };
        network(config, driver)
    }

    /// Completes what the address management said.
    pub fn complete(&self, ipam: &mut Answer) -> Result<(), Failure> {
        match self {
            Settings::Bridge(settings) => settings.complete(ipam),
            Settings::Ptp(settings) => settings.complete(ipam)?,
            Settings::Child(settings) => settings.complete(ipam),
            Settings::Solo(_) => {}
        }
        Ok(())
    }

    /// What to ask of the engine, for the addresses that were given.
    pub fn request(&self, (config, call): (&Config, &Call), ipam: &Answer) -> Result<Attach, Failure> {
        let network = self.network(config, ipam)?;
        let addresses: Vec<IpNet> = ipam.ips.iter().map(|ip| self.own_net(ip.net)).collect();
        let (routes, ways) = routes(ipam, &addresses);
        let mut extras = Extras { routes, ways, ..Extras::default() };
        let mac = match self {
            Settings::Bridge(settings) => settings.wish(&mut extras, addresses.is_empty()),
            Settings::Ptp(_) => ptp::wish(&mut extras, &network),
            Settings::Child(settings) => settings.mac(),
            Settings::Solo(settings) => settings.mac(),
        };
        Ok(Attach {
            netns: call.netns.clone(),
            network: Some(network.name.clone()),
            ifname: Some(call.ifname.clone()),
            wish: Wish { mac, ..Wish::default() },
            guard: Some(network.bridge().is_some() && !addresses.is_empty() && !self.is_trunk()),
            given: Some(Box::new(Given::new(network, addresses, extras))),
            ..Attach::new(call.sandbox.clone())
        })
    }

    /// What leads to the neighbourhood until the interface is made: an interface of the host, and the hardware address
    /// that the container's will have; this one where none is asked for.
    pub fn over(&mut self, mac: Mac) -> Option<(IfName, Mac)> {
        match self {
            Settings::Bridge(settings) => Some((settings.device().clone(), settings.mac_or(mac))),
            Settings::Child(settings) => settings.over(mac),
            _ => None,
        }
    }

    fn is_trunk(&self) -> bool {
        matches!(self, Settings::Bridge(settings) if settings.is_trunk())
    }

    /// An address as the container's interface has it: on a point-to-point link it is alone.
    fn own_net(&self, net: IpNet) -> IpNet {
        match self {
            Settings::Ptp(_) => net.addr().into(),
            _ => net,
        }
    }

    /// The result: the interfaces of the host, and last the container's, which has the addresses.
    pub fn answer(&self, (config, call): (&Config, &Call), made: Made<'_>, ipam: Answer) -> Answer {
        let mut interfaces = Vec::new();
        if let (Settings::Bridge(_), Some(bridge)) = (self, made.network.bridge()) {
            let mtu = made.endpoint.wire.as_ref().map(|wire| wire.mtu);
            let mac = made.bridge_mac.map(|mac| mac.to_string());
            interfaces.push(Interface { name: bridge.device.to_string(), mac, mtu, ..Interface::default() });
        }
        if let Some(wire) = &made.endpoint.wire {
            let port = matches!(made.network.driver, Driver::Bridge(_)).then_some(Mac::PORT);
            interfaces.extend(ends((wire, port, made.mac), call));
        }
        let inside = interfaces.len().checked_sub(1);
        let ips = ipam.ips.into_iter();
        let ips = ips.map(|ip| Address { interface: inside, net: self.own_net(ip.net), ..ip }).collect();
        let own = config.doc().object("dns").ok().flatten().map(|dns| dns.0.clone()).unwrap_or_default();
        let dns = if own.is_empty() { ipam.dns } else { own };
        Answer { interfaces, ips, dns, ..ipam }
    }
}

/// The host's end, if there is one, and the container's.
fn ends((wire, port, mac): (&Wire, Option<Mac>, Option<Mac>), call: &Call) -> Vec<Interface> {
    let host_end = Interface {
        name: wire.host_if.to_string(),
        mac: Some(port.unwrap_or(wire.first_mac().host_end()).to_string()),
        mtu: Some(wire.mtu),
        ..Interface::default()
    };
    let inside = Interface {
        name: call.ifname.to_string(),
        mac: Some(mac.unwrap_or(wire.mac).to_string()),
        mtu: Some(wire.mtu),
        sandbox: call.netns.clone(),
        ..Interface::default()
    };
    Some(host_end).filter(|_| wire.join.is_pair()).into_iter().chain([inside]).collect()
}

/// A network that lives as long as it has members. Its id is made from its name.
fn network(config: &Config, driver: Driver) -> Result<Network, Failure> {
    let name = config.network()?;
    let id = NetworkId::from_bytes(std::array::from_fn(|i| fnv(name.as_str(), i as u64) as u8));
    Ok(Network { id, name, driver, labels: Default::default(), created: 0 })
}

/// The routes that the address management says. One without a gateway goes to that of the family's first address, unless
/// its destination is on the link. Of two to one destination the one that says more counts.
fn routes(ipam: &Answer, addresses: &[IpNet]) -> (Vec<(IpNet, Option<IpAddr>)>, Vec<Way>) {
    let (plain, more): (Vec<_>, Vec<_>) = ipam.routes.iter().partition(|route| route.way(None).is_none());
    let ways: Vec<Way> = more.into_iter().filter_map(|route| route.way(gateway_of(route, ipam))).collect();
    let is_near = |to: &IpNet| {
        let is_own = |net: &IpNet| has_subnet(net) && net.trunc() == to.trunc();
        addresses.iter().any(is_own) || is_link_local(*to)
    };
    let via = |route: &Route| match route.gw {
        None if is_near(&route.dst) => None,
        _ => gateway_of(route, ipam),
    };
    let says_more = |to: IpNet| ways.iter().any(|way| way.id == RouteId::new(to, (None, None)));
    let plain = plain.into_iter().filter(|route| !says_more(route.dst));
    (plain.map(|route| (route.dst, via(route))).collect(), ways)
}

fn is_link_local(net: IpNet) -> bool {
    net.prefix_len() > 0 && matches!(net.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn gateway_of(route: &Route, ipam: &Answer) -> Option<IpAddr> {
    let same = |ip: &&Address| ip.net.addr().is_ipv4() == route.dst.addr().is_ipv4();
    route.gw.or_else(|| ipam.ips.iter().find(same).and_then(|ip| ip.gateway))
}

/// The MTU that is asked for: 0 is none.
pub(super) fn mtu(config: &Config) -> Result<Option<u32>, Failure> {
    Ok(config.doc().number("mtu", 65535)?.filter(|mtu| *mtu != 0).map(|mtu| mtu as u32))
}

/// Whether what goes outside has the host's address. By which of the two it is done makes no difference to us.
pub(super) fn masquerades(config: &Config) -> Result<bool, Failure> {
    match config.doc().text("ipMasqBackend")? {
        None | Some("iptables" | "nftables") => config.doc().is_on("ipMasq"),
        Some(other) => Err(Failure::config(format!("`ipMasqBackend`: {other} is not known"))),
    }
}

/// A route to everywhere by a gateway.
pub(super) fn default_route(gw: IpAddr) -> Route {
    let dst = qiao_core::subnet::Family::of(gw).default_route();
    Route { dst, gw: Some(gw), rest: Fields::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_backend_masquerades_and_no_other() {
        let told =
            |keys: &str| masquerades(&Config::parse(format!(r#"{{"name":"n",{keys}}}"#).as_bytes()).unwrap());
        assert_eq!(told(r#""ipMasq":"true","ipMasqBackend":"nftables""#), Ok(true));
        assert_eq!(told(r#""ipMasqBackend":"iptables""#), Ok(false));
        assert_eq!(told(r#""ipMasq":true,"ipMasqBackend":"ipchains""#).unwrap_err().code, 7);
    }
}
