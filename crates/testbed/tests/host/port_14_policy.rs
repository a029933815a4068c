//! Hosts whose `iptables` drop what is forwarded, as Docker and ufw set them: networks of our own are let through
//! there, and nothing else is.

use crate::netavark;
use qiao_testbed::names::{lookup, lookup_tcp};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run, stdout};

/// The type of a question (RFC 1035).
const A: u16 = 1;

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
        run("iptables -A FORWARD -d 192.0.2.77 -j DROP");
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
            run("iptables -A FORWARD -d 192.0.2.77 -j DROP");
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

/// ufw's rules: what comes in is dropped, but answers and what IPv6 cannot do without.
const UFW: [&str; 5] = [
    "-P INPUT DROP",
    "-P FORWARD DROP",
    "-A INPUT -i lo -j ACCEPT",
    "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A INPUT -p ICMP -j ACCEPT",
];

fn ufw() {
    for (program, icmp) in [("iptables", "icmp"), ("ip6tables", "ipv6-icmp")] {
        UFW.iter().for_each(|line| run(&format!("{program} {}", line.replace("ICMP", icmp))));
    }
}

/// Which of a member's questions are answered: at both gateways, by UDP and TCP.
fn answered(place: &Place, gateways: [&str; 2]) -> usize {
    let asked = gateways.map(|to| [lookup(place, to, ("web", A)), lookup_tcp(place, to, ("web", A))]);
    asked.as_flattened().iter().flatten().count()
}

/// Names are answered past ufw's rules, at the gateway and at nothing else.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn names_are_answered_where_what_comes_in_is_dropped() {
    const GATEWAYS: [&str; 2] = ["10.77.0.1", "fd00:77::1"];
    on_a_host(|host| {
        let input = || stdout("iptables-save -t filter").matches("-A QIAO-INPUT").count();
        for (options, rules) in [("", 2), ("--internal", 2), ("-d routed", 4)] {
            host.ok(&format!(
                "network create front --ipv6 --subnet 10.77.0.0/24 --subnet fd00:77::/64 {options}"
            ));
            let web = host.attached("web", "--network front");
            assert_eq!(answered(&web, GATEWAYS), 4, "{options}: control");
            ufw();
            let asked = GATEWAYS.map(|to| lookup(&web, to, ("web", A)).is_some());
            assert_eq!(asked, [false; 2], "{options}: it is dropped");
            assert_eq!(host.qiao.run("check").code, Some(11));
            host.ok("gc");
            assert_eq!(answered(&web, GATEWAYS), 4, "{options}: the next command lets it through");
            host.ok("check");
            assert_eq!(input(), rules, "{}", stdout("iptables-save -t filter"));
            let list = stdout("iptables-save -t filter");
            for rule in ["-p udp -m udp", "-p tcp -m tcp"] {
                let device = if options == "-d routed" { "rt-front" } else { "br-front" };
                let rule = format!("-A QIAO-INPUT -d 10.77.0.1/32 -i {device} {rule} --dport 53 ");
                assert_eq!(list.matches(&rule).count(), 1, "{rule}: {list}");
            }
            let service = Service::start(&Place::HOST, Protocol::Tcp, "0.0.0.0:54");
            assert_eq!(ask(&web, Protocol::Tcp, "10.77.0.1:54"), None, "what else the host has");
            assert!(ask(&Place::HOST, Protocol::Tcp, "10.77.0.1:54").is_some(), "control: it is served");
            drop(service);
            run("iptables -F QIAO-INPUT");
            host.ok("gc");
            assert_eq!(input(), rules, "they come back");
            host.ok("detach web");
            web.delete();
            host.ok("network rm front");
            for program in ["iptables", "ip6tables"] {
                assert!(!stdout(&format!("{program}-save -t filter")).contains("QIAO"), "nothing is left");
                ["-P INPUT ACCEPT", "-P FORWARD ACCEPT", "-F"]
                    .iter()
                    .for_each(|line| run(&format!("{program} {line}")));
            }
        }
        ufw();
        host.ok("network create front --ipv6 --subnet 10.77.0.0/24 --subnet fd00:77::/64");
        let web = host.attached("web", "--network front");
        assert_eq!(answered(&web, GATEWAYS), 4, "where they were there first");
        host.ok("check");
    });
}
