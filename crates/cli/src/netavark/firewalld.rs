//! Beside firewalld. It drops what comes from networks that it does not know: while it runs, subnets of networks are sources
//! of its zone `trusted`, as netavark's are. And it flushes the rules of others when it loads its own: `firewalld-reload`
//! waits for it to say so, and puts all in order then.

use super::bus::{Bus, Kind, Whom};
use super::call::{Call, failure};
use super::{log, sysctl};
use crate::firewalld::runs;
use qiao_core::network::Bridge;
use qiao_core::{Driver, Endpoint};
use qiao_doors::netavark::{Failure, Network};
use qiao_store::StoreError;
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

const MODULE: &str = "commands::firewalld_reload";
/// What is waited for.
const MATCH: &str = "type='signal',sender='org.fedoraproject.FirewallD1',interface='org.fedoraproject.FirewallD1',\
    member='Reloaded'";
/// Who knows the zones (firewalld.dbus(5)).
const ZONES: Whom =
    ["/org/fedoraproject/FirewallD1", "org.fedoraproject.FirewallD1.zone", "org.fedoraproject.FirewallD1"];
const ZONE: &str = "trusted";
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is so already.
const SO_ALREADY: [&str; 4] = ["ALREADY_ENABLED", "ZONE_ALREADY_SET", "NOT_ENABLED", "UNKNOWN_SOURCE"];

/// Runs until the bus ends.
pub fn listen(call: &Call) -> Result<(), Failure> {
    let wrong = |error: io::Error| Failure(format!("cannot listen to firewalld: {error}"));
    let mut bus = Bus::connect(None).map_err(wrong)?;
    bus.listen(MATCH).map_err(wrong)?;
    log::info(MODULE, "Listening for firewalld's Reloaded signal");
    loop {
        let message = bus.receive().map_err(wrong)?;
        if message.kind != Kind::Other || !message.has(ZONES[2]) || !message.has("Reloaded") {
            continue;
        }
        match reloaded(call) {
            Ok(()) => log::info(MODULE, "rules are in order after firewalld has loaded its own"),
            Err(failure) => log::warn(MODULE, failure),
        }
    }
}

/// Puts all in order: its zones are as they are written down, too.
fn reloaded(call: &Call) -> Result<(), Failure> {
    let mut engine = call.engine()?;
    engine.settle().map_err(failure)?;
    let wrong = |error: StoreError| failure(error.into());
    let endpoints = engine.store().endpoints().map_err(wrong)?;
    let names: BTreeSet<_> = endpoints.iter().map(Endpoint::network).collect();
    let mut subnets = Vec::new();
    for name in names {
        let network = engine.store().network(name).map_err(wrong)?;
        subnets.extend(network.iter().filter(|network| is_podmans(network)).flat_map(subnets_of));
    }
    tell("addSource", &subnets);
    Ok(())
}

/// Whether a network is one that Podman describes, on a bridge that is made for it.
fn is_podmans(network: &qiao_core::Network) -> bool {
    let is_closed = |bridge: &Bridge| bridge.inline.is_some_and(|inline| inline.closed);
    matches!(&network.driver, Driver::Bridge(bridge) if is_closed(bridge))
}

fn subnets_of(network: &qiao_core::Network) -> impl Iterator<Item = String> {
    network.pools().iter().map(|pool| pool.subnet.to_string())
}

/// A network has come.
pub fn trust(call: &Call, network: &Network) {
    change(call, "addSource", network);
}

/// A network may have gone: its bridge tells.
pub fn forget(call: &Call, network: &Network) {
    let bridge = network.network_interface.as_deref().unwrap_or_default();
    if runs() && sysctl::is_gone(bridge) {
        change(call, "removeSource", network);
    }
}

fn change(call: &Call, method: &str, network: &Network) {
    let is_made = network.driver == "bridge" && network.option("mode") != Some("unmanaged");
    if is_made && !call.line.rootless {
        let subnets = network.subnets.iter().flatten().map(|subnet| subnet.subnet.to_string());
        tell(method, &subnets.collect::<Vec<_>>());
    }
}

/// Tells it of sources of its zone. What it cannot do hinders nobody here.
fn tell(method: &str, subnets: &[String]) {
    if subnets.is_empty() || !runs() {
        return;
    }
    let done = try_tell(method, subnets).unwrap_or_else(|error| vec![error.to_string()]);
    for why in done {
        log::warn("firewall::firewalld", format!("firewalld, {method} of its zone {ZONE}: {why}"));
    }
}

/// What it could not do.
fn try_tell(method: &str, subnets: &[String]) -> io::Result<Vec<String>> {
    let mut bus = Bus::connect(Some(PATIENCE))?;
    subnets.iter().try_for_each(|subnet| bus.call(ZONES, method, &[ZONE, subnet]))?;
    // The bus greets, too.
    let (mut wanted, mut failed) = (subnets.len() + 1, Vec::new());
    while wanted > 0 {
        let message = bus.receive()?;
        wanted -= usize::from(message.kind != Kind::Other);
        if message.kind == Kind::Error && !SO_ALREADY.iter().any(|word| message.text().contains(word)) {
            failed.push(message.text());
        }
    }
    Ok(failed)
}
