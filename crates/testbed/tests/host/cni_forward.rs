//! CNI: `firewall` on hosts whose `iptables` drop what is forwarded, as Docker sets them.

use crate::cni_adopted::{address, behind, config, is_as, main_plugin, steady};
use crate::cni_bridge::{call, ok};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run, stdout};
use serde_json::{Value, json};
use std::process::Command;

fn drop_forwarded() {
    run("iptables -P FORWARD DROP");
    run("ip6tables -P FORWARD DROP");
}

fn open(host: &Host, verb: &str, place: &Place, prev: &Value) {
    behind(host, ("firewall", verb), (place.name(), &place.path()), (prev, &json!({})));
}

/// Out and by a published port everything passes, and nothing else does.
fn passes(host: &Host, place: &Place, prev: &Value) {
    let _service = Service::start(place, Protocol::Tcp, "[::]:80");
    let _outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
    for (out, back) in [("192.0.2.100:99", "192.0.2.1:8080"), ("[2001:db8::100]:99", "[2001:db8::1]:8080")] {
        assert!(ask(place, Protocol::Tcp, out).is_some(), "to {out}");
        assert!(ask(&host.lan, Protocol::Tcp, back).is_some(), "to {back}");
    }
    let straight = format!("{}:80", address(prev, 0));
    assert_eq!(ask(&host.lan, Protocol::Tcp, &straight), None, "straight, the policy drops it");
    assert!(ask(&Place::HOST, Protocol::Tcp, &straight).is_some(), "control: it is served");
}

fn ports() -> Value {
    json!({"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}})
}

/// What drops and cannot be changed by us is named, and nothing else is.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn check_tells_of_policies() {
    on_a_host(|host| {
        let told = || host.qiao.run("check").stderr;
        run("iptables -P FORWARD DROP");
        assert_eq!(told(), "", "no network is in use");
        host.attached("web", "");
        host.ok("network create inner --internal");
        host.attached("app", "--network inner");
        assert_eq!(told(), "", "ours are let through");
        let c1 = host.container("c1");
        ok(host, ("bridge", "ADD"), ("c1", &c1.path()), &config("bridge", &json!({})).to_string());
        let by_nft = "warning: `iptables` drops what the host forwards by IPv4 (the policy of FORWARD): of the networks `cni.";
        assert!(told().starts_with(by_nft) && !told().contains("`bridge`"), "{}", told());
        assert_eq!(told().lines().count(), 1, "{}", told());
        run("iptables -P FORWARD ACCEPT");
        assert_eq!(told(), "");
        let legacy =
            [("iptables-legacy", "IPv4", "192.0.2.77"), ("ip6tables-legacy", "IPv6", "2001:db8::77")];
        for (program, family, from) in legacy {
            let set = Command::new(program).args(["-P", "FORWARD", "DROP"]).status();
            if !set.is_ok_and(|status| status.success()) {
                eprintln!("{program} does not work here: it was not looked at");
                continue;
            }
            run(&format!("{program} -A FORWARD -s {from} -j ACCEPT")); // the policy is behind it
            let expected = format!("the legacy `iptables` drops what the host forwards by {family} ");
            assert!(told().contains(&expected) && told().lines().count() == 1, "{}", told());
            run(&format!("{program} -P FORWARD ACCEPT"));
            assert_eq!(told(), "", "the control: {program} lets all through");
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn our_bridge_is_let_through_and_closed_behind_the_last() {
    on_a_host(|host| {
        drop_forwarded();
        run("iptables -A FORWARD -d 192.0.2.77 -j DROP");
        let before = steady(host);
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let add = |place: &Place| {
            ok(
                host,
                ("bridge", "ADD"),
                (place.name(), &place.path()),
                &config("bridge", &json!({})).to_string(),
            )
            .json()
        };
        let (first, second) = (add(&c1), add(&c2));
        behind(host, ("portmap", "ADD"), ("c1", &c1.path()), (&first, &ports()));
        let _outside = Service::start(&host.lan, Protocol::Tcp, "192.0.2.100:99");
        assert_eq!(ask(&c1, Protocol::Tcp, "192.0.2.100:99"), None, "control: it is dropped");
        drop(_outside);
        open(host, "ADD", &c1, &first);
        open(host, "ADD", &c2, &second);
        passes(host, &c1, &first);
        let rules = stdout("iptables-save -t filter");
        let wanted = [
            "-A FORWARD -d 192.0.2.77/32 -j DROP\n-A FORWARD -j QIAO-FORWARD\n",
            "-A QIAO-FORWARD -o cni0 -m conntrack --ctstate RELATED,ESTABLISHED,DNAT",
            "-A QIAO-FORWARD -i cni0",
        ];
        wanted.iter().for_each(|rule| assert_eq!(rules.matches(rule).count(), 1, "{rule}: {rules}"));
        // Somebody flushes them: the next command mends it, whatever it is.
        run("iptables -F");
        host.ok("gc");
        passes(host, &c1, &first);
        open(host, "CHECK", &c1, &first);
        let told = |keys: &Value| {
            let mut all = config("firewall", keys);
            all["prevResult"] = first.clone();
            call(host, ("firewall", "ADD"), ("c1", &c1.path()), &all.to_string())
        };
        let keys =
            json!({"backend": "nftables", "iptablesAdminChainName": "MINE", "firewalldZone": "trusted"});
        assert_eq!(told(&keys).code, Some(0), "{}", told(&keys));
        let without = told(&json!({"backend": "firewalld"}));
        assert!(without.code == Some(0) && without.stderr.contains("firewalld does not run"), "{without}");
        passes(host, &c1, &first);
        for place in [&c1, &c2] {
            behind(host, ("firewall", "DEL"), (place.name(), ""), (&first, &json!({})));
            ok(host, ("bridge", "DEL"), (place.name(), ""), &config("bridge", &json!({})).to_string());
        }
        run("iptables -A FORWARD -d 192.0.2.77 -j DROP");
        is_as(host, &before, "both are gone");
    });
}

/// A rule of somebody else's that leads to our chain keeps the chain, and nobody from leaving.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_chain_that_others_lead_to_stays_and_is_empty() {
    on_a_host(|host| {
        drop_forwarded();
        let c1 = host.container("c1");
        let text = config("bridge", &json!({})).to_string();
        let first = ok(host, ("bridge", "ADD"), ("c1", &c1.path()), &text).json();
        open(host, "ADD", &c1, &first);
        run("iptables -N OTHERS");
        run("iptables -A OTHERS -j QIAO-FORWARD");
        behind(host, ("firewall", "DEL"), ("c1", ""), (&first, &json!({})));
        ok(host, ("bridge", "DEL"), ("c1", ""), &text);
        let rules = stdout("iptables-save -t filter");
        let left: Vec<&str> = rules.lines().filter(|line| line.contains("QIAO")).collect();
        assert_eq!(left, [":QIAO-FORWARD - [0:0]", "-A OTHERS -j QIAO-FORWARD"], "{rules}");
        assert!(!stdout("ip6tables-save -t filter").contains("QIAO"), "where nobody leads to it, it goes");
        host.ok("check");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_others_attach_is_let_through() {
    on_a_host(|host| {
        for main in ["ptp", "bridge"] {
            run("iptables -P FORWARD ACCEPT");
            run("ip6tables -P FORWARD ACCEPT");
            let c1 = host.container("c1");
            let first = main_plugin(main, &c1);
            drop_forwarded();
            let before = steady(host);
            behind(host, ("portmap", "ADD"), ("c1", &c1.path()), (&first, &ports()));
            open(host, "ADD", &c1, &first);
            passes(host, &c1, &first);
            open(host, "DEL", &c1, &first);
            behind(host, ("portmap", "DEL"), ("c1", &c1.path()), (&first, &ports()));
            is_as(host, &before, main);
            crate::cni_adopted::reference((main, "DEL"), &c1, &config(main, &json!({"prevResult": first})));
            c1.delete();
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn our_links_are_let_through_one_by_one() {
    on_a_host(|host| {
        drop_forwarded();
        let before = steady(host);
        let c1 = host.container("c1");
        let ptp = config("ptp", &json!({})).to_string();
        let first = ok(host, ("ptp", "ADD"), ("c1", &c1.path()), &ptp).json();
        behind(host, ("portmap", "ADD"), ("c1", &c1.path()), (&first, &ports()));
        let outside = Service::start(&host.lan, Protocol::Tcp, "192.0.2.100:99");
        assert_eq!(ask(&c1, Protocol::Tcp, "192.0.2.100:99"), None, "control: it is dropped");
        drop(outside);
        open(host, "ADD", &c1, &first);
        passes(host, &c1, &first);
        let link = first["interfaces"][0]["name"].as_str().unwrap();
        let rules = stdout("iptables-save -t filter");
        assert_eq!(rules.matches(&format!("-A QIAO-FORWARD -i {link}")).count(), 1, "{rules}");
        run("iptables -F");
        host.ok("repair");
        passes(host, &c1, &first);
        ok(host, ("ptp", "DEL"), ("c1", ""), &ptp);
        is_as(host, &before, "it is gone");
    });
}
