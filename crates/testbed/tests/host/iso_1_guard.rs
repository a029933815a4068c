//! R-ISO 1, 3 and 4: a port sends only what belongs to it.

use crate::frames::{Attack, Member, bridge_netfilter};
use qiao_testbed::frame::*;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask};
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x30, 0, 0, 0, 0, 0, 1);
const OTHER: Mac = [2, 0, 0, 0, 0, 9];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const FOREIGN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// IPv6's fragment header (RFC 8200, 4.5).
const FRAGMENT: u8 = 44;

type Frames = Vec<(&'static str, Vec<u8>)>;

/// An advertisement of `target`, which says that it is at the attacker's hardware address.
fn advertisement(attack: &Attack, target: Ipv6Addr) -> Vec<u8> {
    let ips = (attack.attacker.ip6, attack.victim.ip6);
    let mut body = vec![0x20, 0, 0, 0];
    body.extend(target.octets());
    body.extend([2, 1]);
    body.extend(attack.attacker.mac);
    ethernet(attack.macs(), IPV6, &ipv6(ips, ICMP6, &icmp6(ips, (136, 0), &body)))
}

fn discovery(attack: &Attack, (kind, from, to): (u8, Ipv6Addr, Ipv6Addr), body: &[u8]) -> Vec<u8> {
    ethernet(attack.macs(), IPV6, &ipv6((from, to), ICMP6, &icmp6((from, to), (kind, 0), body)))
}

/// What belongs to a container.
fn honest(a: &Attack) -> Frames {
    let (me, you) = (&a.attacker, &a.victim);
    let probe: Vec<u8> = [&[0; 4][..], &me.ip6.octets()].concat();
    let datagram = udp(1000, 2000, b"data");
    vec![
        ("ARP question", ethernet((me.mac, BROADCAST), ARP, &arp(1, (me.mac, me.ip), ([0; 6], you.ip)))),
        ("ARP answer", ethernet(a.macs(), ARP, &arp(2, (me.mac, me.ip), (you.mac, you.ip)))),
        ("ARP probe", ethernet(a.macs(), ARP, &arp(1, (me.mac, Ipv4Addr::UNSPECIFIED), ([0; 6], me.ip)))),
        ("IPv4", ethernet(a.macs(), IPV4, &ipv4((me.ip, you.ip), UDP, &datagram))),
        ("IPv6", ethernet(a.macs(), IPV6, &ipv6((me.ip6, you.ip6), UDP, &datagram))),
        ("IPv6 link-local", ethernet(a.macs(), IPV6, &ipv6((me.local, you.local), UDP, &datagram))),
        ("own advertisement", advertisement(a, me.ip6)),
        ("duplicate address detection", discovery(a, (135, Ipv6Addr::UNSPECIFIED, you.ip6), &probe)),
    ]
}

/// What passes one off as somebody else.
fn identities(a: &Attack) -> Frames {
    let (me, you) = (&a.attacker, &a.victim);
    let datagram = udp(1000, 2000, b"data");
    let v4 = |from| ethernet(a.macs(), IPV4, &ipv4((from, you.ip), UDP, &datagram));
    let v6 = |from| ethernet(a.macs(), IPV6, &ipv6((from, you.ip6), UDP, &datagram));
    let probe: Vec<u8> = [&[0; 4][..], &GATEWAY6.octets()].concat();
    let claim = |mac, ip| ethernet(a.macs(), ARP, &arp(2, (mac, ip), (you.mac, you.ip)));
    vec![
        ("hardware address", ethernet((OTHER, you.mac), IPV4, &ipv4((me.ip, you.ip), UDP, &datagram))),
        (
            "victim's hardware address",
            ethernet((you.mac, BROADCAST), IPV4, &ipv4((me.ip, you.ip), UDP, &datagram)),
        ),
        ("IPv4 of the gateway", v4(GATEWAY)),
        ("IPv4 from elsewhere", v4(FOREIGN)),
        ("IPv4 of nobody", v4(Ipv4Addr::UNSPECIFIED)),
        ("IPv6 of the gateway", v6(GATEWAY6)),
        ("IPv6 link-local of another", v6("fe80::1".parse().unwrap())),
        ("ARP for the gateway", claim(me.mac, GATEWAY)),
        ("ARP with a foreign hardware address", claim(OTHER, me.ip)),
        ("gratuitous ARP", ethernet((me.mac, BROADCAST), ARP, &arp(1, (me.mac, GATEWAY), ([0; 6], GATEWAY)))),
        ("advertisement of the gateway", advertisement(a, GATEWAY6)),
        ("duplicate address detection", discovery(a, (135, Ipv6Addr::UNSPECIFIED, you.ip6), &probe)),
    ]
}

/// What only a router or a server may send, and what is not for a container at all.
fn roles(a: &Attack) -> Frames {
    let (me, you) = (&a.attacker, &a.victim);
    let v4 = |to, protocol, payload: &[u8]| ethernet(a.macs(), IPV4, &ipv4((me.ip, to), protocol, payload));
    let v6 = |to, payload: &[u8]| ethernet(a.macs(), IPV6, &ipv6((me.ip6, to), UDP, payload));
    let honest = v4(you.ip, UDP, &udp(1000, 2000, b"data"));
    let redirect = [&me.ip.octets()[..], &ipv4((you.ip, FOREIGN), UDP, &udp(1, 2, b""))].concat();
    let redirect6 = [&[0; 4][..], &me.local.octets(), &GATEWAY6.octets()].concat();
    let source_route = [131, 7, 4, 203, 0, 113, 7, 0];
    vec![
        (
            "router advertisement",
            discovery(a, (134, me.local, ALL_NODES), &[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        ("ICMPv6 redirect", discovery(a, (137, me.local, you.ip6), &redirect6)),
        ("ICMP redirect", v4(you.ip, ICMP, &icmp(5, 1, &redirect))),
        ("DHCP server", v4(you.ip, UDP, &udp(67, 68, &[2; 240]))),
        ("DHCPv6 server", v6(you.ip6, &udp(547, 546, &[2; 40]))),
        ("to 127.0.0.1", v4(Ipv4Addr::LOCALHOST, UDP, &udp(1000, 2000, b"data"))),
        ("to ::1", v6(Ipv6Addr::LOCALHOST, &udp(1000, 2000, b"data"))),
        (
            "source route",
            ethernet(a.macs(), IPV4, &ipv4_with((me.ip, you.ip), (UDP, &source_route), &udp(1, 2, b"x"))),
        ),
        ("tagged", tagged(&honest, 0x8100, 5)),
        ("tagged 802.1ad", tagged(&honest, 0x88a8, 5)),
        ("LLDP", ethernet(a.macs(), 0x88cc, &[2; 46])),
        ("PPPoE", ethernet(a.macs(), 0x8863, &[0x11; 46])),
        ("BPDU", ethernet((me.mac, mac("01:80:c2:00:00:00")), 38, &[0x42, 0x42, 3, 0, 0, 0])),
    ]
}

/// Errors to the victim about a packet of the victim's to somebody, of each type that quotes one.
fn errors(a: &Attack, (to, to6): (Ipv4Addr, Ipv6Addr)) -> Frames {
    let (me, you) = (&a.attacker, &a.victim);
    let datagram = udp(1000, 2000, b"data");
    let quoted = [&[0; 4][..], &ipv4((you.ip, to), UDP, &datagram)].concat();
    let quoted6 = [&[0, 0, 5, 0][..], &ipv6((you.ip6, to6), UDP, &datagram)].concat();
    let v4 = |kind, code| ethernet(a.macs(), IPV4, &ipv4((me.ip, you.ip), ICMP, &icmp(kind, code, &quoted)));
    let ips = (me.ip6, you.ip6);
    let v6 = |kind, code| ethernet(a.macs(), IPV6, &ipv6(ips, ICMP6, &icmp6(ips, (kind, code), &quoted6)));
    let mut frames = vec![
        ("port unreachable", v4(3, 3)),
        ("fragmentation needed", v4(3, 4)),
        ("source quench", v4(4, 0)),
        ("time exceeded", v4(11, 0)),
        ("parameter problem", v4(12, 0)),
    ];
    frames.extend([("ICMPv6 unreachable", v6(1, 4)), ("packet too big", v6(2, 0))]);
    frames.extend([("ICMPv6 time exceeded", v6(3, 0)), ("unknown error", v6(100, 0))]);
    frames
}

/// Each frame arrives or does not, as it must.
fn all(attack: &mut Attack, frames: Frames, must_arrive: bool) {
    let wrong: Vec<_> = frames
        .into_iter()
        .filter(|(_, frame)| attack.arrives(frame) != must_arrive)
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "{}: {wrong:?}", if must_arrive { "did not arrive" } else { "arrived" });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn honest_frames_pass() {
    on_a_host(|host| {
        let mut attack = Attack::new(host, "");
        let frames = honest(&attack);
        all(&mut attack, frames, true);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn false_identities_are_dropped() {
    on_a_host(|host| {
        let mut attack = Attack::new(host, "");
        let frames = identities(&attack);
        all(&mut attack, frames, false);
    });
}

/// A neighbour may not speak of what is between the victim and others, nor hide in a second fragment what it speaks of.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d1_errors_about_a_neighbours_packets_to_others_are_dropped() {
    on_a_host(|host| {
        let mut attack = Attack::new(host, "");
        let own = errors(&attack, (attack.attacker.ip, attack.attacker.ip6));
        all(&mut attack, own, true);
        for to in [(FOREIGN, "2001:db8::100".parse().unwrap()), (GATEWAY, GATEWAY6)] {
            let others = errors(&attack, to);
            all(&mut attack, others, false);
        }
        bridge_netfilter("0"); // else it is put together before it goes on
        let (macs, ips) = (attack.macs(), (attack.attacker.ip, attack.victim.ip));
        let begin = |kind| {
            let mut begin = ipv4(ips, ICMP, &[kind, 3, 0, 0, 0, 0, 0, 0]);
            begin[6] = 0x20; // more fragments follow
            ethernet(macs, IPV4, &begin)
        };
        all(&mut attack, vec![("the control: the beginning of an echo request", begin(8))], true);
        all(&mut attack, vec![("an error that quotes nothing yet", begin(3))], false);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn routers_servers_tags_and_foreign_protocols_are_dropped() {
    on_a_host(|host| {
        let mut attack = Attack::new(host, "");
        let frames = roles(&attack);
        all(&mut attack, frames, false);
    });
}

/// The control of the two above: it is the guard that drops them, and nothing else. The port of the victim
/// takes no router's messages, whoever sends them.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_the_guard_all_of_it_arrives() {
    on_a_host(|host| {
        bridge_netfilter("0"); // it would show the frames to the routing rules, which drop some of them too
        let mut attack = Attack::new(host, "--guard off");
        let to_port = ["router advertisement", "ICMPv6 redirect", "ICMP redirect"];
        let frames: Frames = identities(&attack).into_iter().chain(roles(&attack)).collect();
        let (router, others): (Frames, Frames) =
            frames.into_iter().partition(|(name, _)| to_port.contains(name));
        all(&mut attack, others, true);
        all(&mut attack, router, false);
    });
}

/// What the host hears on a socket of its own of what a container sends to the group addresses of bridges, which
/// the bridge takes for its port's own. An honest datagram follows, which must arrive.
fn heard_by_groups(host: &Host, attacker: &Member) -> Vec<String> {
    let socket = UdpSocket::bind("192.0.2.1:7777").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let to: Ipv4Addr = [192, 0, 2, 1].into();
    let mut out = host.wire(&attacker.place, "eth0");
    for last in 0..16 {
        let from = (attacker.mac, [1, 0x80, 0xc2, 0, 0, last]);
        let datagram = udp(1000, 7777, format!("group {last}").as_bytes());
        out.send(&ethernet(from, IPV4, &ipv4((FOREIGN, to), UDP, &datagram)));
    }
    let bridge = mac(&qiao_testbed::stdout("cat /sys/class/net/br-front/address"));
    let last = ipv4((attacker.ip, to), UDP, &udp(1000, 7777, b"honest"));
    out.send(&ethernet((attacker.mac, bridge), IPV4, &last));
    let mut bytes = [0; 64];
    let heard = std::iter::from_fn(|| {
        let length = socket.recv(&mut bytes).expect("the honest datagram");
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    });
    heard.take_while(|text| text != "honest").collect()
}

/// Frames between bridges (01:80:c2:00:00:0x) go round the forwarding of the bridge, and must not go round the
/// guard: the datagrams in them would come from anybody, also out of an internal network.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn frames_between_bridges_do_not_reach_the_host() {
    on_a_host(|host| {
        host.ok("network create front --subnet 172.30.0.0/24");
        let attacker = Member::attach(host, "attacker", "--network front");
        assert_eq!(heard_by_groups(host, &attacker), [""; 0]);
        let bare = Member::attach(host, "bare", "--network front --guard off");
        assert!(!heard_by_groups(host, &bare).is_empty(), "the control: without the guard");
    });
}

/// With br_netfilter the host puts fragments together and sends on what comes of them: an advertisement whose
/// target is in the second fragment must not get that far.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn advertisements_in_fragments_are_dropped() {
    on_a_host(|host| {
        let mut attack = Attack::new(host, "");
        let (ips, macs) = ((attack.attacker.ip6, attack.victim.ip6), attack.macs());
        let body = [&[0x20, 0, 0, 0][..], &GATEWAY6.octets()].concat();
        let whole = icmp6(ips, (136, 0), &body);
        let advertisement = |split: usize, number: u8| {
            let first = [&[ICMP6, 0, 0, 1, 0, 0, 0, number][..], &whole[..split]].concat();
            let rest = [&[ICMP6, 0, 0, split as u8, 0, 0, 0, number][..], &whole[split..]].concat();
            [first, rest].map(|payload| ethernet(macs, IPV6, &ipv6(ips, FRAGMENT, &payload)))
        };
        for (number, (bridged, split)) in [("0", 8), ("0", 16), ("1", 8), ("1", 16)].into_iter().enumerate() {
            bridge_netfilter(bridged);
            for frame in advertisement(split, number as u8) {
                attack.out.send(&frame);
            }
            let seen = attack.until_honest();
            let target = seen.iter().any(|frame| contains(frame, &whole[..8]));
            assert!(!target, "br_netfilter {bridged}, {split} bytes first: {seen:02x?}");
        }
    });
}

/// R-ISO 3: switching the guard off is visible, and weakens nobody else's.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_guard_is_off_only_where_it_is_said_and_with_a_warning() {
    on_a_host(|host| {
        let mut attack = Attack::new(host, "");
        let bare = host.container("bare");
        let outcome = host.attach(&bare, "--network front --guard off -p 8080:80");
        assert!(outcome.stderr.contains("warning"), "{outcome}");
        let frames = identities(&attack);
        all(&mut attack, frames, false);
    });
}

/// R-ISO 3: what a container has besides weakens nothing: published ports, further addresses, a second network.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn nothing_else_weakens_the_guard() {
    on_a_host(|host| {
        host.ok("network create back --isolate off --icc off");
        let more = "-p 8080:80 -p 8080:80/udp -p 172.30.0.1:9000-9009:9000-9009 --allow-address 172.30.0.77";
        let mut attack = Attack::new(host, more);
        host.ok("network connect back attacker");
        let frames: Frames = identities(&attack).into_iter().chain(roles(&attack)).collect();
        all(&mut attack, frames, false);
        let frames = honest(&attack);
        all(&mut attack, frames, true);
    });
}

/// VXLAN reaches no VTEP, neither the host's nor one outside; other datagrams do.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_vxlan_comes_out_of_a_container() {
    on_a_host(|host| {
        host.ok("network create front --ipv6");
        let web = host.attached("web", "--network front");
        for (port, reached) in [(4789, false), (4790, true)] {
            for (place, ip) in [
                (&Place::HOST, "192.0.2.1"),
                (&Place::HOST, "[2001:db8::1]"),
                (&host.lan, "192.0.2.100"),
                (&host.lan, "[2001:db8::100]"),
            ] {
                let to = format!("{ip}:{port}");
                let _service = Service::start(place, Protocol::Udp, &to);
                let answer = ask(&web, Protocol::Udp, &to);
                assert_eq!(answer.is_some(), reached, "{to}: {answer:?}");
            }
        }
    });
}

/// R-ISO 3: further addresses are declared, not implied.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn declared_addresses_pass_and_no_others() {
    on_a_host(|host| {
        let mut attack = Attack::new(host, "--allow-address 172.30.0.77");
        let from = |attack: &Attack, last| {
            let ips = (Ipv4Addr::new(172, 30, 0, last), attack.victim.ip);
            ethernet(attack.macs(), IPV4, &ipv4(ips, UDP, &udp(1, 2, b"data")))
        };
        let (declared, other) = (from(&attack, 77), from(&attack, 78));
        assert!(attack.arrives(&declared), "the declared address");
        assert!(!attack.arrives(&other), "another one");
    });
}

/// R-ISO 4: a network without IPv6 has none on its ports, and a port of the host has no address.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn ports_have_no_addresses_of_their_own() {
    on_a_host(|host| {
        host.ok("network create four --ipv6=false");
        host.ok("network create both --ipv6");
        let four = Member::attach(host, "four", "--network four");
        let both = Member::attach(host, "both", "--network both");
        assert_eq!(four.place.stdout("ip -6 -o addr show dev eth0"), "", "IPv6 where there is none");
        assert!(!both.ip6.is_unspecified() && !both.local.is_unspecified(), "IPv6 where there is");
        for name in ["four", "both"] {
            let port = host.host_if(name);
            assert_eq!(qiao_testbed::stdout(&format!("ip -o addr show dev {port}")), "", "{port}");
        }
    });
}
