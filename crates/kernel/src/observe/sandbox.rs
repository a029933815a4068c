//! What exists in a sandbox of what is asked about.

use super::{Links, elsewhere};
use crate::error::KernelError;
use crate::kernel::Places;
use crate::lend;
use crate::linux::{Linux, Sandbox};
use crate::mark;
use crate::netns::NetnsHandle;
use crate::rtnl::link::Link;
use crate::rtnl::{address, ask_of, ask_one, neighbour, route, rule};
use crate::sysctl;
use qiao_core::child::{Broadcasts, Mode};
use qiao_core::endpoint::Tunable;
use qiao_core::plan::{Key, Observed, Ownership, RouteId, State, Sysctl, Value};
use qiao_core::route::{Attributes, Kind};
use qiao_core::solo::Tap;
use qiao_core::source::{Origin, Selector};
use qiao_core::subnet::Family;
use qiao_core::{EngineId, IfName, Mac, SandboxName};
use std::collections::{BTreeMap, BTreeSet};

/// What exists of `wanted` in the sandboxes.
pub fn observe(
    linux: &mut Linux,
    wanted: &State,
    (places, links): (&Places, &Links),
    observed: &mut Observed,
) -> Result<(), KernelError> {
    let names: BTreeSet<&SandboxName> = wanted.keys().filter_map(Key::sandbox).collect();
    for name in names {
        let Some(sandbox) = places.get(name).map(|netns| linux.sandbox(netns)).transpose()?.flatten() else {
            continue;
        };
        let asked: Vec<_> = wanted.iter().filter(|(key, _)| key.sandbox() == Some(name)).collect();
        let view = View::read(sandbox, &asked.iter().map(|(key, _)| *key).collect::<Vec<_>>())?;
        stray_ends(&view, wanted, (name, links), observed);
        for (key, object) in asked {
            let found = match (key, &object.value) {
                (Key::Child(_, link), wanted @ Value::Child { .. }) => view.child(link, (wanted, links)),
                (Key::Lent(..), _) => None, // wherever it is: see `lend`
                (Key::Lone(_, link), wanted) => view.lone(link, wanted),
                (Key::NoAdvertisements(_, link), _) => view.heedless(link, &sandbox.handle)?,
                (Key::SandboxSysctl(_, path), _) => setting(path, &sandbox.handle),
                (Key::Route(_, net), wanted) => view.route(*net, wanted),
                (Key::Way(_, id), wanted) => view.way(*id, wanted),
                (Key::Native(_, _, id), wanted) => view.native(*id, wanted),
                _ => view.find(key),
            };
            if let Some((owner, value)) = found {
                observed.insert(
                    key.clone(),
                    owner.unwrap_or_else(|| Ownership::Marked(object.owner.clone())),
                    value,
                );
            }
        }
    }
    Ok(())
}

/// The root of a container may have renamed its end of a pair, or moved it into another namespace. Then nothing
/// is at its place but the host's end: the pair is seen as it is, to be made anew, and nothing that hangs on it.
fn stray_ends(view: &View, wanted: &State, (name, links): (&SandboxName, &Links), observed: &mut Observed) {
    for (key, object) in wanted.iter() {
        let (Key::Veth(host_if), Value::Veth { sandbox, peer, .. }) = (key, &object.value) else { continue };
        let Some(link) = links.get(host_if).filter(|_| sandbox == name) else { continue };
        if view.links.get(peer.as_str()).is_some_and(|end| is_pair(link, end)) {
            continue;
        }
        let found = view.links.values().find(|end| is_pair(link, end));
        let found = found.and_then(|end| IfName::new(&end.name).ok()).unwrap_or_else(|| host_if.clone());
        observed.retain(|key, found| key.hangs_on(&found.value) != Some(host_if));
        observed.rename_peer(key, found);
    }
}

/// Whether two links are the ends of one pair. Without a number of its own the other end has the same (before
/// Linux 5.1, rtnl_fill_link_netnsid).
fn is_pair(host: &Link, end: &Link) -> bool {
    let other = |link: &Link| link.peer_index.unwrap_or(link.index);
    end.kind.as_deref() == Some("veth") && other(host) == end.index && other(end) == host.index
}
/// An object, and whose it is unless that is its owner.
type Found = (Option<Ownership>, Value);

/// What there is in a sandbox.
#[derive(Default)]
struct View {
    engine: EngineId,
    links: BTreeMap<String, Link>,
    addresses: Vec<address::Address>,
    routes: Vec<route::Route>,
    rules: Vec<rule::Rule>,
    neighbours: Vec<neighbour::Neighbour>,
}

impl View {
    /// Reads what the wanted objects are about. With nothing but a loopback interface there are no addresses,
    /// routes and neighbours to look for.
    fn read(sandbox: &mut Sandbox, wanted: &[&Key]) -> Result<Self, KernelError> {
        let engine = sandbox.engine;
        let links = sandbox.links()?.into_iter().map(|link| (link.name.clone(), link));
        let mut view = Self { engine, links: links.collect(), ..Self::default() };
        for family in [Family::V4, Family::V6] {
            let is_of =
                |key: &&Key| matches!(key, Key::Rule(_, selector) if Family::of(selector.from) == family);
            if wanted.iter().any(is_of) {
                let messages = ask_of(&mut sandbox.rtnl, &rule::get_all(family), family)?;
                view.rules.extend(rule::read(&messages));
            }
        }
        if view.links.keys().all(|name| name == "lo") {
            return Ok(view);
        }
        let wants = |of: fn(&Key) -> bool| wanted.iter().any(|key| of(key));
        if wants(|key| matches!(key, Key::SandboxAddress(.., net) if net.addr().is_ipv6())) {
            view.addresses = address::read(&ask_one(&mut sandbox.rtnl, &address::get_all(0))?);
        } else if wants(|key| matches!(key, Key::SandboxAddress(..))) {
            let those = address::get_all_of(Family::V4); // a quarter of the work
            view.addresses = address::read(&ask_one(&mut sandbox.rtnl, &those)?);
        }
        if wants(|key| matches!(key, Key::SandboxNeighbour(..))) {
            view.neighbours = neighbour::read(&ask_one(&mut sandbox.rtnl, &neighbour::get_all())?);
        }
        for family in [Family::V4, Family::V6] {
            let is_of = |key: &&Key| match key {
                Key::Route(_, net)
                | Key::Way(_, RouteId { net, .. })
                | Key::Native(_, _, RouteId { net, .. }) => Family::of(net.addr()) == family,
                _ => false,
            };
            if wanted.iter().any(is_of) {
                let messages = ask_of(&mut sandbox.rtnl, &route::get_all(family), family)?;
                view.routes.extend(route::read(&messages));
            }
        }
        view.leave_others();
        Ok(view)
    }

    /// What hangs on a link of another engine is that engine's: the number of our protocol is the same for all.
    fn leave_others(&mut self) {
        let others = self.links.values().filter(|link| mark::is_anothers(link, self.engine));
        let others: BTreeSet<u32> = others.map(|link| link.index).collect();
        let is_others = |index: u32| others.contains(&index);
        self.routes.iter_mut().for_each(|route| route.ours &= !route.index.is_some_and(is_others));
        self.neighbours.iter_mut().for_each(|neighbour| neighbour.ours &= !is_others(neighbour.index));
    }

    /// A child: of the parent that is wanted, or of another interface.
    fn child(&self, name: &IfName, (wanted, host): (&Value, &Links)) -> Option<Found> {
        let Value::Child { parent, inside, broadcasts, .. } = wanted else { return None };
        let link = self.links.get(name.as_str())?;
        let there = match inside {
            true => self.links.get(parent.as_str()).map(|parent| parent.index),
            false => host.index(parent),
        };
        let same = link.peer_netns.is_none() == *inside && there.is_some() && there == link.peer_index;
        let parent = if same { parent.clone() } else { elsewhere() };
        let Some(mode) = link.mode else { return Some((Some(Ownership::Foreign), Value::Present)) };
        let own = matches!(mode, Mode::Macvlan(_));
        let mac = link.unicast().filter(|_| own);
        let broadcasts = Broadcasts {
            queue: broadcasts.queue.and(link.broadcasts.queue),
            cutoff: broadcasts.cutoff.and(link.broadcasts.cutoff),
        };
        let value = Value::Child { parent, mode, mac, mtu: link.mtu, inside: *inside, broadcasts };
        Some((self.foreign_end(link), value))
    }

    /// An interface by itself.
    fn lone(&self, name: &IfName, wanted: &Value) -> Option<Found> {
        let link = self.links.get(name.as_str())?;
        let value = match (link.kind.as_deref(), link.unicast(), wanted) {
            (Some("dummy"), Some(mac), _) => Value::Dummy { mac, mtu: link.mtu },
            (Some("tun"), Some(mac), Value::Tap { tap: wanted, .. }) => {
                let on = |name: &&IfName| {
                    self.links.get(name.as_str()).is_some_and(|bridge| Some(bridge.index) == link.master)
                };
                let bridge = wanted.bridge.as_ref().filter(on).cloned();
                let tap = Tap { bridge, mtu: wanted.mtu, ..link.tap.clone().unwrap_or_default() };
                Value::Tap { tap, mac, mtu: link.mtu }
            }
            _ => return Some((Some(Ownership::Foreign), Value::Present)),
        };
        Some((self.foreign_end(link), value))
    }

    /// Whether a link heeds no router advertisements. A kernel without IPv6 heeds none.
    fn heedless(&self, name: &IfName, handle: &NetnsHandle) -> Result<Option<Found>, KernelError> {
        let Some(link) = self.links.get(name.as_str()) else { return Ok(None) };
        let value = handle.inside(|| sysctl::read(&Sysctl::AcceptRa(name.clone())))?;
        Ok((value.unwrap_or(0) == 0).then(|| (self.foreign_end(link), Value::Present)))
    }

    /// Our ends have our group, and a device that is lent our mark; any other link of the sandbox is its own affair.
    fn foreign_end(&self, link: &Link) -> Option<Ownership> {
        let is_lent = link.alias.as_deref().is_some_and(|alias| lend::is_mark(alias, self.engine));
        (link.group != self.engine.group() && !is_lent).then_some(Ownership::Foreign)
    }

    fn find(&self, key: &Key) -> Option<Found> {
        match key {
            Key::SandboxLoopback(_) => self.links.get("lo")?.up.then_some((None, Value::Present)),
            Key::SandboxUp(_, name) => {
                let link = self.links.get(name.as_str())?;
                link.up.then(|| (self.foreign_end(link), Value::Present))
            }
            // What was asked to be changed is changed, whoever made the interface.
            Key::SandboxMac(_, name) => {
                let link = self.links.get(name.as_str())?;
                Some((None, Value::Mac(Mac::new(link.mac?).ok()?)))
            }
            Key::Tuned(_, name, what) => {
                Some((None, Value::Number(tuned(self.links.get(name.as_str())?, what)?)))
            }
            Key::SandboxAddress(_, name, net) => {
                let link = self.links.get(name.as_str())?;
                let found = self.addresses.iter().any(|a| a.index == link.index && a.net == *net);
                found.then(|| (self.foreign_end(link), Value::Present))
            }
            Key::SandboxNeighbour(_, name, ip) => self.neighbour(name, *ip),
            Key::Rule(_, selector) => self.rule(*selector),
            Key::Vrf(_, name) => {
                let link = self.links.get(name.as_str())?;
                let value = Value::Vrf { table: link.table.unwrap_or(0), up: link.up };
                Some((self.foreign_end(link), value))
            }
            Key::Master(_, name) => {
                let master = self.links.get(name.as_str())?.master;
                let behind = master.map(|master| self.name_of(master).unwrap_or_else(elsewhere));
                Some((None, Value::Master(behind)))
            }
            _ => None,
        }
    }

    /// The route that counts among those of one destination: ours, if there is one. What the kernel makes by itself
    /// of the addresses of the wanted interface is beside it, and in the way of no object.
    fn first<'a>(&self, routes: &[&'a route::Route], dev: Option<&IfName>) -> Option<&'a route::Route> {
        let index = dev.and_then(|dev| self.links.get(dev.as_str())).map(|link| link.index);
        let by_itself = |r: &&route::Route| r.by_kernel && index.is_some() && r.index == index;
        let ours = routes.iter().find(|r| r.ours);
        ours.or_else(|| routes.iter().find(|r| !by_itself(r))).copied()
    }

    fn way(&self, id: RouteId, wanted: &Value) -> Option<Found> {
        let dev = if let Value::Way { dev, .. } = wanted { Some(dev) } else { None };
        let is_it =
            |r: &&route::Route| (r.destination, r.table, r.priority) == (id.net, id.table, id.priority);
        let route =
            self.first(&self.routes.iter().filter(|r| r.forwards).filter(is_it).collect::<Vec<_>>(), dev)?;
        let link = self.links.values().find(|link| Some(link.index) == route.index)?;
        let (dev, via) = (IfName::new(&link.name).ok()?, route.via);
        let origin = Origin { src: route.src, onlink: route.onlink, protocol: None };
        let value = Value::Way { dev, via, mtu: route.mtu, advmss: route.advmss, scope: route.scope, origin };
        Some(((!route.ours).then_some(Ownership::Foreign), value))
    }

    /// A route of another one's, as long as it is as it was: whose it is does not matter.
    fn native(&self, id: RouteId, wanted: &Value) -> Option<Found> {
        let Value::Way { dev, origin, .. } = wanted else { return None };
        let index = self.links.get(dev.as_str())?.index;
        let is_it = |r: &&route::Route| {
            let same = (r.destination, r.table, r.priority) == (id.net, id.table, id.priority);
            same && r.index == Some(index) && Some(r.protocol) == origin.protocol
        };
        self.routes.iter().find(is_it).map(|_| (None, wanted.clone()))
    }

    fn name_of(&self, index: u32) -> Option<IfName> {
        self.links.values().find(|link| link.index == index).and_then(|link| IfName::new(&link.name).ok())
    }

    /// A rule without our mark that does the same is somebody else's.
    fn rule(&self, selector: Selector) -> Option<Found> {
        let is_same = |r: &&rule::Rule| r.plain && (r.from, r.table) == (Some(selector.from), selector.table);
        let mut same = self.rules.iter().filter(is_same);
        let first = same.clone().next()?;
        let ours = same.any(|rule| rule.ours) || first.ours;
        Some(((!ours).then_some(Ownership::Foreign), Value::Present))
    }

    fn neighbour(&self, name: &IfName, ip: std::net::IpAddr) -> Option<Found> {
        let index = self.links.get(name.as_str())?.index;
        let found = self.neighbours.iter().find(|n| n.index == index && n.ip == Some(ip) && n.permanent)?;
        Some(((!found.ours).then_some(Ownership::Foreign), found.value()))
    }

    /// The main table's route to a destination: of the metric that is wanted, where one is. One without our mark
    /// is somebody else's, unless it shall bear an administrator's.
    fn route(&self, net: ipnet::IpNet, value: &Value) -> Option<Found> {
        const MAIN: u32 = 254;
        let (dev, wanted) = match value {
            Value::Route { dev, attributes, .. } => (Some(dev), *attributes),
            _ => (None, Attributes::default()), // any route there
        };
        let is_it = |r: &&route::Route| {
            let same = wanted.metric.is_none() || wanted.metric == r.attributes.metric;
            r.table == MAIN && r.forwards && r.destination == net && same
        };
        let routes: Vec<&route::Route> = self.routes.iter().filter(is_it).collect();
        let Some(route) = self.first(&routes, dev) else {
            // On the link it is what the kernel makes.
            let near = !routes.is_empty() && matches!(value, Value::Route { via: None, .. });
            return near.then(|| (None, value.clone()));
        };
        let metric = wanted.metric.and(route.attributes.metric);
        let attributes = Attributes { metric, ..route.attributes };
        let ours = if wanted.administered { attributes.administered } else { route.ours };
        let dev = match attributes.kind {
            Kind::Unicast => {
                let link = self.links.values().find(|link| Some(link.index) == route.index)?;
                IfName::new(&link.name).ok()?
            }
            _ => dev?.clone(), // it leads nowhere, and so by no interface
        };
        let attributes =
            Attributes { administered: attributes.administered && wanted.administered, ..attributes };
        let value = Value::Route { dev, via: route.via, onlink: route.onlink, src: route.src, attributes };
        Some(((!ours).then_some(Ownership::Foreign), value))
    }
}

fn tuned(link: &Link, what: &Tunable) -> Option<u32> {
    match what {
        Tunable::Mtu => Some(link.mtu),
        Tunable::QueueLength => Some(link.queue_length),
        Tunable::Promiscuous => Some(link.promiscuous.into()),
        Tunable::AllMulticast => Some(link.all_multicast.into()),
        Tunable::Mac | Tunable::Sysctl(_) => None,
    }
}

/// A setting of the namespace, its words with one space between them. One that cannot be read is none.
fn setting(path: &str, handle: &NetnsHandle) -> Option<Found> {
    let text = handle.read_sysctl(path).ok()?;
    Some((None, Value::Text(text.split_whitespace().collect::<Vec<_>>().join(" "))))
}
