//! CNI: containers that the reference's plugins attached, and ours delete: a node that switches. Debian's plugins make the
//! rules, `nft` says whether anything is left of them.

use crate::cni_adopted::{address, config, reference};
use crate::cni_bridge::ok;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, run, stdout};
use serde_json::{Value, json};

fn rules() -> String {
    stdout("nft -s list ruleset")
}

/// The chains that `iptables` makes when it is first used stay, whoever used it.
fn used_iptables() {
    for program in ["iptables", "ip6tables"] {
        for (table, chain) in
            [("nat", "PREROUTING"), ("nat", "POSTROUTING"), ("nat", "OUTPUT"), ("filter", "FORWARD")]
        {
            ["-A", "-D"]
                .iter()
                .for_each(|verb| run(&format!("{program} -t {table} {verb} {chain} -j ACCEPT")));
        }
    }
}

fn more(port: u16) -> Value {
    json!({"runtimeConfig": {"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"},
            {"hostPort": port, "containerPort": 53, "protocol": "udp"}]},
        "ingressRate": 80_000_000, "ingressBurst": 800_000, "egressRate": 80_000_000, "egressBurst": 800_000})
}

/// The whole chain of the reference's; its result.
fn attached(place: &Place, port: u16) -> Value {
    let mut prev = reference(("bridge", "ADD"), place, &config("bridge", &json!({}))).json();
    for plugin in ["portmap", "firewall", "bandwidth"] {
        let mut config = config(plugin, &more(port));
        config["prevResult"] = prev;
        prev = reference((plugin, "ADD"), place, &config).json();
    }
    prev
}

/// DEL with ours, in reverse order.
fn deleted(host: &Host, place: &Place, (prev, port): (Option<&Value>, u16)) {
    for plugin in ["bandwidth", "firewall", "portmap", "bridge"] {
        let mut config = config(plugin, &more(port));
        if let Some(prev) = prev {
            config["prevResult"] = prev.clone();
        }
        ok(host, (plugin, "DEL"), (place.name(), &place.path()), &config.to_string());
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn del_of_ours_leaves_nothing_of_the_references_rules() {
    on_a_host(|host| {
        used_iptables();
        run("nft add table inet mine");
        let before = rules();
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let first = attached(&c1, 8080);
        let alone = rules();
        let second = attached(&c2, 8081);
        assert!(rules().contains("CNI-DN-") && rules() != alone, "control: {}", rules());
        assert_eq!(stdout("ip -o link show type ifb").lines().count(), 2, "control");
        let _service = Service::start(&c1, Protocol::Tcp, "0.0.0.0:80");
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some(), "control");
        for _ in 0..2 {
            deleted(host, &c2, (Some(&second), 8081));
            assert_eq!(rules(), alone, "the other's are as they were");
        }
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some(), "the other is as it was");
        deleted(host, &c1, (Some(&first), 8080));
        assert_eq!(rules(), before, "the last one");
        assert_eq!(stdout("ip -o link show type ifb"), "");
    });
}

/// Nothing is known any more but the names; what the administrator put in stays, with what leads to it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_a_result_and_beside_rules_of_an_administrator() {
    on_a_host(|host| {
        used_iptables();
        let c1 = host.container("c1");
        let first = attached(&c1, 8080);
        run("iptables -A CNI-ADMIN -s 10.9.0.9 -j DROP");
        deleted(host, &c1, (None, 8080));
        assert!(!rules().contains("CNI-HOSTPORT") && !rules().contains("CNI-DN-"), "{}", rules());
        assert!(!stdout("iptables-save -t nat").contains("CNI-"), "{}", rules());
        let ip = address(&first, 0);
        assert!(stdout("iptables-save -t filter").contains(&ip), "whose address that is nobody said");
        deleted(host, &c1, (Some(&first), 8080));
        let left = stdout("iptables-save -t filter");
        assert!(!left.contains(&format!("{ip}/")), "{left}");
        for rule in ["-A CNI-ADMIN -s 10.9.0.9/32 -j DROP", "-j CNI-ADMIN", "-j CNI-FORWARD"] {
            assert!(left.contains(rule), "{rule}: {left}");
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn gc_removes_those_of_containers_that_live_no_more() {
    on_a_host(|host| {
        used_iptables();
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        attached(&c1, 8080);
        let translated = || stdout("iptables-save -t nat") + &stdout("ip6tables-save -t nat");
        let chains = || translated().lines().filter(|line| line.starts_with(":CNI-")).count();
        let one = chains();
        attached(&c2, 8081);
        let gc = |plugin: &str, name: &str, valid: Value| {
            let config = config(
                plugin,
                &json!({"cniVersion": "1.1.0", "name": name, "cni.dev/valid-attachments": valid}),
            );
            ok(host, (plugin, "GC"), ("none", ""), &config.to_string());
        };
        let lives = |name: &str| json!({"containerID": name, "ifname": "eth0"});
        let both =
            translated().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        let same = || {
            translated().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
                == both
        };
        gc("bridge", "n1", json!([lives("c1"), lives("c2")]));
        gc("bridge", "other", json!([]));
        assert!(same(), "nothing of it: {}", translated());
        gc("bridge", "n1", json!([lives("c1")]));
        assert!(
            translated().contains("CNI-DN-") && translated().contains("dports 8081"),
            "each removes its own"
        );
        gc("portmap", "n1", json!([lives("c1")]));
        assert_eq!(chains(), one, "{}", translated());
        assert!(translated().contains("id: \\\"c1\\\"") && !translated().contains("id: \\\"c2\\\""));
        ["portmap", "bridge"].iter().for_each(|plugin| gc(plugin, "n1", json!([])));
        assert!(!translated().contains("CNI-"), "{}", translated());
    });
}

/// Where the reference's `portmap` uses nftables: its rules bear the container's id (no plugin of Debian 12's does it).
#[test]
#[ignore = "needs root: cargo xtask test"]
fn rules_that_bear_the_containers_id_go() {
    on_a_host(|host| {
        for line in [
            "nft add table ip cni_hostport",
            "nft add chain ip cni_hostport hostports",
            "nft add rule ip cni_hostport hostports tcp dport 8080 dnat to 10.9.0.2:80 comment c1",
            "nft add rule ip cni_hostport hostports tcp dport 8081 dnat to 10.9.0.3:80 comment c12",
        ] {
            run(line);
        }
        ok(host, ("portmap", "DEL"), ("c1", ""), &config("portmap", &json!({})).to_string());
        assert!(!rules().contains("dport 8080") && rules().contains("dport 8081"), "{}", rules());
    });
}

/// `macspoofchk` makes chains of bridges, which are named after the container.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn chains_that_see_to_hardware_addresses_go() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let checked = |place: &Place| {
            reference(
                ("bridge", "ADD"),
                place,
                &config("bridge", &json!({"macspoofchk": true, "ipMasq": false})),
            )
            .json()
        };
        run("nft add table bridge nat");
        run("nft add chain bridge nat PREROUTING { type filter hook prerouting priority -300; }");
        let before = rules();
        checked(&c1);
        let alone = rules();
        let second = checked(&c2);
        assert!(rules().contains("cni-br-iface-c2-eth0-mac"), "control: {}", rules());
        deleted(host, &c2, (Some(&second), 8081));
        assert_eq!(rules(), alone, "the other's are as they were");
        deleted(host, &c1, (None, 8080));
        assert_eq!(rules(), before, "nobody said but the names");
    });
}

/// The reference never removes what keeps bridges apart: with ours it goes with the last one on the bridge.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn isolation_goes_with_the_last_on_the_bridge() {
    on_a_host(|host| {
        used_iptables();
        let before = rules();
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let isolated = |place: &Place, bridge: &str| {
            let more =
                json!({"bridge": bridge, "ingressPolicy": "same-bridge", "name": bridge, "ipMasq": false});
            let prev = reference(("bridge", "ADD"), place, &config("bridge", &more)).json();
            let mut config = config("firewall", &more);
            config["prevResult"] = prev.clone();
            reference(("firewall", "ADD"), place, &config);
            prev
        };
        let prev = [isolated(&c1, "br1"), isolated(&c2, "br2")];
        let stages = |bridge: &str| {
            let all = stdout("iptables-save -t filter") + &stdout("ip6tables-save -t filter");
            all.lines().filter(|line| line.contains("ISOLATION") && line.contains(bridge)).count()
        };
        assert_eq!((stages("br1"), stages("br2")), (4, 4), "control: {}", rules());
        let firewall = |verb: &str, place: &Place, more: &Value| {
            let config = config("firewall", more);
            ok(host, ("firewall", verb), (place.name(), &place.path()), &config.to_string());
        };
        firewall("DEL", &c1, &json!({"name": "br1"}));
        assert_eq!((stages("br1"), stages("br2")), (4, 4), "somebody may be on it still");
        run("iptables -A CNI-ISOLATION-STAGE-1 -i br1 -o lan0 -j ACCEPT");
        firewall("DEL", &c1, &json!({"name": "br1", "prevResult": prev[0]}));
        assert_eq!((stages("br1"), stages("br2")), (1, 4), "the administrator's stays: {}", rules());
        run("iptables -D CNI-ISOLATION-STAGE-1 -i br1 -o lan0 -j ACCEPT");
        run("ip link del br2");
        let gc = json!({"name": "other", "cniVersion": "1.1.0", "cni.dev/valid-attachments": []});
        firewall("GC", &c2, &gc);
        firewall("DEL", &c2, &json!({"name": "br2", "prevResult": prev[1]}));
        assert_eq!(rules(), before);
    });
}

/// Where the reference masquerades by nftables (1.6 and later; no plugin of Debian 12's does): the comments begin with
/// hashes of the network, and of interface and container.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn masquerading_by_nftables_goes() {
    on_a_host(|host| {
        let rule = |ip: &str, comment: &str| {
            let rule = format!(
                "add rule inet cni_plugins_masquerade masq_checks ip saddr {ip} ip daddr != 10.9.0.0/24 masquerade comment \"{comment}\""
            );
            assert!(std::process::Command::new("nft").arg(rule).status().unwrap().success());
        };
        let hash = |text: &str| {
            std::fs::write("/run/text", text).unwrap();
            stdout("sha512sum /run/text")[..16].to_owned()
        };
        let comment = |network: &str, id: &str| {
            let (network_hash, own) = (hash(network), hash(&format!("eth0:{id}")));
            format!("{network_hash}-{own}, net: {network}, if: eth0, id: {id}")
        };
        let before = rules();
        for line in [
            "nft add table inet cni_plugins_masquerade",
            "nft add chain inet cni_plugins_masquerade masq_checks",
            "nft add chain inet cni_plugins_masquerade postrouting { type nat hook postrouting priority 100; }",
            "nft add rule inet cni_plugins_masquerade postrouting ip daddr 224.0.0.0/4 return",
            "nft add rule inet cni_plugins_masquerade postrouting goto masq_checks",
        ] {
            run(line);
        }
        for (at, (network, id)) in
            [("n1", "c1"), ("n1", "c2"), ("n1", "c3"), ("n2", "c1")].into_iter().enumerate()
        {
            rule(&format!("10.9.0.{}", at + 2), &comment(network, id));
        }
        let there = || {
            let rules = rules();
            [2, 3, 4, 5].map(|at| rules.contains(&format!("saddr 10.9.0.{at} ")))
        };
        ok(host, ("portmap", "DEL"), ("c1", ""), &config("portmap", &json!({})).to_string());
        assert_eq!(there(), [true; 4], "it is none of portmap's");
        ok(host, ("bridge", "DEL"), ("c1", ""), &config("bridge", &json!({})).to_string());
        assert_eq!(there(), [false, true, true, true]);
        let gc = json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": [{"containerID": "c3", "ifname": "eth0"}]});
        ok(host, ("ptp", "GC"), ("none", ""), &config("ptp", &gc).to_string());
        assert_eq!(there(), [false, false, true, true]);
        ok(host, ("ptp", "DEL"), ("c3", ""), &config("ptp", &json!({})).to_string());
        ok(host, ("bridge", "DEL"), ("c1", ""), &config("bridge", &json!({"name": "n2"})).to_string());
        assert_eq!(rules(), before, "the table went with the last");
    });
}

/// The interface goes where its namespace lives on, as the result tells it, and the address with it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_pair_goes_where_the_namespace_stays() {
    on_a_host(|host| {
        for plugin in ["bridge", "ptp"] {
            let place = host.container(&format!("on-{plugin}"));
            let prev = reference((plugin, "ADD"), &place, &config(plugin, &json!({"ipMasq": false}))).json();
            let links = || place.stdout("ip -o link show type veth").lines().count();
            let del = |prev: &Value| {
                let config = config(plugin, &json!({"prevResult": prev}));
                ok(host, (plugin, "DEL"), (place.name(), &place.path()), &config.to_string());
            };
            let mut other = prev.clone();
            for link in other["interfaces"].as_array_mut().unwrap() {
                link["mac"] = json!("02:00:00:00:00:99");
            }
            del(&other);
            assert_eq!(links(), 1, "another interface of that name is left alone");
            [&prev, &prev].into_iter().for_each(&del);
            assert_eq!(links(), 0, "{plugin}");
            assert_eq!(
                stdout("ip -o link show type veth").lines().filter(|l| l.contains(" veth")).count(),
                0
            );
        }
    });
}

/// Without `snat` the reference makes fewer of the chains that all share.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_was_published_without_snat_goes_too() {
    on_a_host(|host| {
        used_iptables();
        let before = rules();
        let c1 = host.container("c1");
        let mut prev = reference(("bridge", "ADD"), &c1, &config("bridge", &json!({}))).json();
        let mut ports = more(8080);
        ports["snat"] = json!(false);
        let mut portmap = config("portmap", &ports);
        portmap["prevResult"] = prev;
        prev = reference(("portmap", "ADD"), &c1, &portmap).json();
        assert!(rules().contains("CNI-HOSTPORT-DNAT"), "control: {}", rules());
        assert!(!rules().contains("CNI-HOSTPORT-MASQ"), "control: {}", rules());
        for plugin in ["portmap", "bridge"] {
            let mut config = config(plugin, &ports);
            config["prevResult"] = prev.clone();
            ok(host, (plugin, "DEL"), ("c1", &c1.path()), &config.to_string());
        }
        assert_eq!(rules(), before);
    });
}
