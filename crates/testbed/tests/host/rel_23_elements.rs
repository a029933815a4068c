//! R-REL 23: an element that somebody deleted is back after the next command, whatever set it was in.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, run, stdout};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Containers of every kind, which have elements in nearly every set.
pub fn populate(host: &Host) {
    let two = |name: &str, n: u8, options: &str| {
        let subnets = format!("--ipv6 --subnet 172.30.{n}.0/24 --subnet fd00:{n}::/64");
        host.ok(&format!("network create {name} {subnets} {options}"));
    };
    two("front", 1, "");
    two("rt", 2, "-d routed");
    two("inner", 3, "--internal");
    two("friendly", 4, "--isolate off");
    let ports = "-p 8080:80 -p 192.0.2.1:8081:81/udp -p [2001:db8::1]:8082:82 -p 9000-9009:9000-9009 \
        -p 192.0.2.1:9100-9109:9100-9109 -p [2001:db8::1]:9200-9209:9200-9209/udp";
    host.attached("web", &format!("--network front {ports} --allow-address 172.30.1.99"));
    host.attached("app", "--network rt -p 8090:80");
    host.attached("db", "--network inner");
    host.attached("peer", "--network friendly");
    let c1 = host.container("c1");
    let bridge = crate::cni_adopted::config("bridge", &json!({"macspoofchk": true}));
    let added =
        crate::cni_bridge::ok(host, ("bridge", "ADD"), ("c1", &c1.path()), &bridge.to_string()).json();
    let ports = json!({
        "runtimeConfig": {"portMappings": [{"hostPort": 8070, "containerPort": 80}]},
        "conditionsV4": ["!", "-d", "192.0.2.9"], "conditionsV6": ["!", "-s", "2001:db8:7::/48"],
    });
    crate::cni_adopted::behind(host, ("portmap", "ADD"), ("c1", &c1.path()), (&added, &ports));
    let apart = json!({"ingressPolicy": "same-bridge"});
    crate::cni_adopted::behind(host, ("firewall", "ADD"), ("c1", &c1.path()), (&added, &apart));
}

pub type Sets = BTreeMap<(String, String), Vec<String>>;

/// The elements of our sets and maps by table and name, each as `nft` prints it.
pub fn elements() -> Sets {
    let listed: Value = serde_json::from_str(&stdout("nft -j list ruleset")).expect("JSON");
    let mut found = BTreeMap::new();
    for object in listed["nftables"].as_array().expect("objects") {
        let Some(set) = object.get("set").or_else(|| object.get("map")) else { continue };
        let word = |key: &str| set[key].as_str().expect("a word").to_owned();
        if word("table") != "qiao" {
            continue;
        }
        let mut elements: Vec<String> =
            set["elem"].as_array().into_iter().flatten().map(Value::to_string).collect();
        elements.sort();
        found.insert((word("family"), word("name")), elements);
    }
    found
}

/// What the containers that come later are given: always the same.
const LATE: &str = "--network front --ip 172.30.1.50 --ip6 fd00:1::50";

/// What one has and the other has not.
pub fn difference(before: &Sets, now: &Sets) -> Vec<String> {
    let lines = |sets: &Sets| -> BTreeSet<String> {
        sets.iter()
            .flat_map(|(set, all)| all.iter().map(move |element| format!("{set:?} {element}")))
            .collect()
    };
    let (before, now) = (lines(before), lines(now));
    let gone = before.difference(&now).map(|line| format!("- {line}"));
    gone.chain(now.difference(&before).map(|line| format!("+ {line}"))).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d6_deleted_elements_of_any_set_are_back_after_the_next_attach() {
    on_a_host(|host| {
        populate(host);
        let late = host.container("late");
        host.attach(&late, LATE);
        let before = elements();
        let sets: Vec<_> = before.iter().filter(|(_, elements)| !elements.is_empty()).collect();
        assert!(sets.len() >= 35, "elements are in few sets: {:?}", sets.iter().map(|(set, _)| set));
        let mut wrong = Vec::new();
        for ((family, name), _) in sets {
            host.ok("detach late");
            let is_map = stdout(&format!("nft list table {family} qiao")).contains(&format!("\tmap {name} "));
            run(&format!("nft flush {} {family} qiao {name}", if is_map { "map" } else { "set" }));
            host.attach(&late, LATE);
            if !difference(&before, &elements()).is_empty() {
                wrong.push(format!("{family} {name}"));
                host.ok("repair");
            }
            assert_eq!(difference(&before, &elements()), [""; 0], "after `repair`: {family} {name}");
        }
        assert!(wrong.is_empty(), "not back after the next attach: {wrong:#?}");
        host.ok("check");
    });
}

/// The same by each door, by a command that goes the other way, and for a set that was deleted with the rules that use it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d6_deleted_elements_are_back_whatever_command_comes_next() {
    on_a_host(|host| {
        populate(host);
        let (late, c2) = (host.container("late"), host.container("c2"));
        let net = crate::netavark::network(1, true);
        let options = crate::netavark::on("c3", 7, &[&net]);
        let bridge = crate::cni_adopted::config("bridge", &json!({})).to_string();
        let c3 = host.container("c3");
        let commands: [(&str, &dyn Fn()); 7] = [
            ("attach", &|| drop(host.attach(&late, LATE))),
            ("detach", &|| drop(host.ok("detach late"))),
            ("network create", &|| {
                host.ok("network create more --subnet 172.30.9.0/24");
                host.ok("network rm more");
            }),
            ("CNI ADD", &|| {
                drop(crate::cni_bridge::ok(host, ("bridge", "ADD"), ("c2", &c2.path()), &bridge))
            }),
            ("CNI DEL", &|| {
                drop(crate::cni_bridge::ok(host, ("bridge", "DEL"), ("c2", &c2.path()), &bridge))
            }),
            ("netavark setup", &|| drop(crate::netavark::setup(host, &c3, &options))),
            ("netavark teardown", &|| crate::netavark::teardown(host, &c3, &options)),
        ];
        let elements_only: &[&str] = &[
            "nft flush set bridge qiao ports",
            "nft flush map inet qiao publish_any4",
            "nft flush set inet qiao homes6",
        ];
        let rules: &[&str] = &["nft flush chain bridge qiao prerouting", "nft delete table inet qiao"];
        let gone = |before: &Sets, now: &Sets| {
            let lines = difference(before, now).into_iter();
            lines.filter(|line| line.starts_with('-')).collect::<Vec<_>>()
        };
        let each =
            [elements_only, rules].into_iter().flat_map(|lines| commands.map(|command| (lines, command)));
        for (lines, (name, command)) in each {
            let before = elements();
            lines.iter().for_each(|line| run(line));
            assert!(gone(&before, &elements()).len() > 5, "the control: they are gone");
            command();
            // What a command takes away itself is another matter.
            let own = ["/late/", "/c2/", "/c3/", "podman1"];
            let is_own = |line: &String| own.iter().any(|own| line.contains(own));
            let missing = gone(&before, &elements()).into_iter().filter(|line| !is_own(line));
            assert_eq!(missing.collect::<Vec<_>>(), [""; 0], "{lines:?}, after `{name}`");
            let check = host.qiao.run("check");
            assert_eq!(check.code, Some(0), "after `{name}`: {check}");
        }
    });
}
