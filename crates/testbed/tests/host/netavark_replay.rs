//! Calls that Podman made and netavark answered (`crates/doors/vectors/netavark`): every one again, to ours.

use crate::netavark::{CONFIG, told};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

/// Where ours does what netavark 2.1.0 does not, and why.
const DIFFERENT: [(&str, &str); 4] = [
    ("012-create-error-outbound-option.json", "the option is taken: what `setup` heeds can be created"),
    ("019-teardown-again.json", "what is gone is gone: a second teardown succeeds"),
    ("020-teardown-no-netns.json", "the same, without the namespace"),
    ("031-version.json", "the time at which it was built"),
];

/// A hardware address is random there, and follows from the address here.
fn same(said: &Value, recorded: &Value) -> bool {
    match (said, recorded) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
            keys(a) == keys(b) && a.iter().all(|(key, value)| is_free(key, value) || same(value, &b[key]))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => said == recorded,
    }
}

fn is_free(key: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let is_mac = key == "mac_address" && text.len() == 17;
    let is_random =
        matches!(key, "subnet" | "gateway") && text.starts_with("fd") && !text.starts_with("fd00");
    is_mac || is_random || key == "created" && text.ends_with('Z')
}

struct Recorded {
    name: String,
    call: Value,
}

fn recorded(set: &str) -> Vec<Recorded> {
    let dir: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "doors", "vectors", "netavark", set].iter().collect();
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let read = |path: PathBuf| Recorded {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        call: serde_json::from_slice(&std::fs::read(&path).expect("a record")).expect("a record"),
    };
    paths.into_iter().map(read).collect()
}

/// Makes the namespaces that the calls are about, but for those that were not there.
fn namespaces(calls: &[Recorded]) {
    let paths: BTreeSet<&str> = calls
        .iter()
        .filter_map(|recorded| recorded.call["args"].as_array()?.last()?.as_str())
        .filter_map(|word| word.strip_prefix("/run/netns/"))
        .filter(|name| *name != "nope")
        .collect();
    paths.iter().for_each(|name| run(&format!("ip netns add {name}")));
}

fn again(host: &Host, Recorded { name, call }: &Recorded) {
    let mut command = host.qiao.command();
    command.arg0("netavark");
    for word in call["args"].as_array().expect("words").iter().filter_map(Value::as_str) {
        let own = word.replace("/run/containers/networks", CONFIG);
        command.arg(own.replace("/usr/libexec/podman", "/usr/lib/podman"));
    }
    for (key, value) in call["env"].as_object().expect("an environment") {
        command.env(key, value.as_str().unwrap_or_default());
    }
    let input = match &call["stdin"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let outcome = told(command, &input);
    if DIFFERENT.iter().any(|(other, _)| other == name) {
        assert!(outcome.code == Some(0), "{name}: {outcome}");
        return;
    }
    assert_eq!(outcome.code.map(i64::from), call["rc"].as_i64(), "{name}: {outcome}");
    let said: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| outcome.stdout.clone().into());
    let is_nothing = outcome.stdout.is_empty() && (call["stdout"].is_null() || call["stdout"] == "");
    let text =
        |value: &Value| value["error"].as_str().map(|text| text.split(" column").next().map(str::to_owned));
    let is_error = text(&said).is_some() && text(&said) == text(&call["stdout"]);
    assert!(
        is_nothing || is_error || same(&said, &call["stdout"]),
        "{name}: {outcome}\nrecorded: {}",
        call["stdout"]
    );
    // What Debian's name server had to say is no answer of netavark's.
    let told = call["stderr"]
        .as_str()
        .unwrap_or_default()
        .replace("failed to connect to syslog: Initialization\n", "");
    assert_eq!(outcome.stderr, told, "{name}");
}

fn replay(host: &Host, set: &str, count: usize) {
    let calls = recorded(set);
    assert_eq!(calls.len(), count);
    namespaces(&calls);
    calls.iter().for_each(|recorded| again(host, recorded));
    let links = qiao_testbed::stdout("ip -o link");
    assert!(!links.contains("podman"), "{links}");
    assert!(!qiao_testbed::stdout("nft list tables").contains("qiao"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn podman_4_3_1_with_netavark_1_4_0() {
    on_a_host(|host| replay(host, "podman-4.3.1_netavark-1.4.0", 28));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn podman_4_3_1_with_netavark_2_1_0() {
    on_a_host(|host| replay(host, "podman-4.3.1_netavark-2.1.0", 28));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn podman_6_with_netavark_2_1_0() {
    on_a_host(|host| replay(host, "podman-6-shape_netavark-2.1.0", 32));
}
