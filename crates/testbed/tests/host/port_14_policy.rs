//! Hosts whose `iptables` drop what is forwarded, as Docker and ufw set them: networks of our own are let through
//! there, and nothing else is.

use crate::netavark;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run, stdout};

fn drop_forwarded() {
    run("iptables -P FORWARD DROP");
    run("ip6tables -P FORWARD DROP");
}

/// How many rules of ours there are in either family.
fn rules() -> [usize; 2] {
    ["iptables-save -t filter", "ip6tables-save -t filter"]
        .map(|line| stdout(line).matches("-A QIAO-").count())
}

fn address(place: &Place, family: u8) -> String {
    let list = place.stdout(&format!("ip -{family} -o addr show dev eth0 scope global"));
    let net = list.split_whitespace().nth(3).unwrap_or_else(|| panic!("{list}")).to_owned();
    net.split('/').next().unwrap_or_default().to_owned()
}

/// Whether frames on a bridge pass the rules of packets too (`br_netfilter`).
fn bridges_pass_rules() -> bool {
    let names = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    std::fs::read_to_string(names).is_ok_and(|value| value.trim() == "1")
}

/// Out of a container and by its published port everything passes, and not straight to it.
fn passes(host: &Host, place: &Place) {
    let _service = Service::start(place, Protocol::Tcp, "[::]:80");
    let _outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
    for (out, back) in [("192.0.2.100:99", "192.0.2.1:8080"), ("[2001:db8::100]:99", "[2001:db8::1]:8080")] {
        assert!(ask(place, Protocol::Tcp, out).is_some(), "to {out}");
        assert!(ask(&host.lan, Protocol::Tcp, back).is_some(), "to {back}");
    }
    let straight = format!("{}:80", address(place, 4));
    assert_eq!(ask(&host.lan, Protocol::Tcp, &straight), None, "straight");
    assert!(ask(&Place::HOST, Protocol::Tcp, &straight).is_some(), "control: it is served");
}

/// The control: who is not ours stays out.
fn others_are_dropped(host: &Host) {
    let other = Place::new("other");
    run("ip link add to-other type veth peer name eth0 netns other");
    run("ip addr add 10.99.0.1/24 dev to-other");
    run("ip link set to-other up");
    ["addr add 10.99.0.2/24 dev eth0", "link set eth0 up", "route add default via 10.99.0.1"]
        .iter()
        .for_each(|line| run(&format!("ip -n other {line}")));
    let _outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
    assert_eq!(ask(&other, Protocol::Tcp, "192.0.2.100:99"), None, "the policy drops others");
    run("iptables -P FORWARD ACCEPT");
    assert!(ask(&other, Protocol::Tcp, "192.0.2.100:99").is_some(), "control: it was the policy");
    run("iptables -P FORWARD DROP");
    run("conntrack -D -s 10.99.0.2");
    other.delete();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn our_networks_are_let_through_and_closed_behind_them() {
    on_a_host(|host| {
        drop_forwarded();
        run("iptables -A FORWARD -d 192.0.2.77 -j ACCEPT");
        let before = host.snapshot();
        for options in ["--ipv6", "--ipv6 -d routed"] {
            host.ok(&format!("network create front {options}"));
            let web = host.attached("web", "--network front -p 8080:80");
            passes(host, &web);
            let of_routed = if options.contains("routed") { 2 } else { 0 };
            assert_eq!(rules(), [2 + of_routed; 2]);
            others_are_dropped(host);
            host.ok("check");
            // Whoever flushes them has them mended by the next command, whatever it is.
            run("iptables -F");
            run("iptables -A FORWARD -d 192.0.2.77 -j ACCEPT");
            assert_eq!(host.qiao.run("check").code, Some(11));
            host.ok("gc");
            passes(host, &web);
            // They come last: what is dropped before them stays dropped.
            run("iptables -I FORWARD -s 192.0.2.100 -j DROP");
            assert_eq!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080"), None);
            run("iptables -D FORWARD -s 192.0.2.100 -j DROP");
            host.ok("detach web");
            web.delete();
            host.ok("network rm front");
            host.assert_like(&before, options);
        }
    });
}

/// Docker came after us: the next command lets networks through that are in use, and `check` names them before.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_policy_that_comes_later_is_noticed() {
    on_a_host(|host| {
        host.ok("network create front --ipv6");
        host.ok("network create inner --internal");
        host.ok("network create far --ipv6 -d routed");
        let web = host.attached("web", "--network front -p 8080:80");
        let far = host.attached("far", "--network far -p 8081:80");
        passes(host, &web);
        drop_forwarded();
        let outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
        for place in [&web, &far] {
            assert_eq!(ask(place, Protocol::Tcp, "192.0.2.100:99"), None, "the control: it is dropped");
        }
        let told = host.qiao.run("check");
        assert_eq!(told.code, Some(11), "{told}");
        for what in ["br-front in FORWARD of iptables", "br-front in FORWARD of ip6tables"] {
            assert!(told.stdout.contains(what), "{told}");
        }
        assert_eq!(told.stdout.contains("br-inner"), bridges_pass_rules(), "{told}");
        assert_eq!(rules(), [0, 0], "looking changes nothing");
        host.ok("gc");
        assert!(ask(&far, Protocol::Tcp, "192.0.2.100:99").is_some());
        drop(outside);
        passes(host, &web);
        host.ok("check");
        let inner = if bridges_pass_rules() { 2 } else { 0 };
        assert_eq!(rules(), [6 + inner; 2], "two of each bridge, and two of the routed port");
        for line in ["detach web", "detach far", "network rm front inner far"] {
            host.ok(line);
        }
        assert!(!stdout("iptables-save -t filter").contains("QIAO"));
        assert!(!stdout("ip6tables-save -t filter").contains("QIAO"));
    });
}

/// Members of one network reach one another, and an internal network leads nowhere for all that.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn members_reach_one_another_and_internal_stays_internal() {
    on_a_host(|host| {
        drop_forwarded();
        host.ok("network create inner --internal --subnet 10.77.0.0/24");
        host.ok("network create front");
        let places = ["a", "b"].map(|name| host.attached(name, "--network inner"));
        let web = host.attached("web", "--network front");
        let _services = places.each_ref().map(|place| Service::start(place, Protocol::Tcp, "0.0.0.0:80"));
        let inner = format!("{}:80", address(&places[1], 4));
        assert!(ask(&places[0], Protocol::Tcp, &inner).is_some(), "a neighbour");
        let outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
        run("ip -n a route add default via 10.77.0.1");
        assert_eq!(ask(&places[0], Protocol::Tcp, "192.0.2.100:99"), None);
        assert!(ask(&web, Protocol::Tcp, "192.0.2.100:99").is_some(), "the control");
        drop(outside);
        for place in [&host.lan, &web] {
            assert_eq!(ask(place, Protocol::Tcp, &inner), None, "{}", place.name());
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn networks_of_podman_are_let_through() {
    on_a_host(|host| {
        let before = host.snapshot();
        let (net, c1) = (netavark::network(1, true), host.container("c1"));
        let options =
            netavark::publishing(netavark::on("c1", 2, &[&net]), &[("0.0.0.0", 8080, 80), ("::", 8080, 80)]);
        netavark::setup(host, &c1, &options);
        drop_forwarded();
        let outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
        assert_eq!(ask(&c1, Protocol::Tcp, "192.0.2.100:99"), None, "the control: it is dropped");
        drop(outside);
        let (c2, second) = (host.container("c2"), netavark::on("c2", 3, &[&net]));
        netavark::setup(host, &c2, &second);
        passes(host, &c1);
        netavark::teardown(host, &c2, &second);
        passes(host, &c1);
        netavark::teardown(host, &c1, &options);
        assert_eq!(rules(), [0, 0]);
        netavark::setup(host, &c2, &second);
        assert_eq!(rules(), [2, 2], "where the policy was there first");
        netavark::teardown(host, &c2, &second);
        c1.delete();
        c2.delete();
        ["ip", "ip6"].iter().for_each(|family| run(&format!("nft delete table {family} filter")));
        run("conntrack -F");
        host.assert_like(&before, "all are gone");
    });
}
