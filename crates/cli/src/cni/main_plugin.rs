//! Main plugins: those that make an interface; among them `qiao`, which does the work of the plugins behind it too.

use super::door::{Door, failure};
use super::{Done, chain, check, host_local, ipam, leftover};
use crate::cmd::attach::tell_notes;
use qiao_core::endpoint::Tunable;
use qiao_core::owner::EndpointId;
use qiao_core::request::Detach;
use qiao_core::{Endpoint, Mac, Network, Value};
use qiao_doors::cni::chain::adopted_network;
use qiao_doors::cni::main_plugin::{Made, Settings};
use qiao_doors::cni::{Answer, Failure, Verb};
use qiao_engine::{Attached, Engine};
use qiao_kernel::{Kernel, Linux};
use std::cell::RefCell;
use std::net::IpAddr;

/// The codes for an address that is taken, and for none that is left (docs/cni.md).
const TAKEN: u32 = 106;
const FULL: u32 = 101;

/// What is changed of an interface that was made just now.
type Tunings = Vec<(Tunable, Value)>;

/// Runs.
pub fn run(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => add(door).map(Some),
        Verb::Del => del(door).map(|()| None),
        Verb::Check => check::check(door).map(|()| None),
        Verb::Gc => collect(door).map(|()| None),
        Verb::Status => status(door).map(|()| None),
        Verb::Version => Ok(None),
    }
}

fn add(door: &mut Door) -> Result<serde_json::Value, Failure> {
    let mut settings = Settings::parse(door.plugin, &door.config, &door.call.args)?;
    let mut engine = door.engine()?;
    choose_parent(door, &mut settings, &mut engine)?;
    // The interface is made with its addresses: until then what it will be on leads to the servers.
    door.over = ipam::fixed_mac(door)?.and_then(|mac| settings.over(mac));
    let mut lease = match lease(door, &mut engine) {
        Err(failure) if [TAKEN, FULL].contains(&failure.code) && free_the_dead(door, &mut engine)? => {
            lease(door, &mut engine)?
        }
        lease => lease?,
    };
    let done = make(door, &settings, (&mut engine, &mut lease));
    if done.is_err() {
        ipam::take_back(door, &lease);
    }
    done
}

/// The interface of the default route, where the configuration names none. While the network has members it
/// stays where it is, whatever becomes of that route.
fn choose_parent(door: &Door, settings: &mut Settings, engine: &mut Engine<Linux>) -> Result<(), Failure> {
    let Settings::Child(child) = settings else { return Ok(()) };
    if !child.needs_parent() {
        return Ok(());
    }
    let known = engine.store().network(&door.config.network()?).map_err(|error| failure(error.into()))?;
    let known = known.and_then(|network| network.child().map(|child| child.parent.clone()));
    let ways = engine.kernel().facts().map_err(|error| failure(error.into()))?.ways;
    let parent = known.or(ways.into_iter().next().map(|(name, _)| name));
    parent.into_iter().for_each(|parent| child.set_parent(parent));
    Ok(())
}

fn lease(door: &Door, engine: &mut Engine<Linux>) -> Result<ipam::Lease, Failure> {
    let (network, engine) = (door.config.network()?, RefCell::new(engine));
    let busy = |ip: IpAddr| engine.borrow_mut().is_held(&network, ip).unwrap_or(false);
    ipam::lease(door, &busy)
}

/// Gives back the addresses of containers whose namespaces are gone: not every runtime calls DEL for them (Podman does
/// not). Whether there were any.
fn free_the_dead(door: &Door, engine: &mut Engine<Linux>) -> Result<bool, Failure> {
    if ipam::kind(door)?.as_deref() != Some("host-local") {
        return Ok(false);
    }
    let gone = engine.collect_gone(&door.config.network()?).map_err(failure)?;
    for endpoint in &gone {
        let known: Vec<IpAddr> = endpoint.addresses().iter().map(|net| net.addr()).collect();
        host_local::give_back_of(door, (endpoint.sandbox().as_str(), endpoint.id.ifname.as_str()), &known)?;
    }
    Ok(!gone.is_empty())
}

fn make(
    door: &Door,
    settings: &Settings,
    (engine, lease): (&mut Engine<Linux>, &mut ipam::Lease),
) -> Result<serde_json::Value, Failure> {
    if lease.answer.ips.is_empty() && ipam::kind(door)?.is_some() {
        return Err(Failure::new(999, "the IPAM plugin gave no address"));
    }
    settings.complete(&mut lease.answer)?;
    let mut request = settings.request((&door.config, &door.call), &lease.answer)?;
    let mut tunings = None;
    if door.plugin == "qiao" {
        chain::whole(door, &mut request)?;
        let mut wanted = chain::tunings(door)?;
        wanted.retain(|(what, _)| *what != Tunable::Mac || request.wish.mac.is_none());
        tunings = Some(wanted);
    }
    let made = engine.attach(&request).map_err(failure)?;
    let said = finish(door, (settings, engine), (made, tunings, std::mem::take(&mut lease.answer)));
    if said.is_err() {
        let _ = engine.detach(&leaving(door)?); // what cannot be said has not been
    }
    said
}

/// What comes after the interface was made, up to what is said of it.
fn finish(
    door: &Door,
    (settings, engine): (&Settings, &mut Engine<Linux>),
    (mut made, tunings, answer): (Attached, Option<Tunings>, Answer),
) -> Result<serde_json::Value, Failure> {
    if let Some(wanted) = tunings {
        chain::set(door, (engine, &mut made.endpoint), wanted)?;
    }
    let bridge_mac = bridge_mac(engine, &made.network)?;
    let mac = inner_mac(engine, &made.endpoint)?;
    let made = Made { endpoint: &made.endpoint, network: &made.network, bridge_mac, mac };
    settings.answer((&door.config, &door.call), made, answer).to_json(door.config.version)
}

/// The hardware address of the bridge. The address of another program's bridge may have changed with its first port.
fn bridge_mac(engine: &mut Engine<Linux>, network: &Network) -> Result<Option<Mac>, Failure> {
    let active = engine.store().active().map_err(|error| failure(error.into()))?;
    match active.get(&network.name) {
        Some(activation) if activation.foreign => {
            let found = engine.kernel().link(&activation.device).map_err(|error| failure(error.into()))?;
            Ok(found.and_then(|link| link.mac))
        }
        known => Ok(known.map(|activation| activation.mac)),
    }
}

/// The hardware address of an interface that may have its parent's.
fn inner_mac(engine: &mut Engine<Linux>, endpoint: &Endpoint) -> Result<Option<Mac>, Failure> {
    match (&endpoint.netns, &endpoint.wire) {
        (Some(netns), Some(wire)) if !wire.join.is_pair() => {
            let found = engine.kernel().link_in(netns, &endpoint.id.ifname);
            Ok(found.map_err(|error| failure(error.into()))?.and_then(|link| link.mac))
        }
        _ => Ok(None),
    }
}

/// The interface first, then the addresses: nobody else gets one while it is in use. Each as far as it goes.
fn del(door: &Door) -> Result<(), Failure> {
    if door.plugin == "host-device" {
        return give_back(door);
    }
    let mut known = Vec::new();
    let detached = detach(door, &mut known);
    let released = ipam::kind(door).and_then(|kind| ipam::other(door, kind.as_deref(), &known));
    detached.and(released).and(leftover::of_one(door))
}

/// A device that is lent may be anywhere by now, or never come back: nothing of that keeps an address
/// (containernetworking/plugins#1196).
fn give_back(door: &Door) -> Result<(), Failure> {
    let network = door.config.network()?;
    let known = door.engine().and_then(|engine| door.endpoint(&engine)).ok().flatten();
    let known = known.filter(|endpoint| *endpoint.network() == network);
    let known = known.iter().flat_map(|endpoint| endpoint.addresses()).map(|net| net.addr());
    let known: Vec<IpAddr> = known.collect();
    let released = ipam::kind(door).and_then(|kind| ipam::other(door, kind.as_deref(), &known));
    let detached = detach(door, &mut Vec::new());
    released.and(detached)
}

fn detach(door: &Door, known: &mut Vec<IpAddr>) -> Result<(), Failure> {
    let mut engine = door.engine()?;
    let network = door.config.network()?;
    let adopted = adopted_network(&door.config)?;
    let endpoint = door.endpoint(&engine)?.filter(|endpoint| *endpoint.network() != adopted);
    let is_known = endpoint.is_some();
    let Some(endpoint) = endpoint.filter(|endpoint| *endpoint.network() == network) else {
        return if is_known { engine.settle().map_err(failure) } else { detach_lost(door, &mut engine) };
    };
    known.extend(endpoint.addresses().iter().map(|net| net.addr()));
    let detached = engine.detach(&leaving(door)?).map(drop).map_err(failure);
    tell_notes(&engine);
    detached
}

/// There is no record: it was lost, or it was the reference's, or there is nothing any more.
fn detach_lost(door: &Door, engine: &mut Engine<Linux>) -> Result<(), Failure> {
    let (sandbox, ifname) = (door.call.sandbox.clone(), door.call.ifname.clone());
    let id = EndpointId { sandbox, ifname, network: door.config.network()? };
    engine.detach_traces(&id, leftover::mac(door)).map_err(failure)?;
    leftover::interface(door, engine)
}

fn leaving(door: &Door) -> Result<Detach, Failure> {
    let (sandbox, ifname) = (door.call.sandbox.clone(), Some(door.call.ifname.clone()));
    Ok(Detach { sandbox, network: Some(door.config.network()?), ifname })
}

fn collect(door: &Door) -> Result<(), Failure> {
    let Some(valid) = door.config.valid()? else { return Ok(()) };
    let network = door.config.network()?;
    let mut engine = door.engine()?;
    let collected = engine.collect_network(&network, &|id| {
        valid.iter().any(|(c, i)| c == id.sandbox.as_str() && i == id.ifname.as_str())
    });
    tell_notes(&engine);
    let released = ipam::kind(door).and_then(|kind| ipam::other(door, kind.as_deref(), &[]));
    collected.map_err(failure).and(released).and(leftover::of_others(door, &valid))
}

fn status(door: &Door) -> Result<(), Failure> {
    let not_now = |failure: Failure| Failure::new(50, failure.msg).because(failure.details);
    let mut settings = Settings::parse(door.plugin, &door.config, &door.call.args).map_err(not_now)?;
    let mut engine = door.engine()?;
    choose_parent(door, &mut settings, &mut engine)?;
    let network = settings.network(&door.config, &Answer::default()).map_err(not_now)?;
    engine.can_serve(&network).map_err(|error| not_now(failure(error)))?;
    ipam::other(door, ipam::kind(door)?.as_deref(), &[])
}
