//! R-ISO 6: two networks exchange nothing; members of one do, unless they shall not.

use crate::frames::Member;
use qiao_testbed::frame::{IPV4, UDP, contains, ethernet, ipv4, mac, udp};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask};
use std::net::UdpSocket;
use std::time::Duration;

/// Two networks with a member each; `options` are both networks'.
pub fn two(host: &Host, options: &str) -> (Member, Member) {
    host.ok(&format!("network create red --ipv6 --subnet 172.30.1.0/24 --subnet fd00:1::/64 {options}"));
    host.ok(&format!("network create blue --ipv6 --subnet 172.30.2.0/24 --subnet fd00:2::/64 {options}"));
    (Member::attach(host, "r", "--network red"), Member::attach(host, "b", "--network blue -p 8080:80"))
}

/// Which questions a place gets an answer to.
pub fn answered(place: &Place, questions: &[(Protocol, String)]) -> Vec<String> {
    let asked = questions.iter().filter(|(protocol, to)| ask(place, *protocol, to).is_some());
    asked.map(|(protocol, to)| format!("{protocol:?} {to}")).collect()
}

pub fn questions(member: &Member) -> Vec<(Protocol, String)> {
    let to = [format!("{}:80", member.ip), format!("[{}]:80", member.ip6)];
    to.into_iter().flat_map(|to| [(Protocol::Tcp, to.clone()), (Protocol::Udp, to)]).collect()
}

pub fn serve(place: &Place) -> [Service; 2] {
    [Service::start(place, Protocol::Tcp, "[::]:80"), Service::start(place, Protocol::Udp, "[::]:80")]
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn networks_do_not_reach_one_another() {
    on_a_host(|host| {
        let (red, blue) = two(host, "");
        let neighbour = Member::attach(host, "n", "--network blue");
        let _services = serve(&blue.place);
        let all = questions(&blue);
        assert_eq!(answered(&neighbour.place, &all).len(), all.len(), "the control: within a network");
        assert_eq!(answered(&red.place, &all), [""; 0]);
    });
}

/// Also the other network's gateway is an address of the other network.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn another_networks_gateway_is_out_of_reach() {
    on_a_host(|host| {
        let (red, _blue) = two(host, "");
        let _host = Service::start(&Place::HOST, Protocol::Tcp, "[::]:54");
        assert_eq!(ask(&red.place, Protocol::Tcp, "172.30.1.1:54").as_deref(), Some("host 172.30.1.2"));
        assert_eq!(ask(&red.place, Protocol::Tcp, "172.30.2.1:54"), None);
        assert_eq!(ask(&red.place, Protocol::Tcp, "[fd00:2::1]:54"), None);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_isolation_they_do() {
    on_a_host(|host| {
        let (red, blue) = two(host, "--isolate off");
        let _services = serve(&blue.place);
        let all = questions(&blue);
        assert_eq!(answered(&red.place, &all).len(), all.len());
    });
}

/// Not even a datagram without an answer arrives, with the next hop forced by hand.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn forced_frames_do_not_arrive() {
    on_a_host(|host| {
        let (red, blue) = two(host, "");
        let neighbour = Member::attach(host, "n", "--network blue");
        let gateway = mac(&qiao_testbed::stdout("cat /sys/class/net/br-red/address"));
        let (mut out, seen) = (host.wire(&red.place, "eth0"), host.wire(&blue.place, "eth0"));
        let datagram = |text: &[u8]| udp(1000, 8080, text);
        out.send(&ethernet((red.mac, gateway), IPV4, &ipv4((red.ip, blue.ip), UDP, &datagram(b"forced"))));
        let mut control = host.wire(&neighbour.place, "eth0");
        std::thread::sleep(Duration::from_millis(50));
        let ips = (neighbour.ip, blue.ip);
        control.send(&ethernet((neighbour.mac, blue.mac), IPV4, &ipv4(ips, UDP, &datagram(b"control"))));
        let frames = seen.until(|frame| contains(frame, b"control"));
        assert!(!frames.iter().any(|frame| contains(frame, b"forced")), "{frames:02x?}");
    });
}

/// Published ports stay reachable from other networks.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn published_ports_are_reached_from_other_networks() {
    on_a_host(|host| {
        let (red, blue) = two(host, "");
        let _services = serve(&blue.place);
        for to in ["192.0.2.1:8080", "[2001:db8::1]:8080", "172.30.1.1:8080"] {
            let answer = ask(&red.place, Protocol::Tcp, to);
            assert!(answer.as_deref().is_some_and(|text| text.starts_with("b ")), "{to}: {answer:?}");
        }
    });
}

/// `--icc off` keeps members apart also where one takes the way by the gateway.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn members_without_icc_do_not_go_by_the_gateway() {
    on_a_host(|host| {
        host.ok("network create apart --icc off --subnet 172.30.3.0/24");
        host.ok("network create near --subnet 172.30.4.0/24");
        assert!(!by_the_gateway(host, "apart"));
        assert!(by_the_gateway(host, "near"), "the control");
    });
}

/// Whether a datagram for a member arrives that another sends to the bridge's hardware address.
fn by_the_gateway(host: &Host, network: &str) -> bool {
    let from = Member::attach(host, &format!("{network}-1"), &format!("--network {network}"));
    let to = Member::attach(host, &format!("{network}-2"), &format!("--network {network}"));
    let gateway = mac(&qiao_testbed::stdout(&format!("cat /sys/class/net/br-{network}/address")));
    let (mut out, seen) = (host.wire(&from.place, "eth0"), host.wire(&to.place, "eth0"));
    let datagram = ipv4((from.ip, to.ip), UDP, &udp(1000, 2000, b"forced"));
    out.send(&ethernet((from.mac, gateway), IPV4, &datagram));
    std::thread::sleep(Duration::from_millis(50));
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.send_to(b"control", (to.ip, 2000)).unwrap();
    seen.until(|frame| contains(frame, b"control")).iter().any(|frame| contains(frame, b"forced"))
}

/// `--icc off`: members do not reach one another, and everything else works.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn members_without_icc_do_not_reach_one_another() {
    on_a_host(|host| {
        host.ok("network create front --ipv6 --icc off");
        let first = Member::attach(host, "first", "--network front -p 8080:80");
        let second = Member::attach(host, "second", "--network front");
        let _services = serve(&first.place);
        let all = questions(&first);
        assert_eq!(answered(&second.place, &all), [""; 0]);
        assert_eq!(answered(&Place::HOST, &all).len(), all.len(), "the host");
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some(), "from outside");
        let _outside = Service::start(&host.lan, Protocol::Tcp, "0.0.0.0:80");
        assert!(ask(&second.place, Protocol::Tcp, "192.0.2.100:80").is_some(), "to outside");
    });
}
