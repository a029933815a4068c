//! CNI: `sbr`. A container with two interfaces answers by the one that the question came in at; what does it is looked at
//! with `ip rule` and `ip route`.

use crate::cni_adopted::{config, reference};
use crate::cni_bridge::call;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Place, Protocol, Service, ask, run};
use serde_json::{Value, json};
use std::process::Stdio;

/// The second network of the container: `net1`, behind another bridge.
fn second() -> Value {
    json!({"name": "n2", "bridge": "cni1", "ipMasq": false, "isDefaultGateway": false,
        "ipam": {"type": "host-local", "dataDir": "/run/leases",
            "ranges": [[{"subnet": "10.8.0.0/24"}], [{"subnet": "fd00:8::/64"}]],
            "routes": [{"dst": "198.51.100.0/24"}, {"dst": "2001:db8:51::/48"}]}})
}

/// Calls a plugin of ours for an interface.
fn plugin(
    host: &Host,
    (name, verb): (&str, &str),
    (place, ifname): (&Place, &str),
    config: &Value,
) -> Outcome {
    let mut command = host.qiao.command();
    std::os::unix::process::CommandExt::arg0(&mut command, name);
    command.env("CNI_COMMAND", verb).env("CNI_IFNAME", ifname).env("CNI_PATH", "/nonexistent");
    command.env("CNI_CONTAINERID", place.name()).env("CNI_NETNS", place.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, config.to_string().as_bytes()).unwrap();
    drop(input);
    Outcome::of(child.wait_with_output().unwrap())
}

fn done(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code, Some(0), "{outcome}");
    outcome
}

/// Both interfaces, of ours; the results.
fn both(host: &Host, c1: &Place, main: &str) -> [Value; 2] {
    let first = done(plugin(host, (main, "ADD"), (c1, "eth0"), &config(main, &json!({})))).json();
    let last = done(plugin(host, (main, "ADD"), (c1, "net1"), &config(main, &second()))).json();
    [first, last]
}

fn sbr(prev: &Value, more: &Value) -> Value {
    let mut config = config("sbr", &second());
    config["prevResult"] = prev.clone();
    more.as_object().into_iter().flatten().for_each(|(key, value)| config[key] = value.clone());
    config
}

/// All that routes: rules, and the routes of all tables but the local one.
fn routing(place: &Place) -> Vec<String> {
    let mut lines = Vec::new();
    for line in ["ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all"] {
        let text = place.stdout(line);
        let kept = text.lines().filter(|line| !line.contains("table local"));
        lines.extend(kept.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    lines.sort();
    lines
}

fn has(place: &Place, line: &str) -> bool {
    routing(place).iter().any(|seen| seen.starts_with(line))
}

/// Which interface an answer from an address leaves by.
fn way(place: &Place, from: &str, to: &str) -> String {
    place.stdout(&format!("ip route get {to} from {from}"))
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn answers_leave_where_the_question_came_in() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let [_, prev] = both(host, &c1, "bridge");
        let before = routing(&c1);
        let _services = ["10.8.0.2:80", "[fd00:8::2]:80"].map(|at| Service::start(&c1, Protocol::Tcp, at));
        // A router that heeds where packets come from: what comes by the first network's port with the second's
        // address is nothing it forwards, which the guard says too.
        assert!(
            ask(&host.lan, Protocol::Tcp, "10.8.0.2:80").is_none(),
            "the control: it answers by the other one"
        );
        assert!(way(&c1, "10.8.0.2", "192.0.2.100").contains("dev eth0"));
        let answer = done(plugin(host, ("sbr", "ADD"), (&c1, "net1"), &sbr(&prev, &json!({})))).json();
        assert_eq!(answer["ips"], prev["ips"]);
        assert!(way(&c1, "10.8.0.2", "192.0.2.100").contains("via 10.8.0.1 dev net1"));
        assert!(ask(&host.lan, Protocol::Tcp, "10.8.0.2:80").is_some());
        assert!(ask(&host.lan, Protocol::Tcp, "[fd00:8::2]:80").is_some(), "IPv6");
        for line in [
            "32765: from 10.8.0.2 lookup 100",
            "32765: from fd00:8::2 lookup 101",
            "default via 10.8.0.1 dev net1 table 100",
            "10.8.0.0/24 dev net1 table 100",
            "198.51.100.0/24 via 10.8.0.1 dev net1 table 100",
            "default via fd00:8::1 dev net1 table 101",
            "fd00:8::/64 dev net1 table 101",
        ] {
            assert!(has(&c1, line), "{line}: {:#?}", routing(&c1));
        }
        assert!(
            !has(&c1, "10.8.0.0/24 dev net1 proto")
                && !has(&c1, "198.51.100.0/24 via 10.8.0.1 dev net1 proto")
        );
        assert!(way(&c1, "10.9.0.2", "192.0.2.100").contains("dev eth0"), "the other is as it was");
        done(plugin(host, ("sbr", "CHECK"), (&c1, "net1"), &sbr(&answer, &json!({}))));
        let mut main = config("bridge", &second());
        main["prevResult"] = answer.clone();
        done(plugin(host, ("bridge", "CHECK"), (&c1, "net1"), &main));
        is_looked_after(host, &c1, &answer);
        let during = routing(&c1);
        done(plugin(host, ("sbr", "ADD"), (&c1, "net1"), &sbr(&prev, &json!({}))));
        assert_eq!(routing(&c1), during, "twice is once");
        for _ in 0..2 {
            done(plugin(host, ("sbr", "DEL"), (&c1, "net1"), &sbr(&answer, &json!({}))));
            assert_eq!(routing(&c1), before, "DEL");
        }
        done(plugin(host, ("sbr", "ADD"), (&c1, "net1"), &sbr(&prev, &json!({}))));
        done(plugin(host, ("bridge", "DEL"), (&c1, "net1"), &main));
        assert!(
            !routing(&c1).iter().any(|line| line.contains("10.8.0.2") || line.contains("table 10")),
            "{:#?}",
            routing(&c1)
        );
    });
}

fn is_looked_after(host: &Host, c1: &Place, prev: &Value) {
    let checked = || plugin(host, ("sbr", "CHECK"), (c1, "net1"), &sbr(prev, &json!({})));
    let during = routing(c1);
    for line in [
        "ip rule del from 10.8.0.2",
        "ip route del default table 100",
        "ip route flush table 101",
        "ip route flush table 100",
    ] {
        let line = if line.ends_with("101") { line.replace("ip ", "ip -6 ") } else { line.to_owned() };
        c1.run(&line);
        assert_eq!(checked().json()["code"], 110, "{line}");
        host.ok("repair");
        done(checked());
        let strip = |lines: Vec<String>| {
            lines
                .into_iter()
                .filter(|line| !line.contains("32765") && !line.contains("3276"))
                .collect::<Vec<_>>()
        };
        assert_eq!(strip(routing(c1)), strip(during.clone()), "`{line}`, then repair");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn with_a_table_and_hints() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let [first, prev] = both(host, &c1, "bridge");
        let before = (host.snapshot(), routing(&c1));
        for (more, code) in [
            (json!({"table": 254}), 7),
            (json!({"table": "main"}), 7),
            (json!({"gateways": ["10.8.0.300"]}), 7),
            (json!({"gateways": ["10.8.0.9", "192.0.2.77"]}), 7),
            (json!({"addSourceHints": "perhaps"}), 7),
        ] {
            let refused = plugin(host, ("sbr", "ADD"), (&c1, "net1"), &sbr(&prev, &more));
            assert_eq!(refused.json()["code"], code, "{more}: {refused}");
        }
        let alone = call(host, ("sbr", "ADD"), ("c1", &c1.path()), &config("sbr", &json!({})).to_string());
        assert_eq!(alone.json()["code"], 7, "without a plugin before it: {alone}");
        host.assert_like(&before.0, "all was refused");
        assert_eq!(routing(&c1), before.1, "all was refused");
        // A table that somebody uses is not taken, unless it is named; both interfaces may have theirs.
        c1.run("ip route add blackhole 203.0.113.0/24 table 100");
        c1.run("ip rule add from 203.0.113.9 lookup 101");
        done(plugin(host, ("sbr", "ADD"), (&c1, "net1"), &sbr(&prev, &json!({"addSourceHints": "true"}))));
        assert!(
            has(&c1, "default via 10.8.0.1 dev net1 table 102")
                && has(&c1, "default via fd00:8::1 dev net1 table 103"),
            "{:#?}",
            routing(&c1)
        );
        assert!(c1.stdout("ip route show table 102").lines().next().unwrap().contains("src 10.8.0.2"));
        let mut own = config("sbr", &json!({"table": 4000}));
        own["prevResult"] = first;
        done(plugin(host, ("sbr", "ADD"), (&c1, "eth0"), &own));
        assert!(has(&c1, "default via 10.9.0.1 dev eth0 table 4000"), "{:#?}", routing(&c1));
        assert!(c1.stdout("ip -6 rule").contains("from fd00:9::2 lookup 4000"));
        assert_eq!(c1.stdout("ip route show table main"), "", "nothing is left there");
        done(plugin(host, ("sbr", "DEL"), (&c1, "eth0"), &own));
        done(plugin(host, ("sbr", "DEL"), (&c1, "net1"), &sbr(&prev, &json!({}))));
        let gateways = json!({"table": 4001, "gateways": ["10.8.0.9"]});
        done(plugin(host, ("sbr", "ADD"), (&c1, "net1"), &sbr(&prev, &gateways)));
        for line in ["default via 10.8.0.9 dev net1 table 4001", "default via fd00:8::1 dev net1 table 4001"]
        {
            assert!(has(&c1, line), "{line}: {:#?}", routing(&c1));
        }
        done(plugin(host, ("sbr", "CHECK"), (&c1, "net1"), &sbr(&prev, &gateways)));
        done(plugin(host, ("sbr", "DEL"), (&c1, "net1"), &sbr(&prev, &gateways)));
        c1.run("ip route del blackhole 203.0.113.0/24 table 100");
        c1.run("ip rule del from 203.0.113.9 lookup 101");
        assert_eq!(routing(&c1), before.1, "DEL of both");
    });
}

/// Behind the reference's `bridge`: nothing of it is ours, and everything comes back.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn behind_the_references_bridge() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let prev = reference(("bridge", "ADD"), &c1, &config("bridge", &json!({}))).json();
        c1.run("ip route add 203.0.113.0/24 via 10.9.0.1 metric 7");
        let before = routing(&c1);
        let mut config = config("sbr", &json!({}));
        config["prevResult"] = prev;
        done(plugin(host, ("sbr", "ADD"), (&c1, "eth0"), &config));
        for line in [
            "default via 10.9.0.1 dev eth0 table 100",
            "203.0.113.0/24 via 10.9.0.1 dev eth0 table 100",
            "10.9.0.0/24 dev eth0 table 100",
        ] {
            assert!(has(&c1, line), "{line}: {:#?}", routing(&c1));
        }
        assert_eq!(c1.stdout("ip route show table main"), "");
        assert!(has(&c1, "fe80::/64 dev eth0"), "neighbours are still found");
        let _outside = Service::start(&host.lan, Protocol::Tcp, "192.0.2.100:80");
        assert!(way(&c1, "10.9.0.2", "192.0.2.100").contains("via 10.9.0.1"));
        done(plugin(host, ("sbr", "CHECK"), (&c1, "eth0"), &config));
        done(plugin(host, ("sbr", "DEL"), (&c1, "eth0"), &config));
        assert_eq!(routing(&c1), before);
        // GC, with the namespace there and when it is gone.
        done(plugin(host, ("sbr", "ADD"), (&c1, "eth0"), &config));
        config["cniVersion"] = "1.1.0".into();
        config["cni.dev/valid-attachments"] = json!([]);
        done(plugin(host, ("sbr", "GC"), (&c1, "eth0"), &config));
        assert_eq!(routing(&c1), before, "GC");
        config["cniVersion"] = "1.0.0".into();
        done(plugin(host, ("sbr", "ADD"), (&c1, "eth0"), &config));
        run("ip netns del c1");
        let gone = call(host, ("sbr", "DEL"), ("c1", "/run/netns/c1"), &config.to_string());
        assert_eq!(gone.code, Some(0), "{gone}");
    });
}

/// What this kernel lacks is refused by name; where it has it, `cargo xtask vm` has the tests.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn vrf_names_what_is_missing() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let prev = done(plugin(host, ("bridge", "ADD"), (&c1, "eth0"), &config("bridge", &json!({})))).json();
        let before = host.snapshot();
        let vrf = |more: Value| {
            let mut config = config("vrf", &more);
            config["prevResult"] = prev.clone();
            plugin(host, ("vrf", "ADD"), (&c1, "eth0"), &config).json()
        };
        assert_eq!(vrf(json!({}))["code"], 7);
        assert_eq!(vrf(json!({"vrfname": "a/b"}))["code"], 7);
        assert_eq!(vrf(json!({"vrfname": "blue", "table": 254}))["code"], 7);
        let has =
            Place::HOST.command("ip").args(["link", "add", "blue", "type", "vrf", "table", "7"]).status();
        if !has.unwrap().success() {
            let refused = vrf(json!({"vrfname": "blue"}));
            assert_eq!(refused["code"], 103, "{refused}");
            assert!(refused["details"].as_str().unwrap().contains("CONFIG_NET_VRF"), "{refused}");
        }
        host.assert_like(&before, "all was refused");
    });
}
