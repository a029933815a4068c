//! CNI's `ipvlan` and `vlan`.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run};
use serde_json::Value;

/// A configuration of network `n1` with one fixed address; `more` are further keys.
fn config((plugin, address): (&str, &str), more: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"n1","type":"{plugin}","ipam":{{"type":"static",
        "addresses":[{{"address":"{address}/24"}}]}}{more}}}"#
    )
}

fn add(host: &Host, place: &Place, config: &str) -> Value {
    let plugin = serde_json::from_str::<Value>(config).unwrap()["type"].as_str().unwrap().to_owned();
    host.qiao.plugin_ok((&plugin, "ADD"), (place.name(), &place.path()), config).json()
}

fn answer(place: &Place, to: &str) -> String {
    ask(place, Protocol::Tcp, to).unwrap_or_default()
}

fn serve(place: &Place) -> Service {
    Service::start(place, Protocol::Tcp, "[::]:80")
}

fn uplink_mac() -> String {
    std::fs::read_to_string("/sys/class/net/up0/address").unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn cni_ipvlan_alone_and_in_a_chain() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        let one = config(("ipvlan", "192.0.2.50"), r#","master":"up0","mode":"l2","mtu":1400"#);
        let result = add(host, &c1, &one);
        assert_eq!(result["interfaces"][0]["mac"], uplink_mac(), "the parent's");
        // What the plugin before says: its first interface, and its addresses.
        let prev = r#"{"cniVersion":"1.1.0","interfaces":[{"name":"up0"}],"ips":[{"address":"192.0.2.51/24","interface":0}]}"#;
        let chained = format!(
            r#"{{"cniVersion":"1.1.0","name":"n2","type":"ipvlan","mode":"l2","prevResult":{prev}}}"#
        );
        let second = add(host, &c2, &chained);
        assert_eq!(second["ips"][0]["address"], "192.0.2.51/24");
        let services = [serve(&c1), serve(&c2)];
        assert_eq!(answer(&host.lan, "192.0.2.50:80"), "c1 192.0.2.100");
        assert_eq!(answer(&host.lan, "192.0.2.51:80"), "c2 192.0.2.100");
        drop(services);
        let link = c1.stdout("ip -d link show eth0");
        assert!(link.contains("ipvlan  mode l2") && link.contains("mtu 1400"), "{link}");
        let own = ("c1", &*c1.path());
        let prev = one.replacen('{', &format!(r#"{{"prevResult":{result},"#), 1);
        host.qiao.plugin_ok(("ipvlan", "CHECK"), own, &prev);
        host.qiao.plugin_ok(("ipvlan", "DEL"), own, &one);
        host.qiao.plugin_ok(("ipvlan", "DEL"), ("c2", ""), &chained);
        host.assert_like(&before, "both are gone");
    });
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn cni_vlan_in_the_container() {
    on_a_host(|host| {
        host.lan.run("ip link add link eth0 name eth0.10 type vlan id 10");
        host.lan.run("ip link set eth0.10 up");
        host.lan.run("ip addr add 198.51.100.100/24 dev eth0.10");
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        let ten = config(("vlan", "198.51.100.7"), r#","master":"up0","vlanId":10,"mtu":1400"#);
        let result = add(host, &c1, &ten);
        assert_eq!(result["interfaces"][0]["mac"], uplink_mac(), "the parent's");
        let service = serve(&c1);
        assert_eq!(answer(&host.lan, "198.51.100.7:80"), "c1 198.51.100.100");
        assert_eq!(answer(&host.lan, "192.0.2.7:80"), "", "the control: not without a tag");
        drop(service);
        let link = c1.stdout("ip -d link show eth0");
        assert!(link.contains("vlan protocol 802.1Q id 10") && link.contains("mtu 1400"), "{link}");
        let own = ("c1", &*c1.path());
        let prev = ten.replacen('{', &format!(r#"{{"prevResult":{result},"#), 1);
        host.qiao.plugin_ok(("vlan", "CHECK"), own, &prev);
        assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
        // An interface has one of each.
        let again = host.qiao.plugin(("vlan", "ADD"), ("c2", &c2.path()), &ten.replace("100.7", "100.8"));
        assert_eq!(again.json()["code"], 105, "{again}");
        c1.run("ip link del eth0");
        host.ok("repair");
        let service = serve(&c1);
        assert_eq!(answer(&host.lan, "198.51.100.7:80"), "c1 198.51.100.100", "repaired");
        drop(service);
        host.qiao.plugin_ok(("vlan", "DEL"), ("c1", ""), &ten);
        host.assert_like(&before, "it is gone");
    });
}

/// The tagged frames come by an interface of the container's own.
#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn cni_vlan_and_ipvlan_on_an_interface_of_the_container() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        run("ip link add out0 netns lan type veth peer name own0 netns c1");
        c1.run("ip link set own0 up");
        for line in [
            "ip link set out0 up",
            "ip link add link out0 name out0.10 type vlan id 10",
            "ip link set out0.10 up",
            "ip addr add 198.51.100.100/24 dev out0.10",
            "ip addr add 203.0.113.100/24 dev out0",
        ] {
            host.lan.run(line);
        }
        let inside = r#","master":"own0","linkInContainer":true"#;
        let vlan = config(("vlan", "198.51.100.7"), &format!(r#"{inside},"vlanId":10"#));
        let ipvlan = config(("ipvlan", "203.0.113.7"), inside).replace("n1", "n2");
        for (config, from, to) in
            [(&vlan, "198.51.100.100", "198.51.100.7"), (&ipvlan, "203.0.113.100", "203.0.113.7")]
        {
            add(host, &c1, config);
            let _service = serve(&c1);
            assert_eq!(answer(&host.lan, &format!("{to}:80")), format!("c1 {from}"));
            let plugin = if to.starts_with("198") { "vlan" } else { "ipvlan" };
            host.qiao.plugin_ok((plugin, "DEL"), ("c1", &c1.path()), config);
            let links = c1.stdout("ip -o link");
            assert!(links.contains("own0") && !links.contains("eth0"), "{links}");
        }
    });
}
