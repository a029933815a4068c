//! R-ISO 6: an ICMP error speaks of a connection that ends where it comes from, or it goes nowhere. Connection tracking
//! takes every error that quotes a connection it knows for related to that, whoever sends it.

use crate::frames::{Member, bridge_netfilter};
use crate::netavark::{network, on, setup};
use qiao_testbed::frame::*;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, OUTSIDE4, OUTSIDE6, Place, UPLINK4, UPLINK6, Wire, eventually, run};
use serde_json::json;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// The port of the outside host that everybody speaks to.
const SERVER: u16 = 9000;
/// The path's MTU that an error speaks of.
const NARROW: u16 = 1300;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The host's and the outside host's addresses of both families.
fn ends() -> [(IpAddr, IpAddr); 2] {
    [(ip(UPLINK4), ip(OUTSIDE4)), (ip(UPLINK6), ip(OUTSIDE6))]
}

/// What an error says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    /// Nobody listens.
    Closed,
    /// The packet is too big for the path.
    Narrow,
}

/// An error about a datagram between two sockets, from an address to the datagram's sender. Behind the quoted headers is
/// what an attacker wants to bring out.
fn error(
    says: Says,
    macs: (Mac, Mac),
    from: IpAddr,
    (sender, receiver): (SocketAddr, SocketAddr),
) -> Vec<u8> {
    let datagram = udp(sender.port(), receiver.port(), &smuggled(receiver));
    match (from, sender.ip(), receiver.ip()) {
        (IpAddr::V4(from), IpAddr::V4(a), IpAddr::V4(b)) => {
            let (code, mtu) = if says == Says::Closed { (3, 0) } else { (4, NARROW) };
            let body = [&[0, 0][..], &mtu.to_be_bytes(), &ipv4((a, b), UDP, &datagram)].concat();
            ethernet(macs, IPV4, &ipv4((from, a), ICMP, &icmp(3, code, &body)))
        }
        (IpAddr::V6(from), IpAddr::V6(a), IpAddr::V6(b)) => {
            let (kind, mtu) = if says == Says::Closed { ((1, 4), 0) } else { ((2, 0), u32::from(NARROW)) };
            let body = [&mtu.to_be_bytes()[..], &ipv6((a, b), UDP, &datagram)].concat();
            ethernet(macs, IPV6, &ipv6((from, a), ICMP6, &icmp6((from, a), kind, &body)))
        }
        _ => panic!("one family"),
    }
}

fn smuggled(receiver: SocketAddr) -> Vec<u8> {
    format!("smuggled {}", receiver.port()).into_bytes()
}

/// A socket in a place that has sent one datagram to another and waits for what comes back.
struct Flow {
    socket: UdpSocket,
    place: Place,
    to: SocketAddr,
}

impl Flow {
    fn begin(place: &Place, to: SocketAddr) -> Self {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = place.inside(|| {
            let socket = UdpSocket::bind(any).unwrap();
            socket.connect(to).unwrap();
            socket.send(&greeting(&socket)).unwrap();
            socket
        });
        Self { socket, place: place.clone(), to }
    }

    /// As its own place sees it: from there, to the other end.
    fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.socket.local_addr().unwrap(), self.to)
    }

    /// Whether an error has come to the socket or has narrowed the path, within a time in which all do that may.
    fn is_disturbed(&self, within: Duration) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let refused = || {
            self.socket.recv(&mut [0; 64]).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        };
        let narrow = || {
            self.place.stdout(&format!("ip route get {}", self.to.ip())).contains(&format!("mtu {NARROW}"))
        };
        eventually(within, || refused() || narrow())
    }
}

/// What a socket says first.
fn greeting(socket: &UdpSocket) -> Vec<u8> {
    format!("from {}", socket.local_addr().unwrap().port()).into_bytes()
}

const AT_ONCE: Duration = Duration::from_millis(300);
const PATIENTLY: Duration = Duration::from_secs(5);

/// The server outside. Everybody has a socket that has spoken to it.
struct Server(UdpSocket);

impl Server {
    fn start(place: &Place) -> Self {
        let socket = place.inside(|| UdpSocket::bind(format!("[::]:{SERVER}")).unwrap());
        socket.set_read_timeout(Some(PATIENTLY)).unwrap();
        Self(socket)
    }

    /// A flow from a place to an address of the server, and its client as the server sees it.
    fn asked_by(&self, from: &Place, at: IpAddr) -> (Flow, SocketAddr) {
        let flow = Flow::begin(from, SocketAddr::new(at, SERVER));
        let mut data = [0; 64];
        let client = loop {
            let (length, client) = self.0.recv_from(&mut data).expect("the datagram arrives");
            if data[..length] == *greeting(&flow.socket) {
                break client;
            }
        };
        (flow, SocketAddr::new(client.ip().to_canonical(), client.port()))
    }
}

/// A container by this door, and a neighbour of its that it may not reach, if there may be such.
fn attach(host: &Host, door: &str) -> (Member, Option<Member>) {
    let subnets = "--ipv6 --subnet 172.30.1.0/24 --subnet fd00:1::/64";
    let red = |options: &str, own: &str| {
        host.ok(&format!("network create red {subnets} {options}"));
        let neighbour = Member::attach(host, "neighbour", "--network red");
        (Member::attach(host, "attacker", &format!("--network red {own}")), Some(neighbour))
    };
    match door {
        "bridge" => red("--icc off", ""),
        "routed" => red("-d routed --icc off", ""),
        "internal" => red("--internal --icc off", ""),
        "unguarded" => (red("", "--guard off").0, None),
        "netavark" => {
            let place = host.container("attacker");
            let mut net = network(1, true);
            net["options"] = json!({"isolate": "true"});
            setup(host, &place, &on("attacker", 7, &[&net]));
            (Member::of(place), None)
        }
        "cni" => {
            let place = host.container("attacker");
            let config = crate::cni_adopted::config("bridge", &json!({})).to_string();
            crate::cni_bridge::ok(host, ("bridge", "ADD"), ("attacker", &place.path()), &config);
            (Member::of(place), None)
        }
        _ => panic!("no door {door}"),
    }
}

/// A host with an attacker, whom he may not reach, and a server outside.
struct Scene<'h> {
    host: &'h Host,
    attacker: Member,
    gateway: Mac,
    out: Wire,
    router: Wire,
    neighbour: Option<Member>,
    victim: Member,
    inner: Member,
    server: Server,
}

impl<'h> Scene<'h> {
    fn new(host: &'h Host, door: &str) -> Self {
        let (attacker, neighbour) = attach(host, door);
        host.ok("network create blue --ipv6 --subnet 172.30.2.0/24 --subnet fd00:2::/64");
        host.ok("network create inner --internal --ipv6 --subnet 172.30.3.0/24 --subnet fd00:3::/64");
        Self {
            host,
            gateway: attacker.gateway(),
            out: host.wire(&attacker.place, "eth0"),
            router: host.wire(&host.lan, "eth0"),
            victim: Member::attach(host, "victim", "--network blue -p 7000:7000/udp"),
            inner: Member::attach(host, "inner", "--network inner"),
            server: Server::start(&host.lan),
            attacker,
            neighbour,
        }
    }

    /// The attacker sends an error about a datagram to its sender, from his own address.
    fn attack(&mut self, says: Says, quoted: (SocketAddr, SocketAddr)) {
        let from = of(&self.attacker, quoted.0.ip());
        self.out.send(&error(says, (self.attacker.mac, self.gateway), from, quoted));
    }

    /// A router outside sends one.
    fn route(&mut self, says: Says, quoted: (SocketAddr, SocketAddr)) {
        let from = if quoted.0.is_ipv4() { ip(OUTSIDE4) } else { ip(OUTSIDE6) };
        self.router.send(&error(says, (LAN, UPLINK), from, quoted));
    }

    /// What the attacker does with a flow of another's to the server: nothing comes of it, but it does if a router says
    /// the same.
    fn disturbs(&mut self, whose: &str, place: &Place) -> Vec<String> {
        let mut wrong = Vec::new();
        for ((_, outside), says) in
            ends().into_iter().flat_map(|ends| [Says::Closed, Says::Narrow].map(|says| (ends, says)))
        {
            let (flow, client) = self.server.asked_by(place, outside);
            let quoted = (client, SocketAddr::new(outside, SERVER));
            self.attack(says, quoted);
            if flow.is_disturbed(AT_ONCE) {
                wrong.push(format!(
                    "{says:?} to {whose} by {}",
                    if outside.is_ipv4() { "IPv4" } else { "IPv6" }
                ));
            }
            self.route(says, quoted);
            assert!(flow.is_disturbed(PATIENTLY), "the control: {says:?} by a router to {whose}, {outside}");
            forget_paths(place);
        }
        wrong
    }

    /// What the attacker brings out to the server with an error about a flow of the host's.
    fn smuggles_out(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (host, outside) in ends() {
            let (flow, _) = self.server.asked_by(&Place::HOST, outside);
            let (here, there) = flow.ends();
            assert_eq!(here.ip(), host);
            self.attack(Says::Closed, (there, here));
            flow.socket.send(b"the last").unwrap();
            let seen = self.router.until(|frame| contains(frame, b"the last"));
            if seen.iter().any(|frame| contains(frame, &smuggled(here))) {
                wrong.push(format!("out to {outside}"));
            }
        }
        wrong
    }

    /// What the attacker brings to a member with an error about a flow of the host's to that.
    fn smuggles_in(&mut self, whose: &str, member: &Member) -> Vec<String> {
        let (seen, mut wrong) = (self.host.wire(&member.place, "eth0"), Vec::new());
        for to in [IpAddr::from(member.ip), IpAddr::from(member.ip6)] {
            let flow = Flow::begin(&Place::HOST, SocketAddr::new(to, SERVER));
            let (here, there) = flow.ends();
            for says in [Says::Closed, Says::Narrow] {
                self.attack(says, (there, here));
            }
            std::thread::sleep(AT_ONCE);
            let last = Flow::begin(&Place::HOST, SocketAddr::new(to, SERVER));
            let seen = seen.until(|frame| contains(frame, &greeting(&last.socket)));
            if seen.iter().any(|frame| contains(frame, &smuggled(here))) {
                wrong.push(format!("in to {whose}, {to}"));
            }
        }
        wrong
    }

    /// Errors that belong to the attacker's own flows arrive: the host's, and if it reaches the outside, both ways.
    fn own_errors_arrive(&mut self, reaches_out: bool) {
        for ((host, outside), says) in
            ends().into_iter().flat_map(|ends| [Says::Closed, Says::Narrow].map(|says| (ends, says)))
        {
            let to = SocketAddr::new(of(&self.attacker, host), SERVER + 1);
            let flow = Flow::begin(&Place::HOST, to);
            assert!(
                flow.is_disturbed(PATIENTLY),
                "nobody listens at {to}, and its kernel says so to the host"
            );
            if !reaches_out {
                continue;
            }
            let (flow, client) = self.server.asked_by(&self.attacker.place.clone(), outside);
            self.server.0.connect(client).unwrap();
            self.server.0.send(b"answer").unwrap();
            let (here, there) = flow.ends();
            self.attack(says, (there, here));
            let served =
                Flow { socket: self.server.0.try_clone().unwrap(), place: self.host.lan.clone(), to: client };
            assert!(served.is_disturbed(PATIENTLY), "{says:?}, about its own flow to {outside}");
            forget_paths(&self.host.lan);
            self.server = {
                drop(served);
                self.server.0 = self.host.lan.inside(|| UdpSocket::bind("[::]:0").unwrap());
                Server::start(&self.host.lan)
            };
            let published = SocketAddr::new(host, 7000);
            let flow = Flow::begin(&self.attacker.place, published);
            assert!(
                flow.is_disturbed(PATIENTLY),
                "nobody listens behind {published}, and the victim's kernel says so"
            );
            let flow = Flow::begin(&self.host.lan, published);
            assert!(flow.is_disturbed(PATIENTLY), "the same to the outside");
        }
    }
}

/// The outside host's and the host's hardware addresses between them.
const LAN: Mac = [2, 0, 0, 0, 0, 0x64];
const UPLINK: Mac = [2, 0, 0, 0, 0, 1];

/// A member's address of the same family.
fn of(member: &Member, like: IpAddr) -> IpAddr {
    if like.is_ipv4() { member.ip.into() } else { member.ip6.into() }
}

/// Forgets what errors said of paths.
fn forget_paths(place: &Place) {
    place.run("ip -4 route flush cache");
    place.run("ip -6 route flush cache");
}

/// All that an attacker by this door may try, with the kernel's two ways through a bridge.
fn is_kept_in(host: &Host, door: &str) {
    let mut scene = Scene::new(host, door);
    let mut wrong = Vec::new();
    for at in ["0", "1"] {
        bridge_netfilter(at);
        let mut found = scene.smuggles_out();
        found.extend(scene.disturbs("the host", &Place::HOST));
        found.extend(scene.disturbs("another network", &scene.victim.place.clone()));
        let inner = Member::of(scene.inner.place.clone());
        found.extend(scene.smuggles_in("an internal network", &inner));
        let neighbour = scene.neighbour.as_ref().map(|neighbour| Member::of(neighbour.place.clone()));
        if let Some(neighbour) = neighbour {
            if door != "internal" {
                found.extend(scene.disturbs("a neighbour", &neighbour.place));
            }
            found.extend(scene.smuggles_in("a neighbour", &neighbour));
        }
        wrong.extend(found.into_iter().map(|what| format!("{what}, br_netfilter {at}")));
        scene.own_errors_arrive(door != "internal");
    }
    assert!(wrong.is_empty(), "by {door}:\n{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d1_errors_about_others_are_dropped_from_a_bridge() {
    on_a_host(|host| is_kept_in(host, "bridge"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d1_errors_about_others_are_dropped_from_a_routed_network() {
    on_a_host(|host| is_kept_in(host, "routed"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d1_errors_about_others_are_dropped_from_an_internal_network() {
    on_a_host(|host| is_kept_in(host, "internal"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d1_errors_about_others_are_dropped_without_the_guard() {
    on_a_host(|host| is_kept_in(host, "unguarded"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d1_errors_about_others_are_dropped_from_podmans_networks() {
    on_a_host(|host| is_kept_in(host, "netavark"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn d1_errors_about_others_are_dropped_from_cnis_networks() {
    on_a_host(|host| is_kept_in(host, "cni"));
}

/// An administrator's helper expects a connection: it comes in from outside to whoever asked for it, as an answer does.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d1_what_a_helper_expects_comes_in_from_outside() {
    const HELPER: &str = r#"table inet mine {
        ct helper files { type "tftp" protocol udp; }
        chain prerouting { type filter hook prerouting priority 0; udp dport 69 ct helper set "files"; }
    }"#;
    on_a_host(|host| {
        host.ok("network create plain --subnet 172.30.4.0/24 -o masquerade=off");
        let client = host.attached("client", "--network plain");
        let server = host.lan.inside(|| UdpSocket::bind("192.0.2.100:69").unwrap());
        let other = host.lan.inside(|| UdpSocket::bind("192.0.2.100:0").unwrap());
        let comes = |with: &str| {
            let socket = client.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
            socket.set_read_timeout(Some(Duration::from_millis(800))).unwrap();
            socket.send_to(b"\x00\x01name\x00octet\x00", "192.0.2.100:69").unwrap();
            let (_, asker) = server.recv_from(&mut [0; 64]).expect("it is asked");
            other.send_to(with.as_bytes(), asker).unwrap();
            socket.recv_from(&mut [0; 64]).is_ok()
        };
        assert!(!comes("nothing"), "the control: from another port nothing is an answer");
        std::fs::write("/run/helper.nft", HELPER).unwrap();
        run("nft -f /run/helper.nft");
        assert!(comes("a helper"), "a helper expects it");
    });
}
