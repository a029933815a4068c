//! R-REL 23: what others break is named by `check` and mended by the next command.

use crate::frames::Member;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Qiao, Service, ask, attach_line, eventually, run};
use std::time::Duration;

/// Which of the ways work that a container was given: in by either family, and out.
fn works(host: &Host, web: &Member) -> [bool; 3] {
    // A bridge that was made anew drops what it is to send until the kernel's worker has run its link event.
    let answers = |from: &Place, to: &str| {
        eventually(Duration::from_secs(5), || ask(from, Protocol::Tcp, to).is_some())
    };
    let (inward, inward6) = ("192.0.2.1:8080", "[2001:db8::1]:8080");
    [answers(&host.lan, inward), answers(&host.lan, inward6), answers(&web.place, "192.0.2.100:99")]
}

/// Breaks something; `check` must name it, and `heal` must mend it. All is then as it was.
fn mended(host: &Host, (breaking, named): (&str, &str), heal: &str) {
    host.ok("network create front --ipv6");
    host.container("late");
    let web = Member::attach(host, "web", "--network front -p 8080:80");
    let _services = [
        Service::start(&web.place, Protocol::Tcp, "[::]:80"),
        Service::start(&host.lan, Protocol::Tcp, "[::]:99"),
    ];
    assert_eq!(works(host, &web), [true; 3], "before");
    run("conntrack -F");
    host.ok("check");
    let before = host.snapshot();
    breaking.split(';').for_each(run);
    let found = host.qiao.run("check");
    assert_eq!(found.code, Some(11), "{found}");
    assert!(found.stdout.contains(named), "`{named}` is named: {found}");
    host.ok(heal);
    assert_eq!(works(host, &web), [true; 3], "after `{heal}`");
    host.ok("check");
    run("conntrack -F");
    if heal == "repair" {
        host.assert_like(&before, "breaking and mending");
    }
}

const NEXT: &str = "attach late --netns /run/netns/late --network front";

#[test]
#[ignore = "needs root: cargo xtask test"]
fn flushed_rules() {
    on_a_host(|host| mended(host, ("nft flush ruleset", "ruleset"), NEXT));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn flushed_rules_by_repair() {
    on_a_host(|host| mended(host, ("nft flush ruleset", "ruleset"), "repair"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_deleted_chain() {
    on_a_host(|host| mended(host, ("nft flush chain inet qiao nat_prerouting", "ruleset"), NEXT));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_deleted_element() {
    on_a_host(|host| mended(host, ("nft flush map inet qiao publish_any4", "8080"), "repair"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_deleted_bridge() {
    on_a_host(|host| mended(host, ("ip link del br-front", "br-front"), NEXT));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_bridge_that_is_down() {
    on_a_host(|host| mended(host, ("ip link set br-front down", "br-front"), NEXT));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_bridge_without_its_address() {
    on_a_host(|host| mended(host, ("ip addr flush dev br-front", "br-front"), "repair"));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn forwarding_switched_off() {
    on_a_host(|host| mended(host, ("sysctl -q -w net.ipv4.ip_forward=0", "forward"), NEXT));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn forwarding_of_ipv6_switched_off() {
    on_a_host(|host| mended(host, ("sysctl -q -w net.ipv6.conf.all.forwarding=0", "forward"), NEXT));
}

/// `check` and a dry run look, and touch nothing.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn looking_touches_nothing() {
    on_a_host(|host| {
        host.ok("network create front --ipv6");
        host.attached("web", "--network front -p 8080:80");
        run("ip link del br-front");
        run("nft delete table bridge qiao");
        let late = host.container("late");
        let before = host.snapshot();
        assert_eq!(host.qiao.run("check").code, Some(11));
        host.ok("repair --dry-run");
        let lines = [
            &attach_line(&late, "--network front --dry-run"),
            "plan network create back",
            "plan network disconnect front web",
            "network rm bridge --dry-run",
        ];
        for line in lines {
            let outcome = host.ok(line);
            assert!(outcome.stderr.contains("mended first"), "{outcome}");
        }
        host.ok("ps");
        host.ok("network ls");
        host.ok("port");
        host.assert_like(&before, "looking");
    });
}

/// After a reboot the containers are gone, and with them all they had.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn after_a_reboot_everything_is_free() {
    on_a_host(|host| {
        host.ok("network create front --subnet 172.30.0.0/29");
        (0..5).for_each(|n| {
            drop(host.attached(&format!("c{n}"), &format!("--network front -p {}:80", 8080 + n)))
        });
        let full = host.container("full");
        host.refused(1, &attach_line(&full, "--network front"));
        let boot = format!("{}/boot", host.qiao.run_dir());
        std::fs::remove_file(&boot).unwrap();
        std::os::unix::fs::symlink("00000000-0000-0000-0000-000000000000", &boot).unwrap();
        (0..5).for_each(|n| run(&format!("ip netns del c{n}")));
        run("nft flush ruleset");
        run("ip link del br-front");
        run("sysctl -q -w net.ipv4.ip_forward=0");
        // The hooks of before the boot are at the old cgroup still; this is as if there were none.
        let qiao = Qiao::new(host.qiao.directory(), None);
        for n in 0..5 {
            let place = host.container(&format!("d{n}"));
            qiao.ok(&attach_line(&place, &format!("--network front -p {}:80", 8080 + n)));
        }
        qiao.ok("check");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn flushed_rules_of_many_containers() {
    on_a_host(|host| {
        host.ok("network create front --subnet 10.9.0.0/16");
        for number in 0..150 {
            host.attached(&format!("c{number}"), "--network front");
        }
        host.ok("check");
        run("nft flush ruleset");
        host.container("late");
        host.ok(NEXT);
        run("ip link del br-front");
        host.ok("repair");
        host.ok("check");
    });
}
