//! Podman on our netavark: networks, several of them, and what keeps them apart.

use crate::machine::{address, answers, is_closed, is_published};
use crate::netavark_names::resolves;
use crate::podman::{Backend, Podman};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Place, Protocol, Service, ask, run};
use std::collections::BTreeSet;
use std::thread;

fn addresses_on(place: &Place, prefix: &str) -> Option<String> {
    let text = place.stdout("ip -o addr");
    let word = text.split_whitespace().find(|word| word.starts_with(prefix))?;
    word.split('/').next().map(str::to_owned)
}

/// Defect A: an internal network is internal in both families, whoever asks.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_internal_network_is_internal() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        podman.ok("network create --internal --ipv6 --subnet 10.90.1.0/24 --subnet fd00:90:1::/64 in");
        podman.ok("network create --ipv6 --subnet 10.90.2.0/24 --subnet fd00:90:2::/64 out");
        podman.start("inner", "--network in --ip 10.90.1.7 --ip6 fd00:90:1::7 -p 8080:80");
        podman.start("sibling", "--network in");
        podman.start("outer", "--network out --ip 10.90.2.7 --ip6 fd00:90:2::7");
        let [inner, sibling, outer] = ["inner", "sibling", "outer"].map(|name| podman.place(name));
        let _servers: Vec<_> = [&inner, &outer]
            .iter()
            .flat_map(|place| [Protocol::Udp, Protocol::Tcp].map(|p| Service::start(place, p, "[::]:80")))
            .collect();
        let _outside = Service::start(&host.lan, Protocol::Udp, "[::]:99");
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            for to in ["10.90.1.7:80", "[fd00:90:1::7]:80"] {
                let said = ask(&sibling, protocol, to).unwrap_or_default();
                assert!(said.starts_with("inner"), "the control: {to} {said}");
                for from in [&outer, &host.lan] {
                    assert_eq!(ask(from, protocol, to), None, "{} to {to}", from.name());
                }
            }
            for to in ["10.90.2.7:80", "[fd00:90:2::7]:80"] {
                assert!(ask(&Place::HOST, protocol, to).is_some(), "the control: {to}");
                assert_eq!(ask(&inner, protocol, to), None, "inner to {to}");
            }
        }
        for (to, from) in [("192.0.2.100:99", &outer), ("[2001:db8::100]:99", &outer)] {
            assert!(ask(from, Protocol::Udp, to).is_some(), "the control: {to}");
            assert_eq!(ask(&inner, Protocol::Udp, to), None, "inner to {to}");
        }
        is_closed(host, 8080);
        resolves(&sibling, ("inner", "10.90.1.1"), "10.90.1.7");
    });
}

/// `isolate`: strict is reached by nobody, true by false alone, and false by false and true.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn networks_are_isolated_as_asked() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        let networks =
            [("strict", ""), ("on", "true"), ("other", "true"), ("off", "false"), ("open", "false")];
        for ((name, isolate), n) in networks.iter().zip(1..) {
            podman.ok(&format!("network create --subnet 10.90.{n}.0/24 {name}"));
            // Podman 4.3 takes `false` for nothing, and does not know `strict`.
            set_isolate(name, isolate);
            podman.start(name, &format!("--network {name} --ip 10.90.{n}.7 -p {}:80", 8080 + n));
        }
        let places = networks.map(|(name, _)| podman.place(name));
        let _servers: Vec<_> =
            places.iter().map(|place| Service::start(place, Protocol::Tcp, "0.0.0.0:80")).collect();
        let passes = |from: &str, to: &str| match (from, to) {
            (a, b) if a == b => true,
            ("off" | "open", "off" | "open" | "on" | "other") | ("on" | "other", "off" | "open") => true,
            _ => false,
        };
        for from in &places {
            for (to, n) in places.iter().zip(1..) {
                let said = ask(from, Protocol::Tcp, &format!("10.90.{n}.7:80"));
                assert_eq!(
                    said.is_some(),
                    passes(from.name(), to.name()),
                    "{} to {}",
                    from.name(),
                    to.name()
                );
                // What is published is reached, from every network (netavark#709).
                answers(from, &format!("192.0.2.1:{}", 8080 + n), to.name());
            }
        }
    });
}

fn set_isolate(network: &str, value: &str) {
    let path = format!("/etc/containers/networks/{network}.json");
    let text = std::fs::read_to_string(&path).expect("the network's file");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    if !value.is_empty() {
        config["options"]["isolate"] = value.into();
    }
    std::fs::write(&path, config.to_string()).expect("the network's file");
}

/// A container of a macvlan network is a host of the neighbourhood, until it goes.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_macvlan_container_is_a_neighbour() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        podman.ok("network create -d macvlan -o parent=up0 --subnet 192.0.2.0/24 --gateway 192.0.2.100 lan");
        let _outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
        for _ in 0..2 {
            podman.start("near", "--network lan --ip 192.0.2.50");
            let near = podman.place("near");
            let link = near.stdout("ip -d -o link show eth0");
            assert!(link.contains("macvlan mode bridge"), "{link}");
            let _server = Service::start(&near, Protocol::Tcp, "0.0.0.0:80");
            assert_eq!(
                ask(&host.lan, Protocol::Tcp, "192.0.2.50:80").as_deref(),
                Some("near 192.0.2.100"),
                "not translated"
            );
            assert_eq!(ask(&near, Protocol::Tcp, "192.0.2.100:99").as_deref(), Some("lan 192.0.2.50"));
            podman.remove("near");
            assert_eq!(ask(&host.lan, Protocol::Tcp, "192.0.2.50:80"), None, "it is gone");
            near.delete();
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_networks_of_which_one_is_left_and_joined_again() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        podman.ok("network create --subnet 10.90.1.0/24 one");
        podman.ok("network create --ipv6 --subnet 10.90.2.0/24 --subnet fd00:90:2::/64 two");
        let before = podman.machine.snapshot();
        podman.start("web", "--network one --network two -p 8080:80");
        podman.start("friend", "--network two");
        let (web, friend) = (podman.place("web"), podman.place("friend"));
        let both: BTreeSet<_> = ["eth0", "eth1"].iter().map(|name| address(&web, name)).collect();
        assert!(both.len() == 2 && both.iter().all(|a| a.starts_with("10.90.")), "{both:?}");
        is_published(host, &web, 8080);
        let reached = || {
            let _server = Service::start(&web, Protocol::Tcp, "[::]:80");
            ["192.0.2.1:8080", "[2001:db8::1]:8080"].iter().for_each(|to| answers(&host.lan, to, "web"));
            ["127.0.0.1:8080", "[::1]:8080"].iter().for_each(|to| answers(&Place::HOST, to, "web"));
        };
        reached();
        let on = |prefix: &str| addresses_on(&web, prefix);
        resolves(&friend, ("web", "10.90.2.1"), &on("10.90.2.").expect("an address"));
        podman.ok("network disconnect one web");
        assert_eq!(on("10.90.1."), None);
        reached(); // by what is left
        is_published(host, &web, 8080);
        podman.ok("network connect one web");
        assert!(on("10.90.1.").is_some());
        podman.ok("network disconnect two web");
        is_published(host, &web, 8080);
        podman.ok("network connect two web");
        reached();
        resolves(&friend, ("web", "10.90.2.1"), &on("10.90.2.").expect("an address"));
        podman.ok("network reload web");
        reached();
        [web, friend].into_iter().for_each(Place::delete);
        ["web", "friend"].iter().for_each(|name| podman.remove(name));
        is_closed(host, 8080);
        podman.machine.assert_like(&before, "two networks");
    });
}

/// Defects F and G: whatever is done at once or twice, there is one rule set, and it goes with the last container.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn twenty_at_once_on_a_new_network() {
    const COUNT: u16 = 20;
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        podman.ok("network create --subnet 10.90.1.0/24 one");
        let before = podman.machine.snapshot();
        let all = |act: &(dyn Fn(u16) + Sync)| {
            thread::scope(|scope| (1..=COUNT).for_each(|n| drop(scope.spawn(move || act(n)))));
        };
        let rules = || {
            let text = qiao_testbed::stdout("nft list ruleset");
            text.lines()
                .filter(|line| !line.contains("elements") && !line.contains("comment \"qiao:ep:"))
                .count()
        };
        podman.start("first", "--network one");
        let one = rules();
        podman.remove("first");
        all(&|n| podman.start(&format!("c{n}"), &format!("--network one -p {}:80", 8080 + n)));
        assert_eq!(rules(), one);
        for n in 1..=COUNT {
            let place = podman.place(&format!("c{n}"));
            let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
            answers(&host.lan, &format!("192.0.2.1:{}", 8080 + n), place.name());
            place.delete();
        }
        all(&|n| podman.remove(&format!("c{n}")));
        podman.machine.assert_like(&before, "twenty containers at once");
    });
}

/// Somebody flushes the rules; `podman network reload` is teardown and setup of what runs.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn network_reload_brings_the_rules_back() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        podman.start("web", "-p 8080:80");
        let web = podman.place("web");
        is_published(host, &web, 8080);
        run("nft flush ruleset");
        podman.ok("network reload web");
        is_published(host, &web, 8080);
    });
}
