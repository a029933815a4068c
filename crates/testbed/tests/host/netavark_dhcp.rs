//! Podman's networks whose addresses a DHCP server of the neighbourhood gives. What is given, renewed and given back is
//! read at the server (dnsmasq).

use crate::netavark::{call, command, error, on, setup, teardown, told};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Dnsmasq, Place, Protocol, Service, ask, eventually, run};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(8);
const LATER: Duration = Duration::from_secs(25);

/// A network `lan` with DHCP.
fn lan(driver: &str, interface: &str) -> Value {
    json!({
        "name": "lan", "id": format!("{:064x}", 9), "driver": driver, "network_interface": interface,
        "subnets": [], "ipv6_enabled": false, "internal": false, "dns_enabled": false,
        "ipam_options": {"driver": "dhcp"},
    })
}

/// A bridge that the uplink is a port of: containers on it are in the neighbourhood.
fn bridge_to_the_lan() {
    run("ip link add br0 address 02:00:00:00:01:01 type bridge");
    run("ip link set br0 addrgenmode none");
    run("ip link set up0 master br0");
    run("ip link set br0 up");
}

fn address(place: &Place) -> String {
    let text = place.stdout("ip -o -4 addr show eth0");
    let net = text.split_whitespace().skip_while(|word| *word != "inet").nth(1).unwrap_or_default();
    net.trim_end_matches("/24").to_owned()
}

/// How often the server has renewed somebody's lease: requests beyond the first.
fn renewed(server: &Dnsmasq, ip: &str) -> usize {
    server.said(&["DHCPACK", ip]).saturating_sub(1)
}

/// A DHCP server of the neighbourhood gives address, router, servers and domain; it is told when the container leaves.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn macvlan_with_a_dhcp_server() {
    on_a_host(|host| {
        let (place, server) = (host.container("c1"), Dnsmasq::start(&host.lan));
        let lan = json!({
            "name": "lan", "id": format!("{:064x}", 9), "driver": "macvlan", "network_interface": "up0",
            "subnets": [], "ipv6_enabled": false, "internal": false, "dns_enabled": false,
            "ipam_options": {"driver": "dhcp"},
        });
        let mut options = on("c1", 7, &[&lan]);
        options["container_hostname"] = "web".into();
        let reply = setup(host, &place, &options);
        let (ip, name) = server.leases().pop().expect("a lease");
        assert_eq!(name, "web");
        assert_eq!(reply["lan"]["dns_server_ips"], json!(["192.0.2.53"]));
        assert_eq!(reply["lan"]["dns_search_domains"], json!(["example.test"]));
        let subnet = json!({"ipnet": format!("{ip}/24"), "gateway": "192.0.2.100"});
        assert_eq!(reply["lan"]["interfaces"]["eth0"]["subnets"], json!([subnet]));
        assert!(place.stdout("ip -o -4 addr show eth0").contains(&format!("{ip}/24")));
        assert_eq!(
            place.stdout("ip route show default").trim(),
            "default via 192.0.2.100 dev eth0 proto static metric 99"
        );
        place.run("busybox ping -c 1 -W 2 192.0.2.100");
        teardown(host, &place, &options);
        assert!(eventually(Duration::from_secs(3), || server.leases().is_empty()), "{:?}", server.leases());
        assert!(!place.stdout("ip -o link").contains("eth0"));
    });
}

/// On a bridge of the machine's own: the container is in the neighbourhood, with an address of it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_unmanaged_bridge_with_a_dhcp_server() {
    on_a_host(|host| {
        bridge_to_the_lan();
        let server = Dnsmasq::start(&host.lan);
        let mut net = lan("bridge", "br0");
        let place = host.container("c1");
        let managed = error(&call(host, &["setup", &place.path()], &on("c1", 7, &[&net])));
        assert_eq!(managed, "cannot use dhcp ipam driver without using the option mode=unmanaged");
        net["options"] = json!({"mode": "unmanaged"});
        let mut options = on("c1", 7, &[&net]);
        options["container_hostname"] = "web".into();
        setup(host, &place, &options);
        teardown(host, &place, &options);
        assert!(eventually(SOON, || server.leases().is_empty()), "{:?}", server.leases());
        let before = host.snapshot(); // a bridge that has had a port
        let reply = setup(host, &place, &options);
        let (ip, name) = server.leases().pop().expect("a lease");
        assert_eq!(name, "web");
        let mac = reply["lan"]["interfaces"]["eth0"]["mac_address"].as_str().expect("a hardware address");
        assert!(server.said(&["DHCPACK", &ip, mac]) >= 1);
        let subnet = json!({"ipnet": format!("{ip}/24"), "gateway": "192.0.2.100"});
        assert_eq!(reply["lan"]["interfaces"]["eth0"]["subnets"], json!([subnet]));
        assert_eq!(reply["lan"]["dns_server_ips"], json!(["192.0.2.53"]));
        assert_eq!(address(&place), ip);
        let route = place.stdout("ip route show default");
        assert_eq!(route.trim(), "default via 192.0.2.100 dev eth0 proto static metric 100");
        let _server = Service::start(&place, Protocol::Tcp, "0.0.0.0:80");
        let said = ask(&host.lan, Protocol::Tcp, &format!("{ip}:80"));
        assert_eq!(said.as_deref(), Some("c1 192.0.2.100"), "the neighbourhood reaches it");
        // One that hears no answer asks its server, then all, and then not for a minute.
        let then = renewed(&server, &ip);
        assert!(eventually(LATER, || renewed(&server, &ip) >= then + 5), "it is renewed again and again");
        assert_eq!((address(&place), server.said(&["DHCPRELEASE", &ip])), (ip.clone(), 1), "the first one's");
        drop(_server);
        teardown(host, &place, &options);
        assert!(eventually(SOON, || server.leases().is_empty()), "{:?}", server.leases());
        host.assert_like(&before, "a container on a bridge with DHCP");
    });
}

/// Without a server nothing is joined, and nothing left.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_a_server_nothing_is_left() {
    on_a_host(|host| {
        bridge_to_the_lan();
        std::fs::write("/run/qiao.toml", "dhcp-timeout = 2\n").unwrap();
        let mut net = lan("bridge", "br0");
        net["options"] = json!({"mode": "unmanaged"});
        let (place, options) = (host.container("c1"), on("c1", 7, &[&net]));
        let try_it = || {
            let mut command = command(host, &["setup", &place.path()]);
            command.env("QIAO_CONFIG", "/run/qiao.toml");
            error(&told(command, &options.to_string()))
        };
        try_it();
        let before = host.snapshot(); // a bridge that has forwarded something
        let said = try_it();
        assert!(said.contains("no server answered within 2 s") && said.contains("br0"), "{said}");
        host.assert_like(&before, "nobody gave an address");
        let _server = Dnsmasq::start(&host.lan);
        setup(host, &place, &options); // the control
    });
}
