//! Netavark beside the real firewalld: what containers reach, its zones, its reloads and restarts.

use crate::netavark::{call, command, error, network, on, publishing, setup, teardown, told};
use qiao_testbed::names::lookup;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Firewalld, Host, Place, Protocol, Service, ask, eventually, run, stdout};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
const ONE: [&str; 2] = ["10.89.1.0/24", "fd00:89:1::/64"];

fn named(n: u8) -> Value {
    let mut network = network(n, true);
    network["dns_enabled"] = true.into();
    network
}

fn listener(host: &Host) -> Child {
    let mut command = command(host, &["firewalld-reload"]);
    let log = std::fs::File::create("/run/listener.log").expect("a file");
    command.env("RUST_LOG", "netavark=info").stdin(Stdio::null()).stderr(log).spawn().expect("netavark")
}

/// How often it has put all in order.
fn mended() -> usize {
    std::fs::read_to_string("/run/listener.log").unwrap_or_default().matches("in order").count()
}

/// Whether a container gets out, in both families.
fn gets_out(from: &Place) -> [bool; 2] {
    ["192.0.2.100:99", "[2001:db8::100]:99"].map(|to| ask(from, Protocol::Tcp, to).is_some())
}

/// All that must work, and what must not.
fn works(host: &Host, [c1, c2, far]: [&Place; 3], after: &str) {
    assert_eq!(gets_out(c1), [true; 2], "{after}: out");
    for to in ["192.0.2.1:8080", "[2001:db8::1]:8080"] {
        for from in [&host.lan, &Place::HOST, c1, far] {
            assert!(ask(from, Protocol::Tcp, to).is_some(), "{after}: {} to {to}", from.name());
        }
    }
    for to in ["10.89.1.7:80", "[fd00:89:1::7]:80"] {
        assert!(ask(c2, Protocol::Tcp, to).is_some(), "{after}: c2 to {to}");
        for from in [&host.lan, far] {
            assert_eq!(ask(from, Protocol::Tcp, to), None, "{after}: {} to {to}", from.name());
        }
    }
    for server in ["10.89.1.1", "fd00:89:1::1"] {
        let said = lookup(c1, server, ("name-of-c2", 1)).map(|reply| reply.addresses);
        assert_eq!(said, Some(vec!["10.89.1.8".parse().unwrap()]), "{after}: names at {server}");
    }
    assert_eq!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:97"), None, "{after}: the host is shut");
}

/// firewalld comes before containers or after them, loads its rules again, and is started again.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn containers_work_whenever_firewalld_comes_and_reloads() {
    on_a_host(|host| {
        let (one, two) = (named(1), named(2));
        let [c1, c2, far] = ["c1", "c2", "far"].map(|name| host.container(name));
        let calls = [
            (&c1, publishing(on("c1", 7, &[&one]), &[("", 8080, 80)])),
            (&c2, on("c2", 8, &[&one])),
            (&far, on("far", 7, &[&two])),
        ];
        let mut firewalld = Firewalld::start();
        firewalld.command("--zone=trusted --add-source=10.1.2.0/24");
        let before = firewalld.sources("trusted");
        calls.iter().for_each(|(place, options)| drop(setup(host, place, options)));
        let _web = Service::start(&c1, Protocol::Tcp, "[::]:80");
        let _outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
        let _hosts = Service::start(&Place::HOST, Protocol::Tcp, "[::]:97");
        let all = [&c1, &c2, &far];
        works(host, all, "set up");
        calls.iter().for_each(|(place, options)| teardown(host, place, options));
        assert_eq!(firewalld.sources("trusted"), before, "nothing of ours is left");
        calls.iter().for_each(|(place, options)| drop(setup(host, place, options)));
        firewalld.command("--reload");
        assert_eq!(firewalld.sources("trusted"), [""; 0], "it forgets what it was told");
        assert_eq!(gets_out(&c1), [false; 2], "the control: it lets nobody through that it does not know");
        let mut listener = listener(host);
        let comes = |times| assert!(eventually(PATIENCE, || mended() == times), "{times}: {}", mended());
        comes(1);
        works(host, all, "the listener came");
        firewalld.command("--complete-reload");
        comes(2);
        works(host, all, "it has loaded all anew");
        firewalld.end();
        firewalld.begin();
        comes(3);
        works(host, all, "it was started again");
        calls.iter().for_each(|(place, options)| teardown(host, place, options));
        assert_eq!(firewalld.sources("trusted"), [""; 0]);
        firewalld.end_bus();
        assert_eq!(listener.wait().expect("netavark").code(), Some(1), "it ends with the bus");
    });
}

/// In its zone `trusted` is a network while it is in use. What others have there is not ours.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn networks_are_trusted_while_they_are_in_use() {
    on_a_host(|host| {
        let (one, two, theirs) = (network(1, true), network(2, false), network(3, false));
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let firewalld = Firewalld::start();
        let trusted = || firewalld.sources("trusted");
        setup(host, &c1, &on("c1", 7, &[&one]));
        assert_eq!(trusted(), ONE);
        setup(host, &c2, &on("c2", 8, &[&one]));
        teardown(host, &c2, &on("c2", 8, &[&one]));
        assert_eq!(trusted(), ONE, "the first is still there");
        // What fails is taken back: the second network has that address.
        let said = error(&call(host, &["setup", &c2.path()], &on("c2", 7, &[&two, &one])));
        assert!(said.contains("is taken by c1") && trusted() == ONE, "{said}");
        // Whoever comes next puts all back that it has forgotten.
        firewalld.command("--reload");
        assert_eq!(trusted(), [""; 0]);
        setup(host, &c2, &on("c2", 8, &[&two]));
        assert_eq!(trusted(), ["10.89.1.0/24", "10.89.2.0/24", "fd00:89:1::/64"]);
        firewalld.command("--reload");
        told(command(host, &["firewall-reload"]), "");
        assert_eq!(trusted(), ["10.89.1.0/24", "10.89.2.0/24", "fd00:89:1::/64"]);
        teardown(host, &c2, &on("c2", 8, &[&two]));
        firewalld.command("--zone=trusted --add-source=10.89.3.0/24");
        setup(host, &c2, &on("c2", 8, &[&theirs]));
        teardown(host, &c2, &on("c2", 8, &[&theirs]));
        assert_eq!(trusted(), ["10.89.1.0/24", "10.89.3.0/24", "fd00:89:1::/64"], "that was there before");
        // What it refuses is told, and hinders nobody.
        firewalld.command("--zone=internal --add-source=10.89.2.0/24");
        let said = call(host, &["setup", &c2.path()], &on("c2", 8, &[&two]));
        assert!(said.code == Some(0) && said.stderr.contains("ZONE_CONFLICT"), "{said}");
        teardown(host, &c2, &on("c2", 8, &[&two]));
        assert_eq!(firewalld.sources("internal"), ["10.89.2.0/24"]);
        let none = |word: &str| told(with_no_firewall(host, (word, &c2)), &on("c2", 8, &[&two]).to_string());
        assert_eq!(none("setup").stderr, "", "nobody is told");
        assert_eq!(none("teardown").stderr, "");
        teardown(host, &c1, &on("c1", 7, &[&one]));
        assert_eq!(trusted(), ["10.89.3.0/24"]);
    });
}

fn with_no_firewall(host: &Host, (word, place): (&str, &Place)) -> Command {
    let mut command = command(host, &[word, &place.path()]);
    command.env("NETAVARK_FW", "none");
    command
}

/// However many tell it at once, the last one tells what is.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn many_at_once_leave_nothing() {
    on_a_host(|host| {
        let firewalld = Firewalld::start();
        let calls: Vec<_> = (1..=12_u8)
            .map(|n| {
                (host.container(&format!("c{n}")), on(&format!("c{n}"), 6 + n, &[&network(1 + n % 3, true)]))
            })
            .collect();
        let at_once = |act: fn(&Host, &Place, &Value)| {
            thread::scope(|scope| {
                calls
                    .iter()
                    .for_each(|(place, options)| drop(scope.spawn(move || act(host, place, options))));
            });
        };
        for _ in 0..3 {
            at_once(|host, place, options| drop(setup(host, place, options)));
            assert_eq!(firewalld.sources("trusted").len(), 6);
            at_once(teardown);
            assert_eq!(firewalld.sources("trusted"), [""; 0]);
        }
    });
}

/// A command that is killed while firewalld does not answer leaves a trace, by which the next one finds what is left.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_killed_commands_told_is_found() {
    on_a_host(|host| {
        let (one, c1) = (network(1, true), host.container("c1"));
        let firewalld = Firewalld::start();
        let options = on("c1", 7, &[&one]);
        setup(host, &c1, &options);
        run(&format!("kill -STOP {}", firewalld.process()));
        let mut leaving = command(host, &["teardown", &c1.path()]);
        let mut leaving = leaving.stdin(Stdio::piped()).spawn().expect("netavark");
        serde_json::to_writer(leaving.stdin.take().expect("its input"), &options).expect("what Podman sends");
        assert!(eventually(PATIENCE, || !stdout("ip -o link").contains("podman1")), "it has left");
        leaving.kill().and_then(|()| leaving.wait()).expect("killed");
        run(&format!("kill -CONT {}", firewalld.process()));
        assert_eq!(firewalld.sources("trusted"), ONE, "the control: it was not told");
        host.ok("gc");
        assert_eq!(firewalld.sources("trusted"), [""; 0]);
        assert!(!std::path::Path::new(&host.qiao.run_dir()).join("firewalld").exists());
    });
}

/// The rules of others are put in order too: firewalld flushes some, and somebody else these.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn rules_are_in_order_when_firewalld_has_reloaded() {
    on_a_host(|host| {
        let firewalld = Firewalld::start();
        let place = host.container("c1");
        setup(host, &place, &publishing(on("c1", 7, &[&network(1, false)]), &[("", 8080, 80)]));
        let rules = || stdout("nft -s list table inet qiao");
        let before = rules();
        let mut listener = listener(host);
        assert!(eventually(PATIENCE, || mended() == 1));
        run("nft delete table inet qiao");
        firewalld.command("--zone=public --add-port=99/tcp"); // no reload: nobody is told of anything
        assert!(!stdout("nft list tables").contains("inet qiao"), "the control");
        firewalld.command("--reload");
        assert!(eventually(PATIENCE, || mended() == 2));
        assert_eq!(rules(), before);
        listener.kill().and_then(|()| listener.wait()).expect("netavark");
    });
}
