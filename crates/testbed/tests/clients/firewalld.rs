//! Podman beside the real firewalld, with either of its backends.

use crate::machine::{is_closed, is_published};
use crate::netavark_names::resolves;
use crate::podman::{Backend, Podman};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Firewalld, Place, Protocol, Service, ask};

/// The plugins that Podman asks for by itself are `bridge`, `portmap`, `firewall` and `tuning`.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn containers_on_plugins_work_beside_firewalld() {
    on_a_host(|host| {
        let podman = Podman::new(host);
        let firewalld = Firewalld::start();
        podman.start("web", "--ip 10.88.0.7 -p 8080:80");
        let web = podman.place("web");
        is_published(host, &web, 8080);
        assert_eq!(firewalld.sources("trusted"), ["10.88.0.7/32"]);
        firewalld.command("--reload");
        let outside = Service::start(&host.lan, Protocol::Tcp, "0.0.0.0:98");
        assert_eq!(ask(&web, Protocol::Tcp, "192.0.2.100:98"), None, "the control");
        drop(outside);
        podman.ok("network reload -a");
        is_published(host, &web, 8080);
        podman.ok("rm -f -t 0 -a");
        assert_eq!(firewalld.sources("trusted"), [""; 0]);
    });
}

/// Podman's own remedy for what a reload of firewalld took is `podman network reload`.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn containers_work_beside_firewalld() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        let firewalld = Firewalld::start();
        podman.ok("network create --subnet 10.90.1.0/24 one");
        let before = podman.machine.snapshot();
        podman.start("web", "--network one --ip 10.90.1.7 -p 8080:80");
        podman.start("plain", "-p 8081:80");
        let (web, plain) = (podman.place("web"), podman.place("plain"));
        let works = || {
            is_published(host, &web, 8080);
            is_published(host, &plain, 8081);
            resolves(&web, ("web", "10.90.1.1"), "10.90.1.7");
        };
        works();
        firewalld.command("--reload");
        let outside = Service::start(&host.lan, Protocol::Tcp, "0.0.0.0:98");
        assert_eq!(ask(&web, Protocol::Tcp, "192.0.2.100:98"), None, "the control");
        podman.ok("network reload -a");
        assert!(ask(&web, Protocol::Tcp, "192.0.2.100:98").is_some());
        works();
        let _hosts = Service::start(&Place::HOST, Protocol::Tcp, "0.0.0.0:97");
        is_closed(host, 97);
        drop(outside);
        [web, plain].into_iter().for_each(Place::delete);
        podman.ok("rm -f -t 0 -a");
        assert_eq!(firewalld.sources("trusted"), [""; 0]);
        drop(_hosts);
        firewalld.command("--reload");
        podman.machine.assert_like(&before, "containers beside firewalld");
    });
}
