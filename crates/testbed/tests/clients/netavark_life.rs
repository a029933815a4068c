//! Podman on our netavark: restarts, accidents, reboots.

use crate::machine::{address, is_closed, is_published};
use crate::podman::{Backend, Podman};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::run;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_container_that_is_restarted_is_reached_as_before() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        podman.start("web", "--ip 10.88.0.77 --mac-address 02:00:00:00:00:77 -p 8080:80");
        for words in ["restart -t 0 web", "kill web"] {
            let web = podman.place("web");
            is_published(host, &web, 8080);
            web.delete();
            podman.ok(words);
        }
        podman.ok("wait web");
        podman.ok("container cleanup web");
        is_closed(host, 8080);
        podman.ok("start web");
        let web = podman.place("web");
        assert_eq!(address(&web, "eth0"), "10.88.0.77");
        assert!(web.stdout("ip -o link show dev eth0").contains("02:00:00:00:00:77"));
        is_published(host, &web, 8080);
    });
}

/// Defect E: somebody unmounts the namespace. Podman then calls no teardown at all: what is left is found by the next
/// setup that wants it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_namespace_that_vanished_keeps_neither_address_nor_port() {
    on_a_host(|host| {
        let podman = Podman::inhabited_on(host, Backend::Netavark);
        podman.start("web", "--ip 10.88.0.77 -p 8080:80");
        let netns = podman.netns("web");
        run(&format!("umount -l {netns}"));
        run(&format!("rm {netns}"));
        podman.run("stop -t 0 web");
        podman.run("rm -f -t 0 web");
        podman.start("next", "-p 8080:80"); // the address is Podman's own to give, and it does not
        is_published(host, &podman.place("next"), 8080);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_reboot_keeps_no_address_and_no_port() {
    on_a_host(|host| {
        let mut podman = Podman::on(host, Backend::Netavark);
        podman.start("web", "--ip 10.88.0.77 -p 8080:80");
        podman.start("gone", "--ip 10.88.0.78 -p 8081:80");
        podman.reboot();
        podman.ok("start web");
        is_published(host, &podman.place("web"), 8080);
        podman.remove("gone");
        podman.start("next", "--ip 10.88.0.78 -p 8081:80");
        is_published(host, &podman.place("next"), 8081);
    });
}
