//! R-REL 23: whatever root does to the interfaces of its own container, commands about others succeed, what others
//! have is mended, and it can be detached.

use crate::frames::Member;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, Protocol, Service, ask, eventually, run};
use std::process::{Child, Command};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// What may come of it after a repair.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// It works again.
    Mended,
    /// It is told, and left.
    Told,
    /// It depends on who was faster.
    Either,
}

fn hinders_nobody(host: &Host, does: &dyn Fn(&Place) -> Option<Child>, after: After) {
    let before = host.snapshot();
    host.ok("network create front --ipv6 --subnet 172.30.0.0/24");
    let web = Member::attach(host, "web", "--network front -p 8080:80");
    let evil = Member::attach(host, "evil", "--network front -p 8081:80");
    let service = Service::start(&web.place, Protocol::Tcp, "[::]:80");
    let server = format!("{}:80", web.ip);
    assert!(ask(&evil.place, Protocol::Tcp, &server).is_some(), "the control: it works");
    let mut going_on = does(&evil.place);
    ["nft flush ruleset", "ip link del br-front"].into_iter().for_each(run);
    let late = host.container("late");
    host.attach(&late, "--network front");
    // A bridge that was made anew drops what it is to send until the kernel's worker has run its link event.
    let answers = |from: &Place, to: &str| eventually(SOON, || ask(from, Protocol::Tcp, to).is_some());
    assert!(answers(&host.lan, "192.0.2.1:8080"), "published, after the next command");
    assert!(answers(&late, &server), "from the next container");
    ["nft flush ruleset", "ip link del br-front"].into_iter().for_each(run);
    let repaired = host.qiao.run("repair");
    let told = repaired.code == Some(3) && repaired.stderr.contains("endpoint front/evil/eth0: ");
    match after {
        After::Mended => {
            assert_eq!(repaired.code, Some(0), "{repaired}");
            assert!(answers(&evil.place, &server), "it works again");
            host.ok("check");
        }
        After::Told => assert!(told, "{repaired}"),
        After::Either => assert!(told || repaired.code == Some(0), "{repaired}"),
    }
    assert!(answers(&host.lan, "192.0.2.1:8080"), "published, after a repair");
    assert!(answers(&late, &server), "from the other container, after a repair");
    host.ok("detach evil");
    host.ok("detach late");
    host.ok("check");
    going_on.iter_mut().for_each(|child| {
        child.kill().unwrap();
        child.wait().unwrap();
    });
    host.ok("detach web");
    host.ok("network rm front");
    drop(service);
    [evil.place, late, web.place].into_iter().for_each(Place::delete);
    run("conntrack -F");
    host.assert_like(&before, "all of that");
}

fn does(lines: &'static str) -> impl Fn(&Place) -> Option<Child> {
    move |place| {
        lines.split(';').for_each(|line| place.run(line.trim()));
        None
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_renames_its_interface() {
    let lines = "ip link set eth0 down; ip link set eth0 name evil0; ip link set evil0 up";
    on_a_host(|host| hinders_nobody(host, &does(lines), After::Mended));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_puts_another_in_its_place() {
    let lines = "ip link set eth0 down; ip link set eth0 name evil0; ip link add eth0 type veth peer name x0";
    on_a_host(|host| hinders_nobody(host, &does(lines), After::Told));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_deletes_its_interface() {
    on_a_host(|host| hinders_nobody(host, &does("ip link del eth0"), After::Mended));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_empties_its_interface() {
    let lines =
        "ip addr flush dev eth0; ip route flush table main; ip link set lo down; ip link set eth0 down";
    on_a_host(|host| hinders_nobody(host, &does(lines), After::Mended));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_takes_the_mark_off() {
    on_a_host(|host| hinders_nobody(host, &does("ip link set eth0 group 7"), After::Told));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_goes_another_way() {
    let lines = "ip route replace default dev lo; ip link set eth0 address 02:00:00:00:00:07 mtu 1280";
    on_a_host(|host| hinders_nobody(host, &does(lines), After::Told));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_moves_its_interface_away() {
    on_a_host(|host| hinders_nobody(host, &moves_away, After::Mended));
}

/// Into a network namespace of a user namespace of its own.
fn moves_away(place: &Place) -> Option<Child> {
    let mut child = place.command("unshare");
    let child = child.args(["--user", "--map-root-user", "--net", "sleep", "600"]).spawn().unwrap();
    let own = std::fs::read_link(format!("/proc/{}/ns/net", child.id())).unwrap();
    let left = || std::fs::read_link(format!("/proc/{}/ns/net", child.id())).unwrap() != own;
    // `ip netns exec` enters one namespace, `unshare` makes the other.
    assert!(qiao_testbed::eventually(std::time::Duration::from_secs(10), || left() && is_sleep(child.id())));
    place.run(&format!("ip link set eth0 netns {}", child.id()));
    Some(child)
}

fn is_sleep(id: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "sleep")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_never_rests() {
    on_a_host(|host| hinders_nobody(host, &never_rests, After::Either));
}

/// Thousands of addresses and links, and changes all the time, so that no dump is of one piece.
fn never_rests(place: &Place) -> Option<Child> {
    let script = "for a in $(seq 0 7); do for b in $(seq 1 250); do echo addr add 10.77.$a.$b/32 dev lo; done; done \
        | ip -batch -; for n in $(seq 1 100); do echo link add x$n type bridge; done | ip -batch -; echo ready >&2; \
        while :; do for b in $(seq 1 250); do echo addr add 10.78.0.$b/32 dev lo; done | ip -batch -; \
        for n in $(seq 1 9); do echo link set x$n up; echo link del x$n; echo link add x$n type bridge; done | ip -batch -; \
        ip addr flush dev lo to 10.78.0.0/24; done";
    let mut command: Command = place.command("sh");
    let child = command.args(["-c", script]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let busy = || place.stdout("ip -o addr").lines().count() > 2000;
    assert!(qiao_testbed::eventually(std::time::Duration::from_secs(20), busy));
    Some(child)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn it_renames_its_interface_on_a_routed_network() {
    on_a_host(|host| {
        host.ok("network create way -d routed --ipv6");
        let (web, evil) =
            (Member::attach(host, "web", "--network way"), host.attached("evil", "--network way"));
        let _service = Service::start(&web.place, Protocol::Tcp, "[::]:80");
        let servers = [format!("{}:80", web.ip), format!("[{}]:80", web.ip6)];
        let works =
            |place: &Place| servers.each_ref().map(|server| ask(place, Protocol::Tcp, server).is_some());
        assert_eq!(works(&evil), [true; 2], "the control");
        does("ip link set eth0 down; ip link set eth0 name evil0")(&evil);
        run("nft flush ruleset");
        let late = host.attached("late", "--network way");
        assert_eq!(works(&late), [true; 2], "from the next container");
        host.ok("repair");
        assert_eq!(works(&evil), [true; 2], "it works again");
        host.ok("check");
    });
}
