//! `cargo xtask sweep` and `cargo xtask soak`: the tests that take longer than all the others, at full length.

use crate::needs;
use crate::shell::{cargo, is_root, run, top};
use anyhow::{Context, Result, bail};
use std::env;
use std::process::Command;

/// Kills commands at each of their system calls, and makes each of their reads fail.
pub fn sweep() -> Result<()> {
    run(tests("kill::")?.arg("unread::").env("QIAO_SWEEP", "1"))?;
    let mut sequences = cargo();
    sequences.args(["test", "--package", "qiao-engine", "--test", "sequences", "unread::"]);
    run(sequences.env("QIAO_SWEEP", "1"))
}

/// Changes things at random.
pub fn soak(minutes: u64, seed: Option<u64>) -> Result<()> {
    let mut command = tests("soak::")?;
    command.env("QIAO_SOAK_SECONDS", (minutes * 60).to_string());
    run(command.envs(seed.map(|seed| ("QIAO_SOAK_SEED", seed.to_string()))))
}

/// The tests on hosts whose names begin so.
fn tests(filter: &str) -> Result<Command> {
    if !is_root() {
        bail!("these tests make network namespaces, which only root may");
    }
    env::set_current_dir(top()).context("go to the workspace")?;
    needs::install()?;
    run(cargo().args(["build", "--quiet", "--package", "qiao"]))?;
    let mut command = cargo();
    command.args([
        "test",
        "--package",
        "qiao-testbed",
        "--test",
        "host",
        "--",
        "--ignored",
        "--nocapture",
        filter,
    ]);
    Ok(command)
}
