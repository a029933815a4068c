//! Podman on our netavark: restarts, accidents, reboots.

use crate::machine::{address, is_closed, is_published};
use crate::podman::{Backend, Podman};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::run;
use std::path::Path;
use std::process::Command;

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

/// Podman finds our netavark after `qiao podman install`, and its own again after `--undo`.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn podman_is_told_and_told_again() {
    on_a_host(|host| {
        let podman = Podman::on(host, Backend::Netavark);
        let file = "/etc/containers/containers.conf.d/50-qiao.conf";
        let install =
            |options: &str| host.ok(&format!("podman install --dir /opt/machine/podman {options}")).stdout;
        // Without the environment's configuration Podman reads the machine's, and looks for its helpers there.
        let text = std::fs::read_to_string("/opt/machine/containers.conf").expect("a configuration");
        let plain: Vec<_> = text.lines().filter(|line| !line.starts_with("helper_binaries_dir")).collect();
        std::fs::write("/etc/containers/containers.conf", plain.join("\n")).expect("a configuration");
        let uses_ours = || {
            let mut command = podman.machine.command("podman");
            command.env("CONTAINERS_STORAGE_CONF", "/opt/machine/storage.conf");
            let words = "run --name probe -d localhost/busybox /bin/sleep 1000";
            let output = command.args(words.split_whitespace()).output().expect("podman");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let ours = qiao_testbed::stdout("nft list tables").contains("inet qiao");
            let mut command = podman.machine.command("podman");
            command.env("CONTAINERS_STORAGE_CONF", "/opt/machine/storage.conf");
            command.args(["rm", "-f", "-t", "0", "probe"]).output().expect("podman");
            ours
        };
        assert!(!uses_ours(), "the control: Debian's netavark");
        let shown = install("--dry-run");
        assert!(
            shown.contains("+++ /etc/containers") && shown.contains("+  \"/opt/machine/podman\","),
            "{shown}"
        );
        assert!(!Path::new(file).exists());
        assert_eq!(install(""), shown);
        assert!(install("").contains("nothing to change"));
        assert!(uses_ours());
        let ours = Command::new("/opt/machine/podman/netavark").arg("--version").output().expect("netavark");
        assert!(ours.stdout.starts_with(b"netavark 2."));
        let text = std::fs::read_to_string(file).expect("the file");
        assert!(text.contains("/usr/lib/podman"), "{text}");
        assert!(install("--undo").contains("-  \"/opt/machine/podman\","));
        assert!(!Path::new(file).exists());
        assert!(!uses_ours());
        std::fs::write(file, "[engine]\n").expect("another one's file");
        assert_eq!(host.qiao.run("podman install --dir /opt/machine/podman").code, Some(5));
    });
}
