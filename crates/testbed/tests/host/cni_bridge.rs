//! CNI: the plugins as a runtime calls them, looked at with `ip` and `nft`.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Place, Protocol, Service, ask, stdout};

pub const LEASES: &str = "/run/leases";

/// A configuration of network `n1`: `more` are further keys.
fn config(plugin: &str, more: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"n1","type":"{plugin}","bridge":"cni0","isDefaultGateway":true,"ipMasq":true,
        "ipam":{{"type":"host-local","dataDir":"{LEASES}","ranges":[[{{"subnet":"10.9.0.0/29"}}]]}}{more}}}"#
    )
}

/// Calls a plugin.
pub fn call(host: &Host, what: (&str, &str), container: (&str, &str), config: &str) -> Outcome {
    host.qiao.plugin(what, container, config)
}

pub fn ok(host: &Host, what: (&str, &str), container: (&str, &str), config: &str) -> Outcome {
    host.qiao.plugin_ok(what, container, config)
}

fn add(host: &Host, place: &Place) -> Outcome {
    ok(host, ("bridge", "ADD"), (place.name(), &place.path()), &config("bridge", ""))
}

/// The addresses that are reserved, and whose they are.
pub fn leases() -> Vec<String> {
    let entries = std::fs::read_dir(format!("{LEASES}/n1")).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.retain(|name| name.parse::<std::net::IpAddr>().is_ok());
    names.sort();
    names
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_container_comes_and_goes_and_nothing_is_left() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        add(host, &c1);
        add(host, &c2);
        assert!(c1.stdout("ip -o addr show eth0").contains("10.9.0.2/29"));
        assert!(c1.stdout("ip route").contains("default via 10.9.0.1"));
        let _service = Service::start(&c2, Protocol::Tcp, "10.9.0.3:80");
        assert!(ask(&c1, Protocol::Tcp, "10.9.0.3:80").is_some());
        let _outside = Service::start(&host.lan, Protocol::Tcp, "192.0.2.100:80");
        assert_eq!(
            ask(&c1, Protocol::Tcp, "192.0.2.100:80").as_deref(),
            Some("lan 192.0.2.1"),
            "masqueraded"
        );
        assert!(ask(&host.lan, Protocol::Tcp, "10.9.0.3:80").is_some(), "it is open, as the reference's");
        assert_eq!(leases(), ["10.9.0.2", "10.9.0.3"]);
        // Without its namespace's path, and twice: as containerd does.
        for _ in 0..2 {
            ok(host, ("bridge", "DEL"), (c1.name(), ""), &config("bridge", ""));
        }
        assert_eq!(leases(), ["10.9.0.3"]);
        assert!(ask(&c2, Protocol::Tcp, "192.0.2.100:80").is_some(), "the other is as it was");
        ok(host, ("bridge", "DEL"), (c2.name(), &c2.path()), &config("bridge", ""));
        assert_eq!(leases(), [""; 0]);
        drop((_service, _outside));
        host.assert_like(&before, "both are gone");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_bridge_that_was_there_stays_as_it_was() {
    on_a_host(|host| {
        stdout("ip link add cni0 address 02:00:00:00:00:77 type bridge");
        stdout("ip link set cni0 addrgenmode none");
        stdout("ip addr add 10.9.0.6/29 dev cni0");
        stdout("ip link set cni0 up");
        let seen = || stdout("ip -o addr show cni0");
        let before = seen();
        let c1 = host.container("c1");
        add(host, &c1);
        assert!(c1.stdout("ip -o addr show eth0").contains("10.9.0.2/29"));
        assert!(seen().contains("10.9.0.1/29"));
        ok(host, ("bridge", "DEL"), (c1.name(), ""), &config("bridge", ""));
        assert_eq!(seen(), before);
        assert!(stdout("ip -o link show cni0").contains("02:00:00:00:00:77"));
        assert!(!stdout("nft list ruleset").contains("qiao"), "no rules are left");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn leases_of_the_reference_count_and_are_given_back() {
    on_a_host(|host| {
        let lease = format!("{LEASES}/n1/10.9.0.2");
        std::fs::create_dir_all(format!("{LEASES}/n1")).unwrap();
        std::fs::write(&lease, "old\r\neth0").unwrap();
        let c1 = host.container("c1");
        add(host, &c1);
        assert!(c1.stdout("ip -o addr show eth0").contains("10.9.0.3/29"));
        ok(host, ("bridge", "DEL"), ("old", ""), &config("bridge", ""));
        assert_eq!(leases(), ["10.9.0.3"]);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn gc_leaves_what_it_is_told_and_status_says_when_it_is_full() {
    on_a_host(|host| {
        let places: Vec<Place> = (1..=5).map(|n| host.container(&format!("c{n}"))).collect();
        places.iter().for_each(|place| drop(add(host, place)));
        let nobody = ("none", "");
        let full = call(host, ("bridge", "STATUS"), nobody, &config("bridge", ""));
        assert_eq!(full.json()["code"], 50, "{full}");
        let sixth = host.container("c6");
        let refused =
            call(host, ("bridge", "ADD"), (sixth.name(), &sixth.path()), &config("bridge", "")).json();
        assert_eq!((&refused["code"], &refused["cniVersion"]), (&101.into(), &"1.1.0".into()));
        // A runtime that does not say which live has nothing collected.
        ok(host, ("bridge", "GC"), nobody, &config("bridge", ""));
        assert_eq!(leases().len(), 5);
        let valid = r#","cni.dev/valid-attachments":[{"containerID":"c2","ifname":"eth0"}]"#;
        ok(host, ("bridge", "GC"), nobody, &config("bridge", valid));
        assert_eq!(leases(), ["10.9.0.3"]);
        assert_eq!(stdout("ip -o link show type veth").lines().filter(|l| l.contains(": q-")).count(), 1);
        ok(host, ("bridge", "STATUS"), nobody, &config("bridge", ""));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_chain_publishes_and_its_del_takes_that_away() {
    on_a_host(|host| {
        let ports =
            r#","runtimeConfig":{"portMappings":[{"HostPort":8080,"containerPort":80,"protocol":"tcp"}]}"#;
        let c1 = host.container("c1");
        let before = host.snapshot();
        let prev = add(host, &c1).stdout;
        let behind = config("portmap", &format!(r#"{ports},"prevResult":{prev}"#));
        let own = (c1.name(), &*c1.path());
        let answer = ok(host, ("portmap", "ADD"), own, &behind).json();
        assert_eq!(answer, serde_json::from_str::<serde_json::Value>(&prev).unwrap());
        let service = Service::start(&c1, Protocol::Tcp, "10.9.0.2:80");
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some());
        ok(host, ("portmap", "CHECK"), own, &behind);
        ok(host, ("portmap", "DEL"), (c1.name(), ""), &config("portmap", ports));
        assert_eq!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080"), None);
        let other = call(host, ("portmap", "ADD"), ("nobody", &c1.path()), &behind);
        assert_eq!(other.json()["code"], 100, "the namespace is another container's: {other}");
        drop(service);
        ok(host, ("bridge", "DEL"), (c1.name(), ""), &config("bridge", ""));
        host.assert_like(&before, "the chain is gone");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn one_plugin_does_the_work_of_a_chain() {
    on_a_host(|host| {
        let more = r#","runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80}]},
            "ingressPolicy":"isolated","sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"}"#;
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        for place in [&c1, &c2] {
            let whole = if place.name() == "c1" { more } else { r#","ingressPolicy":"isolated""# };
            ok(host, ("qiao", "ADD"), (place.name(), &place.path()), &config("qiao", whole));
        }
        assert_eq!(c1.stdout("cat /proc/sys/net/ipv4/conf/eth0/arp_filter").trim(), "1");
        let service = Service::start(&c1, Protocol::Tcp, "10.9.0.2:80");
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some());
        assert_eq!(ask(&c2, Protocol::Tcp, "10.9.0.2:80"), None, "members do not reach one another");
        drop(service);
        for name in ["c1", "c2"] {
            ok(host, ("qiao", "DEL"), (name, ""), &config("qiao", ""));
        }
        host.assert_like(&before, "both are gone");
    });
}

/// Whatever an address fails at after it was taken: nobody has it then.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_address_that_came_to_nothing_is_free() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let place = (c1.name(), &*c1.path());
        for note in ["last_reserved_ip.0", ".of.c1@eth0"] {
            stdout(&format!("mkdir -p {LEASES}/n1/{note}"));
            let refused = call(host, ("bridge", "ADD"), place, &config("bridge", ""));
            assert!(refused.json()["code"] == 105 && refused.stdout.contains(note), "{refused}");
            assert_eq!(leases(), [""; 0], "{note}");
            stdout(&format!("rmdir {LEASES}/n1/{note}"));
        }
        add(host, &c1); // the control
        assert_eq!(leases().len(), 1);
        // A plugin of ours as an address management would ask itself without end.
        let itself = config("bridge", "").replace("host-local", "bridge");
        let refused = call(host, ("bridge", "ADD"), ("c2", &c1.path()), &itself);
        assert!(refused.json()["code"] == 7 && refused.stdout.contains("gives no addresses"), "{refused}");
    });
}

/// What is told apart by VLANs needs a kernel that can; what makes no sense is refused anywhere.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn vlans_that_cannot_be_are_refused() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        stdout("ip link add try0 type bridge");
        let lacks = !std::path::Path::new("/sys/class/net/try0/bridge/vlan_filtering").exists();
        stdout("ip link del try0");
        let before = host.snapshot();
        let mut wrong = vec![
            (r#","vlan":4095"#, 7, "4095"),
            (r#","vlanTrunk":[{"minID":5}]"#, 7, "maxID"),
            (r#","vlanTrunk":[{"minID":5,"maxID":4}]"#, 7, "maxID"),
            (r#","vlanTrunk":[{"id":0}]"#, 7, "0 is no VLAN"),
            (r#","vlanTrunk":[{}]"#, 7, "id"),
            (r#","disableContainerInterface":true"#, 7, "ipam"),
            (r#","macspoofchk":true,"vlanTrunk":[{"id":7}]"#, 2, "macspoofchk"),
        ];
        if lacks {
            wrong.push((r#","vlan":10"#, 103, "CONFIG_BRIDGE_VLAN_FILTERING"));
            wrong.push((r#","vlanTrunk":[{"id":10}]"#, 103, "CONFIG_BRIDGE_VLAN_FILTERING"));
        }
        for (more, code, word) in wrong {
            let refused = call(host, ("bridge", "ADD"), ("c1", &c1.path()), &config("bridge", more));
            assert_eq!(refused.json()["code"], code, "{more}: {refused}");
            assert!(refused.stdout.contains(word), "{more}: {refused}");
            assert_eq!(leases(), [""; 0], "{more}");
            host.assert_like(&before, more);
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_stays_down() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let before = host.snapshot();
        let more = r#","forceAddress":true,"enabledad":true,"promiscMode":true"#;
        let down = format!(
            r#"{{"cniVersion":"1.0.0","name":"n1","type":"bridge","bridge":"cni0","disableContainerInterface":true{more}}}"#
        );
        let own = ("c1", &*c1.path());
        let result = ok(host, ("bridge", "ADD"), own, &down).json();
        assert!(c1.stdout("ip link show eth0").contains("state DOWN"), "{}", c1.stdout("ip link show eth0"));
        let checked = down.replacen('{', &format!(r#"{{"prevResult":{result},"#), 1);
        ok(host, ("bridge", "CHECK"), own, &checked);
        c1.run("ip link del eth0");
        assert_eq!(call(host, ("bridge", "CHECK"), own, &checked).json()["code"], 110);
        ok(host, ("bridge", "DEL"), own, &down);
        host.assert_like(&before, "it is gone");
    });
}

/// Networks without addresses: every container has a hardware address of its own.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_containers_without_addresses() {
    on_a_host(|host| {
        let bare = r#"{"cniVersion":"1.0.0","name":"n1","type":"bridge","bridge":"cni0"}"#;
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        for (place, ip) in [(&c1, "10.9.0.2/24"), (&c2, "10.9.0.3/24")] {
            ok(host, ("bridge", "ADD"), (place.name(), &place.path()), bare);
            place.run(&format!("ip addr add {ip} dev eth0"));
        }
        let _service = Service::start(&c1, Protocol::Tcp, "10.9.0.2:80");
        assert!(ask(&c2, Protocol::Tcp, "10.9.0.2:80").is_some());
    });
}
