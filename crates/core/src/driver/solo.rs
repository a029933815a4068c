//! Interfaces by themselves: no end of them is on the host.

use super::bridge::sandbox_side;
use crate::endpoint::{Endpoint, Wire};
use crate::plan::{Key, State, Value};
use crate::solo::Solo;
use crate::subnet::Family;
use ipnet::IpNet;

/// What must exist for an endpoint of such a network.
pub fn endpoint(solo: &Solo, (endpoint, wire): (&Endpoint, &Wire)) -> State {
    let owner = endpoint.owner();
    let mut state = State::default();
    let mut put = |(key, value)| state.insert(key, &owner, value);
    let name = || (endpoint.sandbox().clone(), endpoint.id.ifname.clone());
    let (sandbox, ifname) = name();
    match (solo, &wire.extras.lent) {
        (Solo::Device(_), Some(lent)) => {
            put((Key::Lent(sandbox, ifname), Value::Lent { lent: lent.clone(), astray: false }));
        }
        (Solo::Tap(tap), _) => {
            let tap = Value::Tap { tap: tap.clone(), mac: wire.mac, mtu: wire.mtu };
            put((Key::Lone(sandbox, ifname), tap));
        }
        _ => put((Key::Lone(sandbox, ifname), Value::Dummy { mac: wire.mac, mtu: wire.mtu })),
    }
    if solo.is_device() && !wire.addresses.is_empty() {
        // As on the children of the host's interfaces: its neighbourhood may have routers.
        let (sandbox, ifname) = name();
        put((Key::NoAdvertisements(sandbox, ifname), Value::Present));
    }
    let local = wire.address(Family::V6).map(|_| IpNet::new_assert(wire.mac.link_local().into(), 64));
    sandbox_side((endpoint, wire), local).into_iter().for_each(&mut put);
    wire.made_routes(local).map(|route| route.object(&endpoint.id)).for_each(&mut put);
    state
}
