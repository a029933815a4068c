//! Our plugins do what the specification says, and the suite tells good plugins from bad ones.

use qiao_conformance::{Check, Plugins, Suite, Verdict, all, is_inside, run_inside};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const NAMES: [&str; 13] = [
    "bridge",
    "host-local",
    "portmap",
    "firewall",
    "tuning",
    "loopback",
    "bandwidth",
    "ptp",
    "macvlan",
    "ipvlan",
    "vlan",
    "host-device",
    "static",
];

/// A plugin that says it supports everything, succeeds at once, and never does anything.
const IDLE: &str = r#"#!/bin/sh
case $CNI_COMMAND in
  VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}' ;;
  ADD) echo '{"cniVersion":"1.0.0","ips":[{"address":"10.88.0.7/24"}]}' ;;
esac
"#;

/// What a plugin that does nothing does right: it knows its versions, and has nothing to complain about.
const NOT_DOING: &[&str] = &["VERSION-1", "VERSION-3", "VERSION-4", "DEL-3", "STATUS-1", "STATUS-5", "GC-8"];

/// Not every kernel has macvlan and ipvlan.
const DEPENDS_ON_THE_KERNEL: &[&str] = &["MAIN-3", "MAIN-4", "MAIN-7", "MAIN-10"];

/// What our plugins are known to fail.
const KNOWN: &[&str] = &[];

/// A directory that goes with this.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("qiao-{test}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the suite in the name of a test, with the plugins in a directory; the verdict on each check.
fn verdicts(test: &str, dir: &Path) -> Vec<(&'static Check, Verdict)> {
    let words = ["--exact", test, "--ignored", "--nocapture"].map(str::to_owned).to_vec();
    let suite = Suite { checks: all().collect(), words };
    let verdicts = suite.run(&Plugins { name: test.to_owned(), dir: dir.to_owned() }, |_, _| ());
    suite.checks.into_iter().zip(verdicts).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn plugins_that_do_nothing_fail() {
    if is_inside() {
        return run_inside();
    }
    let dir = Dir::new("idle");
    for name in NAMES {
        fs::write(dir.0.join(name), IDLE).unwrap();
        fs::set_permissions(dir.0.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let verdicts = verdicts("plugins_that_do_nothing_fail", &dir.0);
    let ids = |which: fn(&Verdict) -> bool| -> Vec<_> {
        verdicts.iter().filter(|(_, verdict)| which(verdict)).map(|(check, _)| check.id).collect()
    };
    assert_eq!(ids(|verdict| *verdict == Verdict::Pass), NOT_DOING);
    let beside = ids(|verdict| matches!(verdict, Verdict::NotApplicable(_)));
    assert!(beside.iter().all(|id| DEPENDS_ON_THE_KERNEL.contains(id)), "these do not apply: {beside:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn our_plugins_pass() {
    if is_inside() {
        return run_inside();
    }
    if !qiao_testbed::has_plugin("bridge") {
        eprintln!("qiao is built without plugins");
        return;
    }
    let dir = Dir::new("ours");
    qiao_testbed::link_plugins(&dir.0);
    let verdicts = verdicts("our_plugins_pass", &dir.0);
    let failed = |(check, verdict): &(&'static Check, Verdict)| match verdict {
        Verdict::Fail(seen) => Some((check.id, format!("{} ({}): {seen}", check.id, check.says))),
        _ => None,
    };
    let (ids, seen): (Vec<_>, Vec<_>) = verdicts.iter().filter_map(failed).unzip();
    assert_eq!(ids, KNOWN, "these fail, and those are known to fail:\n{}", seen.join("\n"));
    let passed = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Pass).count();
    assert!(passed > 150, "only {passed} checks concern these plugins");
}
