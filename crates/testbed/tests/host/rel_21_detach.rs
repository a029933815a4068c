//! R-REL 21 and 22: attaching is all or nothing; detaching works whatever is missing, and as often as one likes.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, run};
use std::fs;

/// A host with a network and another container, which must stay as they are.
fn furnished(host: &Host) -> Place {
    host.ok("network create front --ipv6");
    host.attached("other", "--network front -p 81:81");
    host.container("web")
}

/// Attaches `web`, breaks something, detaches; then it must be as before.
fn detaches_after(host: &Host, breaking: impl FnOnce()) {
    let web = furnished(host);
    let before = host.snapshot();
    host.attach(&web, "--network front -p 8080:80");
    breaking();
    host.ok("detach web");
    host.ok("detach --if-exists web");
    host.ok("repair");
    host.assert_like(&before, "attach, something broken, detach");
    host.ok("check");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nothing_is_left_of_a_container() {
    on_a_host(|host| detaches_after(host, || ()));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nothing_is_left_of_networks() {
    on_a_host(|host| {
        let before = host.snapshot();
        host.attached("first", "-p 8080:80");
        host.ok("network create a --ipv6");
        host.ok("network create b --internal");
        host.attached("second", "--network a -p 8081-8090:81-90/udp");
        host.attached("third", "--network b");
        host.ok("network connect a third");
        for name in ["first", "second", "third"] {
            host.ok(&format!("detach {name}"));
        }
        host.ok("network rm a b bridge");
        host.assert_like(&before, "everything was removed");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_its_namespace() {
    on_a_host(|host| {
        detaches_after(host, || {
            run("ip netns del web");
            run("ip netns add web");
        });
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_its_link() {
    on_a_host(|host| detaches_after(host, || run("ip -n web link del eth0")));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_the_bridge() {
    on_a_host(|host| detaches_after(host, || run("ip link del br-front")));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_the_rules() {
    on_a_host(|host| detaches_after(host, || run("nft flush ruleset")));
}

/// The record is lost: what bears the mark goes all the same.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_its_record() {
    on_a_host(|host| {
        let record = format!("{}/endpoints/web", host.qiao.run_dir());
        detaches_after(host, || fs::remove_dir_all(record).unwrap());
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn attaching_twice_is_attaching_once() {
    on_a_host(|host| {
        let web = furnished(host);
        host.attach(&web, "--network front -p 8080:80");
        let before = host.snapshot();
        let again = host.qiao.run(&qiao_testbed::attach_line(&web, "--network front -p 8080:80"));
        assert!(matches!(again.code, Some(0 | 5)), "{again}");
        host.assert_like(&before, "attaching again");
    });
}

/// A file system without room: attaching fails and leaves nothing, detaching works.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_room_on_the_disk() {
    on_a_host(|host| {
        fs::create_dir_all(host.qiao.run_dir()).unwrap();
        run(&format!("mount -t tmpfs -o size=256k,mode=700 tmpfs {}", host.qiao.run_dir()));
        let web = furnished(host);
        let late = host.container("late");
        let before = host.snapshot();
        host.attach(&web, "--network front -p 8080:80");
        let full = host.snapshot();
        let filling = format!("{}/filling", host.qiao.run_dir());
        let _ = fs::write(&filling, vec![0; 1 << 20]).expect_err("there is no room");
        let outcome = host.qiao.run(&qiao_testbed::attach_line(&late, "--network front -p 8081:80"));
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains("No space left"), "the failure is the one that was made: {outcome}");
        fs::remove_file(&filling).unwrap();
        host.assert_like(&full, "attaching without room");
        let _ = fs::write(&filling, vec![0; 1 << 20]).expect_err("there is no room");
        host.ok("detach web");
        fs::remove_file(&filling).unwrap();
        host.assert_like(&before, "detaching without room");
    });
}

/// R-REL 22: what is not ours is not touched, however much it looks like ours.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_is_not_ours_is_left_alone() {
    on_a_host(|host| {
        for line in [
            "ip link add br-own type bridge",
            "ip link add q-web-1234567 type veth peer name q-peer",
            "ip link set q-web-1234567 alias qiao-front-web",
            "ip route add 203.0.113.0/24 via 192.0.2.100 proto 114",
            "nft add table inet qiaox",
            "nft add table ip filter",
            "nft add chain ip filter forward { type filter hook forward priority 0; }",
        ] {
            run(line);
        }
        let before = host.snapshot();
        let web = furnished(host);
        host.attach(&web, "--network front -p 8080:80");
        host.ok("repair");
        host.ok("gc");
        host.ok("detach web");
        host.ok("detach other");
        host.ok("network rm front");
        host.assert_like(&before, "everything of ours was removed");
    });
}

/// A link of somebody else's that has the name which ours would have.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_foreign_link_with_our_name_is_left_alone() {
    on_a_host(|host| {
        let web = furnished(host);
        host.attach(&web, "--network front");
        let name = host.host_if("web");
        host.ok("detach web");
        run(&format!("ip link add {name} type bridge"));
        let before = host.snapshot();
        let outcome = host.qiao.run(&qiao_testbed::attach_line(&web, "--network front"));
        assert!(matches!(outcome.code, Some(0 | 5)), "another name is taken, or it is refused: {outcome}");
        host.ok("detach web");
        host.ok("repair");
        host.assert_like(&before, "attach, detach and repair");
    });
}
