//! `qiao network …`.

use super::attach::{attach_request, connected, detach_request, netns_of_container};
use super::{Done, OK, matches_all};
use crate::app::App;
use crate::args::ChildOptions;
use crate::args::{self, Allocations, Connect, Create, Disconnect, Inspect, Ls, Network, Prune, Rm};
use crate::output::table::Table;
use crate::output::{format, json, line, plan, print, time};
use qiao_container::Containers;
use qiao_core::endpoint::Names;
use qiao_core::request::{self, BridgeOptions, CreateNetwork, Kind, Wish};
use qiao_core::{Code, Endpoint, Network as CoreNetwork, Refusal};
use qiao_engine::{Engine, EngineError, Removed};
use qiao_kernel::{Linux, Places};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Carries out a command on networks.
pub fn run(app: &App, command: Network) -> Done {
    match command {
        Network::Create(args) => create(app, &args),
        Network::Ls(args) => ls(app, &args),
        Network::Inspect(args) => inspect(app, &args),
        Network::Rm(args) => rm(app, &args),
        Network::Prune(args) => prune(app, &args),
        Network::Connect(args) => connect(app, &args),
        Network::Disconnect(args) => disconnect(app, &args),
        Network::Exists(args) => exists(app, &args),
        Network::Allocations(args) => allocations(app, &args),
    }
}

fn create(app: &App, args: &Create) -> Done {
    let kind = args.driver.parse::<Kind>();
    let kind = kind.map_err(|refusal| refusal.context(format!("cannot create network `{}`", args.name)))?;
    let mut engine = app.engine()?;
    if let Some(known) = engine.store().network(&args.name)?.filter(|_| args.if_not_exists) {
        if app.global.json {
            line(
                json!({"schema": "qiao.network/1", "network": json::network(&known, &members(&engine, &known)?)}),
            );
        }
        return Ok(OK);
    }
    let request = creation(args, kind)?;
    if args.changing.dry_run {
        let created = engine.plan_create_network(&request)?;
        super::attach::tell_notes(&engine);
        plan::print_dry(&[created.plan], &Places::new(), (&args.changing, app.global.json));
        return Ok(OK);
    }
    let created = engine.create_network(&request)?;
    if app.global.json {
        line(json!({"schema": "qiao.network/1", "network": json::network(&created.network, &[])}));
    } else {
        plan::show(&created.plan, &Places::new(), &args.changing);
        line(&created.network.id);
    }
    Ok(OK)
}

fn creation(args: &Create, kind: Kind) -> Result<CreateNetwork, Refusal> {
    let dhcp = is_dhcp(&args.ipam_driver)?;
    let mut child = ChildOptions::default();
    let mut options = BridgeOptions::default();
    match kind.is_child() {
        true => child = args::child_options(kind, &args.opt)?,
        false => options = args::bridge_options(&args.opt)?,
    }
    options.internal = args.internal;
    options.mtu = args.mtu.or(options.mtu).or(child.mtu);
    options.isolate = args.isolate.map(args::OnOff::is_on).or(options.isolate);
    options.icc = args.icc.map(args::OnOff::is_on).or(options.icc);
    if let Some(dns) = &args.dns {
        options.dns = Some(*dns != args::DnsOption::Off);
        if let args::DnsOption::On(upstreams) = dns {
            options.dns_upstreams.clone_from(upstreams);
        }
    }
    options.guard = args.guard.map(args::OnOff::is_on).or(options.guard);
    Ok(CreateNetwork {
        kind,
        subnets: args.subnet.clone(),
        gateways: args.gateway.clone(),
        ranges: args.ip_range.clone(),
        aux: args.aux_address.iter().cloned().collect(),
        ipv4: args.ipv4,
        ipv6: args.ipv6,
        labels: args.label.iter().cloned().collect(),
        options,
        parent: args.parent.clone().or(child.parent),
        mode: child.mode,
        dhcp,
        force: args.force,
        ..CreateNetwork::new(args.name.clone())
    })
}

/// Addresses are given out by us, or by a DHCP server.
fn is_dhcp(driver: &str) -> Result<bool, Refusal> {
    match driver {
        "default" | "host-local" => Ok(false),
        "dhcp" => Ok(true),
        other => Err(Refusal::invalid(format!("there is no IPAM driver {}", qiao_core::name::quoted(other)))),
    }
}

fn exists(app: &App, args: &args::Exists) -> Done {
    match app.engine()?.find_network(&args.network) {
        Ok(_) => Ok(OK),
        Err(EngineError::Refused(refusal)) if refusal.code == Code::NotFound => Ok(ExitCode::from(1)),
        Err(error) => Err(error),
    }
}

fn ls(app: &App, args: &Ls) -> Done {
    let engine = app.engine()?;
    let endpoints = engine.store().endpoints()?;
    let mut rows = Vec::new();
    for network in engine.networks()? {
        if !matches_all(&args.filter, |key, value| matches(&network, key, value))? {
            continue;
        }
        let members = endpoints.iter().filter(|endpoint| *endpoint.network() == network.name).count();
        rows.push(row(&network, members, args.no_trunc));
    }
    if app.global.json {
        line(json!({"schema": "qiao.networks/1", "networks": rows}));
    } else if args.quiet {
        rows.iter().for_each(|row| line(row["ID"].as_str().unwrap_or_default()));
    } else if let Some(format) = &args.format {
        print(&format::rows(format, &rows)?);
    } else {
        print(&table(&rows));
    }
    Ok(OK)
}

fn row(network: &CoreNetwork, members: usize, whole: bool) -> Value {
    let id = if whole { network.id.as_str() } else { network.id.short() };
    let subnets: Vec<String> = network.pools().iter().map(|pool| pool.subnet.to_string()).collect();
    json!({
        "ID": id, "Name": network.name, "Driver": network.driver.as_str(), "Scope": "local",
        "Subnet": subnets.join(","), "Members": members, "CreatedAt": time::rfc3339(network.created),
        "Internal": network.is_internal(), "Labels": network.labels,
    })
}

fn table(rows: &[Value]) -> String {
    let mut table = Table::new(&["NETWORK ID", "NAME", "DRIVER", "SCOPE", "SUBNET", "MEMBERS"]);
    for row in rows {
        let cell = |key: &str| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
        table.row(["ID", "Name", "Driver", "Scope", "Subnet", "Members"].map(cell));
    }
    table.text()
}

fn matches(network: &CoreNetwork, key: &str, value: &str) -> Result<bool, Refusal> {
    let predefined = network.created == 0 || network.name.as_str() == "bridge";
    Ok(match key {
        "name" => network.name.as_str().contains(value),
        "id" => network.id.as_str().starts_with(value),
        "driver" => network.driver.as_str() == value,
        "scope" => value == "local",
        "type" => (value == "builtin") == predefined,
        "label" => match value.split_once('=') {
            Some((key, value)) => network.labels.get(key).is_some_and(|v| v == value),
            None => network.labels.contains_key(value),
        },
        _ => {
            let what = format!("{} is not a filter of networks", qiao_core::name::quoted(key));
            return Err(Refusal::invalid(what).why("name, id, driver, scope, type and label are"));
        }
    })
}

fn members(engine: &Engine<Linux>, network: &CoreNetwork) -> Result<Vec<Endpoint>, EngineError> {
    let mut endpoints = engine.store().endpoints()?;
    endpoints.retain(|endpoint| *endpoint.network() == network.name);
    Ok(endpoints)
}

fn inspect(app: &App, args: &Inspect) -> Done {
    let mut engine = app.engine()?;
    let mut shown = Vec::new();
    for name in &args.networks {
        let network = engine.find_network(name)?;
        let mut value = json::network(&network, &members(&engine, &network)?);
        if args.verbose {
            value["Engine"]["objects"] = objects(&mut engine, &network)?;
        }
        shown.push(value);
    }
    match &args.format {
        Some(template) if template != "json" => {
            for value in &shown {
                line(format::template(template, value)?);
            }
        }
        _ if app.global.json => line(json!({"schema": "qiao.networks/1", "networks": shown})),
        _ => line(serde_json::to_string_pretty(&shown).unwrap_or_default()),
    }
    Ok(OK)
}

/// What there is of a network in the kernel, as lines.
fn objects(engine: &mut Engine<Linux>, network: &CoreNetwork) -> Result<Value, EngineError> {
    let lines = engine.objects_of(&network.name)?;
    Ok(json!(lines))
}

fn rm(app: &App, args: &Rm) -> Done {
    let mut engine = app.engine()?;
    if !args.changing.dry_run {
        engine.settle()?;
    }
    // Looked up first: a name that is mistyped removes nothing.
    let mut found = Vec::new();
    for name in &args.networks {
        match engine.find_network(name) {
            Err(EngineError::Refused(refusal)) if args.force && refusal.code == Code::NotFound => {}
            network => found.push(network?.name),
        }
    }
    if args.changing.dry_run {
        let plans = found.iter().map(|name| Ok(engine.plan_remove_network(name)?.plan));
        let plans = plans.collect::<Result<Vec<_>, EngineError>>()?;
        super::attach::tell_notes(&engine);
        plan::print_dry(&plans, &Places::new(), (&args.changing, app.global.json));
        return Ok(OK);
    }
    let mut removed = Vec::new();
    for name in &found {
        let Removed { network, plan } = match engine.remove_network(name) {
            Err(EngineError::Refused(refusal)) if args.force && refusal.code == Code::NotFound => continue,
            done => done?,
        };
        super::attach::tell_notes(&engine);
        if app.global.json {
            removed.push(network);
            continue;
        }
        plan::show(&plan, &Places::new(), &args.changing);
        tell_removed(app, &[network]);
    }
    if app.global.json {
        tell_removed(app, &removed);
    }
    Ok(OK)
}

fn tell_removed(app: &App, networks: &[CoreNetwork]) {
    if app.global.json {
        let names: Vec<_> = networks.iter().map(|network| &network.name).collect();
        line(json!({"schema": "qiao.removed/1", "networks": names}));
    } else {
        networks.iter().for_each(|network| line(&network.name));
    }
}

fn prune(app: &App, args: &Prune) -> Done {
    for (key, _) in &args.filter {
        is_filter_of_prune(key)?; // also where there is nothing to remove
    }
    let mut engine = app.engine()?;
    engine.gc()?;
    let mut removed = Vec::new();
    for network in engine.store().networks()? {
        let wanted = matches_all(&args.filter, |key, value| prunes(&network, key, value))?;
        let is_default = network.name.as_str() == "bridge";
        if !is_default && wanted && members(&engine, &network)?.is_empty() {
            match engine.remove_network(&network.name) {
                // Somebody else was faster: it is gone, or has members by now.
                Err(EngineError::Refused(refusal))
                    if matches!(refusal.code, Code::NotFound | Code::Conflict) => {}
                done => removed.push(done?.network),
            }
        }
    }
    super::attach::tell_notes(&engine);
    tell_removed(app, &removed);
    Ok(OK)
}

fn prunes(network: &CoreNetwork, key: &str, value: &str) -> Result<bool, Refusal> {
    match key {
        "label" => matches(network, key, value),
        // `label!=x` arrives split at its `=`.
        "label!" => matches(network, "label", value).map(|m| !m),
        _ => is_filter_of_prune(key).map(|()| true),
    }
}

fn is_filter_of_prune(key: &str) -> Result<(), Refusal> {
    let refused = || Refusal::invalid(format!("{} is not a filter of prune", qiao_core::name::quoted(key)));
    if matches!(key, "label" | "label!") { Ok(()) } else { Err(refused().why("label and label! are")) }
}

fn connect(app: &App, args: &Connect) -> Done {
    app.tell_waits();
    let mut engine = app.engine()?;
    let network = engine.find_network(&args.network)?;
    let known = engine.store().sandbox(&args.container)?;
    // A container that was disconnected from its last network is a container all the same.
    let netns = if known.is_empty() { netns_of_container(app, &args.container) } else { None };
    if known.is_empty() && netns.is_none() {
        return Err(not_running(app, args).into());
    }
    let request = request::Attach {
        netns,
        network: Some(network.name),
        ifname: args.ifname.clone(),
        wish: Wish { ip: args.ip, ip6: args.ip6, mac: args.mac_address },
        publish: args.publishing.publish.clone(),
        names: Names { aliases: args.naming.alias.clone(), upstreams: Vec::new() },
        ..request::Attach::new(args.container.clone())
    };
    attach_request(app, (&mut engine, &request), &args.changing)
}

/// The refusal for what cannot be connected: a container that has ended, or none at all. A namespace that was detached is
/// forgotten: only its path tells which it was.
fn not_running(app: &App, args: &Connect) -> Refusal {
    let name = &args.container;
    if let Some(container) = Containers::of(&app.paths().run).get(name) {
        let refusal = Refusal::conflict(format!("container `{name}` does not run"));
        return match container.lives() {
            true => refusal.why("it has no network namespace of its own").fix("qiao run --network NETWORK"),
            false => refusal.fix(format!("qiao rm {name}")),
        };
    }
    Refusal::not_found(format!("there is no container `{name}`")).fix("qiao ps -a").fix(format!(
        "qiao attach {name} --netns PATH --network {}      (PATH: its namespace, such as /run/netns/{name})",
        args.network
    ))
}

fn disconnect(app: &App, args: &Disconnect) -> Done {
    let mut engine = app.engine()?;
    if !args.changing.dry_run {
        engine.settle()?;
    }
    let network = match engine.find_network(&args.network) {
        Err(EngineError::Refused(refusal)) if args.force && refusal.code == Code::NotFound => return Ok(OK),
        other => other?,
    };
    if !args.force {
        connected(&engine, &args.container, &network.name)?;
    }
    let request =
        request::Detach { sandbox: args.container.clone(), network: Some(network.name), ifname: None };
    detach_request(app, (&mut engine, &request, false), &args.changing)
}

fn allocations(app: &App, args: &Allocations) -> Done {
    let engine = app.engine()?;
    let only = args.network.as_ref().map(|name| engine.find_network(name)).transpose()?;
    let mut endpoints = engine.store().endpoints()?;
    endpoints.retain(|endpoint| only.as_ref().is_none_or(|network| network.name == *endpoint.network()));
    let rows: Vec<Value> = endpoints.iter().flat_map(allocation_rows).collect();
    if app.global.json {
        line(json!({"schema": "qiao.allocations/1", "allocations": rows}));
        return Ok(OK);
    }
    let mut table = Table::new(&["ADDRESS", "MAC", "USED BY", "NETWORK", "SINCE"]);
    for row in &rows {
        table.row(
            ["address", "mac", "container", "network", "since"]
                .map(|key| row[key].as_str().unwrap_or_default().to_owned()),
        );
    }
    print(&table.text());
    Ok(OK)
}

fn allocation_rows(endpoint: &Endpoint) -> Vec<Value> {
    let row = |net: &ipnet::IpNet| {
        json!({
            "address": net, "mac": endpoint.wire.as_ref().map(|wire| wire.mac), "container": endpoint.sandbox(),
            "interface": endpoint.id.ifname, "network": endpoint.network(), "since": time::rfc3339(endpoint.attached),
        })
    };
    endpoint.addresses().iter().map(row).collect()
}
