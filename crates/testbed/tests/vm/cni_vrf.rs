//! CNI: `vrf`, looked at with `ip`. A question is answered in the device's table, whatever the main table says.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Place, Protocol, Service, ask};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// A configuration of network `n1` or, with another number, of another one.
fn config(plugin: &str, net: usize, more: &Value) -> Value {
    let mut config = json!({"cniVersion": "1.0.0", "name": format!("n{net}"), "type": plugin, "bridge": format!("cni{net}"),
        "isDefaultGateway": true, "vrfname": "blue",
        "ipam": {"type": "host-local", "dataDir": "/run/leases",
            "ranges": [[{"subnet": format!("10.{net}.0.0/24")}], [{"subnet": format!("fd00:{net}::/64")}]]}});
    more.as_object().into_iter().flatten().for_each(|(key, value)| config[key] = value.clone());
    config
}

fn call(mut command: Command, verb: &str, (place, ifname): (&Place, &str), config: &Value) -> Outcome {
    command.env("CNI_COMMAND", verb).env("CNI_IFNAME", ifname).env("CNI_PATH", "/usr/lib/cni");
    command.env("CNI_CONTAINERID", place.name()).env("CNI_NETNS", place.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    Outcome::of(child.wait_with_output().unwrap())
}

/// Calls a plugin of ours; `prev` is the result of those before it.
fn ours(host: &Host, verb: &str, at: (&Place, &str), (config, prev): (&Value, &Value)) -> Outcome {
    let (mut command, mut config) = (host.qiao.command(), config.clone());
    command.arg0(config["type"].as_str().unwrap());
    if !prev.is_null() {
        config["prevResult"] = prev.clone();
    }
    call(command, verb, at, &config)
}

fn done(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code, Some(0), "{outcome}");
    outcome
}

/// The routes of all tables but the local one, and the addresses. Those of IPv6 are lost on the way, and come back without being
/// looked for again (`nodad`).
fn routing(place: &Place) -> Vec<String> {
    let mut lines = Vec::new();
    for line in ["ip -o addr", "ip route show table all", "ip -6 route show table all"] {
        let text = place.stdout(line);
        let kept = text.lines().filter(|line| {
            !["table local", "lo ", "ff00::", "anycast"].iter().any(|word| line.contains(word))
        });
        lines.extend(kept.map(|line| {
            let words =
                line.split_whitespace().filter(|word| !word.starts_with("valid_lft") && *word != "nodad");
            words
                .collect::<Vec<_>>()
                .join(" ")
                .split_once(": ")
                .map_or(line.to_owned(), |(_, rest)| rest.to_owned())
        }));
    }
    lines.sort();
    lines
}

fn has(place: &Place, line: &str, words: &str) -> bool {
    place
        .stdout(line)
        .lines()
        .any(|seen| seen.split_whitespace().collect::<Vec<_>>().join(" ").contains(words))
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn cni_vrf_behind_our_bridge() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let main = |net| config("bridge", net, &json!({}));
        let vrf = |net| config("vrf", net, &json!({}));
        let prev = done(ours(host, "ADD", (&c1, "eth0"), (&main(1), &Value::Null))).json();
        c1.run("sysctl -qw net.ipv4.tcp_l3mdev_accept=1");
        let before = routing(&c1);
        let answer =
            done(ours(host, "ADD", (&c1, "eth0"), (&config("vrf", 1, &json!({"table": 1001})), &prev)))
                .json();
        assert_eq!(answer["ips"], prev["ips"]);
        assert!(
            has(&c1, "ip -d link show blue", "vrf table 1001")
                && has(&c1, "ip link show eth0", "master blue")
        );
        assert!(has(&c1, "ip route show table 1001", "default via 10.1.0.1 dev eth0"), "{:#?}", routing(&c1));
        assert!(
            has(&c1, "ip -6 route show table 1001", "default via fd00:1::1 dev eth0"),
            "{:#?}",
            routing(&c1)
        );
        assert_eq!(c1.stdout("ip route show table main"), "");
        assert!(has(&c1, "ip -6 addr show dev eth0", "fd00:1::2/64"), "IPv6 addresses stay");
        let _services = [Service::start(&c1, Protocol::Tcp, "0.0.0.0:80")];
        assert!(ask(&host.lan, Protocol::Tcp, "10.1.0.2:80").is_some(), "from outside");
        done(ours(host, "CHECK", (&c1, "eth0"), (&vrf(1), &prev)));
        done(ours(host, "CHECK", (&c1, "eth0"), (&main(1), &prev)));
        for line in ["ip link set eth0 nomaster", "ip link set blue down", "ip route del default table 1001"]
        {
            c1.run(line);
            assert_eq!(ours(host, "CHECK", (&c1, "eth0"), (&vrf(1), &prev)).json()["code"], 110, "{line}");
            host.ok("repair");
            done(ours(host, "CHECK", (&c1, "eth0"), (&vrf(1), &prev)));
        }
        assert!(ask(&host.lan, Protocol::Tcp, "10.1.0.2:80").is_some(), "after repair");
        // A second interface behind the same device; another table than it has is refused.
        let second = done(ours(host, "ADD", (&c1, "net1"), (&main(2), &Value::Null))).json();
        let refused = ours(host, "ADD", (&c1, "net1"), (&config("vrf", 2, &json!({"table": 7})), &second));
        assert_eq!(refused.json()["code"], 100, "{refused}");
        done(ours(host, "ADD", (&c1, "net1"), (&vrf(2), &second)));
        assert!(has(&c1, "ip link show net1", "master blue"));
        done(ours(host, "DEL", (&c1, "net1"), (&vrf(2), &second)));
        assert!(has(&c1, "ip link show eth0", "master blue"), "the other is as it was");
        assert!(!has(&c1, "ip link show net1", "master"));
        done(ours(host, "ADD", (&c1, "net1"), (&vrf(2), &second)));
        done(ours(host, "DEL", (&c1, "net1"), (&main(2), &second)));
        assert!(has(&c1, "ip -d link show blue", "vrf table 1001"), "the last one takes it along");
        for _ in 0..2 {
            done(ours(host, "DEL", (&c1, "eth0"), (&vrf(1), &prev)));
            assert_eq!(routing(&c1), before, "DEL");
        }
        assert!(!c1.stdout("ip link").contains("blue"));
        done(ours(host, "ADD", (&c1, "eth0"), (&vrf(1), &prev)));
        assert!(has(&c1, "ip -d link show blue", "vrf table 1 "), "the first that is free");
        done(ours(host, "DEL", (&c1, "eth0"), (&main(1), &prev)));
        assert!(!c1.stdout("ip link").contains("blue"), "with its interface");
    });
}

/// Behind the reference's `bridge`, and in a VRF that somebody else made.
#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn cni_vrf_behind_the_references_bridge() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let reference = Command::new("/usr/lib/cni/bridge");
        let prev = done(call(reference, "ADD", (&c1, "eth0"), &config("bridge", 1, &json!({})))).json();
        c1.run("ip route add 203.0.113.0/24 via 10.1.0.1 metric 7");
        let before = routing(&c1);
        let vrf = config("vrf", 1, &json!({}));
        done(ours(host, "ADD", (&c1, "eth0"), (&vrf, &prev)));
        assert!(has(&c1, "ip route show table 1", "default via 10.1.0.1 dev eth0"), "{:#?}", routing(&c1));
        assert!(
            has(&c1, "ip route show table 1", "203.0.113.0/24 via 10.1.0.1 dev eth0"),
            "{:#?}",
            routing(&c1)
        );
        done(ours(host, "CHECK", (&c1, "eth0"), (&vrf, &prev)));
        done(ours(host, "DEL", (&c1, "eth0"), (&vrf, &prev)));
        assert_eq!(routing(&c1), before, "DEL");
        c1.run("ip link add blue type vrf table 77");
        c1.run("ip link set blue up");
        done(ours(host, "ADD", (&c1, "eth0"), (&vrf, &prev)));
        assert!(has(&c1, "ip route show table 77", "default via 10.1.0.1 dev eth0"), "{:#?}", routing(&c1));
        done(ours(host, "DEL", (&c1, "eth0"), (&vrf, &prev)));
        assert!(has(&c1, "ip -d link show blue", "vrf table 77"), "it is somebody else's");
        c1.run("ip link del blue");
        assert_eq!(routing(&c1), before, "DEL");
    });
}
