//! The suite tells good plugins from bad ones.

use qiao_conformance::{Plugins, Suite, Verdict, all, is_inside, run_inside};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const NAMES: [&str; 11] = [
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
const DEPENDS_ON_THE_KERNEL: &[&str] = &["MAIN-3", "MAIN-4", "MAIN-7"];

/// Runs the suite with plugins that are all this script; the names of the checks that pass.
fn passed(test: &str, script: &str) -> Vec<&'static str> {
    let dir =
        PathBuf::from(format!("{}/qiao-suite-{test}-{}", std::env::temp_dir().display(), std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    for name in NAMES {
        fs::write(dir.join(name), script).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let words = ["--exact", test, "--ignored", "--nocapture"].map(str::to_owned).to_vec();
    let suite = Suite { checks: all().collect(), words };
    let verdicts = suite.run(&Plugins { name: test.to_owned(), dir: dir.clone() }, |_, _| ());
    fs::remove_dir_all(dir).unwrap();
    let beside = suite.checks.iter().zip(&verdicts).filter(|(_, v)| matches!(v, Verdict::NotApplicable(_)));
    let beside: Vec<_> = beside.map(|(check, _)| check.id).collect();
    assert!(beside.iter().all(|id| DEPENDS_ON_THE_KERNEL.contains(id)), "these do not apply: {beside:?}");
    suite
        .checks
        .iter()
        .zip(verdicts)
        .filter(|(_, v)| *v == Verdict::Pass)
        .map(|(check, _)| check.id)
        .collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn plugins_that_do_nothing_fail() {
    if is_inside() {
        return run_inside();
    }
    assert_eq!(passed("plugins_that_do_nothing_fail", IDLE), NOT_DOING);
}
