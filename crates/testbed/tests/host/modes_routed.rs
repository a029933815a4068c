//! Routed networks: everything that a bridge network promises, without a bridge.

use crate::frames::Member;
use crate::iso_6_networks::{answered, questions, serve, two};
use crate::iso_7_internal::{create, reached};
use qiao_testbed::frame::*;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, Wire, ask, run, stdout};
use std::net::Ipv4Addr;
use std::time::Duration;

const FRONT: &str = "network create front -d routed --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64";

fn answer(place: &Place, to: &str) -> String {
    ask(place, Protocol::Tcp, to).unwrap_or_default()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_path_works_and_goes_without_a_trace() {
    on_a_host(|host| {
        let before = host.snapshot();
        host.ok(FRONT);
        let web = Member::attach(host, "web", "--network front -p 8080:80");
        let app = Member::attach(host, "app", "--network front");
        let services = [serve(&web.place), serve(&host.lan), serve(&Place::HOST)];
        for to in ["172.30.0.2:80", "[fd00:30::2]:80"] {
            assert!(answer(&app.place, to).starts_with("web "), "member: {to}");
            assert!(answer(&Place::HOST, to).starts_with("web "), "from the host: {to}");
        }
        assert_eq!(answer(&web.place, "172.30.0.1:80"), "host 172.30.0.2", "the host by the gateway");
        assert_eq!(answer(&web.place, "[fd00:30::1]:80"), "host fd00:30::2");
        assert_eq!(answer(&web.place, "192.0.2.100:80"), "lan 192.0.2.1", "outside, as the host");
        assert_eq!(answer(&web.place, "[2001:db8::100]:80"), "lan 2001:db8::1");
        assert_eq!(answer(&host.lan, "192.0.2.1:8080"), "web 192.0.2.100", "published");
        assert_eq!(answer(&host.lan, "[2001:db8::1]:8080"), "web 2001:db8::100");
        assert!(answer(&app.place, "192.0.2.1:8080").starts_with("web "), "published, from a member");
        assert_eq!(answer(&web.place, "192.0.2.1:8080"), "web 172.30.0.1", "its own published port");
        assert_eq!(answer(&web.place, "[2001:db8::1]:8080"), "web fd00:30::1");
        assert!(answer(&Place::HOST, "127.0.0.1:8080").starts_with("web "), "the loopback address");
        assert_eq!(ask(&host.lan, Protocol::Tcp, "172.30.0.2:80"), None, "straight from outside");
        drop(services);
        assert_eq!(host.ok("check").stdout.lines().count(), 1, "{}", host.ok("check"));
        host.ok("detach web");
        host.ok("detach app");
        app.place.delete();
        web.place.delete();
        host.ok("network rm front");
        host.assert_like(&before, "a routed network");
    });
}

/// An attacker, a victim, and the host end of the attacker's pair.
struct Attack {
    attacker: Member,
    victim: Member,
    gateway: Mac,
    out: Wire,
    seen: Wire,
}

impl Attack {
    fn new(host: &Host, options: &str) -> Self {
        host.ok(FRONT);
        let attacker = Member::attach(host, "attacker", &format!("--network front {options}"));
        let victim = Member::attach(host, "victim", "--network front");
        let port = host.host_if("attacker");
        let gateway = mac(&stdout(&format!("cat /sys/class/net/{port}/address")));
        let (out, seen) = (host.wire(&attacker.place, "eth0"), host.wire(&victim.place, "eth0"));
        Self { attacker, victim, gateway, out, seen }
    }

    fn v4(&self, (mac, from): (Mac, Ipv4Addr), payload: &[u8]) -> Vec<u8> {
        ethernet((mac, self.gateway), IPV4, &ipv4((from, self.victim.ip), UDP, payload))
    }

    fn v6(&self, from: &str, payload: &[u8]) -> Vec<u8> {
        ethernet(
            (self.attacker.mac, self.gateway),
            IPV6,
            &ipv6((from.parse().unwrap(), self.victim.ip6), UDP, payload),
        )
    }

    /// Which of the frames come out at the victim; each bears its name.
    fn arriving(&mut self, frames: &[(&'static str, Vec<u8>)]) -> Vec<&'static str> {
        frames.iter().for_each(|(_, frame)| self.out.send(frame));
        let own = (self.attacker.mac, self.attacker.ip);
        let honest = self.v4(own, &udp(1000, 2000, b"honest"));
        self.out.send(&honest);
        let seen = self.seen.until(|frame| contains(frame, b"honest"));
        let names = frames.iter().map(|(name, _)| *name);
        names.filter(|name| seen.iter().any(|frame| contains(frame, name.as_bytes()))).collect()
    }

    fn frames(&self) -> Vec<(&'static str, Vec<u8>)> {
        let (me, you) = (&self.attacker, &self.victim);
        let data = |name: &str| udp(1000, 2000, name.as_bytes());
        let own = (me.mac, me.ip);
        let source_route = [131, 7, 4, 203, 0, 113, 7, 0];
        let routed = ipv4_with((me.ip, you.ip), (UDP, &source_route), &data("source route"));
        let tagged_spoof = tagged(&self.v4((me.mac, you.ip), &data("victim's, tagged")), 0x8100, 0);
        vec![
            ("own IPv4", self.v4(own, &data("own IPv4"))),
            ("own IPv6", self.v6(&me.ip6.to_string(), &data("own IPv6"))),
            ("another MAC", self.v4(([2, 0, 0, 0, 0, 9], me.ip), &data("another MAC"))),
            ("from elsewhere", self.v4((me.mac, [203, 0, 113, 7].into()), &data("from elsewhere"))),
            ("victim's IPv4", self.v4((me.mac, you.ip), &data("victim's IPv4"))),
            ("gateway's IPv4", self.v4((me.mac, [172, 30, 0, 1].into()), &data("gateway's IPv4"))),
            ("IPv6 of nobody", self.v6("fd00:99::1", &data("IPv6 of nobody"))),
            ("link-local IPv6", self.v6("fe80::1", &data("link-local IPv6"))),
            ("DHCP server", self.v4(own, &udp(67, 68, b"DHCP server"))),
            ("DHCPv6 server", self.v6(&me.ip6.to_string(), &udp(547, 546, b"DHCPv6 server"))),
            ("source route", ethernet((me.mac, self.gateway), IPV4, &routed)),
            ("victim's, tagged", tagged_spoof),
        ]
    }
}

/// R-ISO 1: a port sends only what belongs to it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_port_sends_only_what_is_its_own() {
    on_a_host(|host| {
        let mut attack = Attack::new(host, "--allow-address 172.30.0.77");
        let frames = attack.frames();
        assert_eq!(attack.arriving(&frames), ["own IPv4", "own IPv6"]);
        let declared = attack.v4((attack.attacker.mac, [172, 30, 0, 77].into()), &udp(1, 2, b"declared"));
        assert_eq!(attack.arriving(&[("declared", declared)]), ["declared"]);
    });
}

/// The control: it is the guard that drops them. What nobody else may have is dropped nevertheless.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_the_guard_it_sends_what_is_nobody_elses() {
    on_a_host(|host| {
        let mut attack = Attack::new(host, "--guard off");
        run("sysctl -qw net.ipv4.conf.all.rp_filter=0");
        run(&format!("sysctl -qw net.ipv4.conf.{}.rp_filter=0", host.host_if("attacker")));
        let frames = attack.frames();
        let arriving = attack.arriving(&frames);
        let nobodys = ["own IPv4", "own IPv6", "another MAC", "DHCP server", "DHCPv6 server"];
        assert_eq!(arriving, nobodys);
        let from_elsewhere = |host: &Host, out: &mut Wire, (mac, gateway): (Mac, Mac)| {
            let seen = host.wire(&host.lan, "eth0");
            let ips = ([203, 0, 113, 7].into(), [192, 0, 2, 100].into());
            out.send(&ethernet((mac, gateway), IPV4, &ipv4(ips, UDP, &udp(1, 2, b"elsewhere"))));
            seen
        };
        let is_its = |frame: &[u8]| contains(frame, b"elsewhere");
        let macs = (attack.attacker.mac, attack.gateway);
        assert!(from_elsewhere(host, &mut attack.out, macs).comes(is_its), "without the guard");
        let guarded = Member::attach(host, "guarded", "--network front");
        let port = host.host_if("guarded");
        let macs = (guarded.mac, mac(&stdout(&format!("cat /sys/class/net/{port}/address"))));
        run(&format!("sysctl -qw net.ipv4.conf.{port}.rp_filter=0"));
        let seen = from_elsewhere(host, &mut host.wire(&guarded.place, "eth0"), macs);
        assert!(!seen.within(Duration::from_millis(300)).iter().any(|frame| is_its(frame)), "with it");
    });
}

/// What reaches the attacker itself, of answers of the host to its questions about who has an address.
fn arp_answers(attack: &mut Attack) -> usize {
    let (me, gateway) = (attack.attacker.mac, attack.gateway);
    attack.out.within(Duration::from_millis(10));
    for target in [[192, 0, 2, 1], [172, 30, 0, 1], [172, 30, 0, 3]] {
        let question = arp(1, (me, attack.victim.ip), ([0; 6], target.into()));
        attack.out.send(&ethernet((me, BROADCAST), ARP, &question));
        attack.out.send(&ethernet(
            (me, gateway),
            ARP,
            &arp(2, (me, target.into()), (gateway, target.into())),
        ));
    }
    let frames = attack.out.within(Duration::from_millis(300));
    frames
        .iter()
        .filter(|frame| frame[12..14] == [8, 6] && frame[6..12] == gateway && frame[20..22] == [0, 2])
        .count()
}

/// No ARP of a container is heard: it can neither claim an address nor fill the host's tables.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_host_hears_no_arp() {
    on_a_host(|host| {
        let mut attack = Attack::new(host, "");
        let before = stdout("ip neigh");
        assert_eq!(arp_answers(&mut attack), 0);
        assert_eq!(stdout("ip neigh"), before);
        let port = host.host_if("attacker");
        run(&format!("ip link set {port} arp on"));
        assert!(arp_answers(&mut attack) > 0, "the control");
        assert_eq!(host.qiao.run("check").code, Some(11), "that somebody changed it is seen");
        host.ok("repair");
        assert_eq!(arp_answers(&mut attack), 0, "repaired");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn networks_do_not_reach_one_another() {
    on_a_host(|host| {
        let (red, blue) = two(host, "-d routed");
        let bridged = Member::attach(host, "bridged", "");
        let neighbour = Member::attach(host, "n", "--network blue");
        let _services = [serve(&blue.place), serve(&bridged.place)];
        let all = questions(&blue);
        assert_eq!(answered(&neighbour.place, &all).len(), all.len(), "the control: within a network");
        assert_eq!(answered(&red.place, &all), [""; 0]);
        assert_eq!(answered(&bridged.place, &all), [""; 0], "from a bridge network");
        let there = [(Protocol::Tcp, format!("{}:80", bridged.ip))];
        assert_eq!(answered(&red.place, &there), [""; 0], "to a bridge network");
        for to in ["192.0.2.1:8080", "[2001:db8::1]:8080", "172.30.1.1:8080"] {
            assert!(answer(&red.place, to).starts_with("b "), "published: {to}");
        }
        let _host = Service::start(&Place::HOST, Protocol::Tcp, "[::]:54");
        assert_eq!(answer(&red.place, "172.30.1.1:54"), "host 172.30.1.2");
        assert_eq!(answer(&red.place, "172.30.2.1:54"), "", "another network's gateway");
        assert_eq!(answer(&red.place, "[fd00:2::1]:54"), "");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_isolation_they_do() {
    on_a_host(|host| {
        let (red, blue) = two(host, "-d routed --isolate off");
        let _services = serve(&blue.place);
        let all = questions(&blue);
        assert_eq!(answered(&red.place, &all).len(), all.len());
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn members_without_icc_do_not_reach_one_another() {
    on_a_host(|host| {
        host.ok("network create front -d routed --ipv6 --icc off");
        let first = Member::attach(host, "first", "--network front -p 8080:80");
        let second = Member::attach(host, "second", "--network front");
        let _services = serve(&first.place);
        let all = questions(&first);
        assert_eq!(answered(&second.place, &all), [""; 0]);
        assert_eq!(answered(&Place::HOST, &all).len(), all.len(), "the host");
        assert!(answer(&host.lan, "192.0.2.1:8080").starts_with("first "), "from outside");
        assert!(answer(&second.place, "192.0.2.1:8080").starts_with("first "), "the published port");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_internal_network_is_closed() {
    on_a_host(|host| {
        let (x, y) = create(host, "-d routed --internal");
        assert_eq!(reached(host, (&x, &y)), [true, false, false, false]);
        run("ip netns add z");
        let publishing = host.qiao.run("attach z --netns /run/netns/z --network inner -p 80:80");
        assert_eq!(publishing.code, Some(2), "{publishing:?}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_ordinary_one_is_open() {
    on_a_host(|host| {
        let (x, y) = create(host, "-d routed");
        assert_eq!(reached(host, (&x, &y)), [true; 4]);
    });
}

/// R-REL 22: what somebody broke is seen, and mended; nothing else is touched.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_broken_is_mended() {
    on_a_host(|host| {
        host.ok(FRONT);
        let web = Member::attach(host, "web", "--network front");
        let app = Member::attach(host, "app", "--network front");
        let _service = serve(&web.place);
        let port = host.host_if("web");
        let breaks = [
            "ip link del rt-front".to_owned(),
            format!("ip route del 172.30.0.2 dev {port}"),
            format!("ip link set {port} down"),
            format!("ip neigh del 172.30.0.2 dev {port}"),
            "ip -n web neigh del 172.30.0.1 dev eth0".into(),
            "ip -n web route del 172.30.0.0/24".into(),
            "nft delete element inet qiao homes4 { 172.30.0.2 . \"PORT\" }".replace("\"PORT\"", &port),
            "nft flush ruleset".into(),
        ];
        for line in breaks {
            assert!(answer(&app.place, "172.30.0.2:80").starts_with("web "), "before `{line}`");
            run(&line);
            assert_eq!(host.qiao.run("check").code, Some(11), "after `{line}`");
            host.ok("repair");
            assert_eq!(
                host.qiao.run("check").code,
                Some(0),
                "repaired after `{line}`: {}",
                host.qiao.run("check")
            );
        }
        assert!(answer(&app.place, "172.30.0.2:80").starts_with("web "), "after all");
    });
}

/// A route of somebody else's to the container's address is in the way, and stays.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_foreign_route_is_in_the_way() {
    on_a_host(|host| {
        host.ok(FRONT);
        run("ip route add 172.30.0.9/32 via 192.0.2.100");
        let place = host.container("web");
        host.refused(5, &format!("attach web --netns {} --network front --ip 172.30.0.9", place.path()));
        assert!(stdout("ip route").contains("172.30.0.9 via 192.0.2.100"));
        host.attach(&place, "--network front --ip 172.30.0.10");
    });
}

/// The namespace goes without a word, as with containers that crash.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn lost_containers_are_collected() {
    on_a_host(|host| {
        host.ok(FRONT);
        let before = host.snapshot();
        let web = Member::attach(host, "web", "--network front");
        web.place.delete();
        host.ok("gc");
        host.assert_like(&before, "a namespace that went");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_second_network_takes_over_the_way_out() {
    on_a_host(|host| {
        host.ok(FRONT);
        host.ok("network create back -d routed --subnet 172.30.7.0/24");
        let web = Member::attach(host, "web", "--network front");
        host.ok("network connect back web");
        let peer = Member::attach(host, "peer", "--network back");
        let _services = [serve(&peer.place), serve(&host.lan)];
        assert!(answer(&web.place, &format!("{}:80", peer.ip)).starts_with("peer 172.30.7."));
        host.ok("network disconnect front web");
        assert_eq!(answer(&web.place, "192.0.2.100:80"), "lan 192.0.2.1");
        assert_eq!(host.qiao.run("check").code, Some(0), "{}", host.qiao.run("check"));
    });
}
