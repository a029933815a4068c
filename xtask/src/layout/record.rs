//! Writing `hot.txt`: which functions attaching and detaching call, as `valgrind` sees it.

use super::key;
use crate::dist;
use crate::shell::{run, top};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What is recorded, on a host of its own: two containers beside another, which had the server of names started, and
/// both away again.
const SCRIPT: &str = r#"
set -eu
mount -t tmpfs tmpfs /run
mkdir /run/netns
mount -t cgroup2 cgroup2 /sys/fs/cgroup
export QIAO_STATE_DIR=/run/state QIAO_RUN_DIR=/run/qiao QIAO_CGROUP="/sys/fs/cgroup/qiao-layout-$$"
mkdir "$QIAO_CGROUP"
ip link set lo up
ip netns add a
ip netns add b
"$1/qiao" network create front --subnet 10.64.0.0/16 --ipv6=false >/run/said
ip netns add first
"$1/qiao" attach first --netns /run/netns/first --network front >/run/said
for words in "attach a --netns /run/netns/a --network front -p 1001:80" \
             "attach b --netns /run/netns/b --network front -p 1002:80" "detach b" "detach a"; do
    valgrind --quiet --tool=callgrind --demangle=no --callgrind-out-file="$2/%p" "$1/qiao" $words >/run/said 2>&1
done
"$1/qiao" detach first
"$1/qiao" network rm front >/run/said
rmdir "$QIAO_CGROUP"
"#;

/// Records anew which functions are hot.
pub fn record() -> Result<()> {
    let built = dist::build_with(&["qiao"], &[("CARGO_PROFILE_RELEASE_STRIP", "none")])?;
    let seen = built.join("layout");
    let _ = fs::remove_dir_all(&seen);
    fs::create_dir_all(&seen).with_context(|| format!("create {}", seen.display()))?;
    let mut host = Command::new("unshare");
    host.args(["--net", "--mount", "sh", "-c", SCRIPT, "layout"]).arg(&built).arg(&seen);
    run(&mut host)?;
    let mut keys = BTreeSet::new();
    for file in fs::read_dir(&seen).context("list what valgrind saw")? {
        let file = file.context("list what valgrind saw")?.path();
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        keys.extend(text.lines().filter_map(called));
    }
    if keys.len() < 300 {
        bail!("valgrind saw {} functions only", keys.len());
    }
    let list = top().join("xtask/src/layout/hot.txt");
    let text: String = keys.iter().flat_map(|key| [key.as_str(), "\n"]).collect();
    fs::write(&list, text).with_context(|| format!("write {}", list.display()))?;
    println!("{}: {} functions", Path::new(&list).display(), keys.len());
    Ok(())
}

/// The function that a line of callgrind's names for the first time: `fn=(12) name`, `cfn=(12) name`. Recursion adds
/// `'2`; what has no name is an address.
fn called(line: &str) -> Option<String> {
    let (_, name) = line.strip_prefix("fn=(").or(line.strip_prefix("cfn=("))?.split_once(") ")?;
    let name = name.split('\'').next()?;
    (!name.starts_with("0x") && !name.starts_with('(')).then(|| key(name))
}
