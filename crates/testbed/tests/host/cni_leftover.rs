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
