//! `qiao attach` and `qiao detach`.

use super::{Done, OK};
use crate::app::App;
use crate::args::{Attach, Changing, Detach};
use crate::output::{self, json, line, plan};
use qiao_container::Containers;
use qiao_core::endpoint::Names;
use qiao_core::request::{self, Wish};
use qiao_core::{Endpoint, NetworkName, Refusal, SandboxName};
use qiao_engine::{Attached, Detached, Engine, EngineError};
use qiao_kernel::Linux;
use serde_json::json;

/// Attaches.
pub fn attach(app: &App, args: &Attach) -> Done {
    app.tell_waits();
    let mut engine = app.engine()?;
    let netns = match &args.netns {
        None if engine.store().sandbox(&args.name)?.is_empty() => netns_of_container(app, &args.name),
        given => given.clone(),
    };
    let request = request::Attach {
        sandbox: args.name.clone(),
        netns,
        network: network_name(&engine, args.network.as_ref())?,
        ifname: args.ifname.clone(),
        wish: Wish { ip: args.ip, ip6: args.ip6, mac: args.mac_address },
        publish: args.publishing.publish.clone(),
        guard: args.guard.map(crate::args::OnOff::is_on),
        allow: args.allow_address.clone(),
        names: Names { aliases: args.naming.alias.clone(), upstreams: Vec::new() },
        given: None,
    };
    attach_request(app, (&mut engine, &request), &args.changing)
}

/// The network namespace of a container of ours that runs, whether it is attached or not.
pub fn netns_of_container(app: &App, name: &SandboxName) -> Option<String> {
    let container = Containers::of(&app.paths().run).get(name)?;
    let init = container.state.init.filter(|_| container.spec.own_network && container.lives())?;
    Some(format!("/proc/{}/ns/net", init.pid))
}

/// Attaches as a request says, and tells what came of it.
pub fn attach_request(
    app: &App,
    (engine, request): (&mut Engine<Linux>, &request::Attach),
    changing: &Changing,
) -> Done {
    if changing.dry_run {
        let Attached { plan, places, .. } = engine.plan_attach(request)?;
        tell_notes(engine);
        plan::print_dry(&[plan], &places, (changing, app.global.json));
        return Ok(OK);
    }
    let attached = engine.attach(request)?;
    tell_notes(engine);
    tell_attached(&attached, (changing, app.global.json));
    Ok(OK)
}

/// Tells what the store had to set aside.
pub fn tell_notes(engine: &Engine<Linux>) {
    engine.store().take_notes().iter().for_each(|note| output::note(format!("warning: {note}")));
}

fn tell_attached(attached: &Attached, (changing, as_json): (&Changing, bool)) {
    if as_json {
        let plan = plan::json(&attached.plan, &attached.places);
        line(
            json!({"schema": "qiao.endpoint/1", "endpoint": json::endpoint(&attached.endpoint), "plan": plan}),
        );
        return;
    }
    plan::show(&attached.plan, &attached.places, changing);
    line(sentence(&attached.endpoint));
    // A macvlan or ipvlan network never promised one.
    if attached.endpoint.wire.as_ref().is_some_and(|wire| !wire.guard && wire.join.is_pair()) {
        output::note("warning: the port is not guarded: this container can pass itself off as another");
    }
}

/// `web eth0 172.17.0.2/16 via 172.17.0.1, 0.0.0.0:8080->80/tcp`.
fn sentence(endpoint: &Endpoint) -> String {
    let mut words = vec![endpoint.sandbox().to_string(), endpoint.id.ifname.to_string()];
    words.extend(endpoint.addresses().iter().map(ToString::to_string));
    let gateways = endpoint.wire.iter().flat_map(|wire| &wire.gateways);
    words.extend(gateways.map(|gateway| format!("via {gateway}")));
    let ports = crate::output::ports::text(endpoint.publish());
    let ports = if ports.is_empty() { ports } else { format!(", {ports}") };
    words.join(" ") + &ports
}

/// Detaches.
pub fn detach(app: &App, args: &Detach) -> Done {
    let mut engine = app.engine()?;
    let request = request::Detach {
        sandbox: args.name.clone(),
        network: args.network.clone(),
        ifname: args.ifname.clone(),
    };
    detach_request(app, (&mut engine, &request, !args.if_exists), &args.changing)
}

/// The refusal for what is not attached, with what it may be about.
fn not_attached(
    app: &App,
    engine: &Engine<Linux>,
    request: &request::Detach,
) -> Result<Refusal, EngineError> {
    let name = &request.sandbox;
    let attached = engine.store().sandbox(name)?;
    if let Some(first) = attached.first() {
        let wanted = match (&request.network, &request.ifname) {
            (Some(network), _) => format!("to network `{network}`"),
            (None, Some(ifname)) => format!("as `{ifname}`"),
            (None, None) => String::new(),
        };
        let is = format!("it is attached to network `{}` as `{}`", first.network(), first.id.ifname);
        return Ok(Refusal::not_found(format!("`{name}` is not attached {wanted}")).why(is));
    }
    Ok(match netns_of_container(app, name) {
        Some(_) => Refusal::not_found(format!("container `{name}` is attached to no network"))
            .fix(format!("qiao network connect NETWORK {name}")),
        None => Refusal::not_found(format!("there is no container `{name}`")).fix("qiao ps"),
    })
}

/// Detaches as a request says. That there was nothing to detach is an error where something must be there.
pub fn detach_request(
    app: &App,
    (engine, request, must_be): (&mut Engine<Linux>, &request::Detach, bool),
    changing: &Changing,
) -> Done {
    let refused = |engine: &Engine<Linux>, done: &Detached| match must_be && done.is_nothing() {
        true => Err(EngineError::from(not_attached(app, engine, request)?)),
        false => Ok(()),
    };
    if changing.dry_run {
        let done = engine.plan_detach(request)?;
        tell_notes(engine);
        refused(engine, &done)?;
        let Detached { plans, places, .. } = done;
        plan::print_dry(&plans, &places, (changing, app.global.json));
        return Ok(OK);
    }
    let detached = engine.detach(request)?;
    tell_notes(engine);
    refused(engine, &detached)?;
    if app.global.json {
        let endpoints: Vec<_> = detached.endpoints.iter().map(json::endpoint).collect();
        let plan = plan::json_of(&detached.plans, &detached.places);
        line(json!({"schema": "qiao.detached/1", "endpoints": endpoints, "plan": plan}));
    } else if changing.explain {
        detached.plans.iter().for_each(|plan| plan::show(plan, &detached.places, changing));
    }
    Ok(OK)
}

/// A network by its name, or by what may be its id.
fn network_name(
    engine: &Engine<Linux>,
    given: Option<&NetworkName>,
) -> Result<Option<NetworkName>, EngineError> {
    let Some(name) = given else { return Ok(None) };
    if engine.store().has_network(name)? {
        return Ok(Some(name.clone()));
    }
    Ok(Some(engine.find_network(name.as_str())?.name))
}

/// A sandbox's endpoint on a network, or the refusal for one that is not connected.
pub fn connected(
    engine: &Engine<Linux>,
    sandbox: &qiao_core::SandboxName,
    network: &NetworkName,
) -> Result<Endpoint, EngineError> {
    let endpoints = engine.store().sandbox(sandbox)?;
    endpoints.into_iter().find(|endpoint| endpoint.network() == network).ok_or_else(|| {
        Refusal::not_found(format!("container `{sandbox}` is not connected to network `{network}`")).into()
    })
}
