//! Our plugins do what the specification says: every check passes, or does not concern them.

use qiao_conformance::{Plugins, Suite, Verdict, all, is_inside, run_inside};
use std::env;
use std::path::PathBuf;

/// A directory of plugins to check instead of ours.
const DIR: &str = "QIAO_CNI_BIN_DIR";

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_check_passes() {
    if is_inside() {
        run_inside();
        return;
    }
    let words = ["--exact", "every_check_passes", "--ignored", "--nocapture"].map(str::to_owned).to_vec();
    let suite = Suite { checks: all().collect(), words };
    let plugins = Plugins { name: "ours".to_owned(), dir: directory() };
    let verdicts = suite.run(&plugins, |check, verdict| {
        if let Verdict::Fail(seen) = verdict {
            eprintln!("{} ({}): {seen}", check.id, check.says);
        }
    });
    let failed: Vec<_> =
        suite.checks.iter().zip(&verdicts).filter(|(_, v)| matches!(v, Verdict::Fail(_))).collect();
    let names: Vec<_> = failed.iter().map(|(check, _)| check.id).collect();
    assert!(names.is_empty(), "{} of {} checks failed: {names:?}", names.len(), verdicts.len());
    let passed = verdicts.iter().filter(|verdict| **verdict == Verdict::Pass).count();
    assert!(passed > 100, "only {passed} checks say something of these plugins");
}

/// The plugins: one program under many names.
fn directory() -> PathBuf {
    PathBuf::from(env::var_os(DIR).expect("a directory of plugins"))
}
