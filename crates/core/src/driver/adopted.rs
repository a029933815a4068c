//! Endpoints that another program attached: what is asked for besides. Nothing else of them is ours.

use super::bridge::published;
use super::sharers;
use crate::endpoint::{Endpoint, Place, Wire};
use crate::network::Adopted;
use crate::plan::{Key, Member, State, Switch, Value};

/// What must exist for their network. A bridge may be shared with networks of ours.
pub fn network(adopted: &Adopted, essence: State) -> State {
    let mut state = essence;
    for bridge in &adopted.apart {
        let members = [Member::Apart(bridge.clone()), Member::Pair(bridge.clone(), bridge.clone())];
        let owner = sharers(bridge);
        members.into_iter().for_each(|member| state.insert(Key::Member(member), &owner, Value::Present));
    }
    state
}

/// What must exist for one of them.
pub fn endpoint(endpoint: &Endpoint, wire: &Wire) -> State {
    let owner = endpoint.owner();
    let mut state = State::default();
    let mut put = |(key, value)| state.insert(key, &owner, value);
    if let Some(place) = &wire.extras.adopted {
        let links = wire.extras.opened.iter().filter(|_| place.bridge.is_none());
        links.for_each(|family| put((Key::Open(*family, wire.host_if.clone()), Value::Present)));
        kept_apart(wire, place)
            .into_iter()
            .chain(hairpin(wire, place))
            .for_each(|key| put((key, Value::Present)));
    }
    published(wire).into_iter().for_each(&mut put);
    state
}

/// One that is kept apart from those of its network too: a port of a bridge by that, a link of its own by the rules.
fn kept_apart(wire: &Wire, place: &Place) -> Option<Key> {
    match &place.bridge {
        _ if !wire.extras.isolated => None,
        None => Some(Key::Member(Member::Apart(wire.host_if.clone()))),
        Some(_) => {
            place.port.clone().filter(|_| place.isolates).map(|port| Key::Switch(port, Switch::Isolated))
        }
    }
}

/// A container that reaches itself by its published port sends a frame that comes back where it went.
fn hairpin(wire: &Wire, place: &Place) -> Option<Key> {
    let port = place.port.clone().filter(|_| place.hairpins && !wire.publish.is_empty());
    port.map(|port| Key::Switch(port, Switch::Hairpin))
}
