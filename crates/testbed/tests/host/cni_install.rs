//! `qiao cni install`, `uninstall` and `check`, in directories of a test's own.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, kill_at, points, run, stdout};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

const DIRS: &str = "--bin-dir /run/n/bin --conf-dir /run/n/conf";
const FOREIGN: &str = "#!/bin/sh\necho '{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.4.0\"]}'\n";

fn cni(host: &Host, what: &str) -> Outcome {
    host.qiao.run(&format!("cni {what} {DIRS}"))
}

fn ok(host: &Host, what: &str) -> Outcome {
    let outcome = cni(host, what);
    assert_eq!(outcome.code, Some(0), "`qiao cni {what}`: {outcome}");
    outcome
}

/// Every file and link below, with its kind, its rights and what is in it.
fn tree() -> Vec<String> {
    let text = stdout("find /run/n -printf %y:%m:%p:%l\\n");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        let path = line.split(':').nth(2).unwrap_or_default().to_owned();
        // What is large is the program that is tested.
        let large = fs::metadata(&path).is_ok_and(|found| found.len() > 1 << 20);
        if line.starts_with('f') {
            line.push_str(&if large { "qiao".into() } else { fs::read_to_string(&path).unwrap() });
        }
    }
    lines.sort();
    lines
}

fn foreign(name: &str) {
    let path = format!("/run/n/bin/{name}");
    fs::write(&path, FOREIGN).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
}

/// A node that has plugins of others: two of our names, one of which is a link, and one of another name.
fn node() {
    let _ = fs::remove_dir_all("/run/n");
    fs::create_dir_all("/run/n/bin").unwrap();
    fs::create_dir_all("/run/n/conf").unwrap();
    foreign("bridge");
    foreign("calico");
    symlink("calico", "/run/n/bin/portmap").unwrap();
}

/// Whether a file is the program that is tested.
fn is_qiao(name: &str) -> bool {
    let output = std::process::Command::new(format!("/run/n/bin/{name}")).env_clear().output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stderr).starts_with(&format!("CNI {name} plugin"))
    })
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_was_there_is_kept_and_comes_back() {
    on_a_host(|host| {
        node();
        let before = tree();
        let dry = ok(host, "install --dry-run");
        for line in [
            "+ /run/n/bin/host-local",
            "~ /run/n/bin/bridge      (of others; kept as bridge.before-qiao)",
            "~ /run/n/bin/portmap",
            "+ /run/n/conf/10-qiao.conflist",
            "\"type\": \"firewall\"",
        ] {
            assert!(dry.stdout.contains(line), "{line}: {dry}");
        }
        assert_eq!(tree(), before, "a dry run touches nothing");
        assert_eq!(ok(host, "install").stdout, dry.stdout, "it shows the same, and does it");
        for name in ["bridge", "portmap", "host-local", "dhcp"] {
            assert!(is_qiao(name), "{name}");
        }
        assert_eq!(fs::read_to_string("/run/n/bin/bridge.before-qiao").unwrap(), FOREIGN);
        let list = fs::read_to_string("/run/n/conf/10-qiao.conflist").unwrap();
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        assert_eq!(list["plugins"][0]["ipam"]["ranges"][0][0]["subnet"], "172.18.0.0/16");
        let installed = tree();
        assert!(ok(host, "install").stdout.contains("already"), "again there is nothing to do");
        assert_eq!(tree(), installed);
        ok(host, "check");
        ok(host, "uninstall");
        assert_eq!(tree(), before);
        assert!(ok(host, "uninstall").stdout.contains("nothing was installed"));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn directories_that_are_missing_are_made_and_go() {
    on_a_host(|host| {
        fs::create_dir("/run/n").unwrap();
        let before = tree();
        ok(host, "install");
        assert_eq!(fs::metadata("/run/n/bin/bridge").unwrap().permissions().mode() & 0o777, 0o755);
        ok(host, "uninstall");
        assert_eq!(tree(), before);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_configuration_that_is_there_is_enough() {
    on_a_host(|host| {
        node();
        fs::write("/run/n/conf/87-podman.conflist", "{}").unwrap();
        assert!(ok(host, "install").stdout.contains("none is added"));
        assert_eq!(stdout("ls /run/n/conf"), "87-podman.conflist\n");
        // The subnet of a new one is one that nothing is in the way of.
        node();
        run("ip route add 172.18.5.0/24 via 192.0.2.100");
        ok(host, "install");
        assert!(fs::read_to_string("/run/n/conf/10-qiao.conflist").unwrap().contains("172.19.0.0/16"));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn check_says_what_is_missing_changed_or_silent() {
    on_a_host(|host| {
        node();
        let states = || {
            let outcome = cni(host, "check --json");
            let said = outcome.json();
            let of = |name: &str| {
                let all = said["plugins"].as_array().unwrap();
                let found = all.iter().find(|plugin| plugin["name"] == name).unwrap().clone();
                (found["state"].as_str().unwrap().to_owned(), found["versions"].is_array())
            };
            (outcome.code, ["bridge", "loopback", "static"].map(of))
        };
        let (code, [bridge, loopback, _]) = states();
        assert_eq!(
            (code, bridge, loopback),
            (Some(11), ("of others".into(), true), ("missing".into(), false))
        );
        ok(host, "install");
        assert_eq!(states(), (Some(0), [(); 3].map(|()| ("ours".to_owned(), true))));
        foreign("bridge");
        fs::remove_file("/run/n/bin/loopback").unwrap();
        fs::remove_file("/run/n/bin/static").unwrap();
        fs::write("/run/n/bin/static", "#!/bin/sh\nexit 1\n").unwrap();
        fs::set_permissions("/run/n/bin/static", fs::Permissions::from_mode(0o755)).unwrap();
        let changed = "changed since".to_owned();
        let expected = [(changed.clone(), true), ("missing".into(), false), (changed, false)];
        assert_eq!(states(), (Some(11), expected));
    });
}

/// What somebody changed since is his: it stays, and is told.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_was_changed_since_is_left_alone() {
    on_a_host(|host| {
        node();
        ok(host, "install");
        fs::remove_file("/run/n/bin/bridge").unwrap();
        fs::write("/run/n/bin/bridge", "newer").unwrap();
        fs::write("/run/n/conf/10-qiao.conflist", "{\"mine\": true}").unwrap();
        fs::remove_file("/run/n/bin/portmap").unwrap();
        let left = cni(host, "uninstall");
        assert!(left.code == Some(3) && left.stderr.contains("left  /run/n/bin/bridge"), "{left}");
        assert_eq!(fs::read_to_string("/run/n/bin/bridge").unwrap(), "newer");
        assert_eq!(fs::read_to_string("/run/n/bin/bridge.before-qiao").unwrap(), FOREIGN);
        assert!(fs::read_to_string("/run/n/conf/10-qiao.conflist").unwrap().contains("mine"));
        assert_eq!(fs::read_link("/run/n/bin/portmap").unwrap().to_str(), Some("calico"), "ours was removed");
        let names = stdout("ls -A /run/n/bin");
        assert_eq!(
            names.split_whitespace().collect::<Vec<_>>(),
            ["bridge", "bridge.before-qiao", "calico", "portmap"]
        );
    });
}

/// A package of others is upgraded over ours; installing again keeps its new one.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_replaced_ours_is_what_comes_back() {
    on_a_host(|host| {
        node();
        ok(host, "install");
        fs::remove_file("/run/n/bin/bridge").unwrap();
        fs::write("/run/n/bin/bridge", "newer").unwrap();
        ok(host, "install");
        assert!(is_qiao("bridge"));
        ok(host, "uninstall");
        assert_eq!(fs::read_to_string("/run/n/bin/bridge").unwrap(), "newer");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_cannot_be_written_is_refused_before_anything_is_touched() {
    on_a_host(|host| {
        node();
        let before = tree();
        run("mount --bind /run/n/bin /run/n/bin");
        run("mount -o remount,bind,ro /run/n/bin");
        let refused = cni(host, "install");
        assert!(
            refused.code == Some(5) && refused.stderr.contains("cannot write in /run/n/bin"),
            "{refused}"
        );
        run("umount /run/n/bin");
        assert_eq!(tree(), before);
        fs::remove_file("/run/n/bin/bridge").unwrap();
        fs::create_dir("/run/n/bin/bridge").unwrap();
        let refused = cni(host, "install");
        assert!(refused.code == Some(1) && refused.stderr.contains("is no file"), "{refused}");
        fs::write("/run/n/bin/.qiao-cni.json", "garbage").unwrap();
        for what in ["install", "uninstall", "check"] {
            let refused = cni(host, what);
            assert!(refused.code == Some(5) && refused.stderr.contains("makes no sense"), "{refused}");
        }
    });
}

/// Killed at each of its system calls, it leaves what `install` completes and `uninstall` takes back.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn killed_anywhere_it_is_completed_or_taken_back() {
    on_a_host(|host| {
        node();
        let before = tree();
        ok(host, "install");
        let installed = tree();
        ok(host, "uninstall");
        for (what, ends) in [("install", ["uninstall", "install"]), ("uninstall", ["uninstall", "install"])] {
            let line = format!("cni {what} {DIRS}");
            let prepare = || {
                node();
                if what == "uninstall" {
                    ok(host, "install");
                }
            };
            prepare();
            let (outcome, all) = points(&host.qiao, &line);
            assert_eq!(outcome.code, Some(0), "the control: {outcome}");
            assert!(all.len() > 15, "{} calls", all.len());
            let mut killed = 0;
            let step = if std::env::var_os("QIAO_SWEEP").is_some() { 1 } else { 5 };
            let points: Vec<_> = all.iter().step_by(step).collect();
            for (place, point) in points.iter().enumerate() {
                prepare();
                killed += usize::from(kill_at(&host.qiao, &line, point).signal == Some(9));
                assert!(
                    is_qiao("bridge") || fs::read_to_string("/run/n/bin/bridge").unwrap() == FOREIGN,
                    "{point:?}: never missing"
                );
                let end = ends[place % 2];
                ok(host, end);
                let wanted = if end == "install" { &installed } else { &before };
                assert_eq!(&tree(), wanted, "`{line}` was killed at {point:?}, then {end}");
                ok(host, "uninstall");
                assert_eq!(tree(), before, "`{line}` was killed at {point:?}, then {end}, then uninstall");
            }
            assert!(killed + 3 > points.len(), "{killed} of {}", points.len());
        }
    });
}
