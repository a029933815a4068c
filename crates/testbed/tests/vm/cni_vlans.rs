//! CNI's `bridge` with VLANs.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run, stdout};
use serde_json::Value;

/// A configuration of a network on `cni0`: its name, its net, and further keys.
fn config((name, net): (&str, &str), more: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"{name}","type":"bridge","bridge":"cni0","ipam":{{"type":"host-local",
        "dataDir":"/run/leases","ranges":[[{{"subnet":"{net}.0/24"}}]],"routes":[{{"dst":"0.0.0.0/0"}}]}}{more}}}"#
    )
}

fn add(host: &Host, place: &Place, config: &str) -> Value {
    host.qiao.plugin_ok(("bridge", "ADD"), (place.name(), &place.path()), config).json()
}

fn answer(place: &Place, to: &str) -> String {
    ask(place, Protocol::Tcp, to).unwrap_or_default()
}

fn serve(place: &Place) -> Service {
    Service::start(place, Protocol::Tcp, "[::]:80")
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn cni_bridge_tells_vlans_apart() {
    on_a_host(|host| {
        let places = ["c1", "c2", "c3"].map(|name| host.container(name));
        let before = host.snapshot();
        // One subnet in both, so that only the VLAN tells them apart.
        let ten = config(("n10", "10.9.0"), r#","vlan":10"#);
        let twenty = config(("n20", "10.9.0"), r#","vlan":20,"preserveDefaultVlan":true"#)
            .replace(r#""10.9.0.0/24""#, r#""10.9.0.0/24","rangeStart":"10.9.0.100""#);
        let results =
            [add(host, &places[0], &ten), add(host, &places[1], &ten), add(host, &places[2], &twenty)];
        let services = places.each_ref().map(serve);
        assert_eq!(answer(&places[0], "10.9.0.3:80"), "c2 10.9.0.2", "the same VLAN");
        assert_eq!(answer(&places[0], "10.9.0.100:80"), "", "another one");
        drop(services);
        let port = |at: usize| {
            let result: &Value = &results[at];
            let name = result["interfaces"][1]["name"].as_str().unwrap().to_owned();
            stdout(&format!("bridge vlan show dev {name}")).split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert!(port(0).ends_with(" 10 PVID Egress Untagged"), "{}", port(0));
        assert!(!port(0).contains(" 1 "), "the one that was there unasked is gone: {}", port(0));
        assert!(port(2).contains(" 1 Egress Untagged 20 PVID Egress Untagged"), "{}", port(2));
        assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
        let name = results[0]["interfaces"][1]["name"].as_str().unwrap();
        for line in [
            format!("bridge vlan del vid 10 dev {name}"),
            format!("bridge vlan add vid 77 dev {name}"),
            "ip link set cni0 type bridge vlan_filtering 0".to_owned(),
        ] {
            run(&line);
            assert_eq!(host.qiao.run("check").code, Some(11), "{line}");
            host.ok("repair");
            assert_eq!(host.qiao.run("check").code, Some(0), "{line}: {}", host.qiao.run("check"));
        }
        for (place, config) in places.iter().zip([&ten, &ten, &twenty]) {
            host.qiao.plugin_ok(("bridge", "DEL"), (place.name(), ""), config);
        }
        run("rm -r /run/leases");
        host.assert_like(&before, "all are gone");
    });
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn cni_vlans_have_gateways() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        let gateway = r#","isGateway":true,"ipMasq":true"#;
        let ten = config(("n10", "10.9.0"), &format!(r#","vlan":10{gateway}"#));
        let plain = config(("n1", "10.8.0"), gateway);
        add(host, &c1, &ten);
        add(host, &c2, &plain);
        let services = [serve(&c1), serve(&host.lan), serve(&Place::HOST)];
        assert_eq!(answer(&c1, "10.9.0.1:80"), "host 10.9.0.2", "the gateway");
        assert_eq!(answer(&Place::HOST, "10.9.0.2:80"), "c1 10.9.0.1", "from the host");
        assert_eq!(answer(&c1, "192.0.2.100:80"), "lan 192.0.2.1", "outside, as the host");
        assert_eq!(answer(&c2, "192.0.2.100:80"), "lan 192.0.2.1", "also without a VLAN on the same bridge");
        assert_eq!(answer(&c2, "10.9.0.2:80"), "c1 10.9.0.1", "by the host, as the host");
        drop(services);
        assert!(stdout("ip -o addr show cni0.10").contains("10.9.0.1/24"));
        assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
        host.qiao.plugin_ok(("bridge", "DEL"), ("c1", ""), &ten);
        assert!(!stdout("ip link").contains("cni0.10"), "it goes with its network");
        let _lan = serve(&host.lan);
        assert_eq!(answer(&c2, "192.0.2.100:80"), "lan 192.0.2.1", "the other goes on");
        drop(_lan);
        host.qiao.plugin_ok(("bridge", "DEL"), ("c2", ""), &plain);
        run("rm -r /run/leases");
        host.assert_like(&before, "all are gone");
    });
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn cni_trunk() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        let trunk = r#"{"cniVersion":"1.1.0","name":"n1","type":"bridge","bridge":"cni0","vlanTrunk":[{"id":7},{"minID":10,"maxID":12}]}"#;
        let ten = config(("n10", "10.9.0"), r#","vlan":10"#);
        let result = add(host, &c1, trunk);
        add(host, &c2, &ten);
        for line in [
            "ip link add link eth0 name eth0.10 type vlan id 10",
            "ip link set eth0.10 up",
            "ip addr add 10.9.0.77/24 dev eth0.10",
        ] {
            c1.run(line);
        }
        let service = serve(&c1);
        assert_eq!(answer(&c2, "10.9.0.77:80"), "c1 10.9.0.2", "tagged there, untagged here");
        drop(service);
        let name = result["interfaces"][1]["name"].as_str().unwrap();
        let vlans =
            stdout(&format!("bridge vlan show dev {name}")).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(vlans.ends_with("7 10 11 12"), "{vlans}");
        host.qiao.plugin_ok(("bridge", "DEL"), ("c2", ""), &ten);
        host.qiao.plugin_ok(("bridge", "DEL"), ("c1", &c1.path()), trunk);
        run("rm -r /run/leases");
        host.assert_like(&before, "all are gone");
    });
}

/// Somebody else's bridge is not made to tell VLANs apart.
#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn cni_vlans_on_a_bridge_that_was_there() {
    on_a_host(|host| {
        run("ip link add cni0 address 02:00:00:00:00:77 type bridge");
        run("ip link set cni0 addrgenmode none");
        run("ip link set cni0 up");
        let c1 = host.container("c1");
        let before = host.snapshot();
        let ten = config(("n10", "10.9.0"), r#","vlan":10,"isGateway":true"#);
        let own = ("c1", &*c1.path());
        let refused = host.qiao.plugin(("bridge", "ADD"), own, &ten);
        assert_eq!(refused.json()["code"], 100, "{refused}");
        assert!(refused.stdout.contains("vlan_filtering 1"), "{refused}");
        run("rm -r /run/leases");
        host.assert_like(&before, "it was refused");
        run("ip link set cni0 type bridge vlan_filtering 1");
        // Also where it is in the VLAN already.
        for line in ["true", "bridge vlan add vid 10 dev cni0 self"] {
            run(line);
            let vlans = stdout("bridge vlan show dev cni0");
            add(host, &c1, &ten);
            let service = serve(&c1);
            assert_eq!(answer(&Place::HOST, "10.9.0.2:80"), "c1 10.9.0.1");
            drop(service);
            host.qiao.plugin_ok(("bridge", "DEL"), own, &ten);
            run("rm -r /run/leases");
            assert_eq!(stdout("bridge vlan show dev cni0"), vlans, "`{line}`: the bridge is as it was");
            let left = stdout("ip -o link");
            assert!(!left.contains("cni0.10") && !left.contains("q-"), "{left}");
        }
    });
}
