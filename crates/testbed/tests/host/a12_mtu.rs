//! A12: an MTU below what IPv6 needs is one of IPv4, down to the kernel's own least, and refused with the reason where
//! somebody wants IPv6.

use crate::netavark::{call as netavark, error, network, on, setup, teardown};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Place, Protocol, Service, ask, run, stdout};
use serde_json::json;

fn mtu(place: &Place, link: &str) -> u32 {
    place.stdout(&format!("cat /sys/class/net/{link}/mtu")).trim().parse().expect("a number")
}

/// Whether a container works: it has this MTU, and what is larger arrives in pieces.
fn works(host: &Host, place: &Place, least: u32) {
    assert_eq!(mtu(place, "eth0"), least);
    assert!(!place.stdout("ip -o addr show eth0").contains("inet6"), "nobody asked for IPv6");
    let _service = Service::start(&host.lan, Protocol::Udp, "192.0.2.100:7");
    assert!(ask(place, Protocol::Udp, "192.0.2.100:7").is_some(), "with an MTU of {least}");
    let large = ["ping", "-c", "1", "-W", "2", "-s", "1400", "192.0.2.100"];
    let done = place.command("busybox").args(large).output().expect("busybox");
    assert!(least < 576 || done.status.success(), "in pieces, with an MTU of {least}");
    assert_eq!(host.qiao.run("check").code, Some(0));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a12_the_command_makes_small_networks() {
    on_a_host(|host| {
        for kind in ["bridge", "routed"] {
            for least in [68, 576, 1000, 1279] {
                host.ok(&format!("network create small -d {kind} --subnet 172.30.0.0/24 --mtu {least}"));
                let place = host.attached("c", "--network small");
                works(host, &place, least);
                host.ok("repair");
                host.ok("detach c");
                place.delete();
                host.ok("network rm small");
            }
            // With IPv6 only from 1280 on, and said so.
            for more in ["--ipv6", "--subnet fd00:30::/64"] {
                let said = host.refused(2, &format!("network create small -d {kind} --mtu 1279 {more}"));
                assert!(
                    said.stderr.contains("1279")
                        && said.stderr.contains("IPv6")
                        && said.stderr.contains("1280"),
                    "{said}"
                );
            }
            host.refused(2, &format!("network create small -d {kind} --mtu 67"));
            host.ok(&format!("network create small -d {kind} --mtu 1280 --ipv6"));
            let place = host.attached("c", "--network small");
            assert!(place.stdout("ip -o addr show eth0").contains("inet6 fd"), "the control");
            host.ok("detach c");
            place.delete();
            host.ok("network rm small");
        }
    });
}

/// Nobody asked for IPv6: it is left out where the host has it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a12_a_setting_is_no_wish_for_ipv6() {
    on_a_host(|host| {
        std::fs::write("/run/small.toml", "mtu = 1000\n").unwrap();
        let place = host.attached("c", "--config /run/small.toml");
        works(host, &place, 1000);
        host.ok("--config /run/small.toml network create other");
        host.ok("--config /run/small.toml network create six --ipv6 --mtu 1400");
        let said = host.refused(2, "--config /run/small.toml network create seven --ipv6");
        assert!(said.stderr.contains("IPv6") && said.stderr.contains("1280"), "{said}");
    });
}

/// The uplink's MTU is the networks', as far as IPv6 may have it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a12_an_uplink_may_be_small() {
    on_a_host(|host| {
        run("ip link set up0 mtu 1000");
        host.lan.run("ip link set eth0 mtu 1000");
        host.ok("network create four --subnet 172.30.0.0/24 --ipv4");
        let place = host.attached("c", "--network four");
        works(host, &place, 1000);
        host.ok("network create six --ipv6 --subnet 172.31.0.0/24");
        let six = host.attached("d", "--network six");
        assert_eq!(mtu(&six, "eth0"), 1280);
        let _service = Service::start(&host.lan, Protocol::Udp, "192.0.2.100:7");
        assert!(ask(&six, Protocol::Udp, "192.0.2.100:7").is_some());
        host.ok("check");
        // A child has its parent's.
        host.ok("network create lan -d macvlan -o parent=up0 --subnet 192.0.2.0/24 --gateway 192.0.2.100");
        let child = host.attached("e", "--network lan --ip 192.0.2.77");
        assert_eq!(mtu(&child, "eth0"), 1000);
        assert!(ask(&child, Protocol::Udp, "192.0.2.100:7").is_some());
        let said = host.refused(2, "network create lan6 -d macvlan -o parent=up0 --subnet 2001:db8::/64");
        assert!(said.stderr.contains("IPv6") && said.stderr.contains("1280"), "{said}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a12_children_may_be_small() {
    on_a_host(|host| {
        for least in [68, 1000] {
            host.ok(&format!("network create lan -d macvlan -o parent=up0 --subnet 192.0.2.0/24 --gateway 192.0.2.100 --mtu {least}"));
            let place = host.attached("c", "--network lan --ip 192.0.2.77");
            assert_eq!(mtu(&place, "eth0"), least);
            let _service = Service::start(&host.lan, Protocol::Udp, "192.0.2.100:7");
            assert!(ask(&place, Protocol::Udp, "192.0.2.100:7").is_some());
            host.ok("check");
            host.ok("detach c");
            place.delete();
            host.ok("network rm lan");
        }
        host.refused(2, "network create lan -d macvlan -o parent=up0 --subnet 2001:db8::/64 --mtu 1000");
    });
}

/// A configuration of `plugin` with these addresses and this MTU.
fn config(plugin: &str, (mtu, addresses): (u32, &[&str])) -> String {
    let addresses: Vec<_> = addresses.iter().map(|net| json!({"address": net})).collect();
    json!({
        "cniVersion": "1.1.0", "name": "n1", "type": plugin, "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true,
        "master": "up0", "mtu": mtu, "ipam": {"type": "static", "addresses": addresses,
        "routes": [{"dst": "0.0.0.0/0"}]},
    })
    .to_string()
}

fn add(host: &Host, place: &Place, (plugin, config): (&str, &str)) -> Outcome {
    host.qiao.plugin((plugin, "ADD"), (place.name(), &place.path()), config)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a12_cni_takes_small_mtus() {
    on_a_host(|host| {
        let place = host.container("c");
        for plugin in ["bridge", "ptp", "macvlan"] {
            for least in [68, 1000] {
                let small = config(plugin, (least, &["10.9.0.5/24"]));
                let said = add(host, &place, (plugin, &small));
                assert_eq!(said.code, Some(0), "{plugin}: {said}");
                assert_eq!(mtu(&place, "eth0"), least, "{plugin}");
                let prev = said.stdout.clone();
                let again = small.replacen('{', &format!(r#"{{"prevResult":{prev},"#), 1);
                host.qiao.plugin_ok((plugin, "CHECK"), (place.name(), &place.path()), &again);
                host.ok("check");
                host.qiao.plugin_ok((plugin, "DEL"), (place.name(), &place.path()), &small);
            }
            for (least, addresses) in [
                (1279, &["10.9.0.5/24", "fd00:9::5/64"][..]),
                (67, &["10.9.0.5/24"]),
                (1279, &["fd00:9::5/64"]),
            ] {
                let before = host.snapshot();
                let wrong = config(plugin, (least, addresses));
                let said = add(host, &place, (plugin, &wrong));
                assert_eq!(said.code, Some(1), "{plugin}: {said}");
                let text = said.json().to_string();
                assert!(text.contains(&least.to_string()) && !text.contains("os error"), "{plugin}: {said}");
                assert!(least == 67 || text.contains("IPv6"), "{plugin}: {said}");
                host.assert_like(&before, &wrong);
            }
            let good = config(plugin, (1280, &["10.9.0.5/24", "fd00:9::5/64"]));
            let said = add(host, &place, (plugin, &good));
            assert_eq!(said.code, Some(0), "{plugin}: {said}");
            host.qiao.plugin_ok((plugin, "DEL"), (place.name(), &place.path()), &good);
        }
    });
}

/// A small port would make the bridge small, and take the gateway's IPv6 address with it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a12_no_port_takes_ipv6_from_the_bridge() {
    on_a_host(|host| {
        let (six, four) = (host.container("six"), host.container("four"));
        let first = config("bridge", (1500, &["10.9.0.5/24", "fd00:9::5/64"]));
        assert_eq!(add(host, &six, ("bridge", &first)).code, Some(0));
        let has_gateway = || stdout("ip -6 -o addr show cni0").contains("fd00:9::1/64");
        assert!(has_gateway(), "the control");
        let second = config("bridge", (1000, &["10.8.0.6/24"])).replace("\"n1\"", "\"n2\"");
        let before = host.snapshot();
        let said = add(host, &four, ("bridge", &second));
        assert!(said.code == Some(1) && said.json().to_string().contains("IPv6"), "{said}");
        host.assert_like(&before, "a small port");
        assert!(has_gateway());
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a12_netavark_takes_small_mtus() {
    on_a_host(|host| {
        let place = host.container("c");
        for least in [68, 1000] {
            let mut four = network(1, false);
            four["options"] = json!({"mtu": least.to_string()});
            let options = on("c", 5, &[&four]);
            setup(host, &place, &options);
            assert_eq!(mtu(&place, "eth0"), least);
            host.ok("check");
            teardown(host, &place, &options);
        }
        let mut six = network(1, true);
        six["options"] = json!({"mtu": "1000"});
        let before = host.snapshot();
        let said = error(&netavark(host, &["setup", &place.path()], &on("c", 5, &[&six])));
        assert!(said.contains("1000") && said.contains("IPv6"), "{said}");
        host.assert_like(&before, "refused");
    });
}
