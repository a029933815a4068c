//! `cargo xtask test`: everything that must hold, and how long each part took.

use crate::needs;
use crate::shell::{as_root, can_be_root, cargo, output, run, top};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

/// A part of the tests.
type Part = (&'static str, fn() -> Result<()>);

const PARTS: &[Part] = &[
    ("what the tests need", needs::install),
    ("format", format),
    ("lints", lints),
    ("documentation", documentation),
    ("tests without root", without_root),
    ("tests in namespaces, as root", with_root),
    ("tests on another kernel", || crate::vm::vm(None)),
];

/// Runs every part, also after one has failed.
pub fn all() -> Result<()> {
    env::set_current_dir(top()).context("go to the workspace")?;
    let mut table = Vec::new();
    for (name, part) in PARTS {
        eprintln!("\n==> {name}");
        let begun = Instant::now();
        let result = part();
        if let Err(error) = &result {
            eprintln!("error: {error:#}");
        }
        table.push((*name, begun.elapsed(), result.is_ok()));
    }
    summary(&table)
}

fn summary(table: &[(&str, Duration, bool)]) -> Result<()> {
    println!();
    for (name, took, good) in table {
        println!("{}  {:>6.1} s  {name}", if *good { "ok    " } else { "FAILED" }, took.as_secs_f64());
    }
    let total: Duration = table.iter().map(|(_, took, _)| *took).sum();
    println!("        {:>6.1} s  in all", total.as_secs_f64());
    match table.iter().filter(|(_, _, good)| !good).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} parts failed", table.len()),
    }
}

fn format() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))
}

fn lints() -> Result<()> {
    run(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<()> {
    let mut command = cargo();
    command.args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    run(&mut command)
}

fn without_root() -> Result<()> {
    run(cargo().args(["test", "--quiet", "--workspace"]))
}

/// The tests that are ignored for ordinary users. They are built by us and only run by root, so that nothing
/// of root's is left in the target directory.
fn with_root() -> Result<()> {
    if !can_be_root() {
        bail!("these tests make network namespaces, which only root may: run them as root or install sudo");
    }
    run(cargo().args(["build", "--quiet", "--package", "qiao"]))?;
    let mut failed = Vec::new();
    for file in executables()? {
        if has_ignored(&file)? && run(as_root(&file).args(["--ignored", "--quiet"])).is_err() {
            failed.push(file);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

fn executables() -> Result<Vec<String>> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--workspace", "--no-run", "--message-format", "json"]);
    let text = output(&mut command)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    // Those of `vm` are for another kernel.
    let is_here = |message: &Value| message["target"]["name"] != "vm";
    let tests = messages.filter(|message| message["profile"]["test"] == true && is_here(message));
    Ok(tests.filter_map(|message| message["executable"].as_str().map(str::to_owned)).collect())
}

fn has_ignored(file: &str) -> Result<bool> {
    Ok(output(Command::new(file).args(["--ignored", "--list"]))?.contains(": test"))
}
