//! What must exist and what does exist.

use super::{Guard, Key, Member};
use crate::child::{Broadcasts, Mode};
use crate::endpoint::PortVlans;
use crate::mac::Mac;
use crate::name::{IfName, SandboxName};
use crate::owner::{EndpointId, Owner};
use crate::port::Backend;
use crate::route::Attributes;
use crate::shape::Bucket;
use crate::solo::{Lent, Tap};
use crate::source::Origin;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How an object is: what can differ while its key stays the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// It is there, and there is no more to say.
    Present,
    /// A number: of a sysctl, or of an interface's setting.
    Number(u32),
    /// A text: of a sandbox's sysctl.
    Text(String),
    /// The rule set, by its digest (see [`crate::render::ruleset`]).
    Ruleset(u32),
    /// A bridge.
    Bridge {
        /// The hardware address: constant, so that neighbours' caches stay right. None for a bridge of another
        /// program that has no port and was given none.
        mac: Option<Mac>,
        /// The MTU in bytes.
        mtu: u32,
    },
    /// A pair of interfaces.
    Veth {
        /// The sandbox that has the other end.
        sandbox: SandboxName,
        /// The name of the other end.
        peer: IfName,
        /// The hardware address of the other end.
        mac: Mac,
        /// The MTU in bytes.
        mtu: u32,
        /// The bridge that the host's end is a port of; none where it is routed, or somebody took it off.
        bridge: Option<IfName>,
    },
    /// A VLAN interface (IEEE 802.1Q).
    Vlan {
        /// The interface that carries the tagged frames.
        parent: IfName,
        /// The VLAN's id, 1 to 4094.
        id: u16,
        /// It is up.
        up: bool,
    },
    /// A macvlan, ipvlan or VLAN child.
    Child {
        /// The interface of the host, or of the sandbox.
        parent: IfName,
        /// Whom it reaches.
        mode: Mode,
        /// Its hardware address, where it has one of its own.
        mac: Option<Mac>,
        /// The MTU in bytes.
        mtu: u32,
        /// The parent is in the sandbox.
        #[serde(default)]
        inside: bool,
        /// What becomes of broadcast frames for it, where that was asked for.
        #[serde(default)]
        broadcasts: Broadcasts,
    },
    /// An interface that leads nowhere.
    Dummy {
        /// Its hardware address.
        mac: Mac,
        /// The MTU in bytes.
        mtu: u32,
    },
    /// An interface that a program serves.
    Tap {
        /// Who may, and how.
        tap: Tap,
        /// Its hardware address.
        mac: Mac,
        /// The MTU in bytes.
        mtu: u32,
    },
    /// A device of the host's that is lent.
    Lent {
        /// How it was on the host.
        lent: Lent,
        /// It is not where it is lent to, or not under that name: seen so, its sandbox ended, or somebody moved it.
        astray: bool,
    },
    /// A bridge port.
    Port {
        /// The port takes no addresses from what it receives, and gets no frames for unknown ones. So it is
        /// on every port of ours; seen otherwise, somebody changed it.
        fixed: bool,
        /// Frames do not pass to other isolated ports.
        isolated: bool,
        /// Frames may go out where they came in.
        hairpin: bool,
    },
    /// The VLANs of a bridge port.
    Vlans(PortVlans),
    /// A host end that is a port of its own, not of a bridge.
    PointToPoint {
        /// It heeds ARP. A port of ours does not: both ends know each other's hardware address.
        arp: bool,
        /// Somebody made it a port of something.
        enslaved: bool,
    },
    /// A neighbour's hardware address.
    Mac(Mac),
    /// A route.
    Route {
        /// The interface.
        dev: IfName,
        /// The gateway; none where the destination is on the link.
        via: Option<IpAddr>,
        /// The gateway is on the link although no address of the interface says so.
        #[serde(default)]
        onlink: bool,
        /// The address that the host sends from.
        #[serde(default)]
        src: Option<IpAddr>,
        /// What it has besides.
        #[serde(default, skip_serializing_if = "Attributes::is_none")]
        attributes: Attributes,
    },
    /// A route with more than where it leads.
    Way {
        /// The interface.
        dev: IfName,
        /// The gateway; none where the destination is on the link.
        via: Option<IpAddr>,
        /// The MTU in bytes; 0 for that of the interface.
        mtu: u32,
        /// The maximum segment size that TCP advertises, in bytes (RFC 9293 section 3.7.1); 0 for what the MTU makes
        /// it.
        advmss: u32,
        /// How far away the destination is (`enum rt_scope_t`, linux/rtnetlink.h); of IPv6 always 0.
        scope: u8,
        /// Which address to send from, and who set it.
        #[serde(default, skip_serializing_if = "Origin::is_none")]
        origin: Origin,
    },
    /// A `vrf` device.
    Vrf {
        /// Its table.
        table: u32,
        /// It is up.
        up: bool,
    },
    /// The device that an interface is behind.
    Master(Option<IfName>),
    /// A token bucket.
    Bucket(Bucket),
    /// An `ifb` device.
    Ifb {
        /// The MTU in bytes.
        mtu: u32,
        /// It is up.
        up: bool,
    },
    /// What comes in goes elsewhere first.
    Redirect {
        /// The `ifb` device.
        to: IfName,
    },
    /// Where a published port goes.
    Backend(Backend),
    /// The same of a port that the caller holds with a socket of its own: qiao must not listen on it.
    Held(Backend),
}

/// An object that must exist: whose it is and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Whose.
    pub owner: Owner,
    /// How.
    pub value: Value,
}

/// What must exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(BTreeMap<Key, Object>);

impl State {
    /// Puts an object in.
    pub fn insert(&mut self, key: Key, owner: &Owner, value: Value) {
        self.0.insert(key, Object { owner: owner.clone(), value });
    }

    /// Puts everything of `other` in.
    pub fn extend(&mut self, other: State) {
        self.0.extend(other.0);
    }

    /// The object with this key.
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.0.get(key)
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &Key) -> Option<Object> {
        self.0.remove(key)
    }

    /// The part of it that `keep` says yes to.
    #[must_use]
    pub fn part(&self, keep: impl Fn(&Key, &Object) -> bool) -> State {
        let kept = self.0.iter().filter(|(key, object)| keep(key, object));
        kept.map(|(key, object)| (key.clone(), object.clone())).collect()
    }

    /// All objects, in the order of dependency.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Key, &Object)> {
        self.0.iter()
    }

    /// All keys, in the order of dependency.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &Key> {
        self.0.keys()
    }

    /// How many objects.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing must exist.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An object that was seen. One that bears no mark of ours is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose, as far as its mark tells.
    pub owner: Ownership,
    /// How.
    pub value: Value,
}

/// What an object's mark says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The mark of this owner.
    Marked(Owner),
    /// A mark of ours that cannot be read back (see [`Owner::parse`]), or an object that can bear none and
    /// is judged by where it is.
    Ours,
    /// No mark of ours.
    Foreign,
}

/// What was seen of the keys that were asked about; a key that is missing does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed(BTreeMap<Key, Found>);

impl Observed {
    /// Puts an object in.
    pub fn insert(&mut self, key: Key, owner: Ownership, value: Value) {
        self.0.insert(key, Found { owner, value });
    }

    /// The object with this key.
    pub fn get(&self, key: &Key) -> Option<&Found> {
        self.0.get(key)
    }

    /// Keeps only what `keep` says yes to.
    pub fn retain(&mut self, keep: impl Fn(&Key, &Found) -> bool) {
        self.0.retain(|key, found| keep(key, found));
    }

    /// A pair's other end has this name.
    pub fn rename_peer(&mut self, key: &Key, name: IfName) {
        if let Some(Value::Veth { peer, .. }) = self.0.get_mut(key).map(|found| &mut found.value) {
            *peer = name;
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &Key) -> Option<Found> {
        self.0.remove(key)
    }

    /// All objects, in the order of dependency.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Key, &Found)> {
        self.0.iter()
    }

    /// Keeps only what bears the mark of an endpoint that `keep` says yes to, and the neighbour entries and
    /// routes of the addresses that its elements name, since those bear no endpoint's mark.
    pub fn keep_endpoints(&mut self, keep: impl Fn(&EndpointId) -> bool) {
        let all = std::mem::take(&mut self.0);
        let (kept, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.into_iter().partition(|(_, found)| match &found.owner {
                Ownership::Marked(Owner::Endpoint(id)) => keep(id),
                _ => false,
            });
        let addresses: BTreeSet<IpAddr> = kept.keys().filter_map(guarded_address).collect();
        let neighbours = rest.into_iter().filter(|(key, found)| match key {
            Key::Neighbour(_, ip) => found.owner != Ownership::Foreign && addresses.contains(ip),
            Key::HostRoute(net) => found.owner != Ownership::Foreign && addresses.contains(&net.addr()),
            _ => false,
        });
        self.0 = kept;
        self.0.extend(neighbours);
    }

    /// Puts everything of `other` in.
    pub fn extend(&mut self, other: Observed) {
        self.0.extend(other.0);
    }
}

/// The address that an element lets a port send from.
fn guarded_address(key: &Key) -> Option<IpAddr> {
    match key {
        Key::Guard(Guard::Ip4(_, ip)) => Some((*ip).into()),
        Key::Guard(Guard::Ip6(_, ip)) => Some((*ip).into()),
        Key::Member(Member::Home(ip, _)) => Some(*ip),
        _ => None,
    }
}

impl FromIterator<(Key, Object)> for State {
    fn from_iter<I: IntoIterator<Item = (Key, Object)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}
