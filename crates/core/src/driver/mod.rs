//! What must exist for a network and for an endpoint: one function a kind, each pure.

mod adopted;
mod bridge;
mod child;
mod extras;
mod host;
mod routed;
mod solo;

pub use extras::restored;
pub use host::{HostNeeds, host};

use crate::child::{Child, Vlan};
use crate::condition;
use crate::endpoint::Endpoint;
use crate::mac::Mac;
use crate::name::{IfName, NetworkName};
use crate::network::{Bridge, Driver, MTU_MIN_V6, Network, Pool};
use crate::owner::Owner;
use crate::plan::{Key, State, Value};
use crate::source;
use crate::subnet::Family;
use crate::vrf;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What only the running host knows about a network that is in use, and what must be looked at before every
/// change.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    /// The bridge; of a routed network the one without ports that has the gateways' addresses.
    pub device: IfName,
    /// The bridge's hardware address.
    pub mac: Mac,
    /// The MTU that the bridge was made with, in bytes.
    pub mtu: u32,
    /// Whether bridged frames pass the routing hooks too (`br_netfilter`), so that a frame may have to leave
    /// by the port it came in at.
    pub hairpin: bool,
    /// The families that the host routes for the network.
    pub routes: Vec<Family>,
    /// Of a macvlan or ipvlan network: `device` is the interface that its endpoints' are children of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Other networks may be on the same bridge: what it is does not belong to one of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// The bridge was there before us: nothing of it is ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// It was in the gateways' VLAN before us, and stays in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_vlan: bool,
    /// The interfaces whose packets `iptables` would drop, by family. Of a routed network its ports are let through too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub open: BTreeSet<(Family, IfName)>,
    /// The interfaces whose questions for names `iptables` would drop, and the gateways that are asked.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub names: BTreeSet<(IfName, IpAddr)>,
}

/// The interface of the host that others are children of.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The VLAN that it is, if it is one that we make.
    pub vlan: Option<Vlan>,
    /// It is not the host's: each endpoint's is in its sandbox, or has none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inside: bool,
}

/// The MTU of Ethernet, in bytes.
pub const ETHERNET_MTU: u32 = 1500;

/// The MTU of a network's device. With IPv6 it is no less than that needs, however small the host's is: what is larger
/// than that goes on in pieces, or its sender is notified. Of a device that point-to-point networks share it is none of
/// theirs.
fn device_mtu(network: &Network, bridge: &Bridge, host: u32) -> u32 {
    let shared = matches!(network.driver, Driver::Routed(_)) && bridge.inline.is_some();
    let host = if shared || bridge.has(Family::V6) { host.max(MTU_MIN_V6) } else { host };
    bridge.mtu.filter(|_| !shared).unwrap_or(host)
}

/// The networks in use.
pub type Active = BTreeMap<NetworkName, Activation>;

impl Activation {
    /// How a bridge network comes into use on a host with this default MTU.
    pub fn new(network: &Network, bridge: &Bridge, (mtu, hairpin): (u32, bool)) -> Self {
        let routes = matches!(network.driver, Driver::Routed(_)) || !bridge.internal && bridge.is_routed();
        let routes = |pool: &Pool| routes.then(|| pool.subnet.family());
        Self {
            device: bridge.device.clone(),
            mac: bridge::bridge_mac(network, bridge),
            mtu: device_mtu(network, bridge, mtu),
            hairpin,
            routes: bridge.pools.iter().filter_map(routes).collect(),
            parent: None,
            shared: bridge.inline.is_some(),
            foreign: false,
            in_vlan: false,
            open: BTreeSet::new(),
            names: BTreeSet::new(),
        }
    }

    /// How a macvlan or ipvlan network comes into use on a parent of this hardware address and MTU; `vlan` is
    /// what the parent must be, where it is ours to make.
    pub fn of_child(child: &Child, (mac, mtu): (Mac, u32), vlan: Option<Vlan>) -> Self {
        Self {
            device: child.parent.clone(),
            mac,
            mtu: child.mtu.unwrap_or(mtu),
            hairpin: false,
            routes: Vec::new(),
            parent: Some(Parent { vlan, inside: child.inside }),
            shared: false,
            foreign: false,
            in_vlan: false,
            open: BTreeSet::new(),
            names: BTreeSet::new(),
        }
    }

    /// How a network of interfaces by themselves comes into use: it needs nothing.
    pub fn of_solo(network: &Network) -> Self {
        Self {
            device: IfName::new("lo").expect("`lo` is an interface name"),
            mac: Mac::derived(network.mac_number(), std::net::Ipv4Addr::UNSPECIFIED.into()),
            mtu: ETHERNET_MTU,
            hairpin: false,
            routes: Vec::new(),
            parent: Some(Parent { vlan: None, inside: true }),
            shared: false,
            foreign: false,
            in_vlan: false,
            open: BTreeSet::new(),
            names: BTreeSet::new(),
        }
    }

    /// How a network of adopted endpoints comes into use. Nothing of it is ours but rules; `device` is the interface
    /// by which the host reaches the first of them.
    pub fn of_adopted(device: IfName, mac: Mac, routes: Vec<Family>) -> Self {
        let (open, names) = (BTreeSet::new(), BTreeSet::new());
        Self {
            device,
            mac,
            mtu: 0,
            hairpin: false,
            routes,
            parent: None,
            shared: false,
            foreign: true,
            in_vlan: false,
            open,
            names,
        }
    }

    /// Takes in that `iptables` drops what is forwarded by these families. A network that says itself who reaches whom
    /// is let through as a whole, also where frames on a bridge pass the same rules; of an open one its door says
    /// whether it is.
    pub fn let_through(&mut self, network: &Network, dropped: &[Family]) {
        let Some(bridge) = network.bridge().filter(|_| is_closed(network)) else { return };
        let families = bridge.pools.iter().map(|pool| pool.subnet.family());
        let passes = |family: &Family| self.hairpin || self.routes.contains(family);
        let families: Vec<_> = families.filter(passes).filter(|family| dropped.contains(family)).collect();
        self.open.extend(families.into_iter().map(|family| (family, bridge.gateway_if())));
    }

    /// Takes in that `iptables` drops what comes in to the host by these families: questions for names come so. What
    /// else members may reach of the host is not ours to say there.
    pub fn answer_names(&mut self, network: &Network, dropped: &[Family]) {
        let Some(bridge) = network.bridge().filter(|bridge| bridge.dns.is_some()) else { return };
        let gateways = bridge.pools.iter().map(|pool| pool.gateway);
        let gateways = gateways.filter(|gateway| dropped.contains(&Family::of(*gateway)));
        self.names.extend(gateways.map(|gateway| (bridge.gateway_if(), gateway)));
    }

    /// Whether the network's endpoints are adopted.
    pub fn is_adopted(&self) -> bool {
        self.foreign && !self.shared
    }

    /// The interface of the host without which nothing of the network can be, if there is one: it is never ours.
    pub fn base(&self) -> Option<&IfName> {
        let parent = self.parent.as_ref().filter(|parent| !parent.inside)?;
        Some(parent.vlan.as_ref().map_or(&self.device, |vlan| &vlan.parent))
    }

    /// Whether packets of the network pass the host's rules.
    pub fn needs_rules(&self) -> bool {
        self.parent.is_none()
    }

    /// Whose the network's objects are: its own, or those of all that share its bridge.
    pub fn owner(&self, network: &NetworkName) -> Owner {
        if self.shared { sharers(&self.device) } else { Owner::Network(network.clone()) }
    }

    /// What must exist of the network for anything of it to work: little enough to look at every time.
    pub fn essence(&self, network: &NetworkName) -> State {
        let owner = self.owner(network);
        let mut state = State::default();
        if let Some(parent) = &self.parent {
            // Several networks may be on one VLAN: it is none of theirs.
            if let Some(Vlan { parent, id }) = &parent.vlan {
                let value = Value::Vlan { parent: parent.clone(), id: *id, up: true };
                state.insert(Key::Vlan(self.device.clone()), &Owner::Host, value);
            }
            return state;
        }
        for (family, device) in &self.open {
            let owner = if self.shared || self.foreign { &sharers(device) } else { &owner };
            state.insert(Key::Open(*family, device.clone()), owner, Value::Present);
        }
        for (device, gateway) in &self.names {
            state.insert(Key::Names(device.clone(), *gateway), &owner, Value::Present);
        }
        if self.foreign {
            return state;
        }
        state.insert(
            Key::Bridge(self.device.clone()),
            &owner,
            Value::Bridge { mac: Some(self.mac), mtu: self.mtu },
        );
        state.insert(Key::BridgeUp(self.device.clone()), &owner, Value::Present);
        state
    }
}

/// Whether a network says itself who reaches whom, and by way of the host.
pub fn is_closed(network: &Network) -> bool {
    let is_closed = |bridge: &Bridge| bridge.inline.is_none_or(|inline| inline.closed) && bridge.is_routed();
    network.bridge().is_some_and(is_closed)
}

/// All the networks that share a bridge.
fn sharers(device: &IfName) -> Owner {
    Owner::Network(NetworkName::of_device(device))
}

/// What must exist for a network that is in use.
pub fn network_state(network: &Network, activation: &Activation) -> State {
    match &network.driver {
        Driver::Bridge(bridge) => bridge::network(network, bridge, activation),
        Driver::Routed(bridge) => routed::network(network, bridge, activation),
        Driver::Child(_) | Driver::Solo(_) => activation.essence(&network.name),
        Driver::Adopted(adopted) => adopted::network(adopted, activation.essence(&network.name)),
        Driver::Host | Driver::None => State::default(),
    }
}

/// What of a network in use comes with its devices. No command need look at it; `check` and `repair` do.
pub fn implied_state(network: &Network, activation: &Activation) -> State {
    match &network.driver {
        Driver::Bridge(_) => bridge::implied(network, activation),
        _ => State::default(),
    }
}

/// What must exist for an endpoint.
pub fn endpoint_state(network: &Network, activation: &Activation, endpoint: &Endpoint) -> State {
    let Some(wire) = &endpoint.wire else { return plain_state(network, endpoint) };
    let mut state = match &network.driver {
        Driver::Bridge(bridge) => bridge::endpoint(bridge, activation, (endpoint, wire)),
        Driver::Routed(bridge) => routed::endpoint(bridge, activation, (endpoint, wire)),
        Driver::Child(child) => child::endpoint(child, activation, (endpoint, wire)),
        Driver::Solo(solo) => solo::endpoint(solo, (endpoint, wire)),
        Driver::Adopted(_) => adopted::endpoint(endpoint, wire),
        Driver::Host | Driver::None => plain_state(network, endpoint),
    };
    state.extend(extras::state(endpoint, wire));
    condition::heed(&mut state, endpoint, wire);
    if let Some(sourced) = &wire.extras.sourced {
        source::relocate(&mut state, endpoint, sourced);
    }
    if let Some(vrf) = &wire.extras.vrf {
        vrf::relocate(&mut state, endpoint, vrf);
    }
    state
}

/// What must exist for an endpoint of a network that is never in use: a loopback interface that is up, unless
/// it is the host's own.
pub fn plain_state(network: &Network, endpoint: &Endpoint) -> State {
    let mut state = State::default();
    if network.driver == Driver::None && endpoint.netns.is_some() {
        state.insert(Key::SandboxLoopback(endpoint.sandbox().clone()), &endpoint.owner(), Value::Present);
    }
    state
}
