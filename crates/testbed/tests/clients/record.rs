//! What real clients send to plugins, and what ours answer: the vectors of the CNI door (`doors/vectors/cni`) are
//! recorded here. `UPDATE_VECTORS=1` writes them anew (then also for `qiao-doors`, which adds what ours make of them);
//! otherwise the clients must send what is recorded.

use crate::containerd::{Containerd, RUNTIME_PATH};
use crate::cri::{PortMapping, remove_pod, run_pod, stop_pod};
use crate::machine::{FILES, Machine};
use crate::podman::Podman;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, run};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Stands under every plugin's name, and keeps what goes in and out.
const WRAPPER: &str = r#"#!/bin/sh
name=${0##*/}
dir=/opt/machine/recorded/$(date +%s%N)-$$
mkdir -p $dir
echo $name > $dir/plugin
env | grep ^CNI_ > $dir/env
cat > $dir/stdin
/opt/machine/real/$name < $dir/stdin > $dir/stdout
code=$?
echo $code > $dir/code
cat $dir/stdout
exit $code
"#;

/// Puts the wrapper in the place of all plugins.
fn wrap(machine: &Machine<'_>) {
    run(&format!("mkdir {FILES}/real {FILES}/recorded"));
    for entry in fs::read_dir(&machine.plugins).expect("plugins").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        fs::rename(entry.path(), format!("{FILES}/real/{name}")).expect("a link is moved");
        fs::write(entry.path(), WRAPPER).expect("a wrapper");
        run(&format!("chmod 755 {}", entry.path().display()));
    }
}

/// What was recorded, in its order.
fn recorded() -> Vec<Value> {
    let entries = fs::read_dir(format!("{FILES}/recorded")).expect("recorded").flatten();
    let mut dirs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    dirs.sort();
    let mut names = Names::default();
    let calls = dirs.iter().map(|dir| call(dir)).collect::<Vec<_>>();
    calls.into_iter().map(|call| names.plain(&call)).collect()
}

fn call(dir: &Path) -> Value {
    let text = |name: &str| fs::read_to_string(dir.join(name)).expect(name);
    let document = |name: &str| serde_json::from_str::<Value>(&text(name)).unwrap_or(Value::Null);
    let env: Map<String, Value> = text("env")
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let code: i64 = text("code").trim().parse().expect("a code");
    json!({"plugin": text("plugin").trim(), "env": env, "stdin": document("stdin"), "stdout": document("stdout"), "code": code})
}

/// What differs from machine to machine and from day to day, by what stands for it: ids, processes, directories.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn plain(&mut self, call: &Value) -> Value {
        let text = call.to_string().replace(&format!("{FILES}/cni"), "/opt/cni/bin");
        let (mut plain, mut word) = (String::new(), String::new());
        for c in text.chars().chain(['\n']) {
            if c.is_ascii_hexdigit() || c == '-' {
                word.push(c);
                continue;
            }
            plain.push_str(&self.stand_in(&word, plain.ends_with("/proc/")));
            word.clear();
            plain.push(c);
        }
        serde_json::from_str(plain.trim_end()).expect("it is JSON as before")
    }

    fn stand_in(&mut self, word: &str, is_process: bool) -> String {
        let bare = word.trim_start_matches('-');
        let number = self.0.len() + 1;
        let known = |names: &mut Self, made: String| names.0.entry(bare.to_owned()).or_insert(made).clone();
        let is_uuid = bare.len() == 36 && bare.matches('-').count() == 4;
        let made = if bare.len() == 64 && !bare.contains('-') {
            known(self, format!("{number:064x}"))
        } else if is_uuid {
            known(self, format!("00000000-0000-0000-0000-{number:012x}"))
        } else if is_process && bare.parse::<u32>().is_ok() {
            known(self, (1000 + number).to_string())
        } else {
            bare.to_owned()
        };
        format!("{}{made}", &word[..word.len() - bare.len()])
    }
}

fn directory(client: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "doors", "vectors", "cni", client].iter().collect()
}

/// Every key, wherever it is, as a path: what a client sends, whatever the values are.
fn shape(value: &Value, at: &str, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let at = format!("{at}/{key}");
                shape(value, &at, keys);
                keys.insert(at);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| shape(value, &format!("{at}/*"), keys)),
        // An empty namespace is another question.
        Value::String(text) if text.is_empty() => drop(keys.insert(format!("{at} is empty"))),
        _ => {}
    }
}

/// What is asked of whom, and with which keys.
fn question(call: &Value) -> (String, BTreeSet<String>) {
    let mut keys = BTreeSet::new();
    shape(&call["env"], "env", &mut keys);
    shape(&call["stdin"], "stdin", &mut keys);
    (format!("{} {}", call["plugin"], call["env"]["CNI_COMMAND"]), keys)
}

/// Writes the vectors, or compares them with what came now. The same question is kept once.
fn settle(client: &str) {
    let calls = recorded();
    assert!(calls.len() > 3, "{client}: {calls:?}");
    for call in &calls {
        assert_eq!(call["code"], 0, "{client}: {call}");
    }
    let dir = directory(client);
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        return write(&dir, &calls);
    }
    let known: BTreeSet<_> = vectors(&dir).iter().map(question).collect();
    for call in &calls {
        assert!(known.contains(&question(call)), "{client} sends what is not recorded: {call:#}");
    }
}

fn vectors(dir: &Path) -> Vec<Value> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())).flatten();
    let texts = entries.map(|entry| fs::read_to_string(entry.path()).expect("a vector"));
    texts.map(|text| serde_json::from_str(&text).expect("JSON")).collect()
}

fn write(dir: &Path, calls: &[Value]) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).expect("a directory");
    let mut seen = BTreeSet::new();
    for call in calls.iter().filter(|call| seen.insert(question(call))) {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (plugin, verb) = (word(&call["plugin"]), word(&call["env"]["CNI_COMMAND"]).to_lowercase());
        let number = fs::read_dir(dir).expect("the directory").count() + 1;
        let text = serde_json::to_string_pretty(call).expect("JSON");
        fs::write(dir.join(format!("{number:02}-{plugin}-{verb}.json")), text + "\n").expect("a vector");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn podman() {
    on_a_host(|host| {
        let podman = Podman::new(host);
        wrap(&podman.machine);
        podman.start(
            "web",
            "--ip 10.88.0.77 --mac-address 02:00:00:00:00:77 -p 8080:80 -p 127.0.0.1:5353:53/udp",
        );
        podman.start("plain", "");
        podman.ok("network create --ipv6 --subnet 10.90.1.0/24 --subnet fd00:90::/64 six");
        podman.ok("network connect six plain");
        podman.ok("network disconnect six plain");
        podman.remove("plain");
        podman.remove("web");
        settle("podman-4.3.1");
    });
}

/// A network of containerd's own configuration, and what nerdctl writes (`nerdctl network create`, 1.x).
fn nerdctl() -> Value {
    let ipam = json!({
        "ranges": [[{"gateway": "10.4.1.1", "subnet": "10.4.1.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}],
        "type": "host-local",
    });
    json!({
        "cniVersion": "1.0.0", "name": "n1", "nerdctlID": "17f29b073143d8cd97b5bbe492bdeffec1c5fee55cc1fe2112c8b9335f8b6121",
        "nerdctlLabels": {"nerdctl/default-network": "true"},
        "plugins": [
            {"type": "bridge", "bridge": "br-17f29b073143", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": true}},
            {"type": "firewall", "ingressPolicy": "same-bridge"},
            {"type": "tuning"},
        ],
    })
}

fn containerd(host: &Host) -> Containerd<'_> {
    let containerd = Containerd::new(host, &json!({"subnet": "10.88.0.0/16"}));
    wrap(&containerd.machine);
    containerd
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ctr() {
    on_a_host(|host| {
        let containerd = containerd(host);
        containerd.ctr(&format!(
            "run --runc-binary {RUNTIME_PATH} --cni --rm --rootfs {FILES}/rootfs one /bin/true"
        ));
        settle("ctr-1.6");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_kubernetes_node() {
    on_a_host(|host| {
        let _containerd = containerd(host);
        let port = PortMapping { protocol: 0, container_port: 80, host_port: 8080, host_ip: String::new() };
        let id = run_pod("web", &[port]);
        stop_pod(&id);
        remove_pod(&id);
        settle("containerd-cri-1.6");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nerdctls_network() {
    on_a_host(|host| {
        let containerd = containerd(host);
        fs::write("/etc/cni/net.d/10-net.conflist", nerdctl().to_string()).expect("a network");
        containerd.ctr(&format!(
            "run --runc-binary {RUNTIME_PATH} --cni --rm --rootfs {FILES}/rootfs one /bin/true"
        ));
        settle("nerdctl-network");
    });
}
