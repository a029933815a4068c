//! Podman on our netavark: published ports of all kinds.

use crate::machine::{answers, is_closed, is_published};
use crate::podman::{Backend, Podman};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Place, Protocol, Service, ask};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_published_port_leads_to_the_container_and_goes_with_it() {
    on_a_host(|host| {
        let podman = Podman::inhabited_on(host, Backend::Netavark);
        let before = podman.machine.snapshot();
        podman.start("web", "-p 8080:80");
        let web = podman.place("web");
        is_published(host, &web, 8080);
        let _server = Service::start(&web, Protocol::Tcp, "0.0.0.0:80");
        ["127.0.0.1:8080", "[::1]:8080"].iter().for_each(|to| answers(&Place::HOST, to, "web")); // H
        drop(_server);
        web.delete();
        podman.remove("web");
        is_closed(host, 8080);
        podman.machine.assert_like(&before, "podman run and rm");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn udp_ranges_and_addresses() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        podman.start(
            "web",
            "-p 5353:53/udp -p 9000-9009:9000-9009 -p 192.0.2.9:8080:80 -p 127.0.0.1:8081:81 -p [::1]:8082:82",
        );
        let web = podman.place("web");
        let _dns = Service::start(&web, Protocol::Udp, "0.0.0.0:53");
        let answer = ask(&host.lan, Protocol::Udp, "192.0.2.1:5353");
        assert!(answer.is_some_and(|text| text.starts_with("web")));
        for port in [9000, 9009] {
            let _server = Service::start(&web, Protocol::Tcp, &format!("0.0.0.0:{port}"));
            answers(&host.lan, &format!("192.0.2.1:{port}"), "web");
        }
        let ports = ["0.0.0.0:80", "0.0.0.0:81", "0.0.0.0:82"];
        let _servers = ports.map(|at| Service::start(&web, Protocol::Tcp, at));
        answers(&host.lan, "192.0.2.9:8080", "web");
        answers(&Place::HOST, "127.0.0.1:8081", "web");
        answers(&Place::HOST, "[::1]:8082", "web"); // H
        for closed in ["192.0.2.1:8080", "192.0.2.1:8081", "192.0.2.1:8082"] {
            assert_eq!(ask(&host.lan, Protocol::Tcp, closed), None, "{closed}");
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ipv6_and_one_port_said_twice() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        podman.ok("network create --ipv6 --subnet 10.90.1.0/24 --subnet fd00:90::/64 six");
        podman.start("web", "--network six -p 8080:80 -p [2001:db8::1]:8081:80");
        let web = podman.place("web");
        let _server = Service::start(&web, Protocol::Tcp, "[::]:80");
        for from in [&host.lan, &Place::HOST, &web] {
            answers(from, "[2001:db8::1]:8080", "web");
            answers(from, "[2001:db8::1]:8081", "web");
        }
        assert_eq!(ask(&host.lan, Protocol::Tcp, "192.0.2.1:8081"), None);
        let _outside = Service::start(&host.lan, Protocol::Tcp, "[::]:99");
        let asked = ask(&web, Protocol::Tcp, "[2001:db8::100]:99");
        assert_eq!(asked.as_deref(), Some("lan 2001:db8::1"));
    });
}

/// Two containers cannot have one port; the first keeps it, and the second leaves nothing.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_port_that_is_taken() {
    on_a_host(|host| {
        let podman = Podman::inhabited_on(host, Backend::Netavark);
        podman.start("web", "-p 8080:80");
        let web = podman.place("web");
        let before = podman.machine.snapshot();
        let second = podman.run("run -d --name second -p 8080:80 localhost/busybox /bin/sleep 1000");
        assert_ne!(second.code, Some(0), "{second}");
        assert!(second.stderr.contains("netavark: cannot attach"), "{second}");
        podman.run("rm -f -t 0 second");
        podman.machine.assert_like(&before, "a second container with the same port");
        is_published(host, &web, 8080);
    });
}
