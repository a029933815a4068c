//! CNI's `macvlan`, `ipvlan` and `vlan`. What this machine's kernel lacks of them is tried in a guest (`vm`).

use crate::cni_bridge::{LEASES, call, leases, ok};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run, stdout};
use serde_json::Value;

/// A configuration of network `n1`, of the outside host's addresses; `more` are further keys.
fn config(plugin: &str, more: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"n1","type":"{plugin}","ipam":{{"type":"host-local","dataDir":"{LEASES}",
        "ranges":[[{{"subnet":"192.0.2.0/24","rangeStart":"192.0.2.50","rangeEnd":"192.0.2.59","gateway":"192.0.2.100"}}]],
        "routes":[{{"dst":"0.0.0.0/0"}}]}}{more}}}"#
    )
}

fn answer(place: &Place, to: &str) -> String {
    ask(place, Protocol::Tcp, to).unwrap_or_default()
}

fn serve(place: &Place) -> Service {
    Service::start(place, Protocol::Tcp, "[::]:80")
}

fn add(host: &Host, place: &Place, more: &str) -> Value {
    ok(host, ("macvlan", "ADD"), (place.name(), &place.path()), &config("macvlan", more)).json()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn macvlan_containers_are_hosts_of_the_neighbourhood() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        let result = add(host, &c1, r#","bcqueuelen":77,"mtu":1400"#);
        add(host, &c2, "");
        let services = [serve(&c1), serve(&host.lan)];
        assert_eq!(answer(&host.lan, "192.0.2.50:80"), "c1 192.0.2.100", "from the neighbourhood");
        assert_eq!(answer(&c1, "192.0.2.100:80"), "lan 192.0.2.50", "to it");
        assert_eq!(answer(&c2, "192.0.2.50:80"), "c1 192.0.2.51", "siblings");
        assert_eq!(answer(&Place::HOST, "192.0.2.50:80"), "", "but not the host: so the kernel has it");
        drop(services);
        assert!(c1.stdout("ip route").contains("default via 192.0.2.100"));
        let link = c1.stdout("ip -d link show eth0");
        assert!(link.contains("macvlan mode bridge bcqueuelen 77") && link.contains("mtu 1400"), "{link}");
        assert_eq!(result["interfaces"].as_array().unwrap().len(), 1, "{result}");
        assert!(link.contains(result["interfaces"][0]["mac"].as_str().unwrap()), "{result} {link}");
        assert_eq!(
            (&result["ips"][0]["interface"], &result["interfaces"][0]["mtu"]),
            (&0.into(), &1400.into())
        );
        let prev = config("macvlan", &format!(r#","prevResult":{result}"#));
        ok(host, ("macvlan", "CHECK"), ("c1", &c1.path()), &prev);
        assert_eq!(host.ok("check").stdout.lines().count(), 1, "{}", host.ok("check"));
        c1.run("ip link set eth0 type macvlan mode private");
        assert_eq!(call(host, ("macvlan", "CHECK"), ("c1", &c1.path()), &prev).json()["code"], 110);
        for _ in 0..2 {
            ok(host, ("macvlan", "DEL"), ("c1", &c1.path()), &config("macvlan", ""));
        }
        assert!(!c1.stdout("ip link").contains("eth0"), "it is gone although the namespace lives on");
        c2.delete();
        ok(host, ("macvlan", "DEL"), ("c2", ""), &config("macvlan", ""));
        assert_eq!(leases(), [""; 0]);
        host.container("c2");
        host.assert_like(&before, "both are gone");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_hardware_address_is_the_one_asked_for_and_tuning_gives_another() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let own = ("c1", &*c1.path());
        let prev = add(host, &c1, r#","master":"up0","mac":"02:00:00:00:00:77""#);
        assert_eq!(prev["interfaces"][0]["mac"], "02:00:00:00:00:77");
        assert!(c1.stdout("ip link show eth0").contains("02:00:00:00:00:77"));
        let tuned = format!(r#","mac":"02:00:00:00:00:78","prevResult":{prev}"#);
        let tuned = ok(host, ("tuning", "ADD"), own, &config("tuning", &tuned)).json();
        assert!(c1.stdout("ip link show eth0").contains("02:00:00:00:00:78"));
        ok(host, ("macvlan", "CHECK"), own, &config("macvlan", &format!(r#","prevResult":{tuned}"#)));
        let _service = serve(&c1);
        assert_eq!(answer(&host.lan, "192.0.2.50:80"), "c1 192.0.2.100");
        let ports = r#","runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":80}]}"#;
        let publish = config("portmap", &format!(r#"{ports},"prevResult":{tuned}"#));
        let refused = call(host, ("portmap", "ADD"), own, &publish);
        assert_eq!(refused.json()["code"], 103, "nothing is published past the host's rules: {refused}");
    });
}

/// A network without addresses: whoever is in the container gives itself one.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn interfaces_without_addresses() {
    on_a_host(|host| {
        let bare = r#"{"cniVersion":"1.0.0","name":"n1","type":"macvlan","master":"up0"}"#;
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        for place in [&c1, &c2] {
            let result = ok(host, ("macvlan", "ADD"), (place.name(), &place.path()), bare).json();
            assert_eq!(result["ips"], Value::Null);
            assert_eq!(place.stdout("sysctl -n net.ipv6.conf.eth0.accept_ra").trim(), "1");
        }
        let mac = |place: &Place| place.stdout("cat /sys/class/net/eth0/address");
        assert_ne!(mac(&c1), mac(&c2), "each its own hardware address");
        c1.run("ip addr add 192.0.2.77/24 dev eth0");
        let service = serve(&c1);
        assert_eq!(answer(&host.lan, "192.0.2.77:80"), "c1 192.0.2.100");
        drop(service);
        [&c1, &c2].iter().for_each(|p| drop(ok(host, ("macvlan", "DEL"), (p.name(), &p.path()), bare)));
        host.assert_like(&before, "both are gone");
    });
}

/// The interface that it is on is the container's own.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn on_an_interface_of_the_container() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        run("ip link add out0 netns lan type veth peer name own0 netns c1");
        for line in ["ip link set own0 up", "ip link set lo up"] {
            c1.run(line);
        }
        host.lan.run("ip link set out0 up");
        host.lan.run("ip addr add 198.51.100.1/24 dev out0");
        let config = r#"{"cniVersion":"1.0.0","name":"n1","type":"macvlan","master":"own0","linkInContainer":true,
            "ipam":{"type":"static","addresses":[{"address":"198.51.100.7/24"}]}}"#;
        let own = ("c1", &*c1.path());
        let result = ok(host, ("macvlan", "ADD"), own, config).json();
        let _service = serve(&c1);
        assert_eq!(answer(&host.lan, "198.51.100.7:80"), "c1 198.51.100.1");
        let link = c1.stdout("ip -d link show eth0");
        assert!(link.contains("eth0@own0"), "{link}");
        assert_eq!(host.ok("check").stdout.lines().count(), 1, "{}", host.ok("check"));
        c1.run("ip link del eth0");
        host.ok("repair");
        assert!(c1.stdout("ip -d link show eth0").contains("eth0@own0"), "made anew");
        let checked = config.replacen('{', &format!(r#"{{"prevResult":{result},"#), 1);
        ok(host, ("macvlan", "CHECK"), own, &checked);
        ok(host, ("macvlan", "DEL"), own, config);
        let links = c1.stdout("ip -o link");
        assert!(links.contains("own0") && !links.contains("eth0"), "{links}");
    });
}

/// Whether the kernel knows a kind of link.
fn kernel_has(kind: &str) -> bool {
    let words = format!("link add link up0 name try0 type {kind}");
    let made = std::process::Command::new("ip").args(words.split(' ')).output();
    let has = made.is_ok_and(|output| output.status.success());
    if has {
        run("ip link del try0");
    }
    has
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_cannot_be_is_refused_and_leaves_nothing() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let lacking: Vec<_> = ["ipvlan", "vlan id 9"].into_iter().filter(|kind| !kernel_has(kind)).collect();
        let before = host.snapshot();
        let own = ("c1", &*c1.path());
        let mut wrong = vec![
            ("macvlan", r#","master":"none0""#, 104, "none0"),
            ("macvlan", r#","mode":"l2""#, 7, "mode"),
            ("macvlan", r#","mtu":9000"#, 7, "9000"),
            ("macvlan", r#","mode":"passthru","mac":"02:00:00:00:00:77""#, 7, "hardware address"),
            ("macvlan", r#","linkInContainer":true"#, 7, "master"),
            ("macvlan", r#","linkInContainer":true,"master":"none0""#, 104, "none0"),
            ("macvlan", r#","master":"lo""#, 7, "loopback"),
            ("vlan", r#","vlanId":9"#, 7, "master"),
            ("vlan", r#","master":"up0""#, 7, "vlanId"),
            ("vlan", r#","master":"up0","vlanId":4095"#, 7, "4095"),
            ("ipvlan", r#","mode":"bridge""#, 7, "mode"),
        ];
        wrong.extend(lacking.iter().map(|kind| match *kind {
            "vlan id 9" => ("vlan", r#","master":"up0","vlanId":9"#, 103, "CONFIG_VLAN_8021Q"),
            _ => ("ipvlan", "", 103, "CONFIG_IPVLAN"),
        }));
        for (plugin, more, code, word) in wrong {
            let refused = call(host, (plugin, "ADD"), own, &config(plugin, more));
            assert_eq!(refused.json()["code"], code, "{plugin} {more}: {refused}");
            assert!(refused.stdout.contains(word), "{plugin} {more}: {refused}");
            assert_eq!(leases(), [""; 0], "{plugin} {more}");
            host.assert_like(&before, &format!("{plugin} with {more} was refused"));
        }
        let status = call(host, ("macvlan", "STATUS"), ("", ""), &config("macvlan", r#","master":"none0""#));
        assert_eq!(status.json()["code"], 50, "{status}");
        ok(host, ("macvlan", "STATUS"), ("", ""), &config("macvlan", ""));
        assert!(stdout("ip link").contains("up0"));
    });
}
