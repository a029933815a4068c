//! The forms in which Podman publishes ports.

use crate::machine::{answers, is_published};
use crate::plugins::on_a_host_with_plugins;
use crate::podman::Podman;
use qiao_testbed::{Place, Protocol, Service, ask, run};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn udp_ranges_and_addresses() {
    on_a_host_with_plugins(|host| {
        let podman = Podman::new(host);
        podman
            .start("web", "-p 5353:53/udp -p 9000-9009:9000-9009 -p 192.0.2.9:8080:80 -p 127.0.0.1:8081:81");
        let web = podman.place("web");
        let _dns = Service::start(&web, Protocol::Udp, "0.0.0.0:53");
        let answer = ask(&host.lan, Protocol::Udp, "192.0.2.1:5353");
        assert!(answer.is_some_and(|text| text.starts_with("web")));
        for port in [9000, 9009] {
            let _server = Service::start(&web, Protocol::Tcp, &format!("0.0.0.0:{port}"));
            answers(&host.lan, &format!("192.0.2.1:{port}"), "web");
        }
        let _servers = ["0.0.0.0:80", "0.0.0.0:81"].map(|at| Service::start(&web, Protocol::Tcp, at));
        answers(&host.lan, "192.0.2.9:8080", "web");
        answers(&Place::HOST, "127.0.0.1:8081", "web");
        for closed in ["192.0.2.1:8080", "192.0.2.1:8081"] {
            assert_eq!(ask(&host.lan, Protocol::Tcp, closed), None, "{closed}");
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ipv6() {
    on_a_host_with_plugins(|host| {
        let podman = Podman::new(host);
        podman.ok("network create --ipv6 --subnet 10.90.1.0/24 --subnet fd00:90::/64 six");
        podman.start("web", "--network six -p 8080:80");
        let web = podman.place("web");
        let _server = Service::start(&web, Protocol::Tcp, "[::]:80");
        for from in [&host.lan, &Place::HOST, &web] {
            answers(from, "[2001:db8::1]:8080", "web");
        }
        let _outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
        let asked = ask(&web, Protocol::Tcp, "[2001:db8::100]:99");
        assert_eq!(asked.as_deref(), Some("lan 2001:db8::1"));
    });
}

/// Somebody flushes the rules; `podman network reload` is DEL and ADD of what runs.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn network_reload_brings_the_rules_back() {
    on_a_host_with_plugins(|host| {
        let podman = Podman::new(host);
        podman.start("web", "-p 8080:80");
        let web = podman.place("web");
        is_published(host, &web, 8080);
        run("nft flush ruleset");
        podman.ok("network reload web");
        is_published(host, &web, 8080);
    });
}

/// Two containers cannot have one port; the first keeps it, and the second leaves nothing.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_port_that_is_taken() {
    on_a_host_with_plugins(|host| {
        let podman = Podman::inhabited(host);
        podman.start("web", "-p 8080:80");
        let web = podman.place("web");
        let before = podman.machine.snapshot();
        let second = podman.run("run -d --name second -p 8080:80 localhost/busybox /bin/sleep 1000");
        assert_ne!(second.code, Some(0), "{second}");
        podman.run("rm -f -t 0 second");
        podman.machine.assert_like(&before, "a second container with the same port");
        is_published(host, &web, 8080);
    });
}
