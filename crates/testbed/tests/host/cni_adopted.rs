//! CNI: our plugins behind a main plugin of somebody else's. Debian's `bridge` and `ptp` are in front; what ours made
//! is looked at with packets, `nft` and `conntrack`, and must go with DEL, however that comes.

use crate::cni_bandwidth::port_of;
use crate::cni_bridge::{call, ok};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{
    Host, Outcome, Place, Protocol, Service, Snapshot, ask, eventually, link_plugins, run, stdout,
};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

const REFERENCE: &str = "/usr/lib/cni";
const PORTS: &str = r#"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"},{"hostPort":5353,"containerPort":53,"protocol":"udp"}]}"#;

/// The configuration of a plugin of network `n1`, with `more` keys.
pub fn config(plugin: &str, more: &Value) -> Value {
    let mut config = json!({
        "cniVersion": "1.0.0", "name": "n1", "type": plugin, "bridge": "cni0", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "dataDir": "/run/leases", "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]},
    });
    more.as_object().into_iter().flatten().for_each(|(key, value)| config[key] = value.clone());
    config
}

/// Calls a plugin of the reference's.
pub fn reference((plugin, verb): (&str, &str), place: &Place, config: &Value) -> Outcome {
    let mut command = Command::new(format!("{REFERENCE}/{plugin}"));
    command.env("CNI_COMMAND", verb).env("CNI_IFNAME", "eth0").env("CNI_PATH", REFERENCE);
    command.env("CNI_CONTAINERID", place.name()).env("CNI_NETNS", place.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(0), "{plugin} {verb}: {outcome}");
    outcome
}

/// Attaches with the reference's main plugin; its result.
pub fn main_plugin(plugin: &str, place: &Place) -> Value {
    reference((plugin, "ADD"), place, &config(plugin, &json!({}))).json()
}

/// Calls one of our plugins behind it.
pub fn behind(
    host: &Host,
    call_: (&str, &str),
    place: (&str, &str),
    (prev, more): (&Value, &Value),
) -> Outcome {
    let mut config = config(call_.0, more);
    config["prevResult"] = prev.clone();
    ok(host, call_, place, &config.to_string())
}

fn ports() -> Value {
    json!({"runtimeConfig": serde_json::from_str::<Value>(PORTS).unwrap()})
}

pub fn address(prev: &Value, at: usize) -> String {
    let text = prev["ips"][at]["address"].as_str().unwrap();
    text.split('/').next().unwrap().to_owned()
}

/// As it is when what the reference's plugins leave to the kernel is done, and nobody has talked.
pub fn steady(host: &Host) -> Snapshot {
    let tentative = || stdout("ip -o addr").contains("tentative");
    assert!(eventually(Duration::from_secs(10), || !tentative()), "addresses are usable");
    run("conntrack -F");
    host.snapshot()
}

pub fn is_as(host: &Host, before: &Snapshot, after_what: &str) {
    steady(host);
    host.assert_like(before, after_what);
}

fn host_rules() -> String {
    stdout("nft list ruleset")
}

/// Everybody reaches the published port, and is known as who he is.
fn is_published(host: &Host, (c1, c2): (&Place, &Place), ip: &str) {
    let _service = Service::start(c1, Protocol::Tcp, "[::]:80");
    let seen = |from: &Place, to: &str| ask(from, Protocol::Tcp, to);
    assert_eq!(seen(&host.lan, "192.0.2.1:8080").as_deref(), Some("c1 192.0.2.100"), "from outside");
    assert_eq!(
        seen(&host.lan, "[2001:db8::1]:8080").as_deref(),
        Some("c1 2001:db8::100"),
        "from outside, IPv6"
    );
    for to in ["127.0.0.1:8080", "[::1]:8080", "192.0.2.1:8080", "[2001:db8::1]:8080"] {
        assert!(seen(&Place::HOST, to).is_some(), "from the host to {to}");
    }
    for to in ["192.0.2.1:8080", "[2001:db8::1]:8080"] {
        assert!(seen(c1, to).is_some(), "from itself to {to}");
        assert!(seen(c2, to).is_some(), "from its neighbour to {to}");
    }
    assert!(seen(c2, &format!("{ip}:80")).is_some(), "straight");
}

fn portmap_behind(host: &Host, main: &str) {
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let first = main_plugin(main, &c1);
    main_plugin(main, &c2);
    // Debian's do not say what of IPv6 they switch on.
    let before = steady(host);
    let own = (c1.name(), &*c1.path());
    let answer = behind(host, ("portmap", "ADD"), own, (&first, &ports())).json();
    assert_eq!(answer["ips"], first["ips"]);
    is_published(host, (&c1, &c2), &address(&first, 0));
    behind(host, ("portmap", "CHECK"), own, (&first, &ports()));
    behind(host, ("portmap", "DEL"), own, (&first, &ports()));
    assert_eq!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080"), None);
    is_as(host, &before, "DEL");
    // Empty CNI_NETNS, no prevResult, twice.
    behind(host, ("portmap", "ADD"), own, (&first, &ports()));
    for _ in 0..2 {
        ok(host, ("portmap", "DEL"), (c1.name(), ""), &config("portmap", &json!({})).to_string());
    }
    is_as(host, &before, "DEL that knows nothing");
    // A vanished namespace, and GC.
    behind(host, ("portmap", "ADD"), own, (&first, &ports()));
    let valid =
        |valid: Value| config("portmap", &json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": valid}));
    let lives = valid(json!([{"containerID": "c1", "ifname": "eth0"}]));
    ok(host, ("portmap", "GC"), ("none", ""), &lives.to_string());
    assert!(host_rules().contains("tcp . 8080"));
    ok(host, ("portmap", "GC"), ("none", ""), &valid(json!([])).to_string());
    is_as(host, &before, "GC");
    behind(host, ("portmap", "ADD"), own, (&first, &ports()));
    c1.delete();
    ok(host, ("portmap", "DEL"), ("c1", "/run/netns/c1"), &config("portmap", &json!({})).to_string());
    assert!(!host_rules().contains("table inet qiao"), "{}", host_rules());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn portmap_behind_the_references_bridge() {
    on_a_host(|host| portmap_behind(host, "bridge"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn portmap_behind_the_references_ptp() {
    on_a_host(|host| portmap_behind(host, "ptp"));
}

/// What passes through the host to the same port of somebody else's is not touched (GHSA-jv3w-x3r3-g6rm), nor is a
/// port that is published on one address reached at another.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn transit_to_the_same_port_passes() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let (first, second) = (main_plugin("bridge", &c1), main_plugin("bridge", &c2));
        let one = json!({"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80, "hostIP": "192.0.2.9"},
            {"hostPort": 81, "containerPort": 80}]}});
        behind(host, ("portmap", "ADD"), ("c1", &c1.path()), (&first, &one));
        let _own = Service::start(&c1, Protocol::Tcp, "0.0.0.0:80");
        let _others = [80, 81].map(|port| Service::start(&c2, Protocol::Tcp, &format!("0.0.0.0:{port}")));
        let _outside =
            [80, 81].map(|port| Service::start(&host.lan, Protocol::Tcp, &format!("192.0.2.100:{port}")));
        let to = address(&second, 0);
        for port in [80, 81] {
            let seen = ask(&host.lan, Protocol::Tcp, &format!("{to}:{port}"));
            assert_eq!(seen.as_deref(), Some("c2 192.0.2.100"), "into a network, to {port}");
            let seen = ask(&c1, Protocol::Tcp, &format!("192.0.2.100:{port}"));
            assert_eq!(seen.as_deref(), Some("lan 192.0.2.1"), "out of a network, to {port}");
        }
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.9:80").is_some());
        assert_eq!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:80"), None, "published on one address");
    });
}

/// A client that never pauses is neither kept from a new port nor held to one that is gone (plugins#123, #1190).
#[test]
#[ignore = "needs root: cargo xtask test"]
fn connections_of_udp_are_forgotten() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let first = main_plugin("bridge", &c1);
        let own = ("c1", &*c1.path());
        let flows = || {
            let all = stdout("conntrack -L -p udp --orig-port-dst 5353");
            all.lines().filter(|line| line.contains("dport=5353")).map(str::to_owned).collect::<Vec<_>>()
        };
        let client = || {
            let script = "import socket; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('192.0.2.100',4000)); s.sendto(b'x',('192.0.2.1',5353))";
            host.lan.command("python3").args(["-c", script]).status().unwrap();
        };
        behind(
            host,
            ("portmap", "ADD"),
            own,
            (&first, &json!({"runtimeConfig": {"portMappings": [{"hostPort": 9, "containerPort": 9}]}})),
        );
        let _held = Service::start(&Place::HOST, Protocol::Udp, "0.0.0.0:5353");
        client();
        assert_eq!(flows().len(), 1, "control: it is tracked");
        behind(host, ("portmap", "ADD"), own, (&first, &ports()));
        assert_eq!(flows(), [""; 0], "ADD");
        client();
        assert!(
            flows().iter().any(|flow| flow.contains("src=10.9.0.2")),
            "control: it leads to the container"
        );
        behind(host, ("portmap", "DEL"), own, (&first, &ports()));
        assert_eq!(flows(), [""; 0], "DEL");
    });
}

/// `firewall` keeps networks apart, and members of one network too.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn firewall_behind_the_references_bridge() {
    on_a_host(|host| {
        let places = ["c1", "c2", "c3"].map(|name| host.container(name));
        let other = json!({"name": "n2", "bridge": "cni1", "ipam": {"type": "host-local", "dataDir": "/run/leases",
            "ranges": [[{"subnet": "10.8.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}});
        let prevs = [
            main_plugin("bridge", &places[0]),
            main_plugin("bridge", &places[1]),
            reference(("bridge", "ADD"), &places[2], &config("bridge", &other)).json(),
        ];
        let _services = places.each_ref().map(|place| Service::start(place, Protocol::Tcp, "0.0.0.0:80"));
        let to = |at: usize| format!("{}:80", address(&prevs[at], 0));
        let reaches = |from: usize, at: usize| ask(&places[from], Protocol::Tcp, &to(at)).is_some();
        assert!(reaches(2, 0) && reaches(0, 2) && reaches(0, 1), "control: it is open");
        let before = steady(host);
        let all = |verb: &str, policy: &str| {
            for (place, prev) in places.iter().zip(&prevs) {
                let mut more = if place.name() == "c3" { other.clone() } else { json!({}) };
                more["ingressPolicy"] = policy.into();
                behind(host, ("firewall", verb), (place.name(), &place.path()), (prev, &more));
            }
        };
        all("ADD", "same-bridge");
        assert!(!reaches(2, 0) && !reaches(0, 2), "networks are apart");
        assert!(reaches(0, 1), "members are not");
        assert!(ask(&host.lan, Protocol::Tcp, &to(0)).is_some(), "from outside it is open");
        all("CHECK", "same-bridge");
        all("DEL", "same-bridge");
        is_as(host, &before, "same-bridge is gone");
        all("ADD", "isolated");
        assert!(!reaches(2, 0) && !reaches(0, 1) && !reaches(1, 0), "everybody is apart");
        assert!(stdout("bridge -d link").contains("isolated on"));
        all("CHECK", "isolated");
        all("DEL", "isolated");
        assert!(!stdout("bridge -d link").contains("isolated on"));
        assert!(reaches(0, 1) && reaches(2, 0));
        is_as(host, &before, "isolated is gone");
    });
}

/// Without a bridge nobody knows who is of the same network; all others can be kept out.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn firewall_behind_the_references_ptp() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let (first, second) = (main_plugin("ptp", &c1), main_plugin("ptp", &c2));
        let _services = [&c1, &c2].map(|place| Service::start(place, Protocol::Tcp, "0.0.0.0:80"));
        let reaches = || ask(&c2, Protocol::Tcp, &format!("{}:80", address(&first, 0))).is_some();
        let before = steady(host);
        let mut refused = config("firewall", &json!({"ingressPolicy": "same-bridge"}));
        refused["prevResult"] = first.clone();
        let refused = call(host, ("firewall", "ADD"), ("c1", &c1.path()), &refused.to_string());
        assert_eq!(refused.json()["code"], 103, "{refused}");
        is_as(host, &before, "it was refused");
        assert!(reaches(), "control");
        let isolated = json!({"ingressPolicy": "isolated"});
        for (place, prev) in [(&c1, &first), (&c2, &second)] {
            behind(host, ("firewall", "ADD"), (place.name(), &place.path()), (prev, &isolated));
        }
        assert!(!reaches());
        for (place, prev) in [(&c1, &first), (&c2, &second)] {
            behind(host, ("firewall", "DEL"), (place.name(), &place.path()), (prev, &isolated));
        }
        assert!(reaches());
        is_as(host, &before, "it is gone");
    });
}

/// All three behind one another: each DEL takes what is its own, the last one the record.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_whole_chain_behind_the_references_bridge() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let first = main_plugin("bridge", &c1);
        run("nft add table inet mine");
        let before = steady(host);
        let inside =
            || c1.stdout("ip -o link show eth0") + &c1.stdout("cat /proc/sys/net/ipv4/conf/eth0/arp_filter");
        let as_it_was = inside();
        let own = ("c1", &*c1.path());
        let tuning = json!({"mac": "02:00:00:00:00:77", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 77,
            "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}});
        behind(host, ("portmap", "ADD"), own, (&first, &ports()));
        behind(host, ("firewall", "ADD"), own, (&first, &json!({"ingressPolicy": "same-bridge"})));
        let last = behind(host, ("tuning", "ADD"), own, (&first, &tuning)).json();
        let its = last["interfaces"].as_array().unwrap().iter().find(|i| i["name"] == "eth0").unwrap();
        assert_eq!(its["mac"], "02:00:00:00:00:77");
        for word in ["02:00:00:00:00:77", "mtu 1400", "PROMISC", "ALLMULTI", "qlen 77"] {
            assert!(inside().contains(word), "{word}: {}", inside());
        }
        let _service = Service::start(&c1, Protocol::Tcp, "0.0.0.0:80");
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some(), "with its new hardware address");
        behind(host, ("tuning", "CHECK"), own, (&last, &tuning));
        c1.run("ip link set eth0 promisc off");
        let mut other = config("tuning", &tuning);
        other["prevResult"] = last.clone();
        assert_eq!(call(host, ("tuning", "CHECK"), own, &other.to_string()).json()["code"], 110);
        behind(host, ("tuning", "DEL"), own, (&last, &tuning));
        assert_eq!(inside(), as_it_was);
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some(), "the others are as they were");
        behind(host, ("firewall", "DEL"), own, (&last, &json!({"ingressPolicy": "same-bridge"})));
        behind(host, ("portmap", "DEL"), own, (&last, &ports()));
        let learned = stdout("bridge fdb");
        let port = learned
            .lines()
            .find(|line| line.starts_with("02:00:00:00:00:77"))
            .expect("the bridge learned it");
        run(&format!("bridge fdb del 02:00:00:00:00:77 dev {} master", port.split(' ').nth(2).unwrap()));
        is_as(host, &before, "the chain is gone");
    });
}

/// Calls one of our plugins and kills it before its n-th call of this kind; whether there was one.
fn is_killed(
    host: &Host,
    (plugin, verb): (&str, &str),
    place: &Place,
    (config, call, nth): (&Value, &str, usize),
) -> bool {
    let inject = format!("inject={call}:signal=KILL:when={nth}");
    let mut command = Command::new("strace");
    command.args([
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={call}"),
        "-e",
        &inject,
        &format!("/run/plugins/{plugin}"),
    ]);
    let known = host.qiao.command();
    command.envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("CNI_COMMAND", verb).env("CNI_IFNAME", "eth0").env("CNI_PATH", "/nonexistent");
    command.env("CNI_CONTAINERID", place.name()).env("CNI_NETNS", place.path());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(config.to_string().as_bytes());
    let status = child.wait().unwrap();
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(9)
}

/// Killed anywhere, the next DEL takes away what there is, and gives back what was changed.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn killed_anywhere_nothing_is_left_and_everything_is_as_it_was() {
    on_a_host(|host| {
        std::fs::create_dir("/run/plugins").unwrap();
        link_plugins(std::path::Path::new("/run/plugins"));
        let c1 = host.container("c1");
        let first = main_plugin("bridge", &c1);
        // The kernel gives a link without a queue one, when something waits there for the first time.
        run(&format!("ip link set {} txqueuelen 1000", port_of(&c1)));
        let before = steady(host);
        let inside = || {
            [
                "ip -o link show eth0",
                "cat /proc/sys/net/ipv4/conf/eth0/arp_filter",
                "ip route show table all",
                "ip rule",
                "ip -6 rule",
            ]
            .map(|line| c1.stdout(line))
            .concat()
        };
        let as_it_was = inside();
        let tuning = json!({"mac": "02:00:00:00:00:77", "mtu": 1400, "promisc": true,
            "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}});
        let shaped = stdout("tc qdisc show") + &stdout("ip -br link show type ifb");
        let mut killed = 0;
        let rates = json!({"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 8_000_000, "egressBurst": 800_000});
        for (plugin, more) in
            [("sbr", json!({})), ("tuning", tuning), ("portmap", ports()), ("bandwidth", rates)]
        {
            let mut config = config(plugin, &more);
            config["prevResult"] = first.clone();
            for call in ["sendto", "renameat", "setns", "unlinkat"] {
                for nth in (1..400).step_by(3) {
                    if !is_killed(host, (plugin, "ADD"), &c1, (&config, call, nth)) {
                        break;
                    }
                    killed += 1;
                    let when = format!("{plugin} was killed at {call} {nth}");
                    if nth % 2 == 0 {
                        is_killed(host, (plugin, "DEL"), &c1, (&config, call, 2));
                    }
                    behind(host, (plugin, "DEL"), ("c1", &c1.path()), (&first, &json!({})));
                    assert_eq!(inside(), as_it_was, "{when}");
                    assert!(!host_rules().contains("c1/eth0"), "{when}");
                    assert_eq!(
                        stdout("tc qdisc show") + &stdout("ip -br link show type ifb"),
                        shaped,
                        "{when}"
                    );
                }
                behind(host, (plugin, "DEL"), ("c1", &c1.path()), (&first, &json!({})));
            }
        }
        assert!(killed > 20, "{killed} were killed");
        let fdb = stdout("bridge fdb");
        for line in fdb.lines().filter(|line| line.starts_with("02:00:00:00:00:77")) {
            run(&format!("bridge fdb del 02:00:00:00:00:77 dev {} master", line.split(' ').nth(2).unwrap()));
        }
        is_as(host, &before, "all that was killed");
    });
}
