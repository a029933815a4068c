//! CNI: `bandwidth`. That rates hold is measured with bytes that arrive, and compared with the same without the plugin;
//! what does it is looked at with `tc` and `ip`.

use crate::cni_adopted::{address, behind, config, is_as, main_plugin, steady};
use crate::cni_bridge::{call, ok};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Place, eventually, run, stdout};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

/// 8 Mbit/s, a megabyte each second, and a tenth of that at once.
fn rates() -> Value {
    json!({"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 800_000})
}

const BYTES: usize = 1_500_000;

/// Takes what comes and tells how many bytes a second that were, from the first on.
const SINK: &str = "import socket,sys,time
s=socket.create_server(('',5201)); print('ready',flush=True)
c,_=s.accept(); first=len(c.recv(65536)); t=time.time(); n=0
while True:
    d=c.recv(65536)
    if not d: break
    n+=len(d)
print(int(n/max(time.time()-t,1e-6)))";

/// Bytes a second from one place to another.
fn speed(from: &Place, (to, ip): (&Place, &str)) -> u64 {
    let mut sink = to.command("python3").args(["-c", SINK]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(sink.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let script = format!(
        "import socket; s=socket.create_connection(('{ip}',5201),timeout=20); s.sendall(bytes({BYTES})); s.close()"
    );
    let sent = from.command("python3").args(["-c", &script]).status().unwrap();
    if !sent.success() {
        let _ = sink.kill();
    }
    let _ = sink.wait();
    assert!(sent.success(), "nothing passes from {} to {ip}", from.name());
    lines.next().unwrap().unwrap().parse().unwrap()
}

/// Whether a rate holds: TCP does not fill it wholly, and the burst comes on top.
fn holds(seen: u64, rate: u64, what: &str) {
    assert!((rate / 2..rate * 5 / 4).contains(&seen), "{what}: {seen} bytes a second, and {rate} are meant");
}

fn tc() -> String {
    stdout("tc qdisc show")
}

/// The devices that are in the way of what containers send.
fn ifbs() -> Vec<String> {
    let text = stdout("ip -o link show type ifb");
    let names = text.lines().filter_map(|line| line.split(": ").nth(1));
    names.map(|name| name.split('@').next().unwrap_or_default().to_owned()).collect()
}

/// Calls one of our plugins in a network of ours.
fn plugin(host: &Host, what: (&str, &str), place: &Place, (prev, more): (&Value, &Value)) -> Outcome {
    let mut config = config(what.0, more);
    if !prev.is_null() {
        config["prevResult"] = prev.clone();
    }
    call(host, what, (place.name(), &place.path()), &config.to_string())
}

fn added(outcome: &Outcome) -> Value {
    assert_eq!(outcome.code, Some(0), "{outcome}");
    outcome.json()
}

/// Rates hold in both directions, whoever is the other, and nobody inside takes them off.
fn rates_hold(host: &Host, (c1, c2): (&Place, &Place), (prev, other): (&Value, &Value)) {
    let (own, its) = (address(prev, 0), address(other, 0));
    let fast = speed(&host.lan, (c1, &own)).min(speed(c1, (&host.lan, "192.0.2.100")));
    assert!(fast > 20_000_000, "the control: {fast} bytes a second without");
    let last = behind(host, ("bandwidth", "ADD"), (c1.name(), &c1.path()), (prev, &rates())).json();
    let ifb = ifbs().pop().expect("there is a device");
    let said = last["interfaces"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(said["name"], json!(ifb));
    assert!(stdout(&format!("ip link show {ifb}")).contains(said["mac"].as_str().unwrap()));
    assert!(ifb.starts_with("bwp"));
    for (link, rate) in [(port_of(c1), "8Mbit"), (ifb, "16Mbit")] {
        let seen = stdout(&format!("tc qdisc show dev {link} root"));
        let meant = format!("rate {rate} burst 100000b lat 25ms");
        assert!(seen.contains("tbf 71: root") && seen.contains(&meant), "{seen}");
    }
    // Whoever is root in the container has nothing to take off.
    c1.command("tc").args(["qdisc", "del", "dev", "eth0", "root"]).status().unwrap();
    holds(speed(&host.lan, (c1, &own)), 1_000_000, "in from outside");
    holds(speed(c2, (c1, &own)), 1_000_000, "in from a neighbour");
    holds(speed(c1, (&host.lan, "192.0.2.100")), 2_000_000, "out to outside");
    holds(speed(c1, (c2, &its)), 2_000_000, "out to a neighbour");
    assert!(speed(c2, (&host.lan, "192.0.2.100")) > 20_000_000, "the neighbour is as fast as before");
    behind(host, ("bandwidth", "CHECK"), (c1.name(), &c1.path()), (&last, &rates()));
}

/// What somebody takes off is seen by CHECK, and put back by `qiao repair`.
fn is_looked_after(host: &Host, c1: &Place, prev: &Value) {
    let checked = || plugin(host, ("bandwidth", "CHECK"), c1, (prev, &rates()));
    assert_eq!(checked().code, Some(0), "control");
    let port = port_of(c1);
    let ifb = ifbs().pop().unwrap();
    let (shape, before) = ("tc qdisc del dev", tc());
    for line in [
        format!("{shape} {port} root"),
        format!("{shape} {port} ingress"),
        format!("{shape} {ifb} root"),
        format!("tc filter del dev {port} ingress pref 113"),
        format!("ip link set {ifb} down"),
        format!("ip link del {ifb}"),
        format!("tc qdisc replace dev {port} root handle 71: tbf rate 80mbit burst 100000 latency 25ms"),
    ] {
        run(&line);
        let failed = checked();
        assert_eq!(failed.json()["code"], 110, "`{line}`: {failed}");
        host.ok("repair");
        assert_eq!(checked().code, Some(0), "`{line}`, then repair");
        let known = |text: &str| {
            text.lines().map(|line| line.replace("  ", " ")).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(known(&tc()), known(&before), "`{line}`, then repair");
    }
    let other = json!({"ingressRate": 8_000, "ingressBurst": 800_000});
    assert_eq!(plugin(host, ("bandwidth", "CHECK"), c1, (prev, &other)).json()["code"], 110);
}

/// The host's end of a container's pair.
pub fn port_of(place: &Place) -> String {
    let index = place.stdout("cat /sys/class/net/eth0/iflink").trim().to_owned();
    let all = stdout("ip -o link");
    let line = all.lines().find(|line| line.starts_with(&format!("{index}: "))).unwrap();
    line.split(": ").nth(1).unwrap().split('@').next().unwrap().to_owned()
}

/// It goes with DEL, whatever that is told, with GC, and when the namespace is gone.
fn goes(host: &Host, c1: Place, prev: &Value) {
    let own = || (c1.name(), c1.path());
    let (name, path) = own();
    behind(host, ("bandwidth", "DEL"), (name, &path), (prev, &rates()));
    let before = steady(host);
    assert!(ifbs().is_empty() && !tc().contains("tbf"), "{}", tc());
    for _ in 0..2 {
        behind(host, ("bandwidth", "ADD"), (name, &path), (prev, &rates()));
    }
    assert_eq!(ifbs().len(), 1, "twice is once");
    for _ in 0..2 {
        ok(host, ("bandwidth", "DEL"), (name, ""), &config("bandwidth", &json!({})).to_string());
    }
    is_as(host, &before, "DEL that knows nothing, twice");
    behind(
        host,
        ("bandwidth", "ADD"),
        (name, &path),
        (prev, &json!({"runtimeConfig": {"bandwidth": {"IngressRate": 8_000_000, "ingressburst": 800_000}}})),
    );
    assert!(tc().contains("rate 8Mbit") && ifbs().is_empty(), "what it sends is not limited: {}", tc());
    behind(host, ("bandwidth", "ADD"), (name, &path), (prev, &rates()));
    assert_eq!(ifbs().len(), 1, "a change");
    behind(host, ("bandwidth", "DEL"), (name, &path), (prev, &rates()));
    is_as(host, &before, "DEL");
    behind(host, ("bandwidth", "ADD"), (name, &path), (prev, &rates()));
    assert_eq!(ifbs().len(), 1, "control");
    c1.delete();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn behind_our_bridge() {
    on_a_host(|host| behind_ours(host, "bridge"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn behind_our_ptp() {
    on_a_host(|host| behind_ours(host, "ptp"));
}

fn behind_ours(host: &Host, main: &str) {
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let before = host.snapshot();
    let nothing = Value::Null;
    let [prev, other] =
        [&c1, &c2].map(|place| added(&plugin(host, (main, "ADD"), place, (&nothing, &json!({})))));
    rates_hold(host, (&c1, &c2), (&prev, &other));
    is_looked_after(host, &c1, &prev);
    goes(host, c1, &prev);
    // The main plugin's DEL takes all along, and so does GC.
    ok(host, (main, "DEL"), ("c1", ""), &config(main, &json!({})).to_string());
    assert!(ifbs().is_empty(), "{:?}", ifbs());
    behind(host, ("bandwidth", "ADD"), ("c2", &c2.path()), (&other, &rates()));
    let gc = config(main, &json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []}));
    ok(host, (main, "GC"), ("none", ""), &gc.to_string());
    run("ip netns add c1");
    run("conntrack -F");
    host.assert_like(&before, "GC");
}

fn behind_theirs(host: &Host, main: &str) {
    let (c1, c2) = (host.container("c1"), host.container("c2"));
    let (prev, other) = (main_plugin(main, &c1), main_plugin(main, &c2));
    rates_hold(host, (&c1, &c2), (&prev, &other));
    is_looked_after(host, &c1, &prev);
    goes(host, c1, &prev);
    let gc = config("bandwidth", &json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []}));
    ok(host, ("bandwidth", "GC"), ("none", ""), &gc.to_string());
    assert!(ifbs().is_empty() && !tc().contains("tbf"), "{}", tc());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn behind_the_references_bridge() {
    on_a_host(|host| behind_theirs(host, "bridge"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn behind_the_references_ptp() {
    on_a_host(|host| behind_theirs(host, "ptp"));
}

/// What somebody else has put on an interface of his own stays, and is told.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_others_put_there_stays() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let prev = main_plugin("bridge", &c1);
        let port = port_of(&c1);
        let filter =
            format!("tc filter add dev {port} ingress pref 7 protocol ip u32 match u32 0 0 flowid 1:1");
        for line in [
            format!("tc qdisc add dev {port} root handle 5: tbf rate 1mbit burst 10000 latency 25ms"),
            format!("tc qdisc add dev {port} clsact"),
        ] {
            run(&line);
            if line.ends_with("clsact") {
                run(&filter);
            }
            let before = steady(host);
            let refused = plugin(host, ("bandwidth", "ADD"), &c1, (&prev, &rates()));
            assert_eq!(refused.json()["code"], 100, "`{line}`: {refused}");
            is_as(host, &before, &line);
            for what in ["root", "clsact"] {
                Place::HOST.command("tc").args(["qdisc", "del", "dev", &port, what]).status().unwrap();
            }
        }
        // A filter that came later stays, and so does what it needs.
        behind(host, ("bandwidth", "ADD"), ("c1", &c1.path()), (&prev, &rates()));
        run(&filter);
        behind(host, ("bandwidth", "DEL"), ("c1", &c1.path()), (&prev, &rates()));
        let left = stdout(&format!("tc filter show dev {port} ingress"));
        assert!(left.contains("pref 7") && !left.contains("pref 113"), "{left}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let prev = added(&plugin(host, ("bridge", "ADD"), &c1, (&Value::Null, &json!({}))));
        let before = host.snapshot();
        for (more, code, words) in [
            (json!({"ingressRate": 8_000}), 7, "if rate is set, burst must also be set"),
            (json!({"egressBurst": 8_000}), 7, "if burst is set, rate must also be set"),
            (
                json!({"ingressRate": 8_000, "ingressBurst": 34_359_738_400_u64}),
                7,
                "burst cannot be more than 4GB",
            ),
            (json!({"ingressRate": 7, "ingressBurst": 8_000}), 7, "less than 8 bits"),
            (json!({"ingressRate": -1, "ingressBurst": 8_000}), 7, "ingressRate"),
            (json!({"ingressRate": "fast", "ingressBurst": 8_000}), 7, "ingressRate"),
            (json!({"unshapedSubnets": ["10.0.0.0/8"]}), 2, "unshapedSubnets"),
            (json!({"runtimeConfig": {"bandwidth": {"EgressRate": 1_000}}}), 7, "if rate is set"),
        ] {
            let refused = plugin(host, ("bandwidth", "ADD"), &c1, (&prev, &more));
            assert_eq!(refused.json()["code"], code, "{more}: {refused}");
            assert!(refused.json()["msg"].as_str().unwrap().contains(words), "{more}: {refused}");
        }
        let alone = plugin(host, ("bandwidth", "ADD"), &c1, (&Value::Null, &rates()));
        assert_eq!(alone.json()["code"], 7, "without a plugin before it: {alone}");
        host.assert_like(&before, "all was refused");
        // Nothing asked for is nothing done, and the result is passed on; large numbers are taken.
        let same =
            behind(host, ("bandwidth", "ADD"), ("c1", &c1.path()), (&prev, &json!({"ingressRate": 0})))
                .json();
        assert_eq!(same["ips"], prev["ips"]);
        host.assert_like(&before, "nothing was asked for");
        let large = json!({"ingressRate": 80_000_000_000_u64, "ingressBurst": 4_294_967_295_u64});
        behind(host, ("bandwidth", "ADD"), ("c1", &c1.path()), (&prev, &large));
        assert!(tc().contains("rate 80Gbit"), "{}", tc());
        behind(host, ("bandwidth", "CHECK"), ("c1", &c1.path()), (&prev, &large));
        let slow = json!({"ingressRate": 8_000, "ingressBurst": 4_294_967_295_u64});
        behind(host, ("bandwidth", "ADD"), ("c1", &c1.path()), (&prev, &slow));
        behind(host, ("bandwidth", "CHECK"), ("c1", &c1.path()), (&prev, &slow));
        // An interface without an end on the host has nothing that could hold it back.
        let c2 = host.container("c2");
        run("ip link add parent0 type veth peer name parent1");
        run("ip link set parent0 up");
        let macvlan = json!({"master": "parent0", "name": "n2", "ipam": {"type": "static", "addresses": [{"address": "10.7.0.2/24"}]}});
        let prev = added(&plugin(host, ("macvlan", "ADD"), &c2, (&Value::Null, &macvlan)));
        let refused = plugin(host, ("bandwidth", "ADD"), &c2, (&prev, &rates()));
        assert_eq!(refused.json()["code"], 103, "{refused}");
        assert!(eventually(Duration::from_secs(1), || ifbs().is_empty()));
    });
}

/// `qiao` by itself does it too, and no packet passes before.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn qiao_does_it_at_once() {
    on_a_host(|host| {
        let c1 = host.container("c1");
        let before = host.snapshot();
        let mut config = config("qiao", &rates());
        config["isDefaultGateway"] = true.into();
        let prev = ok(host, ("qiao", "ADD"), ("c1", &c1.path()), &config.to_string()).json();
        holds(speed(&host.lan, (&c1, &address(&prev, 0))), 1_000_000, "in");
        holds(speed(&c1, (&host.lan, "192.0.2.100")), 2_000_000, "out");
        ok(host, ("qiao", "DEL"), ("c1", &c1.path()), &config.to_string());
        run("conntrack -F");
        host.assert_like(&before, "DEL");
    });
}
