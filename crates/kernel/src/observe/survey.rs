//! Everything of the host that is ours, whoever asks.

use super::elsewhere;
use crate::error::KernelError;
use crate::lend;
use crate::linux::Linux;
use crate::mark;
use crate::nft::Damage;
use crate::rtnl::link::Link;
use crate::rtnl::{address, ask_of, ask_one, links, neighbour, route};
use qiao_core::plan::{Key, Observed, Ownership, Value};
use qiao_core::route::Attributes;
use qiao_core::solo::Lent;
use qiao_core::subnet::Family;
use qiao_core::{EngineId, IfName, Owner, SandboxName};
use std::collections::BTreeMap;

/// Everything in the host's namespace that bears a mark of ours. It fails where another engine manages the namespace:
/// the rule set there is not ours, whatever its marks say.
pub fn survey(linux: &mut Linux) -> Result<Observed, KernelError> {
    let mut observed = Observed::default();
    let (engine, links) = (linux.engine, links::all(&mut linux.rtnl)?);
    sole_engine(&links, engine)?;
    // Any alias may have a blank in it.
    let is_lent = |link: &&Link| link.alias.as_deref().is_some_and(|alias| lend::is_mark(alias, engine));
    links.iter().filter(is_lent).for_each(|link| survey_lent(link, engine, &mut observed));
    let rest = links.iter().filter(|link| !is_lent(link));
    let ours: BTreeMap<u32, (IfName, &Link, Ownership)> =
        rest.filter_map(|link| our_link(link, engine)).collect();
    for (name, link, owner) in ours.values() {
        survey_link(name, link, owner, &mut observed);
        survey_vlan(name, (link, &links), owner, &mut observed);
    }
    for address in address::read(&ask_one(&mut linux.rtnl, &address::get_all(0))?) {
        if let Some((name, link, owner)) = ours.get(&address.index).filter(|_| address.ours) {
            let key = match link.vlan {
                Some(_) => Key::VlanAddress(name.clone(), address.net),
                None => Key::BridgeAddress(name.clone(), address.net),
            };
            observed.insert(key, owner.clone(), Value::Present);
        }
    }
    for found in neighbour::read(&ask_one(&mut linux.rtnl, &neighbour::get_all())?) {
        let Some(ip) = found.ip else { continue };
        if let Some((name, ..)) = ours.get(&found.index).filter(|_| found.ours) {
            observed.insert(Key::Neighbour(name.clone(), ip), Ownership::Ours, found.value());
        }
    }
    for family in [Family::V4, Family::V6] {
        for route in route::read(&ask_of(&mut linux.rtnl, &route::get_ours(family), family)?) {
            if let Some((name, ..)) = route.index.and_then(|index| ours.get(&index)).filter(|_| route.ours) {
                let (via, onlink, src) = (route.via, route.onlink, route.src);
                let attributes = Attributes::default();
                let value = Value::Route { dev: name.clone(), via, onlink, src, attributes };
                observed.insert(Key::HostRoute(route.destination), Ownership::Ours, value);
            }
        }
    }
    survey_rules(linux, &mut observed)?;
    crate::loopback::survey(linux, &mut observed)?;
    Ok(observed)
}

/// The rule set, the elements of its sets, and what is let through by `iptables`.
fn survey_rules(linux: &mut Linux, observed: &mut Observed) -> Result<(), KernelError> {
    let digest = match linux.damage()? {
        Damage::None => Some(qiao_core::render::DIGEST),
        Damage::Absent => None,
        // It is made anew with all its elements, so there is none of them to find.
        Damage::Some => Some(0),
    };
    if let Some(digest) = digest {
        observed.insert(Key::Ruleset, Ownership::Marked(Owner::Host), Value::Ruleset(digest));
    }
    if digest == Some(qiao_core::render::DIGEST) {
        linux.contents()?.survey(observed);
    }
    crate::opening::survey(&mut linux.nft, observed)
}

/// Fails where a link says that another engine manages the network namespace.
pub(crate) fn sole_engine(links: &[Link], engine: EngineId) -> Result<(), KernelError> {
    match links.iter().find(|link| mark::is_managed_by_another(link, engine)) {
        Some(link) => Err(KernelError::AnotherEngine { link: link.name.clone() }),
        None => Ok(()),
    }
}

fn our_link(link: &Link, engine: EngineId) -> Option<(u32, (IfName, &Link, Ownership))> {
    let owner = mark::owner_of(link, engine, None);
    (owner != Ownership::Foreign).then_some((link.index, (IfName::new(&link.name).ok()?, link, owner)))
}

/// A device that was lent, and that the kernel has put back.
fn survey_lent(link: &Link, engine: EngineId, observed: &mut Observed) {
    let mark = link.alias.as_deref().and_then(|alias| lend::read_mark(alias, engine));
    let Some((Owner::Endpoint(id), device)) = mark else { return };
    let lent = Lent { device, mac: None, mtu: link.mtu, alias: None, up: false };
    let key = Key::Lent(id.sandbox.clone(), id.ifname.clone());
    observed.insert(key, Ownership::Marked(Owner::Endpoint(id)), Value::Lent { lent, astray: true });
}

fn survey_link(name: &IfName, link: &Link, owner: &Ownership, observed: &mut Observed) {
    let mac = link.unicast();
    match (link.kind.as_deref(), mac) {
        (Some("bridge"), mac) => {
            observed.insert(Key::Bridge(name.clone()), owner.clone(), Value::Bridge { mac, mtu: link.mtu });
            if link.filtering {
                observed.insert(Key::VlanFiltering(name.clone()), owner.clone(), Value::Present);
            }
            if link.up {
                observed.insert(Key::BridgeUp(name.clone()), owner.clone(), Value::Present);
            }
        }
        (Some("veth"), Some(mac)) => {
            let (sandbox, peer) = other_end(owner, name);
            let veth = Value::Veth { sandbox, peer, mac, mtu: link.mtu, bridge: None };
            observed.insert(Key::Veth(name.clone()), owner.clone(), veth);
        }
        (Some("ifb"), _) => {
            let ifb = Value::Ifb { mtu: link.mtu, up: link.up };
            observed.insert(Key::Ifb(name.clone()), owner.clone(), ifb);
        }
        _ => {}
    }
}

fn survey_vlan(name: &IfName, (link, all): (&Link, &[Link]), owner: &Ownership, observed: &mut Observed) {
    let Some(id) = link.vlan else { return };
    let parent = all.iter().find(|parent| Some(parent.index) == link.peer_index);
    let parent = parent.and_then(|parent| IfName::new(&parent.name).ok()).unwrap_or_else(elsewhere);
    observed.insert(Key::Vlan(name.clone()), owner.clone(), Value::Vlan { parent, id, up: link.up });
}

/// The other end as far as the owner's mark tells; for a hashed mark nothing is known but the host's end.
fn other_end(owner: &Ownership, name: &IfName) -> (SandboxName, IfName) {
    match owner {
        Ownership::Marked(Owner::Endpoint(id)) => (id.sandbox.clone(), id.ifname.clone()),
        _ => (SandboxName::new("unknown").expect("`unknown` is a sandbox name"), name.clone()),
    }
}
