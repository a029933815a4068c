//! R-ISO 7: nothing goes in or out of an internal network.

use crate::frames::Member;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask};

fn serve(place: &Place) -> Service {
    Service::start(place, Protocol::Tcp, "[::]:80")
}

fn create(host: &Host, options: &str) -> (Member, Member) {
    host.ok(&format!("network create inner --ipv6 --subnet 172.30.3.0/24 --subnet fd00:3::/64 {options}"));
    (Member::attach(host, "x", "--network inner"), Member::attach(host, "y", "--network inner"))
}

/// Whom `x` reaches: a member, the outside, the host by its uplink and by the network's gateway.
fn reached(host: &Host, (x, y): (&Member, &Member)) -> [bool; 4] {
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

/// From outside and from other networks nothing gets in, also not with a route and forwarding.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn nobody_gets_in() {
    on_a_host(|host| {
        let (x, y) = create(host, "--internal");
        let other = host.attached("other", "");
        let _service = serve(&x.place);
        for to in [format!("{}:80", x.ip), format!("[{}]:80", x.ip6)] {
            assert!(ask(&y.place, Protocol::Tcp, &to).is_some(), "the control: a member");
            assert_eq!(ask(&host.lan, Protocol::Tcp, &to), None, "the outside host to {to}");
            assert_eq!(ask(&other, Protocol::Tcp, &to), None, "another network to {to}");
        }
    });
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
