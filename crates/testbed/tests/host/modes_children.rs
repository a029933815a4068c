//! Macvlan and ipvlan networks: containers are hosts of the neighbourhood, each with an interface of its own on
//! one of the host's. What this kernel lacks is tried on another one (`cargo xtask vm`).

use crate::iso_6_networks::serve;
use qiao_testbed::frame::*;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, ask, eventually, run, stdout};
use std::process::Command;
use std::time::Duration;

/// What every network of these tests has: the neighbourhood's subnets, and a part of it for containers.
pub const LAN: &str = "--subnet 192.0.2.0/24 --gateway 192.0.2.100 --ip-range 192.0.2.128/25";

pub fn answer(place: &Place, to: &str) -> String {
    ask(place, Protocol::Tcp, to).unwrap_or_default()
}

/// Whether the kernel can make such a link, by what `ip` makes of it.
pub fn can_make(what: &str) -> bool {
    let made = Command::new("ip").args(format!("link add try0 link up0 {what}").split(' ')).output();
    let made = made.expect("start ip").status.success();
    if made {
        run("ip link del try0");
    }
    made
}

fn macvlan(host: &Host, options: &str) {
    host.ok(&format!("network create lan -d macvlan -o parent=up0 {LAN} {options}"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn macvlan_containers_are_hosts_of_the_neighbourhood() {
    on_a_host(|host| {
        let before = host.snapshot();
        let six = "--subnet 2001:db8::/64 --gateway 2001:db8::100";
        macvlan(host, six);
        let web = host.attached("web", "--network lan --ip 192.0.2.130");
        let app = host.attached("app", "--network lan --ip6 2001:db8::77 --mac-address 02:00:00:00:00:77");
        let services = [serve(&web), serve(&host.lan), serve(&Place::HOST)];
        assert_eq!(answer(&host.lan, "192.0.2.130:80"), "web 192.0.2.100", "from the neighbourhood");
        assert_eq!(answer(&web, "192.0.2.100:80"), "lan 192.0.2.130", "to it, under its own address");
        assert_eq!(answer(&app, "[2001:db8::100]:80"), "lan 2001:db8::77");
        assert!(answer(&app, "192.0.2.130:80").starts_with("web 192.0.2."), "siblings");
        assert_eq!(answer(&web, "192.0.2.1:80"), "", "the host itself is out of reach, as the kernel has it");
        drop(services);
        let link = web.stdout("ip -d link show dev eth0");
        assert!(link.contains("macvlan mode bridge"), "{link}");
        assert!(web.stdout("ip route").contains("default via 192.0.2.100 dev eth0"));
        assert!(app.stdout("ip link show dev eth0").contains("02:00:00:00:00:77"));
        assert_eq!(stdout("nft list tables"), "", "no rules are needed");
        assert_eq!(stdout("cat /proc/sys/net/ipv4/ip_forward"), "0\n", "no forwarding either");
        let inspected = &host.qiao.json("network inspect lan")["networks"][0];
        assert_eq!(
            (&inspected["Driver"], &inspected["Options"]["parent"]),
            (&"macvlan".into(), &"up0".into())
        );
        assert!(host.ok("network ls").stdout.contains("macvlan"));
        assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
        host.ok("detach web");
        assert_eq!(web.stdout("ip -o link").lines().count(), 1, "only the loopback interface");
        host.ok("detach app");
        [web, app].into_iter().for_each(Place::delete);
        host.ok("network rm lan");
        host.assert_like(&before, "a macvlan network");
    });
}

/// The child is made where it is used: the host never sees a link that is moved or renamed.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_child_is_never_seen_elsewhere() {
    on_a_host(|host| {
        macvlan(host, "");
        let place = host.container("web");
        let heard = std::fs::File::create("/run/heard").unwrap();
        let mut monitor = Command::new("ip").args(["-o", "monitor", "link"]).stdout(heard).spawn().unwrap();
        let hears = |link: &str| {
            run(&format!("ip link add {link} type bridge"));
            let seen = || std::fs::read_to_string("/run/heard").unwrap();
            eventually(Duration::from_secs(10), || seen().contains(link)).then(seen)
        };
        assert!((0..10).any(|n| hears(&format!("early{n}")).is_some()), "it listens");
        let attached = host.attach(&place, "--network lan");
        assert_eq!(attached.stderr, "", "no warning of what was never promised");
        // What it hears comes in its order.
        let seen = (0..10).find_map(|n| hears(&format!("control{n}"))).expect("the control");
        monitor.kill().and_then(|()| monitor.wait()).unwrap();
        assert!(!seen.contains("macvlan") && !seen.contains("eth0"), "{seen}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn modes_say_who_reaches_whom() {
    on_a_host(|host| {
        for (mode, siblings) in [("bridge", true), ("private", false), ("vepa", false)] {
            let network = format!("lan-{mode}");
            host.ok(&format!(
                "network create {network} -d macvlan --parent up0 -o macvlan_mode={mode} {LAN}"
            ));
            let (a, b) = (format!("a-{mode}"), format!("b-{mode}"));
            let web = host.attached(&a, &format!("--network {network} --ip 192.0.2.200"));
            let app = host.attached(&b, &format!("--network {network}"));
            let _services = serve(&web);
            assert!(answer(&host.lan, "192.0.2.200:80").starts_with(&a), "{mode}: from the neighbourhood");
            assert_eq!(answer(&app, "192.0.2.200:80").starts_with(&a), siblings, "{mode}: siblings");
            host.ok(&format!("detach {a}"));
            host.ok(&format!("detach {b}"));
            host.ok(&format!("network rm {network}"));
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn passthru_takes_one_member_with_the_parents_address() {
    on_a_host(|host| {
        macvlan(host, "-o mode=passthru");
        let web = host.attached("web", "--network lan");
        assert_eq!(web.stdout("cat /sys/class/net/eth0/address"), stdout("cat /sys/class/net/up0/address"));
        let other = host.container("other");
        host.refused(5, &format!("attach other --netns {} --network lan", other.path()));
        assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn addresses_come_from_the_range_and_are_nobody_elses() {
    on_a_host(|host| {
        host.ok("network create lan -d macvlan -o parent=up0 --subnet 192.0.2.0/24 --ip-range 192.0.2.0/30 --aux-address printer=192.0.2.3");
        let inspected = &host.qiao.json("network inspect lan")["networks"][0]["IPAM"]["Config"][0];
        assert_eq!(inspected["Gateway"], "192.0.2.100", "the router of the host's own default route");
        host.attached("web", "--network lan");
        let web = host.qiao.json("ps")["containers"].to_string() + &host.ok("network allocations").stdout;
        assert!(web.contains("192.0.2.2"), "neither the host's 192.0.2.1 nor the printer's: {web}");
        let place = host.container("app");
        let attach = format!("attach app --netns {} --network lan", place.path());
        host.refused(1, &attach);
        for taken in ["192.0.2.1", "192.0.2.9", "192.0.2.100", "192.0.2.3", "192.0.2.2"] {
            host.refused(5, &format!("{attach} --ip {taken}"));
        }
        host.refused(2, &format!("{attach} --ip 192.0.3.1"));
        host.refused(2, &format!("{attach} --ip 192.0.2.50 -p 80:80"));
        host.refused(2, &format!("{attach} --ip 192.0.2.50 --guard on"));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_makes_no_sense_is_refused() {
    on_a_host(|host| {
        let create = "network create lan -d macvlan -o parent=up0";
        let no_subnet = host.refused(2, create);
        assert!(no_subnet.stderr.contains("--subnet 192.0.2.0/24 --gateway 192.0.2.100"), "{no_subnet}");
        host.refused(2, &format!("{create} {LAN} -o mode=l2"));
        host.refused(2, &format!("{create} {LAN} -o colour=red"));
        host.refused(2, &format!("{create} {LAN} --icc off"));
        host.refused(2, &format!("{create} {LAN} --mtu 9000"));
        host.refused(2, &format!("{create} {LAN} --ipam-driver nosuch"));
        host.refused(4, &format!("network create lan -d macvlan -o parent=eth9 {LAN}"));
        host.refused(2, &format!("network create lan -d macvlan -o parent=lo {LAN}"));
        host.refused(2, &format!("network create lan --parent up0 {LAN}"));
        run("ip link add spare type veth peer name spare1");
        let down = host.refused(5, &format!("network create lan -d macvlan -o parent=spare {LAN}"));
        assert!(down.stderr.contains("ip link set spare up"), "{down}");
        host.refused(6, &format!("network create lan -d nosuch {LAN}"));
    });
}

/// What the kernel lacks is named; what it has is made.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_the_kernel_lacks_is_named() {
    on_a_host(|host| {
        for (create, what, option) in [
            ("-d ipvlan -o parent=up0", "type ipvlan mode l2", "CONFIG_IPVLAN"),
            ("-d macvlan -o parent=up0.10", "type vlan id 9", "CONFIG_VLAN_8021Q"),
        ] {
            let line = format!("network create lan {create} {LAN}");
            if can_make(what) {
                host.ok(&line);
                host.ok("network rm lan");
                continue;
            }
            let refused = host.refused(6, &line);
            assert!(refused.stderr.contains(option), "{refused}");
        }
    });
}

/// A router advertisement with a prefix (RFC 4861 section 4.6.2), from the neighbourhood.
fn advertisement(from: Mac) -> Vec<u8> {
    let ips = ("fe80::64".parse().unwrap(), "ff02::1".parse().unwrap());
    let mut body = vec![64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    body.extend([3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0]);
    body.extend("2001:db8:bad::".parse::<std::net::Ipv6Addr>().unwrap().octets());
    ethernet(
        (from, [0x33, 0x33, 0, 0, 0, 1]),
        IPV6,
        &ipv6_with_hops(ips, ICMP6, &icmp6(ips, (134, 0), &body[..])),
    )
}

fn ipv6_with_hops(ips: (std::net::Ipv6Addr, std::net::Ipv6Addr), next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv6(ips, next, payload);
    packet[7] = 255;
    packet
}

/// R-ISO 4: nobody in the neighbourhood gives a container addresses or routes.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn routers_of_the_neighbourhood_are_not_heeded() {
    on_a_host(|host| {
        macvlan(host, "");
        let web = host.attached("web", "--network lan");
        let control = host.attached("control", "--network lan");
        control.run("sysctl -qw net.ipv6.conf.eth0.accept_ra=1");
        control.run("ip link set eth0 addrgenmode eui64");
        let mut out = host.wire(&host.lan, "eth0");
        let has = |place: &Place| place.stdout("ip -6 addr show dev eth0").contains("2001:db8:bad:");
        let heeded = eventually(Duration::from_secs(10), || {
            out.send(&advertisement([2, 0, 0, 0, 0, 0x64]));
            std::thread::sleep(Duration::from_millis(20));
            has(&control)
        });
        assert!(heeded, "the control: {}", control.stdout("ip -6 addr"));
        assert_eq!(web.stdout("ip -6 addr show dev eth0"), "", "no address of IPv6 at all");
        assert_eq!(web.stdout("ip -6 route show default"), "");
    });
}

/// R-REL 29: the neighbours are told at once who has the address.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn addresses_are_announced() {
    on_a_host(|host| {
        macvlan(host, "");
        let seen = host.wire(&host.lan, "eth0");
        let web = host.attached("web", "--network lan --ip 192.0.2.140");
        let mac = mac(&web.stdout("cat /sys/class/net/eth0/address"));
        let claim = arp(1, (mac, [192, 0, 2, 140].into()), ([0; 6], [192, 0, 2, 140].into()));
        seen.until(|frame| contains(frame, &claim));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_broken_is_mended() {
    on_a_host(|host| {
        macvlan(host, "");
        let web = host.attached("web", "--network lan --ip 192.0.2.150");
        let _service = serve(&web);
        for line in [
            "ip -n web link del eth0",
            "ip -n web addr del 192.0.2.150/24 dev eth0",
            "ip -n web link set eth0 down",
            "ip -n web route del default",
            "ip -n web link set eth0 type macvlan mode private",
            "ip netns exec web sysctl -qw net.ipv6.conf.eth0.accept_ra=1",
        ] {
            assert!(answer(&host.lan, "192.0.2.150:80").starts_with("web "), "before `{line}`");
            run(line);
            assert_eq!(host.qiao.run("check").code, Some(11), "after `{line}`");
            host.ok("repair");
            assert_eq!(
                host.qiao.run("check").code,
                Some(0),
                "repaired after `{line}`: {}",
                host.qiao.run("check")
            );
        }
        assert!(answer(&host.lan, "192.0.2.150:80").starts_with("web "), "after all");
    });
}

/// A container that crashes and comes back with its address: the interface before is still on its way out.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_comes_back_at_once() {
    on_a_host(|host| {
        macvlan(host, "");
        for _ in 0..5 {
            let web = host.attached("web", "--network lan --ip 192.0.2.160");
            let _services = serve(&web);
            assert!(answer(&host.lan, "192.0.2.160:80").starts_with("web "));
            web.delete();
            host.ok("detach web");
        }
    });
}

/// Root in a container disguises its interface; it goes with its endpoint, and nothing else does.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_disguised_child_goes_too() {
    on_a_host(|host| {
        macvlan(host, "");
        let web = host.attached("web", "--network lan");
        let app = host.attached("app", "--network lan");
        for line in [
            "ip link set eth0 down",
            "ip link set eth0 name evil0 group 0 address 02:00:00:00:66:66",
            "ip link add eth0 type bridge",
            "ip link add own0 link eth0 type macvlan mode bridge",
        ] {
            web.run(line);
        }
        host.ok("detach web");
        let left = web.stdout("ip -o link show");
        assert!(!left.contains("evil0"), "it is gone: {left}");
        assert!(
            left.contains("eth0") && left.contains("own0"),
            "the control: what is the container's own: {left}"
        );
        assert!(app.stdout("ip -o link show").contains("eth0"), "the control: another container's");
    });
}

/// An interface that is unplugged stops its own networks and no others.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_the_parent_the_rest_goes_on() {
    on_a_host(|host| {
        run("ip link add spare type veth peer name spare1");
        run("ip link set spare up");
        host.ok("network create lan -d macvlan -o parent=spare --subnet 198.51.100.0/24");
        host.attached("web", "--network lan");
        run("ip link del spare");
        host.attached("other", "");
        let checked = host.qiao.run("check");
        assert!(checked.code == Some(11) && checked.to_string().contains("spare"), "{checked}");
        let repaired = host.qiao.run("repair");
        assert!(repaired.code == Some(3) && repaired.stderr.contains("spare"), "{repaired}");
        host.ok("detach web");
        host.ok("network rm lan");
        assert_eq!(host.qiao.run("check").code, Some(0));
    });
}

/// An internal network has no way out; the plan says all of it beforehand, and touches nothing.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn internal_and_planned() {
    on_a_host(|host| {
        let create = format!("network create lan -d macvlan -o parent=up0 {LAN} --internal");
        let before = host.snapshot();
        host.ok(&format!("{create} --dry-run"));
        host.assert_like(&before, "a dry run");
        host.ok(&create);
        let place = host.container("web");
        let planned =
            host.ok(&format!("attach web --netns {} --network lan --dry-run --explain", place.path()));
        assert!(planned.stdout.contains("ip link add link up0 name eth0"), "{planned}");
        host.attach(&place, "--network lan");
        assert_eq!(place.stdout("ip route show default"), "");
    });
}

/// The VLAN that a child hangs on bears the host's mark: it is nobody's other name.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_container_on_a_vlan_has_other_networks_too() {
    on_a_host(|host| {
        let has_vlans = can_make("type vlan id 9");
        let parent = if has_vlans { "up0.9" } else { "up0" };
        host.ok(&format!("network create lan -d macvlan -o parent={parent} --subnet 10.50.0.0/24"));
        host.ok("network create front");
        host.attached("web", "--network lan");
        host.ok("network connect front web");
        assert_eq!(host.qiao.json("ps")["containers"][0]["Names"], "web");
    });
}
