//! Running checks, each in namespaces of its own.

use crate::check::Check;
use crate::stage::Stage;
use crate::verdict::{Met, Unmet, Verdict};
use qiao_testbed::namespaces::{self, Namespaces};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::{env, panic, thread};

/// Says to a process inside which check it is for.
const CHECK: &str = "QIAO_CONFORMANCE_CHECK";
/// Says to a process inside which plugins it checks.
const PLUGINS: &str = "QIAO_CONFORMANCE_PLUGINS";
/// What the line with the verdict begins with.
const VERDICT: &str = "verdict: ";

/// A directory of plugins.
#[derive(Clone, Debug)]
pub struct Plugins {
    /// What they are called in reports.
    pub name: String,
    /// Where they are.
    pub dir: PathBuf,
}

/// The checks to run, and how this program is started again.
#[derive(Debug)]
pub struct Suite {
    /// The checks.
    pub checks: Vec<&'static Check>,
    /// The words with which this very program, started again, comes to [`run_inside`].
    pub words: Vec<String>,
}

impl Suite {
    /// Runs all checks with some plugins; the verdicts, in the order of the checks. Calls `note` as each is known.
    pub fn run(&self, plugins: &Plugins, note: impl Fn(&Check, &Verdict) + Sync) -> Vec<Verdict> {
        let (next, (sender, verdicts)) = (AtomicUsize::new(0), channel());
        let work = |sender: Sender<(usize, Verdict)>| {
            while let Some((at, check)) = take(&next, &self.checks) {
                let verdict = self.one(check, &plugins.dir);
                note(check, &verdict);
                let _ = sender.send((at, verdict));
            }
        };
        let workers = thread::available_parallelism().map_or(1, |count| count.get().min(8));
        thread::scope(|scope| {
            for sender in vec![sender; workers] {
                scope.spawn(|| work(sender));
            }
        });
        verdicts.into_iter().collect::<BTreeMap<_, _>>().into_values().collect()
    }

    fn one(&self, check: &Check, plugins: &Path) -> Verdict {
        let namespaces = Namespaces::new();
        let mut command: Command = namespaces.command();
        let output = command.args(&self.words).env(CHECK, check.id).env(PLUGINS, plugins).output();
        let output = output.unwrap_or_else(|error| panic!("start unshare: {error}"));
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| line.split_once(VERDICT));
        line.and_then(|(_, json)| serde_json::from_str(json).ok()).unwrap_or_else(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            Verdict::Fail(format!("the check did not come to its end: {} {errors}", output.status))
        })
    }
}

fn take(next: &AtomicUsize, checks: &[&'static Check]) -> Option<(usize, &'static Check)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    checks.get(at).map(|check| (at, *check))
}

/// What this process was started for: the check, and the plugins' directory.
fn given() -> Option<(&'static Check, PathBuf)> {
    let id = env::var(CHECK).ok()?;
    let check = crate::all().find(|check| check.id == id)?;
    Some((check, env::var_os(PLUGINS)?.into()))
}

/// Whether this process was started for one check.
pub fn is_inside() -> bool {
    given().is_some() && namespaces::is_inside()
}

/// Runs the check that this process was started for, and prints its verdict.
pub fn run_inside() {
    let Some((check, plugins)) = given() else { return };
    let verdict = panic::catch_unwind(|| Verdict::from(applies(check, &plugins)))
        .unwrap_or_else(|panic| Verdict::Fail(format!("the check itself failed: {}", message(&*panic))));
    println!("\n{VERDICT}{}", json!(verdict));
}

/// Runs a check if the plugins that it takes are there, and support its version.
fn applies(check: &Check, plugins: &Path) -> Met {
    if let Some(missing) = check.plugins.iter().find(|plugin| !plugins.join(plugin).exists()) {
        return Err(Unmet::NotApplicable(format!("there is no plugin `{missing}`")));
    }
    let stage = Stage::set(plugins);
    for plugin in check.plugins.iter().filter(|_| check.since != "0.1.0") {
        if !stage.versions(plugin)?.iter().any(|version| version == check.since) {
            return Err(Unmet::NotApplicable(format!("`{plugin}` does not support {}", check.since)));
        }
    }
    (check.run)(&stage)
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
