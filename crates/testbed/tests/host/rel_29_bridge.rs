//! R-REL 24, 27 and 29: the path works when success is reported, without a process, and bridges keep their
//! hardware address.

use crate::frames::Member;
use qiao_testbed::frame::{ARP, BROADCAST, arp, contains, ethernet};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Place, Protocol, Service, ask, eventually, stdout};
use std::net::Ipv4Addr;
use std::time::Duration;

fn bridge_mac() -> String {
    stdout("cat /sys/class/net/br-front/address")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_bridge_keeps_its_hardware_address() {
    on_a_host(|host| {
        host.ok("network create front");
        let mac = bridge_mac();
        for round in 0..6 {
            host.attached(&format!("c{round}"), "--network front");
            assert_eq!(bridge_mac(), mac, "with {} ports", round + 1);
        }
        (0..6).for_each(|round| {
            host.ok(&format!("detach c{round}"));
            assert_eq!(bridge_mac(), mac, "after a port left");
        });
        stdout("ip link del br-front");
        host.ok("repair");
        assert_eq!(bridge_mac(), mac, "made anew");
    });
}

/// A neighbour that knew the address is told who has it now.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_reused_address_is_announced() {
    on_a_host(|host| {
        host.ok("network create front --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64");
        let neighbour = Member::attach(host, "n", "--network front");
        let reuse = "--network front --ip 172.30.0.9 --ip6 fd00:30::9";
        let old = Member::attach(host, "old", &format!("{reuse} --mac 02:00:00:00:00:11"));
        let _service = Service::start(&old.place, Protocol::Udp, "172.30.0.9:80");
        assert!(ask(&neighbour.place, Protocol::Udp, "172.30.0.9:80").is_some());
        host.ok("detach old");
        let seen = host.wire(&neighbour.place, "eth0");
        let new = Member::attach(host, "new", &format!("{reuse} --mac 02:00:00:00:00:22"));
        let _service = Service::start(&new.place, Protocol::Udp, "172.30.0.9:80");
        // Sooner than the second after which a neighbour is asked for again.
        assert!(ask(&neighbour.place, Protocol::Udp, "172.30.0.9:80").is_some());
        let ip = Ipv4Addr::new(172, 30, 0, 9);
        let gratuitous = ethernet((new.mac, BROADCAST), ARP, &arp(1, (new.mac, ip), ([0; 6], ip)));
        let is_advertisement =
            |frame: &[u8]| frame.get(54..56) == Some(&[136, 0]) && contains(frame, &new.ip6.octets());
        let mut frames = Vec::new();
        let told = eventually(Duration::from_secs(10), || {
            frames.extend(seen.within(Duration::from_millis(10)));
            frames.contains(&gratuitous) && frames.iter().any(|frame| is_advertisement(frame))
        });
        assert!(told, "gratuitous ARP and an advertisement: {frames:02x?}");
    });
}

/// R-REL 24: containers that talk at once lose nothing, whichever way: what is lost is sent again after a second.
/// `cargo xtask bench attach --first-packet 1000` measures how long it takes.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_first_packet_is_answered() {
    on_a_host(|host| {
        host.ok("network create front");
        let _host = Service::start(&Place::HOST, Protocol::Udp, "0.0.0.0:7");
        let _lan = Service::start(&host.lan, Protocol::Udp, "0.0.0.0:7");
        let gateway = host.qiao.json("network inspect front").to_string();
        let gateway = gateway.split("\"Gateway\":\"").nth(1).and_then(|text| text.split('"').next()).unwrap();
        for round in 0..20 {
            let place = host.attached(&format!("c{round}"), "--network front");
            for to in [format!("{gateway}:7"), "192.0.2.100:7".to_owned()] {
                // It waits for less than the second after which what is lost is sent again.
                assert!(ask(&place, Protocol::Udp, &to).is_some(), "{round}: {to}");
            }
        }
    });
}

/// R-REL 27: no process and no file is needed for containers that are attached.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn containers_need_no_process_and_no_file() {
    on_a_host(|host| {
        // On one address of the host: clients of 127.0.0.1 may need a process, where BPF is forbidden.
        let web = host.attached("web", "-p 192.0.2.1:8080:80");
        let _service = Service::start(&web, Protocol::Tcp, "0.0.0.0:80");
        let snapshot = host.snapshot();
        let mut processes = snapshot.lines_with("process: ");
        processes.retain(|line| !line.contains("loopback-proxy")); // only for clients on the host's own loopback
        assert_eq!(processes, [""; 0], "qiao has ended");
        std::fs::remove_dir_all(host.qiao.directory()).unwrap();
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some());
    });
}
