//! A cgroup for the hooks that serve clients of 127.0.0.1: a measurement must not touch the machine's own.

use anyhow::{Context, Result};
use qiao_testbed::stdout;
use std::{env, fs};

const HIERARCHY: &str = "/sys/fs/cgroup";
/// Tells measurements apart that run at once.
pub const NAME: &str = "QIAO_BENCH_CGROUP";

/// A cgroup that goes with this.
#[derive(Debug)]
pub struct Cgroup(String);

impl Cgroup {
    /// Makes it in the namespaces of a measurement, and has `qiao` use it.
    pub fn make() -> Result<Self> {
        stdout(&format!("mount -t cgroup2 cgroup2 {HIERARCHY}"));
        let path = format!("{HIERARCHY}/qiao-bench-{}", env::var(NAME).unwrap_or_default());
        fs::create_dir(&path).with_context(|| format!("create {path}"))?;
        Ok(Cgroup(path))
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
