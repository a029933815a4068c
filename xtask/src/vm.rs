//! `cargo xtask vm`: tests of what this machine's kernel lacks, on Debian's kernel under qemu. The guest sees this
//! machine's files, read-only, so that every program of the tests is there; kernel and modules come from the package.

use crate::guest;
use crate::needs;
use crate::shell::{cargo, output, top};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::env;
use std::path::PathBuf;
use std::process::Command;

/// What the guest says last, before it switches itself off.
const END: &str = "qiao-vm: all programs have ended";
/// The tests that run there: the test program, and which of its tests. Those of `host` run on this machine too.
const TESTS: [(&str, &str); 3] =
    [("vm", ""), ("host", "modes_children::what_the_kernel_lacks"), ("host", "modes_routed::every_path")];

/// A test program, which of its tests run, and how many these are.
struct Job {
    program: String,
    filter: String,
    count: usize,
}

/// Boots the guest and runs the tests there whose names contain `filter`.
pub fn vm(filter: Option<&str>) -> Result<()> {
    env::set_current_dir(top()).context("go to the workspace")?;
    needs::install_for_vm()?;
    crate::shell::run(cargo().args(["build", "--quiet", "--package", "qiao"]))?;
    let jobs = jobs(filter)?;
    let wanted: usize = jobs.iter().map(|job| job.count).sum();
    ensure!(wanted > 0, "no test of the guest has `{}` in its name", filter.unwrap_or_default());
    let said = guest::run_script(&script(&jobs)?)?;
    verdict(&said, wanted)
}

/// All must have run, and all passed: silence is no success.
fn verdict(said: &str, wanted: usize) -> Result<()> {
    ensure!(said.contains(END), "the guest did not get to the end:\n{}", tail(said));
    let results = said.lines().filter(|line| line.contains("test result: "));
    let passed: usize = results.filter_map(passed).sum();
    ensure!(passed == wanted, "{passed} of {wanted} tests passed in the guest:\n{}", tail(said));
    eprintln!("{passed} tests passed in the guest");
    Ok(())
}

/// `test result: ok. 7 passed; …`.
fn passed(line: &str) -> Option<usize> {
    line.split_once("ok. ")?.1.split(' ').next()?.parse().ok()
}

fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(120)..].join("\n")
}

fn jobs(filter: Option<&str>) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (target, of_target) in TESTS {
        let program = test_program(target)?;
        let filter = filter.unwrap_or(of_target);
        let list = output(Command::new(&program).args(["--ignored", "--list", filter]))?;
        let count = list.lines().filter(|line| line.ends_with(": test")).count();
        jobs.push(Job { program, filter: filter.to_owned(), count });
    }
    Ok(jobs)
}

/// A test program of the testbed, built.
fn test_program(target: &str) -> Result<String> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "qiao-testbed", "--test", target, "--no-run"]);
    let text = output(command.args(["--message-format", "json"]))?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter_map(|message| message["executable"].as_str().map(str::to_owned));
    programs.next_back().with_context(|| format!("cargo built no test program `{target}`"))
}

/// What the guest does once the machine's files are there.
fn script(jobs: &[Job]) -> Result<String> {
    let qiao = target_dir()?.join("debug/qiao");
    let mut script = format!("export QIAO_BIN={} RUST_BACKTRACE=0\n", qiao.display());
    for Job { program, filter, count } in jobs {
        if *count > 0 {
            script += &format!("{program} --ignored --test-threads 1 {filter}\n");
        }
    }
    Ok(script + &format!("echo '{END}'\n"))
}

/// Where cargo builds.
pub fn target_dir() -> Result<PathBuf> {
    let dir = env::var_os("CARGO_TARGET_DIR").map_or_else(|| top().join("target"), PathBuf::from);
    match dir.is_absolute() {
        true => Ok(dir),
        false => bail!("CARGO_TARGET_DIR is not absolute"),
    }
}
