//! The real firewalld beside networks of our own, and beside the CNI plugin `firewall`.

use crate::cni_adopted::{address, behind, config, main_plugin, steady};
use crate::cni_bridge::{call, ok};
use qiao_testbed::names::lookup;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Firewalld, Host, Place, Protocol, Service, ask, attach_line, run};
use serde_json::{Value, json};

const OUT: [&str; 2] = ["192.0.2.100:99", "[2001:db8::100]:99"];

fn gets_out(from: &Place) -> [bool; 2] {
    OUT.map(|to| ask(from, Protocol::Tcp, to).is_some())
}

/// Members of our networks get out, reach one another and names; what firewalld forgot comes back with any command that
/// has to do with networks, and with `repair`; with the network all of it goes.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn our_networks_are_let_through() {
    on_a_host(|host| {
        let mut firewalld = Firewalld::bus();
        host.ok("network create app --subnet 10.9.1.0/24 --subnet fd00:9:1::/64");
        host.ok("network create wires --driver routed --subnet 10.9.2.0/24 --subnet fd00:9:2::/64");
        let web = host.attached("web", "--network app --ip 10.9.1.7 -p 8080:80");
        firewalld.begin(); // after them
        let _outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
        let _web = Service::start(&web, Protocol::Tcp, "[::]:80");
        assert_eq!(gets_out(&web), [false; 2], "the control: it drops what it does not know");
        let wired = host.attached("wired", "--network wires");
        let trusted = ["10.9.1.0/24", "10.9.2.0/24", "fd00:9:1::/64", "fd00:9:2::/64"];
        assert_eq!(firewalld.sources("trusted"), trusted);
        let db = host.attached("db", "--network app");
        let works = |after: &str| {
            assert_eq!(gets_out(&web), [true; 2], "{after}");
            assert!(ask(&wired, Protocol::Tcp, OUT[0]).is_some(), "{after}: routed");
            assert!(ask(&db, Protocol::Tcp, "10.9.1.7:80").is_some(), "{after}: one another");
            assert!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8080").is_some(), "{after}: published");
            assert_eq!(ask(&wired, Protocol::Tcp, "10.9.1.7:80"), None, "{after}: networks are kept apart");
            let said = lookup(&db, "10.9.1.1", ("web", 1)).map(|reply| reply.addresses);
            assert_eq!(said, Some(vec!["10.9.1.7".parse().unwrap()]), "{after}: names");
        };
        works("attached");
        host.ok("check");
        firewalld.command("--reload");
        assert_eq!(gets_out(&web), [false; 2], "the control");
        let told = host.qiao.run("check");
        assert_eq!(told.code, Some(11), "{told}");
        let line = "! firewalld drops what comes from 10.9.1.0/24: it is no source of its zone trusted";
        assert!(told.stdout.contains(line) && told.stdout.matches("firewalld drops").count() == 4, "{told}");
        host.ok("repair");
        host.ok("check");
        works("repaired");
        // Nobody has changed a rule since a command before: it has forgotten nothing.
        let line = attach_line(&host.container("extra"), "--network app");
        let calls = || {
            let words = ["strace", "-o", "/run/calls", "-e", "trace=connect"].map(str::to_owned);
            let output = host.qiao.under(&words).args(line.split_whitespace()).output().expect("strace");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            host.ok("detach extra");
            std::fs::read_to_string("/run/calls").expect("what it wrote").matches("system_bus_socket").count()
        };
        calls();
        assert_eq!(calls(), 0, "it is asked");
        firewalld.command("--reload");
        assert_eq!(gets_out(&web), [false; 2], "the control");
        assert_eq!(calls(), 1, "the control");
        works("attached after it has loaded its rules");
        ["web", "db", "wired"].iter().for_each(|name| drop(host.ok(&format!("detach {name}"))));
        host.ok("network rm app wires");
        assert_eq!(firewalld.sources("trusted"), [""; 0]);
    });
}

/// One that does not answer keeps nobody from coming, and is told later.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn who_does_not_answer_hinders_nobody() {
    on_a_host(|host| {
        let firewalld = Firewalld::start();
        run(&format!("kill -STOP {}", firewalld.process()));
        let place = host.container("web");
        let said = host.qiao.run(&attach_line(&place, ""));
        let warning = "warning: firewalld: no answer within 10 s; `qiao repair` tells it again\n";
        assert!(said.code == Some(0) && said.stderr == warning, "{said}");
        run(&format!("kill -CONT {}", firewalld.process()));
        let _outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
        assert_eq!(gets_out(&place), [false; 2], "the control");
        host.ok("repair");
        assert_eq!(gets_out(&place), [true; 2]);
    });
}

fn firewall(host: &Host, place: &Place, (prev, keys): (&Value, &Value)) {
    behind(host, ("firewall", "ADD"), (place.name(), &place.path()), (prev, keys));
}

fn leave(host: &Host, place: &Place, prev: &Value) {
    behind(host, ("firewall", "DEL"), (place.name(), ""), (prev, &json!({})));
}

/// The plugin `firewall` tells firewalld of a container's addresses, where it is not told to leave that, behind our main
/// plugin and behind others'.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_plugin_firewall_tells_it() {
    on_a_host(|host| {
        let firewalld = Firewalld::start();
        let _outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let bridge = config("bridge", &json!({})).to_string();
        let first = ok(host, ("bridge", "ADD"), ("c1", &c1.path()), &bridge).json();
        let both =
            |prev: &Value| vec![format!("{}/32", address(prev, 0)), format!("{}/128", address(prev, 1))];
        firewall(host, &c1, (&first, &json!({"backend": "nftables"})));
        assert_eq!((gets_out(&c1), firewalld.sources("trusted")), ([false; 2], vec![]), "the control");
        for (keys, zone) in [
            (json!({}), "trusted"),
            (json!({"backend": "firewalld"}), "trusted"),
            (json!({"firewalldZone": "home"}), "home"),
        ] {
            firewall(host, &c1, (&first, &keys));
            assert_eq!(firewalld.sources(zone), both(&first), "{keys}");
            assert_eq!(gets_out(&c1), [zone == "trusted"; 2], "{keys}");
        }
        leave(host, &c1, &first);
        assert_eq!(firewalld.sources("home"), [""; 0]);
        // What it refuses is told, and hinders nobody; what no zone can be called is refused.
        let mut wrong = config("firewall", &json!({"firewalldZone": "nowhere"}));
        wrong["prevResult"] = first;
        let said = call(host, ("firewall", "ADD"), ("c1", &c1.path()), &wrong.to_string());
        assert!(said.code == Some(0) && said.stderr.contains("INVALID_ZONE"), "{said}");
        wrong["firewalldZone"] = "a b".into();
        let said = call(host, ("firewall", "ADD"), ("c1", &c1.path()), &wrong.to_string());
        assert_eq!(said.json()["code"], 7, "{said}");
        ok(host, ("bridge", "DEL"), ("c1", ""), &bridge);
        let whole = config("qiao", &json!({})).to_string();
        let first = ok(host, ("qiao", "ADD"), ("c1", &c1.path()), &whole).json();
        assert_eq!((gets_out(&c1), firewalld.sources("trusted")), ([true; 2], both(&first)));
        ok(host, ("qiao", "DEL"), ("c1", ""), &whole);
        assert_eq!(firewalld.sources("trusted"), [""; 0]);

        let second = main_plugin("ptp", &c2); // the reference's
        steady(host);
        firewall(host, &c2, (&second, &json!({})));
        assert_eq!((gets_out(&c2), firewalld.sources("trusted")), ([true; 2], both(&second)));
        firewalld.command("--reload");
        assert_eq!(gets_out(&c2), [false; 2], "the control");
        host.ok("repair");
        assert_eq!(gets_out(&c2), [true; 2]);
        leave(host, &c2, &second);
        assert_eq!(firewalld.sources("trusted"), [""; 0]);
    });
}
