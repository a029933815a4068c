//! Forwarding is one switch for the whole host: what becomes of it when the last network goes, and of those who rely on it.

use crate::netavark;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run, stdout};

/// The switches of both families.
pub fn forwarding() -> [String; 2] {
    ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]
        .map(|name| stdout(&format!("sysctl -n {name}")).trim().to_owned())
}

/// Others that come while a network of ours is in use, and how they go.
const OTHERS: [(&str, &str, &str); 8] = [
    ("docker0", "ip link add docker0 type bridge", "ip link del docker0"),
    ("(veth)", "ip link add calic1 type veth peer name p1", "ip link del calic1"),
    ("tun0", "ip tuntap add tun0 mode tun", "ip link del tun0"),
    ("vx0", "ip link add vx0 type vxlan id 7 dstport 4789 remote 192.0.2.7", "ip link del vx0"),
    (
        "chain FORWARD of table ip filter",
        "iptables -A FORWARD -i eth7 -j ACCEPT",
        "iptables -D FORWARD -i eth7 -j ACCEPT",
    ),
    (
        "chain POSTROUTING of table ip nat",
        "iptables -t nat -A POSTROUTING -s 10.3.0.0/24 -j MASQUERADE",
        "iptables -t nat -F",
    ),
    ("chain more of table inet other", "nft -f /run/other.nft", "nft delete table inet other"),
    (
        "IPsec",
        "ip xfrm policy add src 10.3.0.0/24 dst 10.4.0.0/24 dir fwd tmpl src 192.0.2.7 dst 192.0.2.1 proto esp mode tunnel",
        "ip xfrm policy flush",
    ),
];

const NFT: &str = "table inet other {
    chain through {
        type filter hook forward priority 0
        ct state established,related accept
        jump more
    }
    chain more {
        ip saddr 10.3.0.0/24 accept
    }
}
";

fn legacy() -> Option<(&'static str, &'static str, &'static str)> {
    let has = std::process::Command::new("iptables-legacy").args(["-t", "filter", "-L"]).output();
    has.is_ok_and(|output| output.status.success()).then_some((
        "chain FORWARD of the legacy `iptables` table filter",
        "iptables-legacy -A FORWARD -s 10.3.0.0/24 -j ACCEPT",
        "iptables-legacy -D FORWARD -s 10.3.0.0/24 -j ACCEPT",
    ))
}

/// Each by itself: the last network goes, and forwarding stays where somebody else came to use it meanwhile.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn e2_the_last_network_leaves_forwarding_to_others() {
    on_a_host(|host| {
        std::fs::write("/run/other.nft", NFT).unwrap();
        for (name, come, go) in OTHERS.into_iter().chain(legacy()) {
            host.ok("network create n1 --subnet 10.7.0.0/24");
            assert_eq!(forwarding()[0], "1", "the control: it was switched on");
            run(come);
            let removed = host.ok("network rm n1");
            assert_eq!(forwarding()[0], "1", "{come}");
            assert!(
                removed.stderr.contains(name) && removed.stderr.contains("ip_forward"),
                "{come}: {removed}"
            );
            run(go);
            assert!(!stdout("nft list ruleset").contains("qiao"), "the rules of ours are gone");
            // From now on it is somebody else's: what was before us is forgotten.
            host.ok("network create n1 --subnet 10.7.0.0/24");
            host.ok("network rm n1");
            assert_eq!(forwarding()[0], "1", "{come}: it is not ours to switch off");
            run("sysctl -q -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
            host.ok("network create n1 --subnet 10.7.0.0/24");
            let removed = host.ok("network rm n1");
            assert_eq!(forwarding(), ["0", "0"], "{go}: nobody else is there: {removed}");
        }
    });
}

/// What did without forwarding before us needs none: nor do answers, the host's own, and protocols by themselves.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn e2_what_did_without_forwarding_keeps_nothing() {
    on_a_host(|host| {
        run("ip link add virbr0 type bridge");
        run("ip tuntap add tun0 mode tun");
        host.ok("network create n1 --subnet 10.7.0.0/24");
        run("iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
        run("iptables -A FORWARD -i lo -j ACCEPT");
        run("iptables -A FORWARD -p icmp --icmp-type echo-request -j ACCEPT");
        run("iptables -A FORWARD -i eth7 -j DROP");
        let removed = host.ok("network rm n1");
        assert_eq!(forwarding(), ["0", "0"], "{removed}");
        assert_eq!(removed.stderr, "");
    });
}

fn cni(host: &Host, verb: &str, place: &Place) -> String {
    let config = r#"{"cniVersion":"1.1.0","name":"n1","type":"bridge","bridge":"cni0","isDefaultGateway":true,"ipMasq":true,
        "ipam":{"type":"host-local","dataDir":"/run/leases","ranges":[[{"subnet":"10.9.0.0/29"}],[{"subnet":"fd00:9::/64"}]]}}"#;
    host.qiao.plugin_ok(("bridge", verb), (place.name(), &place.path()), config).stderr
}

/// Through every door, in both families.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn e2_every_door_leaves_forwarding_to_others() {
    on_a_host(|host| {
        let network = netavark::network(1, true);
        let on = |name: &str| netavark::on(name, 2, &[&network]);
        type Act<'a> = Box<dyn Fn(&Place) -> String + 'a>;
        let doors: [(&str, Act<'_>, Act<'_>); 4] = [
            ("CNI", Box::new(|place| cni(host, "ADD", place)), Box::new(|place| cni(host, "DEL", place))),
            (
                "netavark",
                Box::new(|place| netavark::ok(host, &["setup", &place.path()], &on(place.name())).stderr),
                Box::new(|place| {
                    netavark::call(host, &["teardown", &place.path()], &on(place.name())).stderr
                }),
            ),
            (
                "gc",
                Box::new(|place| cni(host, "ADD", place)),
                Box::new(|place| {
                    run(&format!("ip netns del {}", place.name()));
                    let said = host.ok("gc").stderr;
                    run(&format!("ip netns add {}", place.name()));
                    said
                }),
            ),
            (
                "repair",
                Box::new(|place| cni(host, "ADD", place)),
                Box::new(|place| {
                    run(&format!("ip netns del {}", place.name()));
                    let said = host.ok("repair").stderr;
                    run(&format!("ip netns add {}", place.name()));
                    said
                }),
            ),
        ];
        for (number, (door, join, leave)) in doors.iter().enumerate() {
            let c1 = host.container(&format!("a{number}"));
            join(&c1);
            assert_eq!(forwarding(), ["1", "1"], "{door}: the control");
            leave(&c1);
            assert_eq!(forwarding(), ["0", "0"], "{door}: nobody else is there");
            let c1 = host.container(&format!("b{number}"));
            join(&c1);
            run("ip link add docker0 type bridge");
            let said = leave(&c1);
            assert_eq!(forwarding(), ["1", "1"], "{door}: {said}");
            assert!(
                said.contains("docker0") && said.contains("net.ipv6.conf.all.forwarding"),
                "{door}: {said}"
            );
            run("ip link del docker0");
            run("sysctl -q -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
        }
    });
}

/// A family that no network needs any more while another one is in use; and from then on it is whoever's switches it on.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn e2_a_family_that_was_given_back_is_nobodys() {
    on_a_host(|host| {
        host.ok("network create four --subnet 10.7.0.0/24 --ipv6=false");
        host.ok("network create six --subnet fd00:7::/64 --ipv6");
        assert_eq!(forwarding(), ["1", "1"], "the control");
        host.ok("network rm six");
        assert_eq!(forwarding(), ["1", "0"], "it was given back");
        run("sysctl -q -w net.ipv6.conf.all.forwarding=1");
        host.ok("network create other --subnet 10.8.0.0/24 --ipv6=false");
        host.ok("repair");
        assert_eq!(forwarding(), ["1", "1"], "an administrator's");
        host.ok("network rm other");
        host.ok("network rm four");
        assert_eq!(forwarding(), ["0", "1"], "still an administrator's");
    });
}

/// A network behind the host, besides the LAN: both by interfaces that are no containers'. The host was no router.
///
/// ```text
///   lan 198.51.100.2 ── mv0 .1, host, mv1 203.0.113.1 ── .2, far
/// ```
fn between(host: &Host) -> Place {
    let far = host.container("far");
    run("sysctl -q -w net.ipv4.conf.all.arp_ignore=1"); // only the interface that has an address answers for it
    run("ip link add x0 type veth peer name eth0 netns far");
    run("ip link set x0 up");
    run("ip link add mv0 link up0 type macvlan");
    run("ip link add mv1 link x0 type macvlan");
    for (link, net) in [("mv0", "198.51.100.1/24"), ("mv1", "203.0.113.1/24")] {
        run(&format!("ip addr add {net} dev {link}"));
        run(&format!("ip link set {link} up"));
    }
    far.run("ip addr add 203.0.113.2/24 dev eth0");
    far.run("ip link set eth0 up");
    far.run("ip route add default via 203.0.113.1");
    host.lan.run("ip addr add 198.51.100.2/24 dev eth0");
    host.lan.run("ip route add 203.0.113.0/24 via 198.51.100.1");
    far
}

fn passes(host: &Host) -> bool {
    ask(&host.lan, Protocol::Tcp, "203.0.113.2:80").is_some()
}

/// The next command, of whatever kind.
fn next(host: &Host) {
    host.ok("network create other --subnet 10.8.0.0/24 --ipv6=false");
    host.ok("network rm other");
}

/// A host that was no router is none by our doing; with an administrator's rules it is one from the next command on.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn e3_an_administrators_rules_make_a_router() {
    on_a_host(|host| {
        let far = between(host);
        let _web = Service::start(&far, Protocol::Tcp, "203.0.113.2:80");
        assert!(!passes(host), "it is no router");
        host.ok("network create n1 --subnet 10.7.0.0/24");
        assert_eq!(forwarding()[0], "1", "the control");
        assert!(!passes(host), "nor by our doing");
        let check = host.ok("check");
        assert!(check.stderr.contains("mv0") && check.stderr.contains("transit"), "{check}");
        let ways = [
            ("iptables -A FORWARD -i mv0 -j ACCEPT", "iptables -D FORWARD -i mv0 -j ACCEPT"),
            ("iptables -A FORWARD -o mv+ -m conntrack --ctstate NEW -j ACCEPT", "iptables -F FORWARD"),
            ("iptables -t nat -A POSTROUTING -o mv1 -j MASQUERADE", "iptables -t nat -F"),
            ("nft -f /run/router.nft", "nft delete table inet router"),
        ];
        std::fs::write(
            "/run/router.nft",
            "table inet router {\n chain f {\n type filter hook forward priority 0; policy drop;\n \
             ct state established,related accept\n iifname \"mv0\" oifname \"mv1\" accept\n }\n}\n",
        )
        .unwrap();
        for (come, go) in ways {
            run("sysctl -q -w net.ipv4.ip_forward=1");
            run(come);
            next(host);
            assert!(passes(host), "{come}");
            host.ok("repair");
            assert!(passes(host), "{come}: repaired");
            host.ok("check");
            run(go);
            next(host);
            assert!(!passes(host), "{go}");
        }
        // What engines and firewalls have on hosts that are no routers makes none.
        for rule in [
            "-s 10.88.0.0/16 -j ACCEPT",
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-p icmp --icmp-type echo-request -j ACCEPT",
            "-i up0 -j ACCEPT",
            "-i mv1 -o up0 -j ACCEPT",
        ] {
            run(&format!("iptables -A FORWARD {rule}"));
        }
        host.ok("repair");
        assert!(!passes(host), "still no router");
    });
}

/// The setting decides whatever else there is.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn e3_the_setting_decides() {
    on_a_host(|host| {
        let far = between(host);
        let _web = Service::start(&far, Protocol::Tcp, "203.0.113.2:80");
        let set = |value: &str| std::fs::write("/run/qiao.toml", format!("transit = \"{value}\"\n")).unwrap();
        let ok = |line: &str| host.ok(&format!("--config /run/qiao.toml {line}"));
        set("allow");
        ok("network create n1 --subnet 10.7.0.0/24");
        assert!(passes(host), "from the first network on");
        assert_eq!(ok("check").stderr, "");
        set("drop");
        run("iptables -A FORWARD -i mv0 -j ACCEPT");
        ok("repair");
        assert!(!passes(host), "dropped, whoever accepts it");
        set("auto");
        ok("repair");
        assert!(passes(host), "the rule counts");
    });
}
