//! R-PUB 8 to 11 and 14: what is published is reachable exactly as said, and nothing else.

use crate::frames::{Member, bridge_netfilter};
use qiao_testbed::frame::{IPV4, UDP, contains, ethernet, ipv4, mac, udp};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{
    Host, OUTSIDE4, OUTSIDE6, Place, Protocol, Service, ask, attach_line, eventually, run, stdout,
};
use std::net::Ipv4Addr;
use std::process::Child;
use std::time::Duration;

use Protocol::{Tcp, Udp};

/// A container `web` that serves everything on both families.
fn web(host: &Host, publish: &str) -> (Member, Vec<Service>) {
    host.ok("network create front --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64");
    let web = Member::attach(host, "web", &format!("--network front {publish}"));
    let at = ["[::]:80", "[::]:81", "[::]:82"];
    let services = at.iter().flat_map(|at| [Tcp, Udp].map(|p| Service::start(&web.place, p, at))).collect();
    (web, services)
}

/// R-PUB 11: the answer tells that the container saw the client's own address.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn from_outside_with_the_clients_address() {
    on_a_host(|host| {
        let (_web, _services) = web(host, "-p 8080:80 -p 8081:81/udp");
        let (v4, v6) = (Some(format!("web {OUTSIDE4}")), Some(format!("web {OUTSIDE6}")));
        assert_eq!(ask(&host.lan, Tcp, "192.0.2.1:8080"), v4);
        assert_eq!(ask(&host.lan, Tcp, "[2001:db8::1]:8080"), v6);
        assert_eq!(ask(&host.lan, Udp, "192.0.2.1:8081"), v4);
        assert_eq!(ask(&host.lan, Udp, "[2001:db8::1]:8081"), v6);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nothing_else_is_reachable() {
    on_a_host(|host| {
        let (web, _services) = web(host, "-p 8080:80");
        assert!(ask(&host.lan, Tcp, "192.0.2.1:8080").is_some(), "the control");
        let direct = [format!("{}:80", web.ip), format!("[{}]:80", web.ip6)];
        for to in ["192.0.2.1:80", "192.0.2.1:8081", "192.0.2.1:81", &direct[0], &direct[1]] {
            assert_eq!(ask(&host.lan, Tcp, to), None, "TCP {to}");
            assert_eq!(ask(&host.lan, Udp, to), None, "UDP {to}");
        }
        assert_eq!(ask(&host.lan, Udp, "192.0.2.1:8080"), None, "the other protocol");
        assert!(ask(&Place::HOST, Tcp, &direct[0]).is_some(), "the host reaches its containers");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn only_on_the_address_that_was_named() {
    on_a_host(|host| {
        run("ip link add other0 type bridge");
        run("ip addr add 198.51.100.1/24 dev other0");
        run("ip link set other0 up");
        host.lan.run("ip route add 198.51.100.0/24 via 192.0.2.1");
        let (_web, _services) = web(host, "-p 192.0.2.9:8080:80 -p 198.51.100.1:8081:81");
        assert!(ask(&host.lan, Tcp, "192.0.2.9:8080").is_some());
        assert!(ask(&host.lan, Tcp, "198.51.100.1:8081").is_some());
        for to in ["192.0.2.1:8080", "192.0.2.1:8081", "192.0.2.9:8081", "[2001:db8::1]:8080"] {
            assert_eq!(ask(&host.lan, Tcp, to), None, "{to}");
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ranges_and_ports_that_qiao_chooses() {
    on_a_host(|host| {
        let (_web, _services) = web(host, "-p 9080-9082:80-82 -p 80 -p 7000-7009:82");
        for port in 9080..=9082 {
            assert!(ask(&host.lan, Tcp, &format!("192.0.2.1:{port}")).is_some(), "{port}");
        }
        assert_eq!(ask(&host.lan, Tcp, "192.0.2.1:9083"), None);
        let chosen = listed_ports(host);
        assert!(chosen.contains(&7000), "the first free one of the range: {chosen:?}");
        let ephemeral = chosen.iter().find(|port| **port > 10_000).expect("a port of the kernel's range");
        for port in [7000, *ephemeral] {
            assert!(ask(&host.lan, Tcp, &format!("192.0.2.1:{port}")).is_some(), "{port}");
        }
    });
}

/// The ports of the host that `qiao port` lists, of IPv4.
fn listed_ports(host: &Host) -> Vec<u16> {
    let listed = host.qiao.json("port web");
    let rows = listed["ports"].as_array().expect("a list").iter();
    let rows = rows.filter(|row| row["host_ip"] == "0.0.0.0");
    rows.filter_map(|row| u16::try_from(row["host_port"].as_u64()?).ok()).collect()
}

/// Where the kernel speaks SCTP.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn sctp_is_published() {
    on_a_host(|host| {
        let (web, _services) = web(host, "-p 8080:80/sctp");
        let rules = stdout("nft list map inet qiao publish_any4");
        assert!(rules.contains("sctp . 8080"), "{rules}");
        let mut server =
            web.place.command("socat").args(["SCTP4-LISTEN:80,fork", "SYSTEM:echo web"]).spawn().unwrap();
        let ended = |server: &mut Child| server.try_wait().unwrap().is_some();
        let speaks = || stdout("cat /proc/net/protocols").contains("SCTP");
        eventually(Duration::from_secs(10), || speaks() || ended(&mut server));
        std::thread::sleep(Duration::from_millis(500));
        if ended(&mut server) {
            eprintln!("this kernel has no SCTP: only the rules were looked at");
            return;
        }
        let asked = || host.lan.command("socat").args(["-T1", "SCTP4-CONNECT:192.0.2.1:8080", "-"]).output();
        let answers = || String::from_utf8_lossy(&asked().unwrap().stdout).trim() == "web";
        let answered = eventually(Duration::from_secs(10), answers);
        let _ = server.kill();
        let _ = server.wait();
        assert!(answered, "nobody answers");
    });
}

/// To oneself, from a neighbour and from the host; the substitute for the client's address is the gateway.
/// With br_netfilter frames take another path than without, and must arrive all the same.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn hairpins_work() {
    on_a_host(|host| {
        bridge_netfilter("1");
        hairpins(host);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn hairpins_work_without_bridge_netfilter() {
    on_a_host(|host| {
        bridge_netfilter("0");
        hairpins(host);
    });
}

fn hairpins(host: &Host) {
    let (web, _services) = web(host, "-p 8080:80 -p 8080:80/udp");
    let neighbour = Member::attach(host, "n", "--network front");
    let gateways = ["web 172.30.0.1", "web fd00:30::1"];
    for place in [&web.place, &neighbour.place] {
        for (to, gateway) in ["192.0.2.1:8080", "[2001:db8::1]:8080"].iter().zip(gateways) {
            for protocol in [Tcp, Udp] {
                let answer = ask(place, protocol, to);
                assert_eq!(answer.as_deref(), Some(gateway), "{} {protocol:?} {to}", place.name());
            }
        }
    }
    assert!(ask(&Place::HOST, Tcp, "192.0.2.1:8080").is_some(), "the host itself");
}

/// Frames made by hand, to the host's hardware address and a container's address.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn hand_made_frames_do_not_get_in() {
    on_a_host(|host| {
        let (web, _services) = web(host, "-p 8080:80/udp");
        let (mut out, seen) = (host.wire(&host.lan, "eth0"), host.wire(&web.place, "eth0"));
        let outside: Ipv4Addr = OUTSIDE4.parse().unwrap();
        let macs = (mac("02:00:00:00:00:64"), mac("02:00:00:00:00:01"));
        let mut send = |(from, to): (Ipv4Addr, Ipv4Addr), port: u16, text: &[u8]| {
            out.send(&ethernet(macs, IPV4, &ipv4((from, to), UDP, &udp(1000, port, text))));
        };
        send((outside, web.ip), 80, b"direct");
        send((Ipv4Addr::new(172, 30, 0, 99), web.ip), 80, b"forged");
        send((Ipv4Addr::new(172, 30, 0, 99), Ipv4Addr::new(192, 0, 2, 1)), 8080, b"as a member");
        send((outside, Ipv4Addr::new(192, 0, 2, 1)), 8080, b"published");
        let frames = seen.until(|frame| contains(frame, b"published"));
        for text in ["direct", "forged", "as a member"] {
            assert!(!frames.iter().any(|frame| contains(frame, text.as_bytes())), "{text} got in");
        }
    });
}

/// R-PUB 9: nothing of ours makes loopback addresses routable.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn loopback_addresses_stay_unroutable() {
    on_a_host(|host| {
        let (_web, _services) = web(host, "-p 8080:80 -p 127.0.0.1:8082:82");
        let text = stdout("sysctl -a -r route_localnet");
        assert!(text.contains("= 0") && !text.contains("= 1"), "{text}");
        assert!(ask(&host.lan, Tcp, "192.0.2.1:8080").is_some(), "the control");
        assert_eq!(ask(&host.lan, Tcp, "192.0.2.1:8082"), None, "published on 127.0.0.1 only");
    });
}

/// R-PUB 9: daemons of the host on 127.0.0.1 are out of reach of frames made by hand, even where somebody made
/// loopback addresses routable.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_loopback_interface_is_out_of_reach() {
    on_a_host(|host| {
        let (_web, _services) = web(host, "-p 127.0.0.1:8082:82");
        run("sysctl -q -w net.ipv4.conf.up0.route_localnet=1");
        let _local = Service::start(&Place::HOST, Udp, "127.0.0.1:9000");
        let (mut out, seen) = (host.wire(&host.lan, "eth0"), host.wire(&host.lan, "eth0"));
        assert_eq!(ask(&host.lan, Tcp, "192.0.2.1:9000"), None, "they know one another's hardware address");
        let ips = (OUTSIDE4.parse().unwrap(), Ipv4Addr::LOCALHOST);
        let macs = (mac("02:00:00:00:00:64"), mac("02:00:00:00:00:01"));
        let mut asked = || out.send(&ethernet(macs, IPV4, &ipv4(ips, UDP, &udp(1000, 9000, b"who"))));
        let is_answer = |frame: &[u8]| contains(frame, b"host 192.0.2.100");
        asked();
        assert!(!seen.within(Duration::from_millis(300)).iter().any(|frame| is_answer(frame)));
        run("nft flush chain inet qiao raw_prerouting");
        asked();
        assert!(seen.comes(is_answer), "the control: without our rules it is in reach");
    });
}

/// R-PUB 10: what only passes through is not captured.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn foreign_addresses_are_not_captured() {
    on_a_host(|host| {
        let (_web, _services) = web(host, "-p 8080:80");
        let client = host.attached("client", "");
        let _outside = Service::start(&host.lan, Tcp, "0.0.0.0:8080");
        for place in [&client, &Place::HOST] {
            let answer = ask(place, Tcp, "192.0.2.100:8080").unwrap_or_default();
            assert!(answer.starts_with("lan "), "{answer}");
        }
        assert_eq!(ask(&client, Tcp, "192.0.2.1:8080").unwrap_or_default().split(' ').next(), Some("web"));
        let late = host.container("late");
        host.refused(2, &format!("attach late --netns {} -p 192.0.2.50:80:80", late.path()));
    });
}

/// R-PUB 14: the administrator's own drop wins, in a chain of the forward hook.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_administrators_drop_wins() {
    on_a_host(|host| {
        let (_web, _services) = web(host, "-p 8080:80");
        assert!(ask(&host.lan, Tcp, "192.0.2.1:8080").is_some(), "the control");
        std::fs::write(
            "/run/admin.nft",
            "table inet admin { chain forward { type filter hook forward priority -10; \
             ip saddr 192.0.2.100 meta l4proto tcp ct original proto-dst 8080 drop; }; }",
        )
        .unwrap();
        run("nft -f /run/admin.nft");
        assert_eq!(ask(&host.lan, Tcp, "192.0.2.1:8080"), None);
        host.ok("repair");
        assert_eq!(ask(&host.lan, Tcp, "192.0.2.1:8080"), None, "repair leaves it alone");
    });
}

/// A host that has IPv6 switched off has no ::1 either; on all addresses is then on all of IPv4.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_host_without_ipv6_publishes_on_all_of_ipv4() {
    on_a_host(|host| {
        for which in ["all", "default"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1").unwrap();
        }
        host.ok("network create front --ipv6=false");
        let web = host.attached("web", "--network front -p 8080:80");
        let _service = Service::start(&web, Protocol::Tcp, "0.0.0.0:80");
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some());
        let asked = host.container("asked");
        host.refused(2, &attach_line(&asked, "--network front -p [::1]:8081:80"));
    });
}
