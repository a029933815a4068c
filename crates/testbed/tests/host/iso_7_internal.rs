//! R-ISO 7: nothing goes in or out of an internal network.

use crate::frames::Member;
use qiao_testbed::frame::contains;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask};
use std::net::UdpSocket;

fn serve(place: &Place) -> Service {
    Service::start(place, Protocol::Tcp, "[::]:80")
}

pub fn create(host: &Host, options: &str) -> (Member, Member) {
    host.ok(&format!("network create inner --ipv6 --subnet 172.30.3.0/24 --subnet fd00:3::/64 {options}"));
    (Member::attach(host, "x", "--network inner"), Member::attach(host, "y", "--network inner"))
}

/// Whom `x` reaches: a member, the outside, the host by its uplink and by the network's gateway.
pub fn reached(host: &Host, (x, y): (&Member, &Member)) -> [bool; 4] {
    let _services = [serve(&y.place), serve(&host.lan), serve(&Place::HOST)];
    let member = format!("{}:80", y.ip);
    [&member, "192.0.2.100:80", "192.0.2.1:80", "172.30.3.1:80"]
        .map(|to| ask(&x.place, Protocol::Tcp, to).is_some())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn only_members_are_reached_from_inside() {
    on_a_host(|host| {
        let (x, y) = create(host, "--internal");
        assert_eq!(reached(host, (&x, &y)), [true, false, false, false]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_ordinary_network_reaches_all_of_them() {
    on_a_host(|host| {
        let (x, y) = create(host, "");
        assert_eq!(reached(host, (&x, &y)), [true; 4]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_host_is_reached_where_that_is_said() {
    on_a_host(|host| {
        let (x, y) = create(host, "--internal -o host-access=on");
        let [member, outside, _, gateway] = reached(host, (&x, &y));
        assert_eq!([member, outside, gateway], [true, false, true]);
    });
}

/// From outside and from other networks nothing gets in, not even a datagram without an answer.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn nobody_gets_in() {
    on_a_host(|host| {
        let (x, y) = create(host, "--internal");
        let other = host.attached("other", "");
        let seen = host.wire(&x.place, "eth0");
        for (place, text) in [(&host.lan, "outside"), (&other, "another network"), (&y.place, "member")] {
            tell(place, &format!("{}:80", x.ip), text);
            tell(place, &format!("[{}]:80", x.ip6), text);
        }
        let frames = seen.until(|frame| contains(frame, b"member"));
        for text in ["outside", "another network"] {
            assert!(!frames.iter().any(|frame| contains(frame, text.as_bytes())), "{text} got in");
        }
    });
}

/// Sends a datagram and waits for nothing.
fn tell(place: &Place, to: &str, text: &str) {
    let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let send = || UdpSocket::bind(any).and_then(|socket| socket.send_to(text.as_bytes(), to));
    let _ = place.inside(send); // it may be refused here already: that is fine too
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn publishing_on_it_is_refused() {
    on_a_host(|host| {
        create(host, "--internal");
        let late = host.container("late");
        host.refused(2, &format!("attach late --netns {} --network inner -p 8080:80", late.path()));
    });
}
