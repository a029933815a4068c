//! Calls of Podman that were recorded, with what netavark 1.4.0 and 2.1.0 answered (`vectors/netavark`): as far as
//! they need no kernel, ours says the same.
#![allow(clippy::unwrap_used, reason = "tests")]

use qiao_doors::netavark::answer::{self, Joined};
use qiao_doors::netavark::create::{BUILT_IN, Create, Host};
use qiao_doors::netavark::setting::{Context, Firewall, attach};
use qiao_doors::netavark::{Command, Failure, Options, Parsed, parse};
use serde_json::Value;
use std::path::PathBuf;

/// A recorded call.
struct Call {
    name: String,
    words: Vec<String>,
    input: Vec<u8>,
    code: i64,
    answer: Value,
}

fn calls(set: &str) -> Vec<Call> {
    let dir: PathBuf = [env!("CARGO_MANIFEST_DIR"), "vectors", "netavark", set].iter().collect();
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 28, "{set}: {}", paths.len());
    paths.iter().map(read).collect()
}

fn read(path: &PathBuf) -> Call {
    let call: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    // What was no JSON is kept as a text.
    let input = match &call["stdin"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Call {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        words: call["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().into()).collect(),
        input: input.into_bytes(),
        code: call["rc"].as_i64().unwrap(),
        answer: call["stdout"].clone(),
    }
}

fn command(call: &Call) -> Option<Command> {
    match parse(call.words.iter().map(Into::into)) {
        Ok(Parsed::Run(line)) => Some(line.command),
        Ok(Parsed::Print(_)) => panic!("{}", call.name),
        Err(_) => None,
    }
}

const SETS: [&str; 3] =
    ["podman-4.3.1_netavark-1.4.0", "podman-4.3.1_netavark-2.1.0", "podman-6-shape_netavark-2.1.0"];

/// Only one line makes no sense, and netavark ended with 2 there.
#[test]
fn every_command_line_is_read() {
    for call in SETS.iter().flat_map(|set| calls(set)) {
        assert_eq!(command(&call).is_none(), call.code == 2, "{}", call.name);
    }
}

fn host() -> Host {
    Host {
        links: ["lo", "up0"].map(str::to_owned).to_vec(),
        subnets: vec!["192.0.2.0/24".parse().unwrap()],
        now: "2026-11-23T19:17:21.719411355Z".into(),
        random: std::array::from_fn(|i| i as u8),
    }
}

fn created(call: &Call) -> Result<Value, Failure> {
    let create = Create::parse(&call.input)?;
    create.check()?;
    if !BUILT_IN.contains(&create.network.driver.as_str()) {
        return Err(Failure("plugin directory not provided".into()));
    }
    Ok(serde_json::to_value(create.complete(&host())?).unwrap())
}

/// Everything but what is random or the time.
#[test]
fn create_says_what_netavark_said() {
    let mut count = 0;
    let created_ = |call: &Call| command(call) == Some(Command::Create);
    // Netavark heeds the option in `setup` and refuses it here: ours takes it (`docs/podman.md`, N).
    let is_alike = |call: &Call| !call.name.contains("outbound-option");
    for call in calls(SETS[2]).into_iter().filter(created_).filter(is_alike) {
        let mut said = created(&call).unwrap_or_else(|failure| failure.to_json());
        let mut wanted = call.answer.clone();
        for value in [&mut said, &mut wanted] {
            if let Some(created) = value.get_mut("created") {
                assert!(created.as_str().unwrap().ends_with('Z'));
                created.take();
            }
            for subnet in value["subnets"].as_array_mut().into_iter().flatten() {
                let text = subnet["subnet"].as_str().unwrap().to_owned();
                if text.starts_with("fd") {
                    let prefix = text.strip_suffix("/64").unwrap();
                    assert_eq!(subnet["gateway"], format!("{prefix}1"));
                    subnet.take();
                }
            }
        }
        let normal = |value: Value| if value["subnets"].is_null() { drop_null(value) } else { value };
        assert_eq!(normal(said), normal(wanted), "{}", call.name);
        count += 1;
    }
    assert_eq!(count, 12);
}

/// Indexing a value for writing makes what is not there.
fn drop_null(mut value: Value) -> Value {
    value.as_object_mut().unwrap().remove("subnets");
    value
}

fn context(options: &Options) -> Context<'_> {
    Context { options, netns: "/run/netns/x", firewall: Firewall::Nftables, rootless: false, dns_port: None }
}

/// What would be asked of the engine gives the addresses of the recorded answer, and the reply all its fields.
#[test]
fn setups_become_requests_and_replies() {
    let (mut count, mut others) = (0, 0);
    for call in SETS.iter().flat_map(|set| calls(set)).filter(|call| call.code == 0) {
        let Some(Command::Setup(_)) = command(&call) else { continue };
        let options = Options::parse(&call.input).unwrap();
        if options.network_info.values().any(|network| network.driver != "bridge") {
            others += 1;
            continue;
        }
        let mut said = serde_json::Map::new();
        for (own, network) in options.joined().unwrap() {
            let recorded = &call.answer[&network.name]["interfaces"][&own.interface_name];
            let mac = own.static_mac.clone();
            let request = attach(context(&options), (own, network)).unwrap();
            let given = request.given.unwrap();
            assert_eq!(request.wish.mac.map(|mac| mac.to_string()), mac, "{}", call.name);
            let joined = Joined {
                mac: recorded["mac_address"].as_str().unwrap().into(),
                addresses: given.addresses,
                resolvers: network.gateways(),
                lease: None,
            };
            let reply = answer::network(&options, (own, network), &joined);
            said.insert(network.name.clone(), reply);
        }
        assert_eq!(Value::Object(said), call.answer, "{}", call.name);
        count += 1;
    }
    assert_eq!((count, others), (29, 2));
}

#[test]
fn what_cannot_be_read_is_said_in_netavarks_words() {
    let failures = calls(SETS[2]).into_iter().filter(|call| call.code == 1);
    let mut count = 0;
    for call in failures.filter(|call| matches!(command(call), Some(Command::Setup(_)))) {
        let wanted = call.answer["error"].as_str().unwrap();
        let said = Options::parse(&call.input).and_then(|options| options.joined().map(drop));
        if let Err(failure) = said {
            // The column depends on blanks that the record has not kept.
            let text = |whole: &str| whole.split(" column ").next().unwrap().to_owned();
            assert_eq!(text(&failure.0), text(wanted), "{}", call.name);
            count += 1;
        }
    }
    assert_eq!(count, 3);
    let twice = Options::parse(
        br#"{"container_id": "a", "container_name": "b", "networks": {}, "network_info": {},
        "more": {"x": 1, "x": 2}}"#,
    );
    assert!(twice.unwrap_err().0.contains("twice"));
    let said = "iptables".parse::<Firewall>().unwrap_err();
    assert_eq!(said.0, "Must provide a valid firewall backend, got iptables");
}
