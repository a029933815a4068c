//! Virtual routing and forwarding (VRF, Linux's `vrf` devices): an interface of a sandbox routes by the table of a device that it is put
//! behind. The kernel takes an interface that changes its device down and up again: its routes are made anew.

use crate::endpoint::{Endpoint, Way};
use crate::name::IfName;
use crate::plan::{Key, RouteId, State, Value};
use crate::source::Origin;
use serde::{Deserialize, Serialize};

/// Which device is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Its name.
    pub name: IfName,
    /// Its table; none for the one that it has, or for the first that nobody uses.
    pub table: Option<u32>,
}

/// The device that an endpoint's interface is behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vrf {
    /// Its name.
    pub name: IfName,
    /// Its table.
    pub table: u32,
    /// The routes in it, besides those that the kernel makes for addresses.
    pub ways: Vec<Way>,
    /// The routes of the main table that are lost with it, and that were not ours.
    pub moved: Vec<Way>,
}

/// The kernel's own routes (`RTPROT_KERNEL`, linux/rtnetlink.h): they come and go with addresses.
const KERNEL: Option<u8> = Some(2);

impl Vrf {
    /// With the routes that the interface has in the main table.
    pub fn new(name: IfName, table: u32, found: &[Way]) -> Self {
        let made = || found.iter().filter(|way| way.origin.protocol != KERNEL);
        let there = |way: &Way| Way {
            id: RouteId { table, ..way.id },
            origin: Origin { onlink: way.via.is_some(), protocol: None, ..way.origin },
            ..way.clone()
        };
        let moved = made().filter(|way| way.origin.protocol.is_some()).cloned().collect();
        Self { name, table, ways: made().map(there).collect(), moved }
    }
}

/// Puts an endpoint's interface and its routes there.
pub(crate) fn relocate(state: &mut State, endpoint: &Endpoint, vrf: &Vrf) {
    let (owner, sandbox, ifname) = (endpoint.owner(), endpoint.sandbox(), &endpoint.id.ifname);
    let is_in_main = |key: &Key, value: &Value| match (key, value) {
        (Key::Route(..), Value::Route { dev, .. }) => dev == ifname,
        (Key::Way(_, id), Value::Way { dev, .. }) => dev == ifname && id.table == RouteId::MAIN,
        _ => false,
    };
    *state = state.part(|key, object| !is_in_main(key, &object.value));
    state.insert(
        Key::Vrf(sandbox.clone(), vrf.name.clone()),
        &owner,
        Value::Vrf { table: vrf.table, up: true },
    );
    state.insert(master(endpoint), &owner, Value::Master(Some(vrf.name.clone())));
    for (key, value) in vrf.ways.iter().map(|way| way.object(&endpoint.id)) {
        state.insert(key, &owner, value);
    }
}

/// How it was before.
pub(crate) fn restored(endpoint: &Endpoint, vrf: &Vrf) -> State {
    let mut state = State::default();
    state.insert(master(endpoint), &endpoint.owner(), Value::Master(None));
    for way in &vrf.moved {
        let (_, value) = way.object(&endpoint.id);
        state.insert(
            Key::Native(endpoint.sandbox().clone(), way.via.is_some(), way.id),
            &endpoint.owner(),
            value,
        );
    }
    state
}

fn master(endpoint: &Endpoint) -> Key {
    Key::Master(endpoint.sandbox().clone(), endpoint.id.ifname.clone())
}
