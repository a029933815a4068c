//! CNI's `host-device`, `tap` and `dummy`. What needs a real device, and what this machine's kernel lacks, is tried in
//! a guest (`vm`).

use crate::cni_bridge::{LEASES, call, leases, ok};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run, stdout};
use serde_json::Value;

/// A configuration of network `n1` with addresses of a network that `nic0` leads to; `more` are further keys.
fn config(plugin: &str, more: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"n1","type":"{plugin}","ipam":{{"type":"host-local","dataDir":"{LEASES}",
        "ranges":[[{{"subnet":"198.51.100.0/24","rangeStart":"198.51.100.50","gateway":"198.51.100.100"}}]],
        "routes":[{{"dst":"0.0.0.0/0"}}]}}{more}}}"#
    )
}

const NIC0: &str = r#","device":"nic0""#;

/// A second interface of the host, with an alias of its administrator's, to the outside host.
fn second_interface(host: &Host) {
    for line in [
        // What is settled of its IPv6 goes when it is moved, as the kernel has it.
        "sysctl -qw net.ipv6.conf.default.addr_gen_mode=1",
        "ip link add nic0 address 02:00:00:00:00:99 type veth peer name out0 netns lan",
        "ip link set nic0 alias rack-7",
        "ip link set nic0 up",
    ] {
        run(line);
    }
    host.lan.run("ip link set out0 addrgenmode none");
    host.lan.run("ip link set out0 up");
    host.lan.run("ip addr add 198.51.100.100/24 dev out0");
}

fn answer(place: &Place, to: &str) -> String {
    ask(place, Protocol::Tcp, to).unwrap_or_default()
}

fn serve(place: &Place) -> Service {
    Service::start(place, Protocol::Tcp, "[::]:80")
}

fn lend(host: &Host, place: &Place, more: &str) -> Value {
    ok(host, ("host-device", "ADD"), (place.name(), &place.path()), &config("host-device", more)).json()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_device_is_lent_and_comes_back_as_it_was() {
    on_a_host(|host| {
        second_interface(host);
        let c1 = host.container("c1");
        let before = host.snapshot();
        let own = ("c1", &*c1.path());
        for more in [NIC0, r#","hwaddr":"02:00:00:00:00:99""#] {
            let result = lend(host, &c1, more);
            assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:99", "{result}");
            assert!(!stdout("ip link").contains("nic0"), "it is not on the host");
            let service = serve(&c1);
            assert_eq!(answer(&host.lan, "198.51.100.50:80"), "c1 198.51.100.100", "{more}");
            drop(service);
            let prev = config("host-device", &format!(r#"{more},"prevResult":{result}"#));
            ok(host, ("host-device", "CHECK"), own, &prev);
            assert_eq!(host.ok("check").stdout.lines().count(), 1, "{}", host.ok("check"));
            // As runtimes do: with the namespace, and once more without.
            ok(host, ("host-device", "DEL"), own, &config("host-device", more));
            ok(host, ("host-device", "DEL"), ("c1", ""), &config("host-device", more));
            assert!(stdout("ip link show nic0").contains("alias rack-7"));
            assert_eq!(leases(), [""; 0]);
            host.assert_like(&before, "it is back");
            // The search goes on behind the last address.
            run(&format!("rm {LEASES}/n1/last_reserved_ip.0"));
        }
    });
}

/// With an empty CNI_NETNS while the namespace lives: the device is fetched from there.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_comes_back_whatever_its_container_did_to_it() {
    on_a_host(|host| {
        second_interface(host);
        let c1 = host.container("c1");
        let before = host.snapshot();
        for doing in [
            "true",
            "ip link set eth0 down",
            "ip link set eth0 name evil0",
            "ip link set eth0 alias mine",
            "ip link set eth0 address 02:00:00:00:66:66",
            "ip link set eth0 mtu 1400",
        ] {
            lend(host, &c1, NIC0);
            if doing.contains("name") {
                c1.run("ip link set eth0 down");
            }
            c1.run(doing);
            ok(host, ("host-device", "DEL"), ("c1", ""), &config("host-device", NIC0));
            assert_eq!(leases(), [""; 0], "{doing}");
            host.assert_like(&before, doing);
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn its_name_may_be_another_ones_by_then() {
    on_a_host(|host| {
        second_interface(host);
        let c1 = host.container("c1");
        lend(host, &c1, NIC0);
        run("ip link add nic0 type bridge");
        ok(host, ("host-device", "DEL"), ("c1", ""), &config("host-device", NIC0));
        let links = stdout("ip -o link");
        let back = links
            .lines()
            .find(|line| line.contains("02:00:00:00:00:99"))
            .unwrap_or_else(|| panic!("{links}"));
        assert!(back.contains("dev0") && back.contains("alias rack-7"), "{back}");
        assert!(stdout("ip -d link show nic0").contains("bridge"), "the other one stays");
    });
}

/// A namespace that vanished: what was only software is gone with it, the address is free all the same.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_vanished_namespace_keeps_no_address() {
    on_a_host(|host| {
        second_interface(host);
        let c1 = host.container("c1");
        lend(host, &c1, NIC0);
        assert_eq!(leases(), ["198.51.100.50"]);
        c1.delete();
        qiao_testbed::eventually(std::time::Duration::from_secs(10), || {
            !host.lan.stdout("ip link").contains("out0")
        });
        for netns in ["/run/netns/c1", ""] {
            ok(host, ("host-device", "DEL"), ("c1", netns), &config("host-device", NIC0));
            assert_eq!(leases(), [""; 0]);
        }
        assert_eq!(host.ok("check").stdout.lines().count(), 1, "{}", host.ok("check"));
    });
}

/// Whatever else goes wrong: the address is free first.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_is_free_although_nothing_else_works() {
    on_a_host(|host| {
        second_interface(host);
        let c1 = host.container("c1");
        lend(host, &c1, NIC0);
        let (records, aside) = (host.qiao.run_dir(), "/run/aside");
        run(&format!("mv {records} {aside}"));
        run(&format!("touch {records}"));
        let failed = call(host, ("host-device", "DEL"), ("c1", ""), &config("host-device", NIC0));
        assert_ne!(failed.code, Some(0), "the control: its records cannot be read: {failed}");
        assert_eq!(leases(), [""; 0], "{failed}");
        run(&format!("rm {records}"));
        run(&format!("mv {aside} {records}"));
        ok(host, ("host-device", "DEL"), ("c1", ""), &config("host-device", NIC0));
        assert!(stdout("ip link show nic0").contains("alias rack-7"));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_cannot_be_lent_is_refused() {
    on_a_host(|host| {
        second_interface(host);
        run("ip link add br0 type bridge");
        run("ip link set br0 addrgenmode none");
        run("ip link add port0 type veth peer name port1");
        run("ip link set port0 master br0 addrgenmode none");
        host.ok("network create blue");
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        lend(host, &c1, NIC0);
        let before = host.snapshot();
        for (more, code, word) in [
            ("", 7, "pciBusID"),
            (NIC0, 104, "nic0"),
            (r#","device":"lo""#, 100, "loopback"),
            (r#","device":"port0""#, 100, "port of a bridge"),
            (r#","device":"br-blue""#, 100, "qiao:net:blue"),
            (r#","hwaddr":"02:00:00:00:12:34""#, 104, "02:00:00:00:12:34"),
            (r#","kernelpath":"/sys/devices/../../etc""#, 7, "kernelpath"),
            (r#","kernelpath":"/sys/devices/none""#, 104, "/sys/devices/none"),
            (r#","pciBusID":"0000:ff:1f.7""#, 104, "0000:ff:1f.7"),
            (r#","pciBusID":"../../net""#, 7, "pciBusID"),
            (r#","runtimeConfig":{"deviceID":"mlx5_core.sf.4"}"#, 104, "mlx5_core.sf.4"),
        ] {
            let refused =
                call(host, ("host-device", "ADD"), ("c2", &c2.path()), &config("host-device", more));
            assert_eq!(refused.json()["code"], code, "{more}: {refused}");
            assert!(refused.stdout.contains(word), "{more}: {refused}");
            assert_eq!(leases(), ["198.51.100.50"], "{more}");
            host.assert_like(&before, more);
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_tap_is_for_whom_it_is_said() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        c1.run("ip link add br0 address 02:00:00:00:00:01 type bridge");
        c1.run("ip link set lo up");
        let before = c1.stdout("ip -br link");
        let more = r#","multiQueue":true,"mtu":1400,"mac":"02:00:00:00:00:77","owner":47000,"group":47001,"bridge":"br0""#;
        let own = ("c1", &*c1.path());
        let result = ok(host, ("tap", "ADD"), own, &config("tap", more)).json();
        let link = c1.stdout("ip -d link show eth0");
        for word in [
            "tun type tap",
            "multi_queue",
            "user 47000",
            "group 47001",
            "mtu 1400",
            "link/ether 02:00:00:00:00:77",
            "master br0",
            "persist on",
            "UP",
        ] {
            assert!(link.contains(word), "{word}: {link}");
        }
        assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:77");
        assert!(c1.stdout("ip -o addr show eth0").contains("198.51.100.50/24"));
        let prev = config("tap", &format!(r#"{more},"prevResult":{result}"#));
        ok(host, ("tap", "CHECK"), own, &prev);
        for line in ["ip link del eth0", "ip link set eth0 nomaster", "ip link set eth0 down"] {
            c1.run(line);
            assert_eq!(call(host, ("tap", "CHECK"), own, &prev).json()["code"], 110, "{line}");
            host.ok("repair");
            ok(host, ("tap", "CHECK"), own, &prev);
        }
        for _ in 0..2 {
            ok(host, ("tap", "DEL"), own, &config("tap", more));
        }
        assert_eq!(leases(), [""; 0]);
        assert_eq!(c1.stdout("ip -br link"), before);
    });
}

/// What the kernel lacks is named; what makes no sense too.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn taps_and_dummies_that_cannot_be() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let lacks_dummy =
            std::process::Command::new("ip").args(["link", "add", "try0", "type", "dummy"]).output();
        let lacks_dummy = !lacks_dummy.is_ok_and(|output| output.status.success());
        if !lacks_dummy {
            run("ip link del try0");
        }
        let before = host.snapshot();
        let mut wrong = vec![
            ("tap", r#","selinuxContext":"system_u:system_r:container_t:s0""#, 2, "selinuxContext"),
            ("tap", r#","bridge":"none0""#, 104, "none0"),
            ("tap", r#","bridge":"lo""#, 7, "lo"),
            ("tap", r#","owner":-1"#, 7, "owner"),
        ];
        wrong.extend(lacks_dummy.then_some(("dummy", "", 103, "CONFIG_DUMMY")));
        for (plugin, more, code, word) in wrong {
            let refused = call(host, (plugin, "ADD"), ("c1", &c1.path()), &config(plugin, more));
            assert_eq!(refused.json()["code"], code, "{plugin} {more}: {refused}");
            assert!(refused.stdout.contains(word), "{plugin} {more}: {refused}");
            assert_eq!(leases(), [""; 0]);
            host.assert_like(&before, word);
        }
    });
}
