//! CNI: settings of our plugins that change what a chain does, behind our own main plugin.

use crate::cni_bridge::{call, ok};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run};
use serde_json::{Value, json};

/// The configuration of a plugin of network `n1`, with `more` keys.
fn config(plugin: &str, more: &Value) -> Value {
    let mut config = json!({
        "cniVersion": "1.1.0", "name": "n1", "type": plugin, "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "dataDir": "/run/leases", "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64"}]]},
    });
    more.as_object().into_iter().flatten().for_each(|(key, value)| config[key] = value.clone());
    config
}

fn add(host: &Host, place: &Place, more: &Value) -> Value {
    ok(host, ("bridge", "ADD"), (place.name(), &place.path()), &config("bridge", more).to_string()).json()
}

fn behind(host: &Host, (plugin, verb): (&str, &str), place: &Place, (prev, more): (&Value, &Value)) -> Value {
    let mut config = config(plugin, more);
    config["prevResult"] = prev.clone();
    let outcome = ok(host, (plugin, verb), (place.name(), &place.path()), &config.to_string());
    if outcome.stdout.is_empty() { Value::Null } else { outcome.json() }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn portmap_knows_clients_as_it_is_told() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        let first = add(host, &c1, &json!({}));
        add(host, &c2, &json!({}));
        let _service = Service::start(&c1, Protocol::Tcp, "0.0.0.0:80");
        let port = json!([{"hostPort": 8080, "containerPort": 80}]);
        let all = |verb: &str, keys: &Value| {
            let mut more = json!({"runtimeConfig": {"portMappings": port}});
            keys.as_object().into_iter().flatten().for_each(|(key, value)| more[key] = value.clone());
            behind(host, ("portmap", verb), &c1, (&first, &more));
        };
        let seen = || {
            let from = |place: &Place| ask(place, Protocol::Tcp, "192.0.2.1:8080");
            (from(&host.lan), from(&c2))
        };
        let told = |lan: &str, neighbour: &str| (Some(format!("c1 {lan}")), Some(format!("c1 {neighbour}")));
        for (keys, expected) in [
            (json!({}), told("192.0.2.100", "10.9.0.1")),
            (json!({"snat": true, "markMasqBit": 5, "backend": "nftables"}), told("192.0.2.100", "10.9.0.1")),
            (json!({"masqAll": true}), told("10.9.0.1", "10.9.0.1")),
            (json!({"snat": false}), told("192.0.2.100", "10.9.0.3")),
        ] {
            all("ADD", &keys);
            assert_eq!(seen(), expected, "{keys}");
            all("CHECK", &keys);
            all("DEL", &keys);
        }
        let refused = [
            json!({"conditionsV4": ["-i", "up0"]}),
            json!({"conditionsV6": ["-d", "192.0.2.1"]}),
            json!({"markMasqBit": 32}),
            json!({"markMasqBit": 1, "externalSetMarkChain": "KUBE-MARK-MASQ"}),
            json!({"backend": "ebtables"}),
        ];
        for keys in refused {
            let mut all = config("portmap", &keys);
            (all["prevResult"], all["runtimeConfig"]) = (first.clone(), json!({"portMappings": port}));
            let outcome = call(host, ("portmap", "ADD"), ("c1", &c1.path()), &all.to_string());
            let key = keys.as_object().unwrap().keys().next().unwrap();
            assert!(
                outcome.json()["msg"].as_str().is_some_and(|msg| msg.contains(key.as_str())),
                "{keys}: {outcome}"
            );
        }
        drop(_service);
        for place in [&c1, &c2] {
            ok(host, ("bridge", "DEL"), (place.name(), ""), &config("bridge", &json!({})).to_string());
        }
        host.assert_like(&before, "all is gone");
    });
}

/// Of packets that do not fulfil a condition it is as if nothing were published.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn portmap_publishes_on_conditions() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        let first = add(host, &c1, &json!({}));
        add(host, &c2, &json!({}));
        let _service = Service::start(&c1, Protocol::Tcp, "[::]:80");
        let all = |verb: &str, keys: &Value| {
            let mut more =
                json!({"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}});
            keys.as_object().into_iter().flatten().for_each(|(key, value)| more[key] = value.clone());
            let mut all = config("portmap", &more);
            all["prevResult"] = first.clone();
            call(host, ("portmap", verb), ("c1", &c1.path()), &all.to_string())
        };
        // From outside to two addresses, and by IPv6; from a neighbour, and from the host to itself.
        let seen = || {
            let from = |place: &Place, to: &str| ask(place, Protocol::Tcp, to).is_some();
            [
                from(&host.lan, "192.0.2.1:8080"),
                from(&host.lan, "192.0.2.9:8080"),
                from(&host.lan, "[2001:db8::1]:8080"),
                from(&c2, "192.0.2.1:8080"),
                from(&Place::HOST, "192.0.2.1:8080"),
                from(&Place::HOST, "127.0.0.1:8080"),
            ]
        };
        for (keys, expected) in [
            (json!({}), [true; 6]),
            (json!({"conditionsV4": ["!", "-d", "192.0.2.9"]}), [true, false, true, true, true, true]),
            (json!({"conditionsV4": ["-d", "192.0.2.9/32"]}), [false, true, true, false, false, false]),
            (json!({"conditionsV4": ["-s", "192.0.2.64/26"]}), [true, true, true, false, false, false]),
            (
                json!({"conditionsV4": ["!", "-s", "192.0.2.100", "!", "-d", "127.0.0.0/8"], "conditionsV6": ["ip6 saddr != 2001:db8::/64"]}),
                [false, false, false, true, true, false],
            ),
        ] {
            let added = all("ADD", &keys);
            assert_eq!(added.code, Some(0), "{added}");
            assert_eq!(seen(), expected, "{keys}");
            assert_eq!(all("CHECK", &keys).code, Some(0), "{keys}: {}", all("CHECK", &keys));
            host.ok("check");
            if keys["conditionsV6"].is_array() {
                run("nft flush set inet qiao except6");
                assert_eq!(all("CHECK", &keys).json()["code"], 110, "somebody took it away");
                host.ok("repair");
                assert_eq!(seen(), expected, "mended");
            }
            assert_eq!(all("DEL", &keys).code, Some(0));
        }
        drop(_service);
        for place in [&c1, &c2] {
            ok(host, ("bridge", "DEL"), (place.name(), ""), &config("bridge", &json!({})).to_string());
        }
        host.assert_like(&before, "all is gone");
    });
}

/// Attributes of routes are in the kernel, in the result, and looked at by CHECK.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn routes_have_what_the_address_management_says() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let routes = json!([
            {"dst": "198.51.100.0/24", "mtu": 1300, "advmss": 1200, "priority": 77},
            {"dst": "198.51.100.0/24", "table": 1000},
            {"dst": "203.0.113.0/24", "scope": 253},
            {"dst": "2001:db8:1::/48", "mtu": 1280, "table": 200},
            {"dst": "192.0.2.0/24"},
        ]);
        let mut more = config("bridge", &json!({}));
        more["ipam"]["routes"] = routes.clone();
        let answer = add(host, &c1, &json!({"ipam": more["ipam"]}));
        let given: Vec<_> = answer["routes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|r| r["dst"] != "0.0.0.0/0" && r["dst"] != "::/0")
            .collect();
        assert_eq!(given, routes.as_array().unwrap().iter().collect::<Vec<_>>());
        let seen = |line: &str| c1.stdout(line);
        let plain = seen("ip route show 198.51.100.0/24");
        for word in ["via 10.9.0.1", "metric 77", "mtu 1300", "advmss 1200"] {
            assert!(plain.contains(word), "{word}: {plain}");
        }
        assert!(seen("ip route show table 1000").contains("198.51.100.0/24 via 10.9.0.1"));
        assert!(seen("ip route show 203.0.113.0/24").contains("scope link"));
        assert!(seen("ip -6 route show table 200").contains("mtu 1280"));
        let with_routes = json!({"ipam": more["ipam"]});
        let check = || {
            let mut all = config("bridge", &with_routes);
            all["prevResult"] = answer.clone();
            call(host, ("bridge", "CHECK"), ("c1", &c1.path()), &all.to_string())
        };
        assert_eq!(check().code, Some(0), "{}", check());
        c1.run("ip route change 198.51.100.0/24 via 10.9.0.1 dev eth0 metric 77 mtu 1310 proto 113");
        assert_eq!(check().json()["code"], 110, "another MTU");
        c1.run(
            "ip route change 198.51.100.0/24 via 10.9.0.1 dev eth0 metric 77 mtu 1300 advmss 1200 proto 113",
        );
        assert_eq!(check().code, Some(0), "{}", check());
        c1.run("ip route del 198.51.100.0/24 table 1000");
        assert_eq!(check().json()["code"], 110, "a route that is gone");
        ok(host, ("bridge", "DEL"), ("c1", &c1.path()), &config("bridge", &json!({})).to_string());
        assert_eq!(seen("ip route show table 1000"), "");
    });
}

/// What `tuning` may set can be limited; what the user adds counts more than the configuration.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn tuning_heeds_the_list_and_the_user() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let first = add(host, &c1, &json!({}));
        let before = host.snapshot();
        let keys = json!({"mtu": 1400, "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net.ipv4.tcp_rmem": "4096 131072   6291456"},
            "args": {"cni": {"mtu": 1300, "txQLen": 5, "sysctl": {"net/ipv4/conf/IFNAME/arp_announce": "2"}}}});
        let inside = |path: &str| c1.stdout(&format!("cat /proc/sys/net/ipv4/{path}")).trim().to_owned();
        let answer = behind(host, ("tuning", "ADD"), &c1, (&first, &keys));
        assert_eq!(answer["interfaces"][2]["mtu"], 1300);
        let link = c1.stdout("ip -o link show eth0");
        assert!(link.contains("mtu 1300") && link.contains("qlen 5"), "{link}");
        assert_eq!(
            (inside("conf/eth0/arp_filter"), inside("conf/eth0/arp_announce")),
            ("1".into(), "2".into())
        );
        behind(host, ("tuning", "CHECK"), &c1, (&answer, &keys));
        behind(host, ("tuning", "DEL"), &c1, (&answer, &keys));
        assert_eq!(
            (inside("conf/eth0/arp_filter"), inside("conf/eth0/arp_announce")),
            ("0".into(), "0".into())
        );
        assert!(c1.stdout("ip -o link show eth0").contains("mtu 1500"));
        run("mount -t tmpfs none /etc/cni"); // the mounts of a host are its own
        std::fs::create_dir_all("/etc/cni/tuning").unwrap();
        std::fs::write("/etc/cni/tuning/allowlist.conf", "^net\\.ipv4\\.conf\\.IFNAME\\.arp_f\n").unwrap();
        let attempt = |sysctl: Value| {
            let mut all = config("tuning", &json!({"sysctl": sysctl}));
            all["prevResult"] = first.clone();
            call(host, ("tuning", "ADD"), ("c1", &c1.path()), &all.to_string())
        };
        let refused = attempt(json!({"net.ipv4.conf.IFNAME.arp_filter": "1", "net.ipv4.ip_forward": "1"}));
        assert_eq!(refused.json()["code"], 102, "{refused}");
        assert_eq!(inside("conf/eth0/arp_filter"), "0", "nothing of it was done");
        assert_eq!(attempt(json!({"net.ipv4.conf.IFNAME.arp_filter": "1"})).code, Some(0));
        behind(host, ("tuning", "DEL"), &c1, (&first, &json!({})));
        for (sysctl, code) in
            [(json!({"kernel.hostname": "x"}), 7), (json!({"net.ipv4.conf.IFNAME.arp_filter": "many"}), 105)]
        {
            std::fs::remove_file("/etc/cni/tuning/allowlist.conf").ok();
            assert_eq!(attempt(sysctl.clone()).json()["code"], code, "{sysctl}");
        }
        assert_eq!(inside("conf/eth0/arp_filter"), "0", "taken back");
        host.assert_like(&before, "all is taken back");
    });
}
