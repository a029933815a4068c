//! Netavark's `vlan` and bridges that tell VLANs apart.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Dnsmasq, Host, Outcome, Place, Protocol, Service, ask, eventually, run, stdout};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

/// A container on a network of bridge `podman1` with these options; the last number of its address.
fn on(last: u8, options: &Value) -> Value {
    json!({
        "container_id": format!("c{last}"), "container_name": format!("name{last}"),
        "networks": {"net1": {"interface_name": "eth0", "static_ips": [format!("10.89.1.{last}")]}},
        "port_mappings": [{"host_ip": "", "host_port": 8000 + u16::from(last), "container_port": 80, "range": 1,
            "protocol": "tcp"}],
        "network_info": {"net1": {
            "name": "net1", "id": format!("{:064x}", 1), "driver": "bridge", "network_interface": "podman1",
            "subnets": [{"subnet": "10.89.1.0/24", "gateway": "10.89.1.1"}], "ipv6_enabled": false,
            "internal": false, "dns_enabled": false, "ipam_options": {"driver": "host-local"},
            "options": options,
        }},
    })
}

fn call(host: &Host, (verb, place): (&str, &Place), input: &Value) -> Outcome {
    let mut command = host.qiao.command();
    command.arg0("netavark").args(["--config", "/run/test/networks", verb, &place.path()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start netavark");
    child.stdin.take().expect("its input").write_all(input.to_string().as_bytes()).expect("read");
    Outcome::of(child.wait_with_output().expect("netavark ends"))
}

fn ok(host: &Host, what: (&str, &Place), input: &Value) {
    let outcome = call(host, what, input);
    assert_eq!(outcome.code, Some(0), "{}: {outcome}", what.0);
}

fn answer(place: &Place, to: &str) -> String {
    ask(place, Protocol::Tcp, to).unwrap_or_default()
}

/// The VLANs of the ports of a bridge, each as `bridge` prints it.
fn vlans_of_ports() -> Vec<String> {
    let text = stdout("bridge -j vlan show");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let ports = all.as_array().into_iter().flatten();
    ports.filter(|port| port["ifname"] != "podman1").map(|port| port["vlans"].to_string()).collect()
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn netavark_ports_are_in_their_vlan() {
    on_a_host(|host| {
        let (c2, c3) = (host.container("c2"), host.container("c3"));
        let before = host.snapshot();
        let options = json!({"vlan": "20"});
        ok(host, ("setup", &c2), &on(2, &options));
        ok(host, ("setup", &c3), &on(3, &options));
        assert!(stdout("ip -d -o link show podman1").contains("vlan_filtering 1"));
        let alone = r#"[{"flags":["PVID","Egress Untagged"],"vlan":20}]"#;
        assert_eq!(vlans_of_ports(), [alone, alone]);
        let _servers =
            [&c2, &c3, &host.lan, &Place::HOST].map(|p| Service::start(p, Protocol::Tcp, "[::]:80"));
        assert_eq!(answer(&c2, "10.89.1.3:80"), "c3 10.89.1.2", "one another");
        assert_eq!(answer(&c2, "10.89.1.1:80"), "host 10.89.1.2", "the gateway");
        assert_eq!(answer(&c2, "192.0.2.100:80"), "lan 192.0.2.1", "outside, as the host");
        for (from, to) in
            [(&host.lan, "192.0.2.1:8002"), (&Place::HOST, "192.0.2.1:8002"), (&c2, "192.0.2.1:8002")]
        {
            assert!(answer(from, to).starts_with("c2 "), "{} to {to}", from.name());
        }
        assert_eq!(answer(&host.lan, "10.89.1.2:80"), "", "not published");
        // Somebody in VLAN 1 of the same bridge has no part in it.
        let stranger = Place::new("stranger");
        run("ip link add s0 type veth peer name eth0 netns stranger");
        run("ip link set s0 master podman1 up");
        stranger.run("ip addr add 10.89.1.9/24 dev eth0");
        stranger.run("ip link set eth0 up");
        assert_eq!(answer(&stranger, "10.89.1.3:80"), "");
        run("bridge vlan add dev s0 vid 20 pvid untagged");
        assert_eq!(answer(&stranger, "10.89.1.3:80"), "c3 10.89.1.9", "the control");
        run("ip link del s0");
        stranger.delete();
        assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
        ok(host, ("teardown", &c2), &on(2, &options));
        ok(host, ("teardown", &c3), &on(3, &options));
        [&c2, &c3].iter().for_each(|place| place.run("ip link set lo down"));
        host.assert_like(&before, "all are gone");
    });
}

/// A bridge of somebody else that tells VLANs apart is used as it is; one that does not is left so, and told.
#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn netavark_vlans_on_an_unmanaged_bridge() {
    on_a_host(|host| {
        let c2 = host.container("c2");
        run("ip link add podman1 type bridge");
        run("ip link set podman1 addrgenmode none");
        run("ip link set podman1 up");
        let mut input = on(2, &json!({"vlan": "30", "mode": "unmanaged"}));
        input["port_mappings"] = json!([]);
        let before = host.snapshot();
        let refused = call(host, ("setup", &c2), &input);
        assert!(refused.code == Some(1) && refused.stdout.contains("tells no VLANs apart"), "{refused}");
        c2.run("ip link set lo down");
        host.assert_like(&before, "what was refused");
        run("ip link set podman1 type bridge vlan_filtering 1");
        ok(host, ("setup", &c2), &input);
        assert_eq!(vlans_of_ports(), [r#"[{"flags":["PVID","Egress Untagged"],"vlan":30}]"#]);
        assert!(!stdout("ip -o link").contains("podman1.30"), "its addresses are not ours");
        ok(host, ("teardown", &c2), &input);
        assert!(stdout("ip -d -o link show podman1").contains("vlan_filtering 1"), "it stays as it was");
    });
}

/// The server of a VLAN is asked at the host's interface in it, and later at the container's port; one in another VLAN of the
/// same bridge is not heard.
#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn netavark_dhcp_in_a_vlan() {
    on_a_host(|host| {
        let c2 = host.container("c2");
        let server_place = Place::new("server");
        run("ip link add podman1 type bridge vlan_filtering 1");
        run("ip link set podman1 up");
        run("ip link add s0 type veth peer name eth0 netns server");
        run("ip link set s0 master podman1 up");
        server_place.run("ip addr add 192.0.2.100/24 dev eth0");
        server_place.run("ip link set eth0 up");
        let mut input = on(2, &json!({"vlan": "30", "mode": "unmanaged"}));
        input["port_mappings"] = json!([]);
        input["networks"]["net1"]["static_ips"] = Value::Null;
        input["network_info"]["net1"]["subnets"] = json!([]);
        input["network_info"]["net1"]["ipam_options"] = json!({"driver": "dhcp"});
        let refused = call(host, ("setup", &c2), &input);
        assert!(
            refused.code == Some(1) && refused.stdout.contains("podman1.30, which is not there"),
            "{refused}"
        );
        run("ip link add link podman1 name podman1.30 up type vlan id 30");
        run("bridge vlan add dev podman1 vid 30 self");
        let server = Dnsmasq::start(&server_place);
        let elsewhere = call(host, ("setup", &c2), &input);
        assert_eq!(elsewhere.code, Some(1), "a server in VLAN 1 is no server of this one: {elsewhere}");
        assert!(server.leases().is_empty());
        run("bridge vlan add dev s0 vid 30 pvid untagged");
        ok(host, ("setup", &c2), &input);
        let (ip, _) = server.leases().pop().expect("a lease");
        assert!(c2.stdout("ip -o -4 addr show eth0").contains(&format!("{ip}/24")));
        c2.run("busybox ping -c 1 -W 5 192.0.2.100");
        let renewed = || server.said(&["DHCPACK", &ip]) >= 2;
        assert!(eventually(Duration::from_secs(60), renewed), "it is renewed at the port");
        ok(host, ("teardown", &c2), &input);
        assert!(eventually(Duration::from_secs(60), || server.leases().is_empty()), "it is given back");
        drop(server);
        server_place.delete();
    });
}

/// A bridge is made in a VRF that is there, beside another one with the same subnet outside of it.
#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn netavark_vrf_has_its_bridge() {
    on_a_host(|host| {
        let (c2, c3) = (host.container("c2"), host.container("c3"));
        let options = json!({"vrf": "blue"});
        let before = host.snapshot();
        let refused = call(host, ("setup", &c2), &on(2, &options));
        assert!(
            refused.code == Some(1) && refused.stdout.contains("get vrf to set up bridge interface"),
            "{refused}"
        );
        let wrong = call(host, ("setup", &c2), &on(2, &json!({"vrf": "up0"})));
        assert!(wrong.code == Some(1) && wrong.stdout.contains("vrf up0 already exists but is"), "{wrong}");
        let mut internal = on(2, &options);
        internal["network_info"]["net1"]["internal"] = true.into();
        let internal = call(host, ("setup", &c2), &internal);
        assert!(
            internal.code == Some(1) && internal.stdout.contains("option vrf is not supported"),
            "{internal}"
        );
        host.assert_like(&before, "what was refused");
        run("ip link add blue type vrf table 10");
        run("ip link set blue up");
        let mut input = on(2, &options);
        input["port_mappings"] = json!([]);
        ok(host, ("setup", &c2), &input);
        assert!(stdout("ip -o link show podman1").contains("master blue"));
        let routes = stdout("ip route show vrf blue");
        assert!(routes.contains("10.89.1.0/24 dev podman1"), "{routes}");
        assert!(!stdout("ip route").contains("10.89.1.0/24"), "not in the main table");
        c2.run("busybox ping -c 1 -W 2 10.89.1.1");
        run("ip vrf exec blue busybox ping -c 1 -W 2 10.89.1.2");
        // The way out is the VRF's: another uplink, which is in it.
        let far = Place::new("far");
        for line in [
            "ip link add blue0 type veth peer name eth0 netns far",
            "ip link set blue0 master blue up",
            "ip addr add 198.51.100.1/24 dev blue0",
        ] {
            run(line);
        }
        far.run("ip addr add 198.51.100.2/24 dev eth0");
        far.run("ip link set eth0 up");
        let _servers = [&far, &host.lan].map(|p| Service::start(p, Protocol::Tcp, "[::]:80"));
        assert_eq!(answer(&c2, "198.51.100.2:80"), "far 198.51.100.1", "out, as the host");
        assert_eq!(answer(&c2, "192.0.2.100:80"), "", "the main table is none of its business");
        far.run("ip route add 10.89.1.0/24 via 198.51.100.1");
        let _inner = Service::start(&c2, Protocol::Tcp, "[::]:80");
        assert_eq!(answer(&far, "10.89.1.2:80"), "", "nobody reaches what is not published");
        run("nft flush ruleset");
        assert_eq!(answer(&far, "10.89.1.2:80"), "c2 198.51.100.2", "the control: without our rules");
        host.ok("repair");
        assert_eq!(answer(&far, "10.89.1.2:80"), "", "and with them again");
        assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
        run("ip link set podman1 nomaster");
        assert_eq!(host.qiao.run("check").code, Some(11));
        host.ok("repair");
        assert!(stdout("ip -o link show podman1").contains("master blue"));
        c2.run("busybox ping -c 1 -W 2 10.89.1.1");
        ok(host, ("teardown", &c2), &input);
        assert!(!stdout("ip -o link").contains("podman1") && stdout("ip -o link").contains("blue"));
        ok(host, ("setup", &c3), &on(3, &json!({})));
        assert!(!stdout("ip -o link show podman1").contains("master"), "the control");
        assert_eq!(answer(&c3, "192.0.2.100:80"), "lan 192.0.2.1");
    });
}
