//! Writing `hot.txt`: which functions attaching and detaching call, as `valgrind` sees it.

use super::key;
use crate::dist;
use crate::shell::{run, top};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What is recorded, by the directories below its second argument that it fills.
const SCRIPT: &str = include_str!("record.sh");
/// The hottest first.
const TIERS: [&str; 2] = ["first", "then"];

/// Records anew which functions are hot.
pub fn record() -> Result<()> {
    let built = dist::build(&["qiao"])?;
    let seen = built.join("layout");
    let _ = fs::remove_dir_all(&seen);
    for tier in TIERS.map(|tier| seen.join(tier)) {
        fs::create_dir_all(&tier).with_context(|| format!("create {}", tier.display()))?;
    }
    let mut host = Command::new("unshare");
    host.args(["--net", "--mount", "sh", "-c", SCRIPT, "layout"]).arg(&built).arg(&seen);
    run(&mut host)?;
    let [first, then] = TIERS.map(|tier| keys(&seen.join(tier)));
    let (first, then) = (first?, then?);
    let tiers = [first.iter().collect::<Vec<_>>(), then.difference(&first).collect()];
    if tiers[0].len() < 300 {
        bail!("valgrind saw {} functions only", tiers[0].len());
    }
    let list = top().join("xtask/src/layout/hot.txt");
    let lines = |keys: &Vec<&String>| keys.iter().map(|key| format!("{key}\n")).collect::<String>();
    let text = tiers.each_ref().map(lines).join("\n");
    fs::write(&list, text).with_context(|| format!("write {}", list.display()))?;
    println!("{}: {} and {} functions", list.display(), tiers[0].len(), tiers[1].len());
    Ok(())
}

/// The functions that files of callgrind's name.
fn keys(dir: &Path) -> Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    for file in fs::read_dir(dir).context("list what valgrind saw")? {
        let file = file.context("list what valgrind saw")?.path();
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        keys.extend(text.lines().filter_map(called));
    }
    Ok(keys)
}

/// The function that a line of callgrind's names for the first time: `fn=(12) name`, `cfn=(12) name`. Recursion adds
/// `'2`; what has no name is an address.
fn called(line: &str) -> Option<String> {
    let (_, name) = line.strip_prefix("fn=(").or(line.strip_prefix("cfn=("))?.split_once(") ")?;
    let name = name.split('\'').next()?;
    (!name.starts_with("0x") && !name.starts_with('(')).then(|| key(name))
}
