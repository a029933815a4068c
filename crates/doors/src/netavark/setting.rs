//! What a network's description asks of the engine.

use super::failure::Failure;
use super::options::{Network, Options, PerNetwork, Route};
pub use super::ports::publish;
use ipnet::IpNet;
use qiao_core::child::{Broadcasts, Child, MacvlanMode, Mode};
use qiao_core::endpoint::{Extras, PortVlans};
use qiao_core::network::{Bridge, Driver, Inline, Network as Ours, Pool};
use qiao_core::owner::fnv;
use qiao_core::request::{Attach, Detach, Given, Wish};
use qiao_core::route::{Attributes, Kind, Static};
use qiao_core::{IfName, Mac, NetworkId, NetworkName, SandboxName, Subnet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// The metric of routes that say nothing else, and of bridge networks' default routes.
const METRIC: u32 = 100;
/// Why an own bridge has no DHCP.
pub(super) const MANAGED_DHCP: &str = "cannot use dhcp ipam driver without using the option mode=unmanaged";

/// Who makes rules (`NETAVARK_FW`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Firewall {
    /// We do.
    #[default]
    Nftables,
    /// We do, beside firewalld's.
    Firewalld,
    /// Nobody: networks are open, and nothing is published.
    None,
}

impl FromStr for Firewall {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "" | "nftables" => Ok(Firewall::Nftables),
            "firewalld" => Ok(Firewall::Firewalld),
            "none" => Ok(Firewall::None),
            other => Err(Failure(format!("Must provide a valid firewall backend, got {other}"))),
        }
    }
}

impl Firewall {
    /// The line of the log that says so.
    pub fn line(self) -> &'static str {
        match self {
            Firewall::Nftables => "Using nftables firewall driver",
            Firewall::Firewalld => "Using firewalld firewall driver",
            Firewall::None => "Not using firewall",
        }
    }
}

/// Whom a network keeps out (`isolate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolate {
    /// Everybody: so it is where nothing is said.
    Strict,
    /// Networks that keep somebody out.
    On,
    /// Those that are strict.
    Off,
}

/// The metric of the default routes of macvlan and ipvlan networks: they come first.
const METRIC_OF_CHILD: u32 = 99;

/// The options of a bridge network.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    device: IfName,
    mtu: Option<u32>,
    metric: u32,
    isolate: Isolate,
    no_default: bool,
    managed: bool,
    vlan: Option<u16>,
    vrf: Option<IfName>,
}

/// What a call is about, besides the network.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What was sent.
    pub options: &'a Options,
    /// The path of the namespace.
    pub netns: &'a str,
    /// Who makes rules.
    pub firewall: Firewall,
    /// In a user namespace, where nobody asks 127.0.0.1 for a container.
    pub rootless: bool,
    /// Where names are resolved, unless at port 53.
    pub dns_port: Option<u16>,
}

/// The name that a network of Podman's has among ours. It tells it from those that others made.
pub fn network_name(network: &Network) -> Result<NetworkName, Failure> {
    let name = format!("podman.{}", network.name);
    Ok(NetworkName::new(&name).or_else(|_| NetworkName::new(&format!("podman.{}", network.id)))?)
}

/// The container's name among ours.
pub fn sandbox(options: &Options) -> Result<SandboxName, Failure> {
    Ok(SandboxName::new(&options.container_id)?)
}

/// What to ask of the engine for a container to leave a network.
pub fn detach(options: &Options, (own, network): (&PerNetwork, &Network)) -> Result<Detach, Failure> {
    let (sandbox, network) = (sandbox(options)?, Some(network_name(network)?));
    Ok(Detach { sandbox, network, ifname: Some(ifname(own)?) })
}

/// What to ask of the engine for a container to join a bridge network.
pub fn attach(context: Context<'_>, (own, network): (&PerNetwork, &Network)) -> Result<Attach, Failure> {
    let settings = Settings::parse(network)?;
    let addresses = addresses(own, network)?;
    let guarded = settings.managed && context.firewall != Firewall::None && !addresses.is_empty();
    let extras = Extras {
        statics: routes(network)?,
        learns: !settings.managed || addresses.is_empty(),
        // In no other VLAN besides: it would hear what is for others.
        vlans: settings.vlan.map(|id| PortVlans {
            native: Some(id),
            untagged: [id].into(),
            tagged: [].into(),
        }),
        no_default: settings.no_default || network.gateways().is_empty() && network.ipam() != "dhcp",
        defaults: administered(settings.metric),
        held: !context.rootless, // Podman's forwarder of ports is in another namespace then
        ..Extras::default()
    };
    let publish =
        if settings.managed { publish(context, (network.internal, &addresses))? } else { Vec::new() };
    let given = Given {
        network: settings.network(network, context)?,
        addresses,
        default_routes: !extras.no_default,
        extras,
        host_if: host_if(own)?,
        held: true,
        hostname: hostname(context.options),
    };
    Ok(Attach {
        netns: Some(context.netns.to_owned()),
        network: Some(given.network.name.clone()),
        ifname: Some(ifname(own)?),
        wish: Wish { mac: mac(own)?, ..Wish::default() },
        publish,
        guard: Some(guarded),
        given: Some(Box::new(given)),
        ..Attach::new(sandbox(context.options)?)
    })
}

/// What to ask of the engine for a container to join a macvlan or ipvlan network on this parent.
pub fn attach_child(
    context: Context<'_>,
    (own, network): (&PerNetwork, &Network),
    parent: IfName,
) -> Result<Attach, Failure> {
    refuse_rest(network)?;
    let mode = child_mode(network)?;
    let dhcp = network.ipam() == "dhcp";
    let metric = metric(network)?;
    let child = Child {
        parent,
        mode,
        pools: pools(network)?,
        mtu: option::<u32>(network, "mtu")?.filter(|mtu| *mtu != 0),
        internal: network.internal,
        inside: false,
        broadcasts: Broadcasts { queue: None, cutoff: option(network, "bclim")? },
        dhcp,
        inline: true,
    };
    let has_way = dhcp || !network.gateways().is_empty();
    let no_default = option(network, "no_default_route")?.unwrap_or(false) || !has_way;
    let extras =
        Extras { statics: routes(network)?, no_default, defaults: administered(metric), ..Extras::default() };
    let given = Given {
        network: ours(network, Driver::Child(child))?,
        addresses: addresses(own, network)?,
        default_routes: !no_default,
        extras,
        host_if: None,
        held: true,
        hostname: hostname(context.options),
    };
    // One that has its parent's hardware address is told it again when it is reloaded.
    let own_mac = matches!(mode, Mode::Macvlan(_)) && !mode.is_passthru();
    Ok(Attach {
        netns: Some(context.netns.to_owned()),
        network: Some(given.network.name.clone()),
        ifname: Some(ifname(own)?),
        wish: Wish { mac: mac(own)?.filter(|_| own_mac), ..Wish::default() },
        given: Some(Box::new(given)),
        ..Attach::new(sandbox(context.options)?)
    })
}

/// What a DHCP server is told.
fn hostname(options: &Options) -> Option<String> {
    options.container_hostname.clone().filter(|name| !name.is_empty())
}

fn child_mode(network: &Network) -> Result<Mode, Failure> {
    let mode = network.option("mode").filter(|mode| !mode.is_empty());
    let bad = |driver: &str| Failure(format!("invalid {driver} mode {:?}", mode.unwrap_or_default()));
    Ok(match network.driver.as_str() {
        "macvlan" if mode == Some("source") => Mode::Macvlan(MacvlanMode::Source),
        "macvlan" => Mode::macvlan(mode.unwrap_or("bridge")).map_err(|_| bad("macvlan"))?,
        _ => Mode::ipvlan(mode.unwrap_or("l2"), None).map_err(|_| bad("ipvlan"))?,
    })
}

/// The metric of a network's routes, unless they say another: of several default routes the lowest counts.
pub fn metric(network: &Network) -> Result<u32, Failure> {
    let own = if network.driver == "bridge" { METRIC } else { METRIC_OF_CHILD };
    Ok(option(network, "metric")?.unwrap_or(own))
}

fn host_if(own: &PerNetwork) -> Result<Option<IfName>, Failure> {
    let name = own.options.as_ref().and_then(|options| options.get("host_interface_name"));
    Ok(name.filter(|name| !name.is_empty()).map(|name| IfName::new(name)).transpose()?)
}

/// The hardware address that is asked for: bytes with `:` or `-` between them, also of one digit.
fn mac(own: &PerNetwork) -> Result<Option<Mac>, Failure> {
    let Some(text) = own.static_mac.as_deref().filter(|mac| !mac.is_empty()) else { return Ok(None) };
    let bytes =
        text.split([':', '-']).map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<Vec<_>, _>>();
    let bytes = bytes.map_err(|error| Failure(format!("unable to parse mac address {text}: {error}")))?;
    let bytes = bytes.try_into().map_err(|_| Failure(format!("invalid mac length for address: {text}")))?;
    Ok(Some(Mac::new(bytes)?))
}

/// The interface in the container.
fn ifname(own: &PerNetwork) -> Result<IfName, Failure> {
    match own.interface_name.as_str() {
        "" => Err(Failure("no container interface name given".into())),
        name => Ok(IfName::new(name)?),
    }
}

impl Settings {
    fn parse(network: &Network) -> Result<Self, Failure> {
        refuse_rest(network)?;
        let device = network.network_interface.as_deref().filter(|name| !name.is_empty());
        let device = device.ok_or_else(|| Failure("no bridge interface name given".into()))?;
        let managed = match network.option("mode") {
            None | Some("" | "managed") => true,
            Some("unmanaged") => false,
            Some(other) => return Err(Failure(format!("invalid bridge mode \"{other}\""))),
        };
        Ok(Self {
            device: IfName::new(device)?,
            mtu: option::<u32>(network, "mtu")?.filter(|mtu| *mtu != 0),
            metric: metric(network)?,
            isolate: isolate(network)?,
            no_default: option(network, "no_default_route")?.unwrap_or(false),
            managed,
            vlan: vlan(network)?,
            vrf: vrf(network)?,
        })
    }

    /// The network, as it is kept while it has members.
    fn network(&self, network: &Network, context: Context<'_>) -> Result<Ours, Failure> {
        let closed = self.managed && context.firewall != Firewall::None;
        let bridge = Bridge {
            device: self.device.clone(),
            pools: pools(network)?,
            mtu: self.mtu,
            internal: network.internal,
            host_access: true,
            icc: true,
            isolate: self.isolate == Isolate::Strict,
            masquerade: closed && !network.internal,
            guard: true,
            publish_address: Some(Ipv4Addr::UNSPECIFIED.into()),
            dns: None,
            vrf: self.vrf.clone(),
            inline: Some(Inline {
                routed: self.managed && !network.gateways().is_empty(),
                apart: self.isolate == Isolate::On && closed,
                filtering: self.vlan.is_some(),
                vlan: self.vlan,
                dhcp: network.ipam() == "dhcp",
                closed,
                outbound4: option(network, "outbound_addr4")?,
                outbound6: option(network, "outbound_addr6")?,
                dns_port: context.dns_port.filter(|port| network.dns_enabled && *port != 53 && closed),
            }),
        };
        ours(network, Driver::Bridge(bridge))
    }
}

/// A network of ours for one of Podman's.
fn ours(network: &Network, driver: Driver) -> Result<Ours, Failure> {
    let name = network_name(network)?;
    let hashed = || NetworkId::from_bytes(std::array::from_fn(|i| fnv(name.as_str(), i as u64) as u8));
    let id = NetworkId::new(&network.id).unwrap_or_else(|_| hashed());
    Ok(Ours { id, name, driver, labels: Default::default(), created: 0 })
}

fn pools(network: &Network) -> Result<Vec<Pool>, Failure> {
    let pool = |subnet: &super::Subnet| {
        let own = Pool::new(Subnet::around(subnet.subnet));
        let pool = Pool { gateway: subnet.gateway.unwrap_or(own.gateway), ..own };
        match pool.subnet.contains(pool.gateway) {
            true => Ok(pool),
            false => Err(Failure(format!("gateway {} not in subnet {}", pool.gateway, pool.subnet))),
        }
    };
    if network.ipam() != "host-local" { Ok(Vec::new()) } else { network.subnets().iter().map(pool).collect() }
}

/// An option of a network, as what it is.
fn option<T: FromStr<Err: fmt::Display>>(network: &Network, name: &str) -> Result<Option<T>, Failure> {
    let parse =
        |text: &str| text.parse().map_err(|error| format!("unable to parse \"{name}\": {error}").into());
    network.option(name).filter(|text| !text.is_empty()).map(parse).transpose()
}

/// The VLAN of a bridge's ports; 0 is none.
pub fn vlan(network: &Network) -> Result<Option<u16>, Failure> {
    match option(network, "vlan")?.filter(|id| *id != 0) {
        Some(4095..) => Err(Failure("vlan must be between 0 and 4094".into())),
        id => Ok(id),
    }
}

/// The VRF that a bridge is made in. A bridge that somebody else made is where he put it. The rules that shut an internal
/// network off do not see the VRF.
pub fn vrf(network: &Network) -> Result<Option<IfName>, Failure> {
    let made_by_us = network.option("mode") != Some("unmanaged");
    match network.option("vrf").filter(|name| !name.is_empty() && made_by_us) {
        Some(_) if network.internal => {
            Err(Failure("network option vrf is not supported with internal networks".into()))
        }
        name => Ok(name.map(IfName::new).transpose()?),
    }
}

fn isolate(network: &Network) -> Result<Isolate, Failure> {
    match network.option("isolate") {
        None | Some("" | "strict") => Ok(Isolate::Strict),
        Some(text) => match text.parse() {
            Ok(true) => Ok(Isolate::On),
            Ok(false) => Ok(Isolate::Off),
            Err(_) => Err(Failure(format!("invalid isolate option \"{text}\""))),
        },
    }
}

/// What is not for such a network is said, rather than left out.
fn refuse_rest(network: &Network) -> Result<(), Failure> {
    let others: &[&str] = match network.driver.as_str() {
        "bridge" => &["bclim"],
        "macvlan" => &["vrf", "vlan"],
        _ => &["vrf", "vlan", "bclim"],
    };
    for name in others {
        if let Some(value) = network.option(name).filter(|value| !matches!(*value, "" | "0")) {
            let driver = &network.driver;
            return Err(Failure(format!("network option {name}={value} is not supported with {driver}")));
        }
    }
    match network.ipam() {
        "host-local" | "none" => Ok(()),
        "dhcp" if network.driver == "macvlan" => Ok(()),
        "dhcp" if network.driver == "bridge" => refuse_dhcp(network),
        other => Err(Failure(format!("unsupported ipam driver {other}"))),
    }
}

/// A DHCP server is reached by a bridge of somebody else.
fn refuse_dhcp(network: &Network) -> Result<(), Failure> {
    match network.option("mode") {
        Some("unmanaged") => Ok(()),
        _ => Err(Failure(MANAGED_DHCP.into())),
    }
}

/// The container's addresses on a network. One that has no subnets gives none.
fn addresses(own: &PerNetwork, network: &Network) -> Result<Vec<IpNet>, Failure> {
    if network.ipam() != "host-local" {
        return Ok(Vec::new());
    }
    let ips = own.static_ips.as_deref().ok_or_else(|| Failure("no static ips provided".into()))?;
    super::create::apart(network.subnets())?;
    if network.subnets.is_none() {
        return Ok(Vec::new());
    }
    let net = |ip: &IpAddr| {
        let subnet = network.subnets().iter().find(|subnet| subnet.subnet.contains(ip))?;
        IpNet::new(*ip, subnet.subnet.prefix_len()).ok()
    };
    let all: Vec<IpNet> = ips.iter().filter_map(net).collect();
    match all.len() == ips.len() {
        true => Ok(all),
        false => Err(Failure(format!(
            "not all static IPs matched a subnet: expected {}, got {}",
            ips.len(),
            all.len()
        ))),
    }
}

/// The attributes of routes that an administrator could have set.
fn administered(metric: u32) -> Attributes {
    Attributes { metric: Some(metric), administered: true, kind: Kind::Unicast }
}

/// The routes of a network. Where nobody gives addresses nobody is reached by any.
fn routes(network: &Network) -> Result<Vec<Static>, Failure> {
    let has_addresses =
        network.ipam() == "dhcp" || network.ipam() == "host-local" && network.subnets.is_some();
    network.routes.iter().flatten().filter(|_| has_addresses).map(one_route).collect()
}

fn one_route(route: &Route) -> Result<Static, Failure> {
    let attributes = Attributes { kind: route.kind()?, ..administered(route.metric.unwrap_or(METRIC)) };
    Ok(Static { to: route.destination.trunc(), via: route.gateway, dev: None, attributes })
}
