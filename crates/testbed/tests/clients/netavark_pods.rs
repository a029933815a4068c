//! Podman on our netavark: pods, whose containers share one namespace.

use crate::machine::{is_closed, is_published};
use crate::netavark_names::resolves;
use crate::podman::{Backend, Podman};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Place, Protocol, Service, ask};

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_has_one_address_one_name_and_one_set_of_ports() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        podman.ok("network create --subnet 10.90.1.0/24 one");
        let before = podman.machine.snapshot();
        let words =
            ["--network", "one", "--ip", "10.90.1.7", "-p", "8080:80", "--infra-command", "/bin/sleep 1000"];
        podman.words(
            &[&["pod", "create", "--name", "pod", "--infra-image", "localhost/busybox"], &words[..]].concat(),
        );
        podman.start("web", "--pod pod");
        podman.start("side", "--pod pod");
        podman.start("friend", "--network one");
        let [web, side, friend] = ["web", "side", "friend"].map(|name| podman.place(name));
        is_published(host, &web, 8080);
        let server = Service::start(&web, Protocol::Tcp, "127.0.0.1:81");
        assert!(ask(&side, Protocol::Tcp, "127.0.0.1:81").is_some(), "one namespace");
        resolves(&friend, ("pod", "10.90.1.1"), "10.90.1.7");
        podman.ok("rm -f -t 0 side");
        is_published(host, &web, 8080); // the pod is still there
        drop(server);
        [web, side].into_iter().for_each(Place::delete);
        podman.ok("pod stop -t 0 pod");
        is_closed(host, 8080);
        podman.ok("pod start pod");
        let web = podman.place("web");
        is_published(host, &web, 8080);
        [web, friend].into_iter().for_each(Place::delete);
        podman.ok("pod rm -f -t 0 pod");
        podman.remove("friend");
        is_closed(host, 8080);
        podman.machine.assert_like(&before, "a pod");
    });
}
