//! What netavark 2.1.0 answers to `create`, in every case of which its answer depends (`vectors/netavark/create-2.1.0.json`,
//! recorded from the program): ours says the same, word by word, but for what is listed here with its reason.
#![allow(clippy::unwrap_used, reason = "tests")]

use qiao_doors::netavark::create::{BUILT_IN, Create, Host};
use qiao_doors::netavark::{Failure, Network};
use serde_json::Value;

/// What can never be joined is refused when it is created, and not when it is joined.
const REFUSED_EARLIER: [&str; 17] = [
    "bridge mode=",
    "bridge vrf=",
    "bridge com.docker.network.bridge.name=waytoolongbridgename",
    "bridge ipam=dhcp",
    "ipvlan bclim=",
    "id='bbbb",
    "bridge ifname='.'",
    "macvlan ifname='.'",
    "route {'destination': '10.5.0.0/16', 'gateway': 'fd00::2'}",
    "route {'destination': '10.5.0.0/16', 'route_type': '', 'gateway': 'fd00::2'}",
    "route {'destination': '10.5.0.0/16', 'route_type': 'unicast', 'gateway': 'fd00::2'}",
    "long default name",
    "no pools",
    "macvlan parent=nope",
    "ipvlan parent=nope",
    "com.docker.network.driver.mtu=x",
    "outbound_addr4=x",
];

/// What netavark 2.1.0 refuses though it is clear: as older releases and Docker's options have it, and addresses for
/// members outside, which `setup` heeds.
const TAKEN: [&str; 16] = [
    "isolate=1",
    "isolate=True",
    "isolate=t",
    "no_default_route=1",
    "no_default_route=True",
    "outbound_addr",
    "parent=dummy0",
    "com.docker.network.driver.mtu=1400",
    "com.docker.network.bridge.name=",
    "ipam= subs",
    "ifname=''",
    "dns_servers=[]",
    "created bad",
    "no default name",
    "no check_used",
    "no used.",
];

/// A free subnet is preferred where it need not be one; a subnet is written with its host's bits zero.
const CHOSEN: [&str; 8] = [
    "bridge vlan=",
    "bridge mode=unmanaged",
    "bridge mode=",
    "unmanaged ",
    "vlan used",
    "vlan pool",
    "check_used false",
    "com.docker.network.bridge.name=",
];

fn host() -> Host {
    Host {
        links: ["lo", "dummy0", "p0"].map(str::to_owned).to_vec(),
        subnets: Vec::new(),
        now: "2026-11-23T19:17:21Z".into(),
        random: std::array::from_fn(|i| i as u8),
    }
}

fn created(input: &Value) -> Result<Network, Failure> {
    let create = Create::parse(input.to_string().as_bytes())?;
    create.check()?;
    match BUILT_IN.contains(&create.network.driver.as_str()) {
        true => create.complete(&host()),
        false => Err(Failure("plugin directory not provided".into())),
    }
}

/// Without what is random, and the place of a mistake in a document that was printed anew.
fn plain(mut answer: Value) -> Value {
    let object = answer.as_object_mut().unwrap();
    object.remove("created");
    for subnet in object.get_mut("subnets").and_then(Value::as_array_mut).into_iter().flatten() {
        if subnet["subnet"].as_str().unwrap().starts_with("fd") && subnet["subnet"] != "fd00::/127" {
            subnet.take();
        }
    }
    if let Some(Value::String(text)) = object.get_mut("error") {
        *text = text.split(" column ").next().unwrap().to_owned();
    }
    answer
}

#[test]
fn create_says_what_netavark_says() {
    let text = include_str!("../vectors/netavark/create-2.1.0.json");
    let calls: Vec<Value> = serde_json::from_str(text).unwrap();
    let (mut alike, mut different) = (0, Vec::new());
    for call in &calls {
        let said = created(&call["input"]).map(|network| serde_json::to_value(network).unwrap());
        let is_refused = said.is_err();
        let said = plain(said.unwrap_or_else(|failure| failure.to_json()));
        let wanted = plain(call["answer"].clone());
        let name = call["name"].as_str().unwrap();
        let option = name.split_once(' ').map_or(name, |(_, option)| option);
        let is_in =
            |list: &[&str]| list.iter().any(|part| name.starts_with(part) || option.starts_with(part));
        let was_refused = wanted.get("error").is_some();
        match (is_refused, was_refused) {
            _ if said == wanted => alike += 1,
            (true, _) if is_in(&REFUSED_EARLIER) => {}
            (false, true) if is_in(&TAKEN) => {}
            (false, false) if is_in(&CHOSEN) || name.contains("10.100.0.5/24") => {}
            _ => different.push(format!("{name}\n  ours:     {said}\n  netavark: {wanted}")),
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(alike > 240, "{alike} of {}", calls.len());
}
