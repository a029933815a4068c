//! Whatever a runtime sends, a plugin answers: nothing makes a parser panic, and every refusal is an error object as
//! the specification has it (SPEC.md, section 5, Error).
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use qiao_core::Mac;
use qiao_doors::cni::{
    Answer, Call, Config, Doc, Failure, Version, chain, dhcp, ipam, main_plugin, version_reply,
};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The main plugins.
const MAIN: [&str; 8] = ["bridge", "ptp", "macvlan", "ipvlan", "vlan", "dummy", "tap", "host-device"];

type Environment = Map<String, Value>;

fn vectors() -> &'static [(Environment, Value)] {
    static VECTORS: std::sync::LazyLock<Vec<(Environment, Value)>> = std::sync::LazyLock::new(read);
    &VECTORS
}

fn read() -> Vec<(Environment, Value)> {
    let top: PathBuf = [env!("CARGO_MANIFEST_DIR"), "vectors", "cni"].iter().collect();
    let entries = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    let mut paths: Vec<PathBuf> = entries(&top).iter().flat_map(|dir| entries(dir)).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let whole: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        (whole["env"].as_object().unwrap().clone(), whole["stdin"].clone())
    };
    let mut all: Vec<_> = paths.iter().map(read).collect();
    let (env, _) = all[0].clone();
    all.push((env, rich()));
    all
}

/// A configuration with every key that any plugin reads.
fn rich() -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "n1", "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "mtu": 1400,
        "vlan": 0, "vlanTrunk": [], "portIsolation": true, "dns": {"nameservers": ["9.9.9.9"]}, "backend": "nftables",
        "ingressPolicy": "isolated", "snat": true, "conditionsV4": [], "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"},
        "mac": "02:00:00:00:00:01", "cni.dev/valid-attachments": [{"containerID": "c", "ifname": "eth0"}],
        "args": {"cni": {"ips": ["10.9.0.5"], "mac": "02:00:00:00:00:02", "sysctl": {"net.core.somaxconn": 9}}},
        "runtimeConfig": {
            "portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "udp", "hostIP": "::1"}],
            "ips": ["10.9.0.6/24"], "mac": "02:00:00:00:00:03",
            "ipRanges": [[{"subnet": "fd00::/64", "rangeStart": "fd00::5", "rangeEnd": "fd00::9", "gateway": "fd00::1"}]],
        },
        "ipam": {
            "type": "dhcp", "dataDir": "/run/x", "resolvConf": "/etc/resolv.conf", "subnet": "10.9.0.0/24",
            "ranges": [[{"subnet": "10.8.0.0/24", "rangeStart": "10.8.0.4"}]], "priority": 5,
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.9.0.1", "mtu": 1300, "scope": 1, "table": 7}],
            "addresses": [{"address": "10.9.0.7/24", "gateway": "10.9.0.1"}], "daemonSocketPath": "/run/x",
            "provide": [{"option": "12", "fromArg": "K8S_POD_NAME"}, {"option": "60", "value": "x"}],
            "request": [{"option": "routers", "skipDefault": true}],
        },
        "prevResult": {
            "cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:04", "mtu": 1, "sandbox": "/x"}],
            "ips": [{"address": "10.9.0.7/24", "gateway": "10.9.0.1", "interface": 0}],
            "routes": [{"dst": "10.7.0.0/16", "gw": "10.9.0.3", "priority": 2}], "dns": {"search": ["x"]},
        },
    })
}

/// Everything that plugins read of a call, one after the other; what they refuse.
fn answers(env: &Environment, input: &[u8]) -> Vec<Failure> {
    let environment = |name: &str| env.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut failures = Vec::new();
    let _ = version_reply(Config::version_of(input).as_deref());
    let verb = Call::verb(&environment).map_err(|failure| failures.push(failure)).ok().flatten();
    let call = verb.and_then(|verb| Call::parse(verb, &environment).map_err(|f| failures.push(f)).ok());
    let config = Config::parse(input).map_err(|failure| failures.push(failure)).ok();
    let (Some(call), Some(config)) = (call, config) else { return failures };
    let args = &call.args;
    let leases = ipam::HostLocal::parse(&config, args).and_then(|wanted| wanted.check().map(|()| wanted));
    let given: Vec<_> =
        leases.iter().flat_map(|wanted| &wanted.sets).map(|set| (set[0].first, set[0])).collect();
    leases.iter().flat_map(|wanted| &wanted.sets).for_each(|set| {
        let _ = ipam::candidates(set, None).take(3).count();
    });
    let made = MAIN.map(|plugin| {
        let mut settings = main_plugin::Settings::parse(plugin, &config, args)?;
        let mut answer = leases.as_ref().map(|l| l.answer(&given, Map::new())).unwrap_or_default();
        let _ = Mac::new([2, 0, 0, 0, 0, 1]).map(|mac| settings.over(mac));
        settings.complete(&mut answer)?;
        settings.request((&config, &call), &answer).map(drop)
    });
    failures.extend(made.into_iter().filter_map(Result::err));
    let results = [
        leases.map(drop),
        ipam::fixed(&config, args).map(drop),
        ipam::HostLocal::dir(&config).map(drop),
        dhcp::Settings::parse(&config, args).map(drop),
        chain::clients(&config).map(drop),
        chain::port_mappings(&config).map(drop),
        chain::ingress(&config).map(drop),
        chain::tuning(&config, &call, &|_| Ok(())).map(drop),
        chain::mac(&config, args).map(drop),
        chain::adoption(&config, &call).map(drop),
        config.valid().map(drop),
        config.network().map(drop),
    ];
    failures.extend(results.into_iter().filter_map(Result::err));
    let prev = config.prev.iter();
    let shapes = prev.flat_map(|prev| Version::ALL.map(|version| prev.to_json(version)));
    failures.extend(shapes.filter_map(Result::err));
    failures
}

/// An error object: a version, a code, words; all of it on one line.
fn is_object(failure: &Failure) -> bool {
    let text = failure.to_json("1.1.0").to_string();
    let read: Value = serde_json::from_str(&text).unwrap();
    let is_text = |key: &str| read[key].as_str().is_some_and(|text| !text.is_empty());
    let has_details = read.get("details").is_none() || is_text("details");
    is_text("cniVersion")
        && is_text("msg")
        && read["code"].as_u64() > Some(0)
        && has_details
        && !text.contains('\n')
}

fn any_value() -> impl Strategy<Value = Value> {
    let words = [
        "",
        "true",
        "::",
        "10.0.0.0/33",
        "0.0.0.0",
        "10.9.0.0/31",
        "a/../b",
        "1.1.0",
        "0.2.0",
        "\u{1}é",
        "-1",
        "[",
        "255.255.255.255",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop_oneof![Just(0u64), Just(65535), Just(65536), Just(u64::MAX)].prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,8}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// The n-th value inside another, counted around.
fn nth(value: &mut Value, n: usize) -> &mut Value {
    let count = match &*value {
        Value::Object(map) => map.len(),
        Value::Array(list) => list.len(),
        _ => 0,
    };
    if count == 0 || n.is_multiple_of(count + 1) {
        return value;
    }
    let (at, rest) = (n % count, n / (count + 1));
    match value {
        Value::Object(map) => nth(map.values_mut().nth(at).unwrap(), rest),
        Value::Array(list) => nth(&mut list[at], rest),
        _ => unreachable!("it has nothing in it"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), which in any::<prop::sample::Index>()) {
        let (env, _) = &vectors()[which.index(vectors().len())];
        for failure in answers(env, &bytes) {
            prop_assert!(is_object(&failure), "{failure:?}");
        }
    }

    #[test]
    fn no_changed_value_makes_it_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<u32>(), any_value()), 1..4),
    ) {
        let (env, stdin) = &vectors()[which.index(vectors().len())];
        let mut stdin = stdin.clone();
        for (place, value) in changes {
            *nth(&mut stdin, place as usize) = value;
        }
        for failure in answers(env, stdin.to_string().as_bytes()) {
            prop_assert!(is_object(&failure), "{failure:?}");
        }
    }

    #[test]
    fn no_environment_makes_it_panic(
        which in any::<prop::sample::Index>(),
        name in prop::sample::select(vec!["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"]),
        value in prop_oneof![".{0,40}", "[a-zA-Z0-9=;.:/]{0,60}", Just("x".repeat(300)), Just("A=B;=;C".into())],
    ) {
        let (env, stdin) = &vectors()[which.index(vectors().len())];
        let mut env = env.clone();
        env.insert(name.into(), value.into());
        for failure in answers(&env, stdin.to_string().as_bytes()) {
            prop_assert!(is_object(&failure), "{failure:?}");
        }
    }

    /// What plugins of others answer is read with the same care.
    #[test]
    fn no_result_of_others_makes_it_panic(place in any::<u32>(), value in any_value(), version in 0usize..7) {
        let mut result = rich()["prevResult"].clone();
        *nth(&mut result, place as usize) = value;
        let Some(result) = result.as_object() else { return Ok(()) };
        let read = Answer::parse(Doc(result), Version::ALL[version]);
        let written = read.and_then(|answer| answer.to_json(Version::ALL[version]));
        prop_assert!(written.err().is_none_or(|failure| is_object(&failure)));
    }
}

/// The control: what is changed is read to its end before.
#[test]
fn what_is_changed_is_good_before() {
    for (env, stdin) in vectors().iter().filter(|(env, _)| env["CNI_COMMAND"] != "VERSION") {
        let failures = answers(env, stdin.to_string().as_bytes());
        let unread: Vec<_> = failures.iter().filter(|failure| matches!(failure.code, 4 | 6)).collect();
        assert!(unread.is_empty(), "{unread:?}");
    }
}

/// What another reader could understand in another way is refused (R-INP 30).
#[test]
fn a_key_is_there_once() {
    let read = |text: &str| Config::parse(text.as_bytes()).map(|config| config.name.to_string());
    let once = r#"{"cniVersion": "1.0.0", "name": "n1", "ipam": {"type": "static", "more": [{"a": 1}]}}"#;
    assert_eq!(read(once).unwrap(), "n1", "the control");
    for twice in [
        once.replace("\"a\": 1", "\"a\": 1, \"a\": 1"),
        once.replace("\"ipam\"", "\"name\": \"n2\", \"ipam\""),
    ] {
        let failure = read(&twice).unwrap_err();
        assert!(format!("{failure:?}").contains("twice"), "{failure:?}");
    }
}
