//! R-REL 28: thousands of ports. Whatever attaches is read back: it is listed, checked and detached, through every door.

use crate::netavark::{self, CONFIG, network, on};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Place, Protocol, Service, ask, run};
use serde_json::{Value, json};
use std::fs;

/// How many single ports.
const PORTS: u16 = 5000;
const FIRST: u16 = 20000;
/// The record of `web`.
const RECORD: &str = "/run/test/run/endpoints/web/eth0.json";

/// Attaches `web` with single ports of the host that are `step` apart, each to a container's port of its own.
fn attach(host: &Host, place: &Place, (step, shift): (u16, u16)) -> Outcome {
    let ports = (0..PORTS).map(|n| FIRST + n * step).map(|port| format!("{port}:{}", port - shift));
    let words: Vec<String> = ports.flat_map(|port| ["-p".to_owned(), port]).collect();
    let mut all: Vec<String> =
        ["attach", "web", "--netns", &place.path(), "--network", "front"].map(str::to_owned).into();
    all.extend(words);
    host.qiao.words(&all)
}

/// It is known to everybody, and the outside reaches its last port.
fn known(host: &Host, place: &Place, (last, inside): (u16, u16)) {
    let service = Service::start(place, Protocol::Tcp, &format!("0.0.0.0:{inside}"));
    for line in ["check", "gc", "repair"] {
        let outcome = host.ok(line);
        assert!(!outcome.stderr.contains("makes no sense"), "{line}: {outcome}");
    }
    assert!(host.qiao.json("ps").to_string().contains("web"), "it is listed");
    let port = host.ok(&format!("port web {inside}/tcp")).stdout;
    assert!(port.contains(&last.to_string()), "{port}");
    assert!(ask(&host.lan, Protocol::Tcp, &format!("192.0.2.1:{last}")).is_some(), "it is reached");
    drop(service);
    run("conntrack -F");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn f1_thousands_of_single_ports_of_the_command() {
    on_a_host(|host| {
        host.ok("network create front");
        let web = host.attached("web", "--network front -p 8080:80");
        host.ok("detach web"); // what is made once and kept is there
        let before = host.snapshot();
        for (step, shift) in [(1, 0), (1, 10000), (9, 7)] {
            let outcome = attach(host, &web, (step, shift));
            assert_eq!(outcome.code, Some(0), "{outcome}");
            let size = fs::metadata(RECORD).unwrap().len();
            assert!(step > 1 || size < 10_000, "{size} octets: ports in a row are a range");
            let last = FIRST + (PORTS - 1) * step;
            known(host, &web, (last, last - shift));
            host.ok("detach web");
            host.assert_like(&before, "thousands of ports came and went");
        }
    });
}

fn mappings() -> Vec<Value> {
    (FIRST..FIRST + PORTS)
        .map(|port| json!({"hostPort": port, "containerPort": port, "protocol": "tcp"}))
        .collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn f1_thousands_of_single_ports_of_cni() {
    on_a_host(|host| {
        let web = host.container("web");
        let before = host.snapshot();
        let config = |kind: &str, more: Value| {
            let mut all = json!({
                "cniVersion": "1.1.0", "name": "n1", "type": kind, "bridge": "cni0", "isDefaultGateway": true,
                "runtimeConfig": {"portMappings": mappings()},
                "ipam": {"type": "host-local", "dataDir": "/run/leases", "ranges": [[{"subnet": "10.9.0.0/29"}]]},
            });
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all.to_string()
        };
        let (own, path) = ("web", web.path());
        let prev = host.qiao.plugin_ok(("bridge", "ADD"), (own, &path), &config("bridge", json!({}))).json();
        let more = json!({"prevResult": prev});
        host.qiao.plugin_ok(("portmap", "ADD"), (own, &path), &config("portmap", more.clone()));
        known(host, &web, (FIRST + PORTS - 1, FIRST + PORTS - 1));
        for kind in ["bridge", "portmap"] {
            host.qiao.plugin_ok((kind, "CHECK"), (own, &path), &config(kind, more.clone()));
        }
        for kind in ["portmap", "bridge"] {
            host.qiao.plugin_ok((kind, "DEL"), (own, &path), &config(kind, more.clone()));
        }
        fs::remove_dir_all("/run/leases").unwrap();
        host.assert_like(&before, "thousands of ports came and went");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn f1_thousands_of_single_ports_of_netavark() {
    on_a_host(|host| {
        let web = host.container("web");
        let before = host.snapshot();
        let (one, two) = (network(1, false), network(2, false));
        let ports: Vec<(&str, u16, u16)> = (FIRST..FIRST + PORTS).map(|port| ("", port, port)).collect();
        let options = netavark::publishing(on("web", 7, &[&one, &two]), &ports);
        netavark::setup(host, &web, &options);
        known(host, &web, (FIRST + PORTS - 1, FIRST + PORTS - 1));
        netavark::teardown(host, &web, &options);
        let _ = fs::remove_dir_all(CONFIG);
        host.assert_like(&before, "thousands of ports came and went");
    });
}

/// A record that is cut off, and whatever the doors do about others: it keeps what it has, until it is named.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn f1_a_cut_off_record_keeps_what_its_container_has() {
    on_a_host(|host| {
        host.ok("network create front --ipv6");
        let web = host.attached("web", "--network front -p 8080:80");
        let (late, _service) = (host.container("late"), Service::start(&web, Protocol::Tcp, "0.0.0.0:80"));
        let whole = fs::read(RECORD).unwrap();
        fs::write(RECORD, &whole[..whole.len() / 2]).unwrap();
        let before = host.snapshot();
        for (code, line) in [(11, "check"), (0, "gc"), (3, "repair"), (0, "ps")] {
            let outcome = host.qiao.run(line);
            assert_eq!(outcome.code, Some(code), "{line}: {outcome}");
            host.assert_like(&before, line);
        }
        let answer = host.attach(&late, "--network front").stdout;
        assert!(!answer.contains(&web_address(&web)), "another address: {answer}");
        let taken = host.qiao.run("attach other --netns /run/netns/late --network front -p 8080:80");
        assert_ne!(taken.code, Some(0), "its port is taken: {taken}");
        host.ok("detach late");
        assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some(), "it is reached");
        run("conntrack -F");
        host.assert_like(&before, "another came and went");
        let again = host.qiao.run("attach web --netns /run/netns/web --network front");
        assert!(again.code == Some(5) && again.stderr.contains("qiao detach web"), "{again}");
        host.ok("detach web");
        assert!(
            !qiao_testbed::stdout("ip -o link").contains("/web/") && !left_of_web(host),
            "all of it is gone"
        );
        host.ok("check");
        host.attach(&web, "--network front -p 8080:80");
    });
}

fn web_address(web: &Place) -> String {
    let text = web.stdout("ip -4 -o addr show eth0");
    let address = text.split_whitespace().find(|word| word.contains('/'));
    address.unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Whether anybody claims anything as `web`.
fn left_of_web(host: &Host) -> bool {
    !host.snapshot().lines_with("web@eth0").is_empty()
}

/// D12: the doors that delete give everything back.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn d12_a_cut_off_record_goes_with_cni_and_netavark() {
    on_a_host(|host| {
        let web = host.container("web");
        let before = host.snapshot();
        let config = json!({
            "cniVersion": "1.1.0", "name": "n1", "type": "qiao", "bridge": "cni0", "isDefaultGateway": true,
            "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
            "ipam": {"type": "host-local", "dataDir": "/run/leases", "ranges": [[{"subnet": "10.9.0.0/29"}]]},
        });
        let prev = host.qiao.plugin_ok(("qiao", "ADD"), ("web", &web.path()), &config.to_string()).json();
        fs::write(RECORD, b"{\"v\":1,").unwrap();
        let mut with = config;
        with["prevResult"] = prev;
        let checked = host.qiao.plugin(("qiao", "CHECK"), ("web", &web.path()), &with.to_string());
        assert_eq!(checked.json()["code"], 110, "{checked}");
        host.qiao.plugin_ok(("qiao", "DEL"), ("web", &web.path()), &with.to_string());
        assert!(!left_of_web(host), "after DEL");
        gone(host);
        host.assert_like(&before, "DEL");

        let options = netavark::publishing(on("web", 7, &[&network(1, false)]), &[("", 8080, 80)]);
        netavark::setup(host, &web, &options);
        fs::write(RECORD, b"{\"v\":1,").unwrap();
        netavark::call(host, &["teardown", &web.path()], &options);
        assert!(!left_of_web(host), "after teardown");
        gone(host);
        host.assert_like(&before, "teardown");
    });
}

/// What is kept for who wants to see it, or is another program's.
fn gone(host: &Host) {
    for dir in [format!("{}/quarantine", host.qiao.run_dir()), "/run/leases".into(), CONFIG.into()] {
        let _ = fs::remove_dir_all(dir);
    }
}
