//! What endpoints of every kind may have besides: settings of their sandboxes, and how clients of their published
//! ports are known.

use crate::endpoint::{Clients, Endpoint, Wire};
use crate::plan::{Key, Member, State, Value};
use crate::shape;
use crate::source;
use crate::subnet::{Family, Subnet};
use crate::vrf;
use std::net::IpAddr;

/// What must exist for it.
pub fn state(endpoint: &Endpoint, wire: &Wire) -> State {
    let owner = endpoint.owner();
    let mut state = State::default();
    let ips: Vec<IpAddr> = wire.addresses.iter().map(|net| net.addr()).collect();
    let members = ips.iter().flat_map(|ip| clients(wire, *ip)).filter(|_| !wire.publish.is_empty());
    members.for_each(|member| state.insert(Key::Member(member), &owner, Value::Present));
    for tuned in &wire.extras.tuned {
        state.insert(tuned.what.key(&endpoint.id), &owner, tuned.after.clone());
    }
    wire.extras.shaped.iter().for_each(|shaping| state.extend(shape::state(endpoint, shaping)));
    for (key, value) in wire.extras.ways.iter().map(|way| way.object(&endpoint.id)) {
        state.insert(key, &owner, value);
    }
    state
}

/// What the settings of an endpoint's sandbox were before they were changed, and the routes that were moved.
pub fn restored(endpoint: &Endpoint) -> State {
    let owner = endpoint.owner();
    let mut state = State::default();
    for tuned in endpoint.wire.iter().flat_map(|wire| &wire.extras.tuned) {
        state.insert(tuned.what.key(&endpoint.id), &owner, tuned.before.clone());
    }
    let sourced = endpoint.wire.iter().filter_map(|wire| wire.extras.sourced.as_ref());
    sourced.for_each(|sourced| state.extend(source::restored(endpoint, sourced)));
    let vrf = endpoint.wire.iter().filter_map(|wire| wire.extras.vrf.as_ref());
    vrf.for_each(|vrf| state.extend(vrf::restored(endpoint, vrf)));
    state
}

/// Networks of ours have rules of their own for clients on the same link.
fn clients(wire: &Wire, ip: IpAddr) -> Vec<Member> {
    let place = wire.extras.adopted.as_ref();
    match (wire.extras.clients, place) {
        (Clients::Members, None) => Vec::new(),
        (Clients::Members, Some(place)) => {
            let same = |net: &&Subnet| net.family() == Family::of(ip);
            place.link.iter().filter(same).map(|net| Member::Near(ip, *net)).collect()
        }
        (Clients::All, _) => vec![Member::Near(ip, Subnet::around(Family::of(ip).default_route()))],
        (Clients::None, _) => vec![Member::Plain(ip)],
    }
}
