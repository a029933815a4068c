//! What an object needs before it can be made, as Linux and the promises of the design have it.

use qiao_core::plan::{Guard, Key, Member, Object, State, Sysctl, Value};

/// The keys among `all` without which `key` cannot be, or must not be yet.
pub fn parents<'a>(key: &Key, object: &Object, all: &'a State) -> Vec<&'a Key> {
    let needs = |other: &Key| match key {
        _ if key.set().is_some() && *other == Key::Ruleset => true,
        // The host forwards nothing that is not a container's, and loses no default route by it.
        Key::Sysctl(Sysctl::Forward4 | Sysctl::Forward6) => {
            matches!(other, Key::Ruleset | Key::Member(_) | Key::Sysctl(Sysctl::AcceptRa(_)))
        }
        Key::BridgeAddress(name, _)
        | Key::BridgeUp(name)
        | Key::VlanFiltering(name)
        | Key::BridgeVrf(name, _)
        | Key::BridgeVlan(name, _) => *other == Key::Bridge(name.clone()),
        Key::VlanAddress(name, _) => *other == Key::Vlan(name.clone()),
        // An interface comes up when the one that it is on is up.
        Key::Vlan(_) => match &object.value {
            Value::Vlan { parent, .. } => *other == Key::BridgeUp(parent.clone()),
            _ => false,
        },
        Key::Neighbour(name, _) => {
            [Key::Bridge(name.clone()), Key::Veth(name.clone()), Key::Vlan(name.clone())].contains(other)
        }
        Key::HostRoute(_) => match &object.value {
            Value::Route { dev, .. } => *other == Key::HostUp(dev.clone()),
            _ => false,
        },
        Key::Veth(name) => {
            is_bridge_of(object, other) || is_guard_of(name, other) || is_place_of(name, other)
        }
        Key::Child(..) => match (&object.value, other) {
            (Value::Child { parent, .. }, Key::Vlan(vlan)) => vlan == parent,
            _ => false,
        },
        Key::NoAdvertisements(sandbox, link) => is_end(all, other, (sandbox, link)),
        // Not for a moment does it take what its neighbourhood's routers say.
        Key::SandboxUp(sandbox, link) if *other == Key::NoAdvertisements(sandbox.clone(), link.clone()) => {
            true
        }
        // An entry is made for each VLAN that the port is in by then (`br_fdb_add`).
        Key::Fdb(name, _) if *other == Key::PortVlans(name.clone()) => true,
        Key::Port(name) | Key::PortVlans(name) | Key::Fdb(name, _) => *other == Key::Veth(name.clone()),
        // The host's end comes up last: whatever guards or steers its packets stands.
        Key::HostUp(name) => match other {
            Key::Veth(port) | Key::Port(port) | Key::PortVlans(port) | Key::Fdb(port, _) => port == name,
            Key::SandboxAddress(..) | Key::SandboxUp(..) | Key::SandboxNeighbour(..) | Key::Route(..) => {
                is_mine(object, other, all)
            }
            Key::Sysctl(_) | Key::Member(_) => true,
            other => is_guard_of(name, other),
        },
        Key::SandboxNeighbour(sandbox, link, _)
            if *other == Key::SandboxUp(sandbox.clone(), link.clone()) =>
        {
            true
        }
        Key::SandboxAddress(sandbox, link, _)
        | Key::SandboxUp(sandbox, link)
        | Key::SandboxNeighbour(sandbox, link, _) => is_end(all, other, (sandbox, link)),
        Key::Route(sandbox, _) => match (&object.value, other) {
            (Value::Route { dev, .. }, Key::SandboxUp(s, link)) => (s, link) == (sandbox, dev),
            (Value::Route { dev, via: Some(via), .. }, Key::SandboxAddress(s, link, net)) => {
                (s, link) == (sandbox, dev) && net.contains(via)
            }
            _ => false,
        },
        Key::Publish(_) | Key::Loopback(_) => matches!(other, Key::HostUp(_)) && is_mine(object, other, all),
        _ => false,
    };
    all.keys().filter(|other| *other != key && needs(other)).collect()
}

fn is_bridge_of(object: &Object, other: &Key) -> bool {
    matches!((&object.value, other), (Value::Veth { bridge: Some(bridge), .. }, Key::Bridge(name)) if name == bridge)
}

fn is_guard_of(port: &qiao_core::IfName, other: &Key) -> bool {
    matches!(other, Key::Guard(guard) if Guard::port(guard) == port)
}

/// The place in the rule set of a port of a routed network.
fn is_place_of(port: &qiao_core::IfName, other: &Key) -> bool {
    match other {
        Key::Member(Member::Downlink(link) | Member::Internal(link) | Member::Closed(link)) => link == port,
        Key::Member(Member::Home(_, link)) => link == port,
        _ => false,
    }
}

/// Whether an object is the interface of a sandbox: one end of a pair, or a child.
fn is_end(all: &State, other: &Key, end: (&qiao_core::SandboxName, &qiao_core::IfName)) -> bool {
    match (other, all.get(other).map(|object| &object.value)) {
        (Key::Veth(_), Some(Value::Veth { sandbox, peer, .. })) => (sandbox, peer) == end,
        (Key::Child(sandbox, link) | Key::Lone(sandbox, link) | Key::Lent(sandbox, link), _) => {
            (sandbox, link) == end
        }
        _ => false,
    }
}

fn is_mine(object: &Object, other: &Key, all: &State) -> bool {
    all.get(other).is_some_and(|o| o.owner == object.owner)
}
