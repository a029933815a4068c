//! Ipvlan children, and VLANs that are made for networks.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run, stdout};

const LAN: &str = "--subnet 192.0.2.0/24 --gateway 192.0.2.100 --ip-range 192.0.2.128/25";

fn serve(place: &Place) -> Service {
    Service::start(place, Protocol::Tcp, "[::]:80")
}

fn answer(place: &Place, to: &str) -> String {
    ask(place, Protocol::Tcp, to).unwrap_or_default()
}

/// The kernel is the one that these tests are for: else they would prove nothing.
#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn this_kernel_has_it_all() {
    on_a_host(|_| {
        for what in ["type ipvlan mode l2", "type vlan id 9", "type macvlan mode bridge"] {
            run(&format!("ip link add link up0 name try0 {what}"));
            run("ip link del try0");
        }
        run("ip link add try0 type dummy");
        run("ip link del try0");
    });
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn ipvlan_containers_are_hosts_of_the_neighbourhood() {
    on_a_host(|host| {
        let before = host.snapshot();
        host.ok(&format!(
            "network create lan -d ipvlan -o parent=up0 {LAN} --subnet 2001:db8::/64 --gateway 2001:db8::100"
        ));
        let web = host.attached("web", "--network lan --ip 192.0.2.130");
        let app = host.attached("app", "--network lan --ip6 2001:db8::77");
        let services = [serve(&web), serve(&host.lan)];
        assert_eq!(answer(&host.lan, "192.0.2.130:80"), "web 192.0.2.100", "from the neighbourhood");
        assert_eq!(answer(&web, "192.0.2.100:80"), "lan 192.0.2.130", "to it");
        assert_eq!(answer(&app, "[2001:db8::100]:80"), "lan 2001:db8::77");
        assert!(answer(&app, "192.0.2.130:80").starts_with("web 192.0.2."), "siblings");
        drop(services);
        let link = web.stdout("ip -d link show dev eth0");
        assert!(link.contains("ipvlan  mode l2 bridge"), "{link}");
        let own = |place: &Place| place.stdout("cat /sys/class/net/eth0/address");
        assert_eq!(
            (own(&web), own(&app)),
            (own_of_uplink(), own_of_uplink()),
            "the parent's hardware address"
        );
        let locals = [&web, &app].map(|place| place.stdout("ip -6 -o addr show dev eth0 scope link"));
        assert_ne!(locals[0], locals[1], "each its own link-local address");
        assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
        host.ok("detach web");
        host.ok("detach app");
        [web, app].into_iter().for_each(Place::delete);
        host.ok("network rm lan");
        host.assert_like(&before, "an ipvlan network");
    });
}

fn own_of_uplink() -> String {
    stdout("cat /sys/class/net/up0/address")
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn private_ipvlan_containers_do_not_reach_one_another() {
    on_a_host(|host| {
        for (flag, siblings) in [("bridge", true), ("private", false)] {
            let network = format!("lan-{flag}");
            host.ok(&format!("network create {network} -d ipvlan --parent up0 -o ipvlan_flag={flag} {LAN}"));
            let web = host.attached(&format!("a-{flag}"), &format!("--network {network} --ip 192.0.2.200"));
            let app = host.attached(&format!("b-{flag}"), &format!("--network {network}"));
            let _service = serve(&web);
            assert!(answer(&host.lan, "192.0.2.200:80").starts_with("a-"), "{flag}: from the neighbourhood");
            assert_eq!(answer(&app, "192.0.2.200:80").starts_with("a-"), siblings, "{flag}");
            host.ok(&format!("detach a-{flag}"));
            host.ok(&format!("detach b-{flag}"));
            host.ok(&format!("network rm {network}"));
        }
    });
}

/// In `l3` the neighbourhood has a route, and containers have no neighbours.
#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn ipvlan_containers_behind_their_parent() {
    on_a_host(|host| {
        for mode in ["l3", "l3s"] {
            host.ok(&format!(
                "network create lan -d ipvlan -o parent=up0 -o ipvlan_mode={mode} --subnet 10.7.0.0/24"
            ));
            let web = host.attached(&format!("web-{mode}"), "--network lan --ip 10.7.0.5");
            assert_eq!(web.stdout("ip route show default"), "default dev eth0 proto 113 scope link \n");
            let _services = [serve(&web), serve(&host.lan)];
            assert_eq!(answer(&host.lan, "10.7.0.5:80"), format!("web-{mode} 192.0.2.100"), "{mode}");
            assert_eq!(answer(&web, "192.0.2.100:80"), "lan 10.7.0.5", "{mode}");
            assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
            host.ok(&format!("detach web-{mode}"));
            host.ok("network rm lan");
        }
    });
}

/// The neighbourhood's side of VLAN 10.
fn vlan_of_the_lan(host: &Host) {
    for line in [
        "ip link add link eth0 name eth0.10 type vlan id 10",
        "ip link set eth0.10 addrgenmode none",
        "ip link set eth0.10 up",
        "ip addr add 198.51.100.100/24 dev eth0.10",
    ] {
        host.lan.run(line);
    }
}

#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn a_vlan_is_made_and_goes_with_its_last_network() {
    on_a_host(|host| {
        vlan_of_the_lan(host);
        let before = host.snapshot();
        let lan = "--subnet 198.51.100.0/24 --gateway 198.51.100.100";
        host.ok(&format!("network create ten -d macvlan -o parent=up0.10 {lan}"));
        host.ok("network create too -d macvlan -o parent=up0.10 --subnet 203.0.113.0/24");
        let link = stdout("ip -d link show dev up0.10");
        assert!(link.contains("vlan protocol 802.1Q id 10") && link.contains("alias qiao:host"), "{link}");
        let web = host.attached("web", "--network ten --ip 198.51.100.7");
        let service = serve(&web);
        assert_eq!(answer(&host.lan, "198.51.100.7:80"), "web 198.51.100.100");
        drop(service);
        run("ip link del up0.10");
        assert_eq!(host.qiao.run("check").code, Some(11), "it is gone, and the child with it");
        host.ok("repair");
        assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
        let service = serve(&web);
        assert_eq!(answer(&host.lan, "198.51.100.7:80"), "web 198.51.100.100", "repaired");
        drop(service);
        host.ok("detach web");
        web.delete();
        host.ok("network rm ten");
        assert!(stdout("ip link").contains("up0.10"), "another network is on it");
        host.ok("network rm too");
        host.assert_like(&before, "networks on a VLAN");
    });
}

/// A VLAN that was there is used, and stays; so does a parent without hardware behind it.
#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn what_was_there_stays() {
    on_a_host(|host| {
        vlan_of_the_lan(host);
        for line in [
            "ip link add link up0 name up0.10 type vlan id 10",
            "ip link set up0.10 addrgenmode none",
            "ip link set up0.10 up",
            "ip link add dummy0 type dummy",
            "ip link set dummy0 addrgenmode none",
            "ip link set dummy0 up",
        ] {
            run(line);
        }
        let before = host.snapshot();
        host.ok(
            "network create ten -d ipvlan -o parent=up0.10 --subnet 198.51.100.0/24 --gateway 198.51.100.100",
        );
        let web = host.attached("web", "--network ten --ip 198.51.100.7");
        let service = serve(&web);
        assert_eq!(answer(&host.lan, "198.51.100.7:80"), "web 198.51.100.100");
        drop(service);
        host.ok("network create none0 -d macvlan -o parent=dummy0 --subnet 10.9.0.0/24");
        let (a, b) =
            (host.attached("a", "--network none0 --ip 10.9.0.5"), host.attached("b", "--network none0"));
        let service = serve(&a);
        assert!(answer(&b, "10.9.0.5:80").starts_with("a 10.9.0."), "siblings");
        drop(service);
        for place in [web, a, b] {
            host.ok(&format!("detach {}", place.name()));
            place.delete();
        }
        host.ok("network rm ten none0");
        host.assert_like(&before, "networks on what was there");
    });
}

/// A container that crashes and comes back with its address: the interface before is still on its way out.
#[test]
#[ignore = "needs another kernel: cargo xtask vm"]
fn an_address_of_ipvlan_comes_back_at_once() {
    on_a_host(|host| {
        host.ok(&format!("network create lan -d ipvlan -o parent=up0 {LAN}"));
        for _ in 0..3 {
            host.attached("web", "--network lan --ip 192.0.2.160").delete();
            host.ok("detach web");
        }
    });
}
