//! CHECK: the result and our own record against what there is.

use super::door::{Door, failure};
use super::ipam;
use qiao_core::owner::EndpointId;
use qiao_core::plan::{Key, State, Value};
use qiao_core::route::Static;
use qiao_core::subnet::Family;
use qiao_core::{Endpoint, IfName, Owner};
use qiao_doors::cni::{Answer, Failure};
use qiao_engine::Engine;
use qiao_kernel::{Kernel, Linux, Places};

/// Fails at the first thing that is not as it was made.
pub fn check(door: &Door) -> Result<(), Failure> {
    let mut engine = door.engine()?;
    if let Some(prev) = &door.config.prev {
        compare(door, &mut engine, prev)?;
    }
    if let Some(endpoint) = door.endpoint(&engine)? {
        record(&mut engine, &endpoint)?;
    }
    door.refuse_unreadable(&engine)?;
    ipam::other(door, ipam::kind(door)?.as_deref(), &[])
}

/// Whether all that our record says is there.
pub fn record(engine: &mut Engine<Linux>, endpoint: &Endpoint) -> Result<(), Failure> {
    let findings = engine.inspect(endpoint).map_err(failure)?;
    match findings.into_iter().find(|finding| !is_later(&finding.line)) {
        Some(finding) => Err(differs(finding.line.split_whitespace().collect::<Vec<_>>().join(" "))),
        None => Ok(()),
    }
}

/// What plugins behind this one may change: routes of the container.
fn is_later(line: &str) -> bool {
    line.starts_with("~ route") || line.starts_with("- ")
}

fn differs(what: impl Into<String>) -> Failure {
    Failure::new(110, "the attachment is not as it was made").because(what)
}

/// Whether the container has what the result says: the interface, up, its addresses and the routes.
fn compare(door: &Door, engine: &mut Engine<Linux>, prev: &Answer) -> Result<(), Failure> {
    let Some((place, _)) = prev.inside() else { return Ok(()) };
    let path = door.call.netns.as_deref().unwrap_or_default();
    let sandbox = &door.call.sandbox;
    let netns = engine.kernel().netns(path).map_err(|error| failure(error.into()))?;
    let places = Places::from([(sandbox.clone(), netns)]);
    let mut wanted = wanted(door, prev, place);
    let extras = door.endpoint(engine)?.and_then(|endpoint| endpoint.wire).map(|wire| wire.extras);
    if extras.is_some_and(|extras| extras.sourced.is_some() || extras.vrf.is_some()) {
        wanted = wanted.part(|key, _| !matches!(key, Key::Route(..) | Key::Way(..))); // `sbr` and `vrf` look at them
    }
    if door.config.doc().is_on("disableContainerInterface")? {
        wanted.remove(&Key::SandboxUp(sandbox.clone(), door.call.ifname.clone()));
    }
    let found = engine.kernel().observe(&wanted, &places).map_err(|error| failure(error.into()))?;
    match wanted.keys().find(|key| found.get(key).is_none()) {
        Some(key) => Err(differs(format!("missing: {}", qiao_core::render::noun(key)))),
        None => Ok(()),
    }
}

fn wanted(door: &Door, prev: &Answer, place: usize) -> State {
    let (sandbox, ifname): (_, &IfName) = (&door.call.sandbox, &door.call.ifname);
    let network = &door.config.name;
    let mut state = State::default();
    let mut put = |key, value| state.insert(key, &Owner::Host, value);
    put(Key::SandboxUp(sandbox.clone(), ifname.clone()), Value::Present);
    for ip in prev.ips.iter().filter(|ip| ip.interface == Some(place)) {
        put(Key::SandboxAddress(sandbox.clone(), ifname.clone(), ip.net), Value::Present);
    }
    for route in &prev.routes {
        let family = Family::of(route.dst.addr());
        let has_family = prev.ips.iter().any(|ip| Family::of(ip.net.addr()) == family);
        if has_family {
            let id =
                EndpointId { sandbox: sandbox.clone(), ifname: ifname.clone(), network: network.clone() };
            let plain = Static { to: route.dst, via: route.gw, dev: None, attributes: Default::default() };
            let (key, value) = route.way(route.gw).map_or_else(|| plain.object(&id), |way| way.object(&id));
            put(key, value);
        }
    }
    state
}
