//! D2: no container is given what makes it somebody else: the hardware address of its bridge, of another port or of
//! another container there, the address of the gateway, of the network or of its broadcasts. Through every door.

use crate::cni_bridge::{LEASES, leases};
use crate::netavark::{call as netavark, error, network, on, setup, teardown};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Place, Protocol, Service, ask, eventually, run, stdout};
use serde_json::{Value, json};
use std::time::Duration;

fn mac_of(link: &str) -> String {
    stdout(&format!("cat /sys/class/net/{link}/address")).trim().to_owned()
}

/// The host's end of the one pair whose name begins so.
fn port(prefix: &str) -> String {
    let names = stdout("ls /sys/class/net");
    names
        .lines()
        .find(|name| name.starts_with(prefix))
        .unwrap_or_else(|| panic!("{prefix}: {names}"))
        .to_owned()
}

/// The forwarding entries of a hardware address on a bridge.
fn entries(bridge: &str, mac: &str) -> Vec<String> {
    let all = stdout(&format!("bridge fdb show br {bridge}"));
    all.lines().filter(|line| line.starts_with(mac)).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d2_the_command_gives_nobody_the_bridges_identity() {
    on_a_host(|host| {
        host.ok("network create front --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64");
        let web = host.attached("web", "--network front --mac-address 02:00:00:00:00:11");
        let thief = host.container("thief");
        let bridge = mac_of("br-front");
        let end = mac_of(&port("q-web"));
        let refused = |code: i32, options: &str| {
            let said = host
                .refused(code, &format!("attach thief --netns {} --network front {options}", thief.path()));
            assert!(!said.stderr.contains("panicked"), "{said}");
        };
        refused(5, &format!("--mac-address {bridge}"));
        refused(5, &format!("--mac-address {end}"));
        // Also where no port has it yet: it would be that of a port to come.
        refused(5, "--mac-address fe:00:00:00:00:99");
        refused(5, "--mac-address 02:00:00:00:00:11");
        refused(2, "--mac-address 01:00:5e:00:00:01");
        refused(2, "--mac-address 00:00:00:00:00:00");
        for (code, ip) in [(5, "172.30.0.1"), (2, "172.30.0.0"), (2, "172.30.0.255")] {
            refused(code, &format!("--ip {ip}"));
        }
        for (code, ip) in [(5, "fd00:30::1"), (2, "fd00:30::")] {
            refused(code, &format!("--ip6 {ip}"));
        }
        let _service = Service::start(&Place::HOST, Protocol::Udp, "172.30.0.1:7");
        assert!(ask(&web, Protocol::Udp, "172.30.0.1:7").is_some(), "the gateway answers");
        // The control: another one is given.
        host.attach(&thief, "--network front --mac-address 02:00:00:00:00:12 --ip 172.30.0.9");
        assert!(ask(&thief, Protocol::Udp, "172.30.0.1:7").is_some());
    });
}

/// A routed network has no bridge in between, but gateways all the same.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d2_a_routed_network_keeps_its_identity() {
    on_a_host(|host| {
        host.ok("network create far -d routed --subnet 172.31.0.0/24");
        host.attached("web", "--network far");
        let thief = host.container("thief");
        let end = mac_of(&port("q-web"));
        for options in [format!("--mac-address {end}"), "--ip 172.31.0.1".into()] {
            host.refused(5, &format!("attach thief --netns {} --network far {options}", thief.path()));
        }
    });
}

/// A macvlan child has its parent's hardware address no more than it has its own.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d2_a_child_is_not_its_parent() {
    on_a_host(|host| {
        host.ok("network create lan -d macvlan -o parent=up0 --subnet 192.0.2.0/24 --gateway 192.0.2.100");
        let thief = host.container("thief");
        let options =
            [format!("--mac-address {}", mac_of("up0")), "--ip 192.0.2.1".into(), "--ip 192.0.2.100".into()];
        for options in options {
            host.refused(5, &format!("attach thief --netns {} --network lan {options}", thief.path()));
        }
        host.attach(&thief, "--network lan --mac-address 02:00:00:00:00:12 --ip 192.0.2.77");
    });
}

/// A configuration of a network on `cni0` with static addresses.
fn fixed(name: &str, address: &str, more: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"{name}","type":"bridge","bridge":"cni0","isDefaultGateway":true,
        "capabilities":{{"mac":true}},"ipam":{{"type":"static","addresses":[{{"address":"{address}"}}]}}{more}}}"#
    )
}

fn add(host: &Host, place: &Place, config: &str) -> Outcome {
    host.qiao.plugin(("bridge", "ADD"), (place.name(), &place.path()), config)
}

fn del(host: &Host, place: &Place, config: &str) {
    host.qiao.plugin_ok(("bridge", "DEL"), (place.name(), &place.path()), config);
}

/// An ADD is refused, and nothing of it is left.
fn refused(host: &Host, place: &Place, config: &str) -> Outcome {
    let before = host.snapshot();
    let said = add(host, place, config);
    assert_eq!(said.code, Some(1), "{config}: {said}");
    assert!(said.json()["code"].is_u64() && !said.stderr.contains("panicked"), "{config}: {said}");
    host.assert_like(&before, config);
    said
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d2_cni_gives_nobody_the_bridges_identity() {
    on_a_host(|host| {
        let (web, thief) = (host.container("web"), host.container("thief"));
        let first = fixed("n1", "10.9.0.5/24", r#","runtimeConfig":{"mac":"02:00:00:00:00:11"}"#);
        assert_eq!(add(host, &web, &first).code, Some(0));
        let (bridge, end) = (mac_of("cni0"), mac_of(&port("q-web")));
        // On another network, too, as long as that is on the same bridge.
        for name in ["n1", "n2"] {
            for mac in [&bridge, &end, "02:00:00:00:00:11", "01:00:5e:00:00:01", "00:00:00:00:00:00"] {
                let more = format!(r#","runtimeConfig":{{"mac":"{mac}"}}"#);
                refused(host, &thief, &fixed(name, "10.9.0.6/24", &more));
                let more = format!(r#","args":{{"cni":{{"mac":"{mac}"}}}}"#);
                refused(host, &thief, &fixed(name, "10.9.0.6/24", &more));
            }
            for ip in ["10.9.0.1", "10.9.0.0", "10.9.0.255", "10.9.0.5", "224.0.0.1", "127.0.0.1", "0.0.0.0"]
            {
                refused(host, &thief, &fixed(name, &format!("{ip}/24"), ""));
            }
        }
        let two = r#"{"address":"10.9.0.6/24"},{"address":"fd00:9::/64"}"#;
        refused(host, &thief, &fixed("n1", "10.9.0.6/24", "").replace(r#"{"address":"10.9.0.6/24"}"#, two));
        assert_eq!(entries("cni0", &bridge), [format!("{bridge} dev cni0 master cni0 permanent")]);
        // The control, and the same through `tuning` behind it.
        let good = fixed("n2", "10.9.0.6/24", r#","runtimeConfig":{"mac":"02:00:00:00:00:12"}"#);
        let said = add(host, &thief, &good);
        assert_eq!(said.code, Some(0), "{said}");
        for mac in [&bridge, &end, "02:00:00:00:00:11"] {
            let mut tuning: Value = serde_json::from_str(&good).unwrap();
            tuning["type"] = json!("tuning");
            tuning["mac"] = json!(mac);
            tuning.as_object_mut().unwrap().remove("runtimeConfig");
            tuning["prevResult"] = said.json();
            let call = ("tuning", "ADD");
            let refused = host.qiao.plugin(call, (thief.name(), &thief.path()), &tuning.to_string());
            assert_eq!(refused.code, Some(1), "tuning {mac}: {refused}");
        }
        assert_eq!(thief.stdout("cat /sys/class/net/eth0/address").trim(), "02:00:00:00:00:12");
        assert_eq!(entries("cni0", "02:00:00:00:00:11").len(), 1);
        del(host, &thief, &good);
        assert_eq!(entries("cni0", "02:00:00:00:00:11").len(), 1);
        host.ok("check");
        del(host, &web, &first);
    });
}

/// A bridge of somebody else's, with addresses and forwarding entries of its own.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d2_cni_keeps_away_from_who_is_on_a_foreign_bridge() {
    on_a_host(|host| {
        run("ip link add cni0 address 02:00:00:00:00:77 type bridge");
        run("ip link set cni0 addrgenmode none");
        run("ip addr add 10.9.0.1/24 dev cni0");
        run("ip addr add 10.9.0.99/24 dev cni0");
        run("ip link set cni0 up");
        run("ip link add tap0 type veth peer name tap1");
        run("ip link set tap0 addrgenmode none");
        run("ip link set tap1 addrgenmode none");
        run("ip link set tap0 master cni0 up");
        run("ip link set tap1 up");
        assert!(eventually(Duration::from_secs(5), || stdout("ip link show cni0").contains("state UP")));
        run("bridge fdb add 02:00:00:00:00:33 dev tap0 master static");
        let thief = host.container("thief");
        for mac in ["02:00:00:00:00:77", "02:00:00:00:00:33"] {
            let more = format!(r#","runtimeConfig":{{"mac":"{mac}"}}"#);
            refused(host, &thief, &fixed("n1", "10.9.0.6/24", &more));
        }
        refused(host, &thief, &fixed("n1", "10.9.0.99/24", ""));
        assert!(entries("cni0", "02:00:00:00:00:77")[0].contains("permanent"));
        assert!(entries("cni0", "02:00:00:00:00:33")[0].contains("dev tap0"));
        // What the bridge only learned is nobody's: it is taken over.
        run("bridge fdb add 02:00:00:00:00:44 dev tap0 master dynamic");
        let learned = fixed("n1", "10.9.0.6/24", r#","runtimeConfig":{"mac":"02:00:00:00:00:44"}"#);
        let said = add(host, &thief, &learned);
        assert_eq!(said.code, Some(0), "{said}");
        let found = entries("cni0", "02:00:00:00:00:44");
        assert!(
            found.len() == 1 && found[0].contains("dev q-thief") && found[0].contains("static"),
            "{found:?}"
        );
        del(host, &thief, &learned);
    });
}

/// Ranges may contain what no host may have; it is skipped.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d2_host_local_skips_what_no_host_may_have() {
    on_a_host(|host| {
        let config = format!(
            r#"{{"cniVersion":"1.1.0","name":"n1","type":"bridge","bridge":"cni0","isDefaultGateway":true,
            "ipam":{{"type":"host-local","dataDir":"{LEASES}","ranges":[[{{"subnet":"10.9.0.0/29",
            "rangeStart":"10.9.0.0","rangeEnd":"10.9.0.7","gateway":"10.9.0.3"}}]]}}}}"#
        );
        let places: Vec<Place> = (0..6).map(|n| host.container(&format!("c{n}"))).collect();
        let done: Vec<bool> = places.iter().map(|place| add(host, place, &config).code == Some(0)).collect();
        assert_eq!(done, [true, true, true, true, true, false]);
        assert_eq!(leases(), ["10.9.0.1", "10.9.0.2", "10.9.0.4", "10.9.0.5", "10.9.0.6"]);
        for ip in ["10.9.0.0", "10.9.0.7", "10.9.0.3"] {
            let asked = config
                .replace(r#""isDefault"#, &format!(r#""args":{{"cni":{{"ips":["{ip}"]}}}},"isDefault"#));
            assert_eq!(add(host, &places[5], &asked).code, Some(1), "{ip}");
        }
        assert_eq!(leases().len(), 5);
    });
}

/// Two point-to-point networks may have the same subnet, but not the same container.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d2_the_route_to_one_container_is_not_replaced_by_anothers() {
    on_a_host(|host| {
        let ptp = |name: &str, ip: &str| {
            fixed(name, ip, "").replace(r#""type":"bridge","bridge":"cni0""#, r#""type":"ptp""#)
        };
        let call = |place: &Place, verb: &str, config: &str| {
            host.qiao.plugin(("ptp", verb), (place.name(), &place.path()), config)
        };
        let (web, thief) = (host.container("web"), host.container("thief"));
        assert_eq!(call(&web, "ADD", &ptp("n1", "10.9.0.5/24")).code, Some(0));
        let _service = Service::start(&web, Protocol::Udp, "10.9.0.5:7");
        assert!(ask(&Place::HOST, Protocol::Udp, "10.9.0.5:7").is_some());
        let before = host.snapshot();
        let said = call(&thief, "ADD", &ptp("n2", "10.9.0.5/24"));
        assert_eq!(said.code, Some(1), "{said}");
        host.assert_like(&before, "the address is another container's");
        assert!(ask(&Place::HOST, Protocol::Udp, "10.9.0.5:7").is_some());
        assert_eq!(call(&thief, "ADD", &ptp("n2", "10.9.0.6/24")).code, Some(0));
    });
}

fn asking(options: &Value, more: &Value) -> Value {
    let mut options = options.clone();
    let network = options["networks"][0].as_object_mut().unwrap();
    network.extend(more.as_object().unwrap().clone());
    options
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d2_netavark_gives_nobody_the_bridges_identity() {
    on_a_host(|host| {
        let (web, thief) = (host.container("web"), host.container("thief"));
        let mut sibling = network(1, true);
        sibling["name"] = json!("net2");
        sibling["id"] = json!(format!("{:064x}", 2));
        let first = asking(&on("web", 5, &[&network(1, true)]), &json!({"static_mac": "02:00:00:00:00:11"}));
        setup(host, &web, &first);
        let bridge = mac_of("podman1");
        let end = stdout("ip -o link show master podman1");
        let end = mac_of(end.split(": ").nth(1).unwrap().split('@').next().unwrap());
        for network in [&network(1, true), &sibling] {
            let options = on("thief", 6, &[network]);
            let refused = |more: Value| {
                let before = host.snapshot();
                error(&netavark(host, &["setup", &thief.path()], &asking(&options, &more)));
                host.assert_like(&before, &more.to_string());
            };
            for mac in [&bridge, &end, "02:00:00:00:00:11", "01:00:5e:00:00:01", "00:00:00:00:00:00"] {
                refused(json!({"static_mac": mac}));
            }
            for ips in [
                ["10.89.1.1", "fd00:89:1::6"],
                ["10.89.1.0", "fd00:89:1::6"],
                ["10.89.1.255", "fd00:89:1::6"],
                ["10.89.1.5", "fd00:89:1::6"],
                ["10.89.1.6", "fd00:89:1::1"],
                ["10.89.1.6", "fd00:89:1::"],
                ["10.89.1.6", "fd00:89:1::5"],
            ] {
                refused(json!({"static_ips": ips}));
            }
            let good = asking(&options, &json!({"static_mac": "02:00:00:00:00:12"}));
            setup(host, &thief, &good);
            teardown(host, &thief, &good);
        }
        let neighbours = stdout("ip neigh show dev podman1");
        assert!(neighbours.contains("10.89.1.5 lladdr 02:00:00:00:00:11 PERMANENT"), "{neighbours}");
        host.ok("check");
        teardown(host, &web, &first);
    });
}

/// Without its own entry a bridge floods what is sent to the gateway, and our ports take no floods.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d2_the_bridges_own_entry_is_missed_and_restored() {
    on_a_host(|host| {
        host.ok("network create front --subnet 172.30.0.0/24");
        let web = host.attached("web", "--network front");
        let _service = Service::start(&Place::HOST, Protocol::Udp, "172.30.0.1:7");
        let (bridge, port) = (mac_of("br-front"), port("q-web"));
        let own = [format!("{bridge} dev br-front master br-front permanent")];
        assert_eq!(entries("br-front", &bridge), own);
        assert!(ask(&web, Protocol::Udp, "172.30.0.1:7").is_some());
        // Who had it, and left.
        run(&format!("bridge fdb replace {bridge} dev {port} master static"));
        assert_eq!(host.qiao.run("check").code, Some(11), "another port has it");
        run(&format!("bridge fdb del {bridge} dev {port} master"));
        assert_eq!(entries("br-front", &bridge), [""; 0]);
        assert!(ask(&web, Protocol::Udp, "172.30.0.1:7").is_none(), "the gateway is not reached");
        let said = host.qiao.run("check");
        assert!(said.code == Some(11) && said.stdout.contains(&bridge), "{said}");
        host.ok("repair");
        assert_eq!(entries("br-front", &bridge), own);
        assert!(ask(&web, Protocol::Udp, "172.30.0.1:7").is_some(), "the gateway is reached again");
        host.ok("check");
    });
}

/// An entry that leads to another port is not the container's.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d2_an_entry_at_another_port_is_reported() {
    on_a_host(|host| {
        host.ok("network create front --subnet 172.30.0.0/24");
        host.attached("web", "--network front --mac-address 02:00:00:00:00:11");
        host.attached("thief", "--network front");
        host.ok("check");
        run(&format!("bridge fdb replace 02:00:00:00:00:11 dev {} master static", port("q-thief")));
        let said = host.qiao.run("check");
        assert!(said.code == Some(11) && said.stdout.contains("02:00:00:00:00:11"), "{said}");
        host.qiao.run("repair");
        let found = entries("br-front", "02:00:00:00:00:11");
        assert!(found.len() == 1 && found[0].contains(&port("q-web")), "{found:?}");
        host.ok("check");
    });
}
