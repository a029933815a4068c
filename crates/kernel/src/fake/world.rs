//! What exists in the fake kernel, and what Linux refuses: duplicates, missing parents, namespaces that are
//! gone; and what goes along with what: a bridge's addresses with the bridge, a pair with its namespace.

use super::fault::Faults;
use crate::facts::Facts;
use crate::kernel::{HostLink, Places, Reached, Routing};
use ipnet::IpNet;
use qiao_core::endpoint::Netns;
use qiao_core::flows::Flows;
use qiao_core::forwarding::Forwarding;
use qiao_core::plan::{Found, Key, Object, Ownership, Switch, Sysctl, Value};
use qiao_core::port::Listen;
use qiao_core::subnet::Family;
use qiao_core::{IfName, Mac, SandboxName, Subnet};
use std::collections::{BTreeMap, BTreeSet};

/// The fake kernel's state. It outlives the processes that talk to it.
#[derive(Clone, Debug)]
pub struct World {
    /// The cookie of the host's network namespace.
    pub home: u64,
    /// Everything that exists, whoever's it is.
    pub objects: BTreeMap<Key, Found>,
    /// Interfaces of the host that are neither bridges nor pairs.
    pub links: BTreeSet<String>,
    /// Kinds of link that the kernel does not know.
    pub lacks: BTreeSet<String>,
    /// The namespaces by path.
    pub namespaces: BTreeMap<String, Namespace>,
    /// What the host is like; the interfaces are added when asked.
    pub facts: Facts,
    /// What sockets of the host listen on.
    pub sockets: Vec<Listen>,
    /// The ports that are given to those who ask for none.
    pub ephemeral: (u16, u16),
    /// The connections that were forgotten.
    pub forgotten: BTreeSet<Flows>,
    /// How often an endpoint's addresses were announced.
    pub announced: usize,
    /// The firewall's generation.
    pub generation: u32,
    /// The sandboxes that nobody gets an answer from: their root changes them while they are looked at.
    pub restless: BTreeSet<SandboxName>,
    /// The sandboxes whose endpoints' objects cannot be changed.
    pub stubborn: BTreeSet<SandboxName>,
    /// Whether somebody else listens on every port of 127.0.0.1 and ::1.
    pub loopback_taken: bool,
    /// The families in which another firewall drops what nobody lets through.
    pub drops: BTreeSet<Family>,
    /// The same for what comes in to the host.
    pub drops_incoming: BTreeSet<Family>,
    /// What others have on the host that forwards packets.
    pub forwarding: Forwarding,
    /// How many ports a bridge may have.
    pub most_ports: usize,
    /// Whether what is made beside a host's first links is there only when it has to be.
    pub slow_foundation: bool,
    /// Faults on demand.
    pub faults: Faults,
    /// In which namespace a sandbox is.
    pub(super) homes: BTreeMap<SandboxName, u64>,
    /// The indices of pairs: each new one has its own.
    indices: BTreeMap<IfName, u32>,
    next_number: u64,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its number: that of one which is gone, if there is any.
    pub inode: u64,
    /// Its identity.
    pub cookie: u64,
    /// Interfaces that are not ours.
    pub links: BTreeSet<String>,
}

/// The device number of the fake namespaces.
const DEVICE: u64 = 4;

impl Default for World {
    fn default() -> Self {
        let off = |sysctl| (Key::Sysctl(sysctl), Found { owner: Ownership::Ours, value: Value::Number(0) });
        Self {
            home: 1,
            objects: [off(Sysctl::Forward4), off(Sysctl::Forward6)].into(),
            links: ["lo".to_owned(), "uplink".to_owned()].into(),
            lacks: BTreeSet::new(),
            namespaces: BTreeMap::new(),
            facts: Facts { mtu: Some(1500), ipv6: true, ways: vec![(uplink(), None)], ..Facts::default() },
            sockets: Vec::new(),
            ephemeral: (40000, 40063),
            forgotten: BTreeSet::new(),
            announced: 0,
            generation: 1,
            restless: BTreeSet::new(),
            stubborn: BTreeSet::new(),
            loopback_taken: false,
            drops: BTreeSet::new(),
            drops_incoming: BTreeSet::new(),
            forwarding: Forwarding::default(),
            most_ports: 1023,
            slow_foundation: false,
            faults: Faults::default(),
            homes: BTreeMap::new(),
            indices: BTreeMap::new(),
            next_number: 100,
        }
    }
}

fn uplink() -> IfName {
    IfName::new("uplink").expect("`uplink` is an interface name")
}

/// An error number, as the kernel gives it.
pub(super) type Errno = i32;

impl World {
    /// Makes a namespace at a path.
    pub fn add_namespace(&mut self, path: &str) {
        self.next_number += 1;
        let (cookie, links) = (self.next_number, ["lo".to_owned()].into());
        // As the kernel does it: the lowest number that is free.
        let is_free = |inode: &u64| self.namespaces.values().all(|namespace| namespace.inode != *inode);
        let inode = (1..).find(is_free).unwrap_or_default();
        self.namespaces.insert(path.to_owned(), Namespace { inode, cookie, links });
    }

    /// A namespace ends, and the pairs with an end in it.
    pub fn remove_namespace(&mut self, path: &str) {
        let Some(gone) = self.namespaces.remove(path) else { return };
        let inside = |name: &SandboxName| self.homes.get(name) == Some(&gone.cookie);
        let pairs: Vec<IfName> =
            self.pairs().filter(|(_, s, _)| inside(s)).map(|(h, ..)| h.clone()).collect();
        let homeless: BTreeSet<SandboxName> = self.homes.keys().filter(|n| inside(n)).cloned().collect();
        pairs.iter().for_each(|name| self.remove_link(name));
        let is_lent = |key: &Key| matches!(key, Key::Lent(..));
        let stays = |key: &Key| key.sandbox().is_none_or(|name| !homeless.contains(name)) || is_lent(key);
        self.objects.retain(|key, _| stays(key));
        // A real device comes back to the host, under whatever name.
        let lent = self.objects.iter_mut().filter(|(key, _)| is_lent(key));
        for (_, found) in lent.filter(|(key, _)| key.sandbox().is_some_and(|name| homeless.contains(name))) {
            if let Value::Lent { astray, .. } = &mut found.value {
                *astray = true;
            }
        }
    }

    /// Somebody empties the firewall.
    pub fn flush_ruleset(&mut self) {
        self.objects.retain(|key, _| *key != Key::Ruleset && !key.is_opening() && key.set().is_none());
        self.generation += 1;
    }

    /// Somebody changes a rule of ours.
    pub fn damage_ruleset(&mut self) {
        if let Some(found) = self.objects.get_mut(&Key::Ruleset) {
            found.value = Value::Ruleset(0);
        }
        self.generation += 1;
    }

    /// Somebody makes an object that bears no mark of ours.
    pub fn add_foreign(&mut self, key: Key, value: Value) {
        self.objects.insert(key, Found { owner: Ownership::Foreign, value });
    }

    /// A link goes, with everything that hangs on it.
    pub fn remove_link(&mut self, name: &IfName) {
        let ends: Vec<_> =
            self.ends().filter(|(h, ..)| *h == name).map(|(_, s, p)| (s.clone(), p.clone())).collect();
        self.links.remove(name.as_str());
        let vlans: Vec<IfName> = self.vlans_on(name).cloned().collect();
        vlans.iter().for_each(|vlan| self.remove_link(vlan));
        self.objects.retain(|key, found| {
            link_of(key) != Some(name)
                && !(matches!(key, Key::HostRoute(_)) && leads_over(&found.value, name))
                && !ends.iter().any(|end| in_sandbox(key, &found.value) == Some((&end.0, &end.1)))
        });
        for found in self.objects.values_mut() {
            if let Value::Veth { bridge, .. } = &mut found.value {
                bridge.take_if(|bridge| bridge == name);
            }
        }
        let loose: BTreeSet<IfName> = self.loose_ends();
        self.objects.retain(|key, found| match key {
            Key::Port(port) => !loose.contains(port) || matches!(found.value, Value::PointToPoint { .. }),
            Key::Fdb(port, _) | Key::PortVlans(port) => !loose.contains(port),
            _ => true,
        });
    }

    /// The root of a container renames its interface, which must be down for that.
    pub fn rename_end(&mut self, name: &SandboxName, from: &IfName, to: &IfName) {
        for found in self.objects.values_mut() {
            match &mut found.value {
                Value::Veth { sandbox, peer, .. } if (&*sandbox, &*peer) == (name, from) => {
                    *peer = to.clone()
                }
                _ => {}
            }
        }
        self.objects.retain(|key, found| in_sandbox(key, &found.value) != Some((name, from)));
    }

    /// Pairs that are no port of any bridge.
    fn loose_ends(&self) -> BTreeSet<IfName> {
        let loose = self.objects.iter().filter_map(|(key, found)| match (key, &found.value) {
            (Key::Veth(name), Value::Veth { bridge: None, .. }) => Some(name.clone()),
            _ => None,
        });
        loose.collect()
    }

    /// The pairs: host's end, sandbox, the end there.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&IfName, &SandboxName, &IfName)> {
        self.objects.iter().filter_map(|(key, found)| match (key, &found.value) {
            (Key::Veth(name), Value::Veth { sandbox, peer, .. }) => Some((name, sandbox, peer)),
            _ => None,
        })
    }

    /// The interfaces in sandboxes that hang on one of the host's: that one, the sandbox, the interface there.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&IfName, &SandboxName, &IfName)> {
        let children = self.objects.iter().filter_map(|(key, found)| match (key, &found.value) {
            (Key::Child(sandbox, link), Value::Child { parent, inside: false, .. }) => {
                Some((parent, sandbox, link))
            }
            _ => None,
        });
        self.pairs().chain(children)
    }

    /// All our interfaces in sandboxes.
    pub(super) fn insides(&self) -> impl Iterator<Item = (&SandboxName, &IfName)> {
        let alone = self.objects.iter().filter_map(|(key, found)| match (key, &found.value) {
            (Key::Child(sandbox, link), Value::Child { inside: true, .. }) => Some((sandbox, link)),
            (Key::Lone(sandbox, link), _) => Some((sandbox, link)),
            (Key::Lent(sandbox, link), Value::Lent { astray: false, .. }) => Some((sandbox, link)),
            _ => None,
        });
        self.ends().map(|(_, sandbox, link)| (sandbox, link)).chain(alone)
    }

    fn vlans_on(&self, name: &IfName) -> impl Iterator<Item = &IfName> {
        self.objects.iter().filter_map(move |(key, found)| match (key, &found.value) {
            (Key::Vlan(vlan), Value::Vlan { parent, .. }) if parent == name => Some(vlan),
            _ => None,
        })
    }

    /// An interface of the host, as others would be children of it.
    pub(super) fn host_link(&self, name: &IfName) -> Option<HostLink> {
        let mac = Mac::new([2, 0, 0, 0, 0, 1]).ok();
        let ours = !self.links.contains(name.as_str());
        let up = HostLink { mac, mtu: 1500, up: true, ours, ..HostLink::default() };
        self.has_link(name).then_some(up)
    }

    /// An interface in a namespace.
    pub(super) fn link_in(&self, netns: &Netns, name: &IfName) -> Option<HostLink> {
        let mac = Mac::new([2, 0, 0, 0, 0, 2]).ok();
        let up = HostLink { mac, mtu: 1500, up: true, ..HostLink::default() };
        self.links_in(netns).contains(name.as_str()).then_some(up)
    }

    /// Whether the host has an interface of this name.
    pub fn has_link(&self, name: &IfName) -> bool {
        let made = [Key::Bridge, Key::Veth, Key::Vlan, Key::Ifb].map(|of| of(name.clone()));
        self.links.contains(name.as_str()) || made.iter().any(|key| self.objects.contains_key(key))
    }

    /// The index of an interface of the host.
    pub fn link_index(&self, name: &IfName) -> Option<u32> {
        self.has_link(name).then(|| self.indices.get(name).copied().unwrap_or(1))
    }

    /// Whether an interface of the host is somebody else's.
    pub(super) fn is_foreign(&self, name: &IfName) -> bool {
        let foreign = |key| self.objects.get(&key).is_some_and(|found| found.owner == Ownership::Foreign);
        self.links.contains(name.as_str())
            || foreign(Key::Vlan(name.clone()))
            || foreign(Key::Bridge(name.clone()))
            || foreign(Key::Ifb(name.clone()))
            || foreign(Key::Veth(name.clone()))
    }

    /// The namespace at a path.
    pub(super) fn netns(&self, path: &str) -> Option<Netns> {
        let namespace = self.namespaces.get(path)?;
        let (ino, cookie) = (namespace.inode, namespace.cookie);
        Some(Netns { path: path.to_owned(), dev: DEVICE, ino, cookie })
    }

    /// Whether this namespace is still at its path.
    pub(super) fn is_alive(&self, netns: &Netns) -> bool {
        self.netns(&netns.path).as_ref() == Some(netns)
    }

    /// The interfaces in a namespace.
    pub(super) fn links_in(&self, netns: &Netns) -> BTreeSet<String> {
        let Some(namespace) = self.namespaces.get(&netns.path).filter(|n| n.cookie == netns.cookie) else {
            return BTreeSet::new();
        };
        let inside = self.insides().filter(|(name, _)| self.homes.get(*name) == Some(&netns.cookie));
        inside.map(|(_, link)| link.to_string()).chain(namespace.links.iter().cloned()).collect()
    }

    /// The children of one of the host's interfaces in a namespace.
    pub(super) fn children_in(&self, netns: &Netns, parent: &IfName) -> Vec<IfName> {
        let here = |name: &SandboxName| self.homes.get(name) == Some(&netns.cookie);
        let children = self.objects.iter().filter_map(|(key, found)| match (key, &found.value) {
            (Key::Child(name, link), Value::Child { parent: of, inside: false, .. })
                if of == parent && here(name) =>
            {
                Some(link)
            }
            _ => None,
        });
        children.cloned().collect()
    }

    /// An interface in a namespace that somebody else made, as a port of his bridge.
    pub(super) fn reached(&self, netns: &Netns, link: &IfName, addresses: &[IpNet]) -> Option<Reached> {
        let namespace = self.namespaces.get(&netns.path).filter(|n| n.cookie == netns.cookie)?;
        namespace.links.get(link.as_str())?;
        let port = IfName::new(&format!("port{}.{link}", namespace.inode)).ok();
        let isolated = |port| self.objects.contains_key(&Key::Switch(port, Switch::Isolated));
        let isolated = port.clone().is_some_and(isolated);
        let (device, peer) = (IfName::new("cni0").ok(), port.clone());
        let link = addresses.iter().map(|net| Subnet::around(*net)).collect();
        Some(Reached {
            mtu: 1500,
            device,
            by_bridge: true,
            link,
            peer,
            port,
            isolated,
            hairpins: true,
            ..Reached::default()
        })
    }

    /// How a namespace routes: none but we have routes there.
    pub(super) fn routing(&self, netns: &Netns, name: &IfName) -> Routing {
        let here = |sandbox: &SandboxName| self.homes.get(sandbox) == Some(&netns.cookie);
        let tables = self.objects.keys().filter_map(|key| match key {
            Key::Rule(sandbox, selector) if here(sandbox) => Some(selector.table),
            _ => None,
        });
        let is_there = self.links_in(netns).contains(name.as_str());
        Routing { is_there, tables: tables.collect(), ..Routing::default() }
    }

    /// The marks of the pairs with an end in a namespace.
    pub(super) fn marks_in(&self, netns: &Netns) -> Vec<String> {
        let inside = self.pairs().filter(|(_, name, _)| self.homes.get(*name) == Some(&netns.cookie));
        let owner =
            |name: &IfName| self.objects.get(&Key::Veth(name.clone())).map(|found| found.owner.clone());
        let mark = |owner| if let Ownership::Marked(owner) = owner { Some(owner.mark()) } else { None };
        inside.filter_map(|(name, ..)| owner(name).and_then(mark)).collect()
    }

    /// What a setting of a sandbox is before anybody changes it; none for what is no such setting.
    pub(super) fn unchanged(&self, key: &Key) -> Option<Value> {
        match key {
            Key::SandboxMac(name, link) => {
                let own = self.objects.iter().find_map(|(key, found)| match (key, &found.value) {
                    (_, Value::Veth { sandbox, peer, mac, .. }) if (sandbox, peer) == (name, link) => {
                        Some(*mac)
                    }
                    (Key::Child(s, l), Value::Child { mac, .. }) if (s, l) == (name, link) => *mac,
                    (Key::Lone(s, l), Value::Dummy { mac, .. } | Value::Tap { mac, .. })
                        if (s, l) == (name, link) =>
                    {
                        Some(*mac)
                    }
                    _ => None,
                });
                own.or_else(|| Mac::new([2, 0, 0, 0, 0, 2]).ok()).map(Value::Mac)
            }
            Key::Tuned(..) => Some(Value::Number(0)),
            Key::Master(..) => Some(Value::Master(None)),
            Key::SandboxSysctl(..) => Some(Value::Text("0".into())),
            _ => None,
        }
    }

    pub(super) fn put(&mut self, key: &Key, object: &Object) {
        let owner = match key {
            // Every endpoint of a sandbox wants it, and it bears nobody's mark.
            Key::SandboxLoopback(_) => Ownership::Ours,
            _ => Ownership::Marked(object.owner.clone()),
        };
        if self.unchanged(key).as_ref() == Some(&object.value) {
            self.objects.remove(key);
            return;
        }
        if let (Key::Bridge(name), Value::Bridge { mac: Some(mac), .. }) = (key, &object.value) {
            self.objects.retain(|key, _| !matches!(key, Key::OwnFdb(bridge, _) if bridge == name));
            let found = Found { owner: owner.clone(), value: Value::Present };
            self.objects.insert(Key::OwnFdb(name.clone(), *mac), found);
        }
        if let Key::Veth(name) = key {
            self.next_number += 1;
            self.indices.insert(name.clone(), self.next_number as u32);
        }
        self.objects.insert(key.clone(), Found { owner, value: object.value.clone() });
    }

    /// The namespace of a sandbox, if it lives.
    pub(super) fn home(&mut self, name: &SandboxName, places: &Places) -> Option<Netns> {
        let netns = places.get(name).filter(|netns| self.is_alive(netns))?;
        self.homes.insert(name.clone(), netns.cookie);
        Some(netns.clone())
    }
}

/// Whether a route leads over a link.
pub(super) fn leads_over(route: &Value, link: &IfName) -> bool {
    matches!(route, Value::Route { dev, .. } if dev == link)
}

/// The link of the host that an object hangs on.
pub(super) fn link_of(key: &Key) -> Option<&IfName> {
    match key {
        Key::Bridge(name)
        | Key::VlanFiltering(name)
        | Key::BridgeVrf(name, _)
        | Key::BridgeVlan(name, _)
        | Key::VlanAddress(name, _)
        | Key::PortVlans(name)
        | Key::Vlan(name)
        | Key::BridgeAddress(name, _)
        | Key::BridgeUp(name)
        | Key::Veth(name)
        | Key::Port(name)
        | Key::Ifb(name)
        | Key::Shape(name)
        | Key::Redirect(name)
        | Key::Fdb(name, _)
        | Key::OwnFdb(name, _)
        | Key::Neighbour(name, _)
        | Key::HostUp(name) => Some(name),
        _ => None,
    }
}

/// The sandbox and the link in it that an object hangs on.
pub(super) fn in_sandbox<'a>(key: &'a Key, value: &'a Value) -> Option<(&'a SandboxName, &'a IfName)> {
    match (key, value) {
        (
            Key::SandboxAddress(sandbox, link, _)
            | Key::SandboxUp(sandbox, link)
            | Key::SandboxNeighbour(sandbox, link, _)
            | Key::NoAdvertisements(sandbox, link)
            | Key::SandboxMac(sandbox, link)
            | Key::Tuned(sandbox, link, _)
            | Key::Master(sandbox, link)
            | Key::Child(sandbox, link)
            | Key::Lone(sandbox, link)
            | Key::Lent(sandbox, link),
            _,
        ) => Some((sandbox, link)),
        (Key::Route(sandbox, _), Value::Route { dev, .. })
        | (Key::Way(sandbox, _) | Key::Native(sandbox, ..), Value::Way { dev, .. }) => Some((sandbox, dev)),
        _ => None,
    }
}
