//! Macvlan, ipvlan and VLAN networks: one interface per endpoint, made where it is used, on an interface of the host.

use super::Activation;
use super::bridge::sandbox_side;
use crate::child::Child;
use crate::endpoint::{Endpoint, Wire};
use crate::network::MTU_MIN_V6;
use crate::plan::{Key, State, Value};
use crate::subnet::Family;
use ipnet::IpNet;

/// What must exist for an endpoint of such a network.
pub fn endpoint(child: &Child, activation: &Activation, (endpoint, wire): (&Endpoint, &Wire)) -> State {
    let owner = endpoint.owner();
    let (sandbox, ifname) = (endpoint.sandbox(), &endpoint.id.ifname);
    let mut state = State::default();
    let mut put = |(key, value)| state.insert(key, &owner, value);
    let link = Value::Child {
        parent: activation.device.clone(),
        mode: child.mode,
        mac: wire.own_mac(),
        mtu: wire.mtu,
        inside: child.inside,
        broadcasts: child.broadcasts,
    };
    put((Key::Child(sandbox.clone(), ifname.clone()), link));
    // A link that is too small for IPv6 has none.
    if !wire.addresses.is_empty() && wire.mtu >= MTU_MIN_V6 {
        // The neighbourhood may have routers that advertise prefixes: addresses are ours to give.
        put((Key::NoAdvertisements(sandbox.clone(), ifname.clone()), Value::Present));
    }
    let has_local = child.mode.has_neighbours() && wire.address(Family::V6).is_some();
    let local = has_local.then(|| IpNet::new_assert(wire.mac.link_local().into(), 64));
    sandbox_side((endpoint, wire), local).into_iter().for_each(&mut put);
    for gateway in &wire.gateways {
        let via = child.mode.has_neighbours().then_some(*gateway);
        let route = Value::Route {
            dev: ifname.clone(),
            via,
            onlink: false,
            src: None,
            attributes: wire.extras.defaults,
        };
        put((Key::Route(sandbox.clone(), Family::of(*gateway).default_route()), route));
    }
    wire.made_routes(local).map(|route| route.object(&endpoint.id)).for_each(&mut put);
    state
}
