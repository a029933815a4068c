//! What must exist for a network and for an endpoint: one function a kind, each pure.

mod bridge;
mod host;
mod routed;

pub use host::{HostNeeds, host};

use crate::endpoint::Endpoint;
use crate::mac::Mac;
use crate::name::{IfName, NetworkName};
use crate::network::{Bridge, Driver, Network, Pool};
use crate::owner::Owner;
use crate::plan::{Key, State, Value};
use crate::subnet::Family;
use std::collections::BTreeMap;

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
}

/// The networks in use.
pub type Active = BTreeMap<NetworkName, Activation>;

impl Activation {
    /// How a bridge network comes into use on a host with this default MTU.
    pub fn new(network: &Network, bridge: &Bridge, (mtu, hairpin): (u32, bool)) -> Self {
        let routes = matches!(network.driver, Driver::Routed(_)) || !bridge.internal;
        let routes = |pool: &Pool| routes.then(|| pool.subnet.family());
        Self {
            device: bridge.device.clone(),
            mac: bridge::bridge_mac(network, bridge),
            mtu: bridge.mtu.unwrap_or(mtu),
            hairpin,
            routes: bridge.pools.iter().filter_map(routes).collect(),
        }
    }

    /// What must exist of the network for anything of it to work: little enough to look at every time.
    pub fn essence(&self, network: &NetworkName) -> State {
        let owner = Owner::Network(network.clone());
        let mut state = State::default();
        state.insert(
            Key::Bridge(self.device.clone()),
            &owner,
            Value::Bridge { mac: self.mac, mtu: self.mtu },
        );
        state.insert(Key::BridgeUp(self.device.clone()), &owner, Value::Present);
        state
    }
}

/// What must exist for a network that is in use.
pub fn network_state(network: &Network, activation: &Activation) -> State {
    match &network.driver {
        Driver::Bridge(bridge) => bridge::network(network, bridge, activation),
        Driver::Routed(bridge) => routed::network(network, bridge, activation),
        Driver::Host | Driver::None => State::default(),
    }
}

/// What must exist for an endpoint.
pub fn endpoint_state(network: &Network, activation: &Activation, endpoint: &Endpoint) -> State {
    match (&network.driver, &endpoint.wire) {
        (Driver::Bridge(bridge), Some(wire)) => bridge::endpoint(bridge, activation, (endpoint, wire)),
        (Driver::Routed(bridge), Some(wire)) => routed::endpoint(bridge, (endpoint, wire)),
        _ => plain_state(network, endpoint),
    }
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
