//! What exists: of what is asked about, or of everything that is ours.

mod neighbour;
mod sandbox;
mod shape;
mod survey;

pub(crate) use survey::sole_engine;
pub use survey::survey;

use crate::error::KernelError;
use crate::kernel::Places;
use crate::linux::Linux;
use crate::nft::{self, Damage};
use crate::rtnl::link::{BRIDGE_GROUPS, Link};
use crate::rtnl::{Request, address, ask, ask_one, link, netconf, route, vlan};
use crate::{lend, mark, sysctl};
use qiao_core::plan::{Key, Object, Observed, Ownership, Setting, State, Switch, Sysctl, Value};
use qiao_core::route::Attributes;
use qiao_core::subnet::Family;
use qiao_core::{EngineId, IfName, Owner};
use qiao_nft::{ElementValue, Query, Reply};
use std::collections::{BTreeMap, BTreeSet};

/// The host's links by name.
#[derive(Debug, Default)]
struct Links {
    /// Those that objects are about.
    whole: BTreeMap<IfName, Link>,
    /// Of those that objects only lead to, the index is enough: telling all of a link takes the kernel 5 µs.
    indices: BTreeMap<IfName, u32>,
    /// Who asks.
    engine: EngineId,
}

impl Links {
    fn get(&self, name: &IfName) -> Option<&Link> {
        self.whole.get(name)
    }

    fn index(&self, name: &IfName) -> Option<u32> {
        self.whole.get(name).map(|link| link.index).or_else(|| self.indices.get(name).copied())
    }

    fn name(&self, index: u32) -> Option<&IfName> {
        let whole = self.whole.iter().find(|(_, link)| link.index == index).map(|(name, _)| name);
        whole.or_else(|| self.indices.iter().find(|(_, found)| **found == index).map(|(name, _)| name))
    }

    /// Whose a link is: its group and its alias say so. A link with our group and without an alias belongs to
    /// the owner that is asked about: a command was killed between the two messages.
    fn ownership(&self, link: &Link, kind: &str, owner: &Owner) -> Ownership {
        if link.kind.as_deref() != Some(kind) {
            return Ownership::Foreign;
        }
        match mark::owner_of(link, self.engine, Some(owner)) {
            Ownership::Ours if link.alias.is_none() => Ownership::Marked(owner.clone()),
            found => found,
        }
    }

    /// The owner of an object on a link that bears no mark itself: the owner that is asked about, unless the link is
    /// foreign. Another program may have created a link of this name since a free one was chosen.
    fn hanging(&self, link: &Link, kind: &str, owner: &Owner) -> Ownership {
        match self.ownership(link, kind, owner) {
            Ownership::Foreign => Ownership::Foreign,
            _ => Ownership::Marked(owner.clone()),
        }
    }
}

/// The name of a link that was not asked about.
fn elsewhere() -> IfName {
    IfName::new("elsewhere").expect("`elsewhere` is an interface name")
}

/// What exists of `wanted`.
pub fn observe(linux: &mut Linux, wanted: &State, places: &Places) -> Result<Observed, KernelError> {
    let mut observed = Observed::default();
    settings(linux, wanted, &mut observed)?;
    let links = wanted_links(linux, wanted)?;
    let host = Host { wanted, links: &links };
    host.links(&mut observed);
    host.addresses(linux, &mut observed)?;
    host.vlans(linux, &mut observed)?;
    host.neighbours(linux, &mut observed)?;
    host.routes(linux, &mut observed)?;
    shape::observe(linux, wanted, &links, &mut observed)?;
    elements(linux, wanted, &mut observed)?;
    crate::opening::observe(linux, wanted, &mut observed)?;
    crate::loopback::observe(linux, wanted, &mut observed)?;
    sandbox::observe(linux, wanted, (places, &links), &mut observed)?;
    lend::observe(linux, wanted, places, &mut observed)?;
    Ok(observed)
}

/// The settings. Forwarding is asked by netlink: `/proc/sys` takes time in the number of namespaces.
fn settings(linux: &mut Linux, wanted: &State, observed: &mut Observed) -> Result<(), KernelError> {
    for (key, object) in wanted.iter() {
        let Key::Sysctl(setting) = key else { continue };
        let value = match setting {
            Sysctl::Forward4 => netconf::forwarding(&mut linux.rtnl, Family::V4)?,
            Sysctl::Forward6 => netconf::forwarding(&mut linux.rtnl, Family::V6)?,
            Sysctl::AcceptRa(_) => sysctl::read(setting)?,
        };
        if let Some(value) = value {
            observed.insert(key.clone(), Ownership::Marked(object.owner.clone()), Value::Number(value));
        }
    }
    Ok(())
}

/// The links that the wanted objects are about, and those that they lead to.
fn wanted_links(linux: &mut Linux, wanted: &State) -> Result<Links, KernelError> {
    let names: BTreeSet<&IfName> = wanted.keys().filter_map(link_of).collect();
    let requests: Vec<Request> = names.iter().map(|name| link::get(name)).collect();
    let mut links = Links { engine: linux.engine, ..Links::default() };
    for (name, answer) in names.into_iter().zip(ask(&mut linux.rtnl, &requests)?) {
        match answer {
            Ok(messages) => {
                links.whole.extend(link::read(&messages).into_iter().next().map(|link| (name.clone(), link)))
            }
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
        }
    }
    for name in wanted.iter().filter_map(|(key, object)| leads_to(key, &object.value)) {
        if links.index(name).is_none() {
            links.indices.extend(linux.interfaces.index(name)?.map(|index| (name.clone(), index)));
        }
    }
    Ok(links)
}

fn link_of(key: &Key) -> Option<&IfName> {
    match key {
        Key::Bridge(name)
        | Key::VlanFiltering(name)
        | Key::BridgeVrf(name, _)
        | Key::BridgeAddress(name, _)
        | Key::BridgeVlan(name, _)
        | Key::VlanAddress(name, _)
        | Key::PortVlans(name)
        | Key::BridgeUp(name)
        | Key::Veth(name)
        | Key::Vlan(name)
        | Key::Port(name)
        | Key::Switch(name, _)
        | Key::Ifb(name)
        | Key::Shape(name)
        | Key::Redirect(name)
        | Key::Fdb(name, _)
        | Key::OwnFdb(name, _)
        | Key::HostUp(name) => Some(name),
        _ => None,
    }
}

fn leads_to<'a>(key: &'a Key, value: &'a Value) -> Option<&'a IfName> {
    match (key, value) {
        (Key::Veth(_), Value::Veth { bridge, .. }) => bridge.as_ref(),
        (Key::Vlan(_), Value::Vlan { parent, .. })
        | (Key::Child(..), Value::Child { parent, inside: false, .. }) => Some(parent),
        (Key::Neighbour(name, _) | Key::BridgeVrf(_, name), _) => Some(name),
        (Key::Redirect(_), Value::Redirect { to }) => Some(to),
        (Key::HostRoute(_), Value::Route { dev, .. }) => Some(dev),
        _ => None,
    }
}

/// The host's side of what is wanted.
struct Host<'a> {
    wanted: &'a State,
    links: &'a Links,
}

impl Host<'_> {
    fn links(&self, observed: &mut Observed) {
        for (key, object) in self.wanted.iter() {
            if let Some((owner, value)) = self.link(key, &object.owner, &object.value) {
                observed.insert(key.clone(), owner, value);
            }
            self.settings(key, object, observed);
        }
    }

    /// The settings that another program has changed, of a bridge, or of a port that is on its bridge.
    fn settings(&self, key: &Key, object: &Object, observed: &mut Observed) {
        let (name, of_port, kind) = match (key, &object.value) {
            (Key::Bridge(name), _) => (name, false, "bridge"),
            (Key::Port(name), Value::Port { .. }) if self.is_in_place(name) => (name, true, "veth"),
            _ => return,
        };
        let Some(link) = self.links.get(name).filter(|link| link.kind.as_deref() == Some(kind)) else {
            return;
        };
        // A port without carrier never forwards.
        let counts =
            |setting: Setting| setting.is_of_port() == of_port && (setting != Setting::State || link.running);
        for (setting, number) in link.settings.iter().filter(|(setting, _)| counts(*setting)) {
            let owner = self.links.hanging(link, kind, &object.owner);
            observed.insert(Key::Setting(*setting, name.clone()), owner, Value::Number(*number));
        }
    }

    /// What is there of a link, of its port, or of its being up.
    fn link(&self, key: &Key, owner: &Owner, value: &Value) -> Option<(Ownership, Value)> {
        match key {
            Key::Bridge(name) => {
                let link = self.links.get(name)?;
                let value = match link.kind.as_deref() {
                    // Without ports it may have an address that is none.
                    Some("bridge") => Value::Bridge { mac: link.unicast(), mtu: link.mtu },
                    _ => Value::Present, // something else of that name
                };
                Some((self.links.ownership(link, "bridge", owner), value))
            }
            Key::Veth(name) => {
                let link = self.links.get(name)?;
                Some((self.links.ownership(link, "veth", owner), self.veth(link, value)?))
            }
            Key::Port(name) => {
                let link = self.links.get(name).filter(|_| self.is_in_place(name))?;
                if matches!(value, Value::PointToPoint { .. }) {
                    let value = Value::PointToPoint { arp: link.arp, enslaved: link.master.is_some() };
                    return Some((self.links.hanging(link, "veth", owner), value));
                }
                let port = link.port?;
                let fixed = !port.learning && !port.flood && port.groups == BRIDGE_GROUPS;
                Some((
                    self.links.hanging(link, "veth", owner),
                    Value::Port { fixed, isolated: port.isolated, hairpin: port.hairpin },
                ))
            }
            // It is another program's port; this setting of it is ours.
            Key::Switch(name, which) => {
                let port = self.links.get(name)?.port?;
                let on = if *which == Switch::Isolated { port.isolated } else { port.hairpin };
                on.then(|| (Ownership::Marked(owner.clone()), Value::Present))
            }
            Key::Vlan(name) => {
                let link = self.links.get(name)?;
                Some((self.links.ownership(link, "vlan", owner), self.vlan(link, value)?))
            }
            Key::BridgeVrf(name, vrf) => {
                let link = self.links.get(name)?;
                let is_in = link.master.is_some() && link.master == self.links.index(vrf);
                is_in.then(|| (self.links.hanging(link, "bridge", owner), Value::Present))
            }
            Key::VlanFiltering(name) => {
                let link = self.links.get(name)?;
                link.filtering.then(|| (self.links.hanging(link, "bridge", owner), Value::Present))
            }
            Key::BridgeUp(name) | Key::HostUp(name) => {
                let kind = if matches!(key, Key::BridgeUp(_)) { "bridge" } else { "veth" };
                let link = self.links.get(name)?;
                link.up.then(|| (self.links.hanging(link, kind, owner), Value::Present))
            }
            _ => None,
        }
    }

    /// A VLAN cannot be moved to another interface: one that is elsewhere is somebody else's.
    fn vlan(&self, link: &Link, wanted: &Value) -> Option<Value> {
        let Value::Vlan { parent, .. } = wanted else { return None };
        let on = self.links.index(parent);
        let parent = if on == link.peer_index { parent.clone() } else { elsewhere() };
        Some(Value::Vlan { parent, id: link.vlan.unwrap_or(0), up: link.up })
    }

    /// Whether a pair is a port of the bridge that is wanted, if one is. On another bridge its settings and
    /// its entries count for nothing: they go when it is put back.
    fn is_in_place(&self, name: &IfName) -> bool {
        let wanted = self.wanted.get(&Key::Veth(name.clone())).map(|object| &object.value);
        let Some(Value::Veth { bridge: Some(bridge), .. }) = wanted else { return true };
        let master = self.links.get(name).and_then(|link| link.master);
        master.is_some() && self.links.index(bridge) == master
    }

    /// The host does not see the other end: what is known of it is what was wanted.
    fn veth(&self, link: &Link, wanted: &Value) -> Option<Value> {
        let Value::Veth { sandbox, peer, mac, bridge, .. } = wanted else { return None };
        let is_master = |name: &&IfName| link.master.is_some() && self.links.index(name) == link.master;
        // That of the host's end follows from the other's; the sandbox knows its gateway by it where it is routed.
        let expected = mac.other_end(bridge.is_some());
        let mac = link.unicast().filter(|own| *own != expected).unwrap_or(*mac);
        let bridge = bridge.as_ref().filter(is_master).cloned();
        Some(Value::Veth { sandbox: sandbox.clone(), peer: peer.clone(), mac, mtu: link.mtu, bridge })
    }

    fn addresses(&self, linux: &mut Linux, observed: &mut Observed) -> Result<(), KernelError> {
        let devices: BTreeSet<&IfName> = self.wanted.keys().filter_map(bridge_of_address).collect();
        for device in devices {
            let Some(link) = self.links.get(device) else { continue };
            let found = address::read(&ask_one(&mut linux.rtnl, &address::get_all(link.index))?);
            for (key, object) in self.wanted.iter() {
                let (Key::BridgeAddress(name, net) | Key::VlanAddress(name, net)) = key else { continue };
                let is_it = |a: &&address::Address| a.index == link.index && a.net == *net;
                let Some(address) = found.iter().find(is_it).filter(|_| name == device) else { continue };
                // On a bridge that is not ours some addresses may be.
                let kind = if matches!(key, Key::VlanAddress(..)) { "vlan" } else { "bridge" };
                let owner = match self.links.hanging(link, kind, &object.owner) {
                    Ownership::Foreign if address.ours => Ownership::Marked(object.owner.clone()),
                    owner => owner,
                };
                observed.insert(key.clone(), owner, Value::Present);
            }
        }
        Ok(())
    }

    /// The VLANs of bridges and of their ports.
    fn vlans(&self, linux: &mut Linux, observed: &mut Observed) -> Result<(), KernelError> {
        let is_vlan = |key: &Key| matches!(key, Key::BridgeVlan(..) | Key::PortVlans(_));
        if !self.wanted.keys().any(is_vlan) {
            return Ok(());
        }
        let messages = ask_one(&mut linux.rtnl, &vlan::get_all())?;
        for (key, object) in self.wanted.iter() {
            let (Key::BridgeVlan(name, _) | Key::PortVlans(name)) = key else { continue };
            let Some(link) = self.links.get(name) else { continue };
            let Some(vlans) = vlan::read(&messages, link.index) else { continue };
            let found = match key {
                Key::BridgeVlan(_, id) => {
                    let has = vlans.tagged.contains(id) || vlans.untagged.contains(id);
                    let gateway = IfName::new(&format!("{name}.{id}")).ok();
                    let gateway = gateway.and_then(|name| self.links.get(&name));
                    let (link, kind) = gateway.map_or((link, "bridge"), |link| (link, "vlan"));
                    has.then(|| (self.links.hanging(link, kind, &object.owner), Value::Present))
                }
                _ => self
                    .is_in_place(name)
                    .then(|| (self.links.hanging(link, "veth", &object.owner), Value::Vlans(vlans))),
            };
            if let Some((owner, value)) = found {
                observed.insert(key.clone(), owner, value);
            }
        }
        Ok(())
    }

    /// The host's routes to containers, each asked for by itself.
    fn routes(&self, linux: &mut Linux, observed: &mut Observed) -> Result<(), KernelError> {
        let wanted: Vec<_> = self.wanted.iter().filter(|(key, _)| matches!(key, Key::HostRoute(_))).collect();
        let address = |key: &Key| if let Key::HostRoute(net) = key { Some(net.addr()) } else { None };
        let requests: Vec<Request> =
            wanted.iter().filter_map(|(key, _)| Some(route::get_entry(address(key)?))).collect();
        for ((key, object), answer) in wanted.into_iter().zip(ask(&mut linux.rtnl, &requests)?) {
            // Without any route the network is unreachable: there is none to this address either.
            let Ok(messages) = answer else { continue };
            let routes = route::read(&messages);
            let found = routes.into_iter().find(|route| *key == Key::HostRoute(route.destination));
            if let Some(route) = found.filter(|route| route.forwards) {
                let owner = self.route_owner(linux, &route, object)?;
                observed.insert(key.clone(), owner, self.hop(&route));
            }
        }
        Ok(())
    }

    /// Whose a route is. The number of our protocol is every engine's: by another link than the wanted one, the link
    /// says whose the route is.
    fn route_owner(
        &self,
        linux: &mut Linux,
        route: &route::Route,
        wanted: &Object,
    ) -> Result<Ownership, KernelError> {
        if !route.ours {
            return Ok(Ownership::Foreign);
        }
        let own = Ownership::Marked(wanted.owner.clone());
        let is_wanted =
            |index| matches!(&wanted.value, Value::Route { dev, .. } if self.links.index(dev) == Some(index));
        let Some(index) = route.index.filter(|index| !is_wanted(*index)) else { return Ok(own) };
        let link = link::read(&ask_one(&mut linux.rtnl, &link::get_at(index))?).into_iter().next();
        let Some(link) = link else { return Ok(own) };
        Ok(match link.alias {
            None if !mark::is_anothers(&link, linux.engine) => own,
            _ => mark::owner_of(&link, linux.engine, Some(&wanted.owner)),
        })
    }

    /// Where a route of the host leads. Through another link than the wanted one, it is not the wanted one.
    fn hop(&self, route: &route::Route) -> Value {
        let dev = route.index.and_then(|index| self.links.name(index)).cloned().unwrap_or_else(elsewhere);
        let attributes = Attributes::default();
        Value::Route { dev, via: route.via, onlink: route.onlink, src: route.src, attributes }
    }
}

fn bridge_of_address(key: &Key) -> Option<&IfName> {
    match key {
        Key::BridgeAddress(device, _) | Key::VlanAddress(device, _) => Some(device),
        _ => None,
    }
}

/// The rule set, and the elements of its sets. A damaged rule set is made anew with all its elements, so
/// there is none of them to find. Where the rule set had changed, it was compared piece by piece, and its sets were
/// dumped: then there is nothing to ask.
fn elements(linux: &mut Linux, wanted: &State, observed: &mut Observed) -> Result<(), KernelError> {
    let keys: Vec<&Key> = wanted.keys().filter(|key| key.set().is_some()).collect();
    let mut queries = vec![Query::Generation];
    for key in &keys {
        let Some((set, mut elements)) =
            wanted.get(key).map(|object| nft::encode(key, object)).transpose()?.flatten()
        else {
            continue;
        };
        elements.truncate(1);
        queries.push(Query::Element { set, keys: elements });
    }
    let (mut answered, mut is_dumped) = (None, false);
    if let Some(object) = wanted.get(&Key::Ruleset) {
        let (damage, replies) = linux.damage_and(&queries)?;
        let whole = damage == Damage::None;
        if damage != Damage::Absent {
            let value = Value::Ruleset(if whole { qiao_core::render::DIGEST } else { 0 });
            observed.insert(Key::Ruleset, Ownership::Marked(object.owner.clone()), value);
        }
        if !whole {
            return Ok(());
        }
        (is_dumped, answered) = (replies.is_none(), replies);
    }
    if let Some(contents) = linux.dumped().filter(|_| is_dumped) {
        let found = keys.into_iter().filter_map(|key| Some((key, contents.get(key, wanted.get(key)?)?)));
        found.for_each(|(key, (owner, value))| observed.insert(key.clone(), owner, value));
        return Ok(());
    }
    let replies = answered.map_or_else(|| linux.nft.ask(&queries[1..]), Ok)?;
    for (key, reply) in keys.into_iter().zip(replies) {
        let Some(object) = wanted.get(key) else { continue };
        match reply {
            Ok(Reply::Elements { elements, .. }) => {
                let Some(element) = elements.into_iter().next() else { continue };
                let owner = nft::owner_of(element.comment.as_deref(), Some(&object.owner));
                observed.insert(key.clone(), owner, element_value(&object.value, element.value));
            }
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(KernelError::Malformed("no element")),
        }
    }
    Ok(())
}

/// The value of an element: as it is wanted, if it is, else what it leads to.
fn element_value(wanted: &Value, found: Option<ElementValue>) -> Value {
    match (wanted, found) {
        (Value::Backend(backend), Some(ElementValue::Bytes(bytes))) => {
            nft::read_backend(&bytes, backend).map_or(Value::Present, Value::Backend)
        }
        (wanted, _) => wanted.clone(),
    }
}
