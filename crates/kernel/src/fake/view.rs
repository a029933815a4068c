//! What the fake kernel shows, as `observe.rs` reads it from the real one.

use super::world::{World, link_of};
use crate::kernel::Places;
use qiao_core::IfName;
use qiao_core::plan::{Found, Key, Object, Observed, Ownership, State, Value};

impl World {
    /// What exists of `wanted`.
    pub(super) fn observe(&self, wanted: &State, places: &Places) -> Observed {
        let mut observed = Observed::default();
        for (key, object) in wanted.iter() {
            if let Some(found) = self.see(key, object, wanted, places) {
                observed.insert(key.clone(), found.owner, found.value);
            }
        }
        observed
    }

    fn see(&self, key: &Key, object: &Object, wanted: &State, places: &Places) -> Option<Found> {
        if let (Key::Lent(..), Some(found)) = (key, self.objects.get(key)) {
            return Some(Found {
                owner: Ownership::Marked(object.owner.clone()),
                value: found.value.clone(),
            });
        }
        if key.sandbox().is_some_and(|name| !places.get(name).is_some_and(|place| self.is_alive(place))) {
            return None;
        }
        if key.set().is_some() && wanted.get(&Key::Ruleset).is_some() && !self.is_whole() {
            return None;
        }
        let marked = || Ownership::Marked(object.owner.clone());
        if let (Key::Bridge(name) | Key::Veth(name) | Key::Vlan(name) | Key::Ifb(name), false) =
            (key, self.objects.contains_key(key))
        {
            // An interface of another kind.
            let foreign = || Found { owner: Ownership::Foreign, value: object.value.clone() };
            return self.has_link(name).then(foreign);
        }
        let Some(found) = self.objects.get(key) else {
            return self.unchanged(key).map(|value| Found { owner: marked(), value });
        };
        if key.hangs_on(&found.value).is_some_and(|name| self.has_strayed(name, wanted, places)) {
            return None;
        }
        if let Key::Port(name) | Key::PortVlans(name) | Key::Fdb(name, _) = key
            && !self.is_in_place(name, wanted)
        {
            return None;
        }
        let owner = match key {
            _ if found.owner == Ownership::Foreign => Ownership::Foreign,
            Key::Bridge(_) | Key::Veth(_) | Key::Vlan(_) | Key::Ifb(_) => found.owner.clone(),
            _ if link_of(key).is_some_and(|link| self.is_foreign(link)) => Ownership::Foreign,
            Key::Loopback(_) | Key::Open(..) | Key::Names(..) => found.owner.clone(),
            _ if key.set().is_some() => found.owner.clone(),
            _ => marked(),
        };
        let mut value = seen_value(&found.value, &object.value);
        if let (Key::Veth(name), Value::Veth { peer, .. }, Value::Veth { peer: is, .. }) =
            (key, &mut value, &found.value)
            && self.has_strayed(name, wanted, places)
        {
            peer.clone_from(is);
        }
        Some(Found { owner, value })
    }

    /// Whether a pair's other end is not where it is wanted; seen only by those who look into its sandbox.
    fn has_strayed(&self, name: &IfName, wanted: &State, places: &Places) -> bool {
        let key = Key::Veth(name.clone());
        let values = (wanted.get(&key).map(|o| &o.value), self.objects.get(&key).map(|f| &f.value));
        let (Some(Value::Veth { sandbox, peer, .. }), Some(Value::Veth { peer: is, .. })) = values else {
            return false;
        };
        is != peer && places.get(sandbox).is_some_and(|place| self.is_alive(place))
    }

    /// Whether a pair is a port of the bridge that is wanted, if one is.
    fn is_in_place(&self, name: &IfName, wanted: &State) -> bool {
        let master = |value: &Value| match value {
            Value::Veth { bridge, .. } => bridge.clone(),
            _ => None,
        };
        let key = Key::Veth(name.clone());
        let wanted = wanted.get(&key).and_then(|object| master(&object.value));
        let found = self.objects.get(&key).and_then(|found| master(&found.value));
        wanted.is_none() || wanted == found
    }

    /// Whether the rule set is there and as it must be.
    pub(super) fn is_whole(&self) -> bool {
        let whole = Value::Ruleset(qiao_core::render::DIGEST);
        self.objects.get(&Key::Ruleset).is_some_and(|found| found.value == whole)
    }

    /// Everything in the host's namespace that bears a mark.
    pub(super) fn survey(&self) -> Observed {
        let mut observed = Observed::default();
        let is_foreign = |(key, found): &(&Key, &Found)| {
            found.owner == Ownership::Foreign || link_of(key).is_some_and(|link| self.is_foreign(link))
        };
        for (key, found) in self.objects.iter().filter(|object| !is_foreign(object)) {
            let (owner, value) = match (key, &found.value) {
                (Key::Neighbour(..) | Key::HostRoute(_), value) => (Ownership::Ours, value.clone()),
                (Key::Veth(_), Value::Veth { sandbox, peer, mac, mtu, .. }) => {
                    let (sandbox, peer) = (sandbox.clone(), peer.clone());
                    (found.owner.clone(), Value::Veth { sandbox, peer, mac: *mac, mtu: *mtu, bridge: None })
                }
                (
                    Key::Bridge(_)
                    | Key::VlanFiltering(_)
                    | Key::Vlan(_)
                    | Key::Ifb(_)
                    | Key::VlanAddress(..)
                    | Key::BridgeUp(_)
                    | Key::BridgeAddress(..)
                    | Key::Ruleset,
                    value,
                ) => (found.owner.clone(), value.clone()),
                (Key::Loopback(_) | Key::Open(..) | Key::Names(..), value)
                | (Key::Lent(..), value @ Value::Lent { astray: true, .. }) => {
                    (found.owner.clone(), value.clone())
                }
                (key, value) if key.set().is_some() && self.is_whole() => {
                    (found.owner.clone(), value.clone())
                }
                _ => continue,
            };
            observed.insert(key.clone(), owner, value);
        }
        observed
    }
}

/// The host does not see a pair's other end: what is known of it is what was wanted.
fn seen_value(found: &Value, wanted: &Value) -> Value {
    match (found, wanted) {
        (Value::Veth { mtu, bridge: on, .. }, Value::Veth { sandbox, peer, mac, bridge, .. }) => {
            Value::Veth {
                sandbox: sandbox.clone(),
                peer: peer.clone(),
                mac: *mac,
                mtu: *mtu,
                bridge: bridge.clone().filter(|bridge| on.as_ref() == Some(bridge)),
            }
        }
        (found, _) => found.clone(),
    }
}
