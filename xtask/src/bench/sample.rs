//! One run of a program, and what it took.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::process::{Command, Stdio};

/// What a run took, in microseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Sample {
    /// By the clock.
    pub wall_us: u64,
    /// By the processor, of user and system.
    pub cpu_us: u64,
}

#[derive(Deserialize)]
struct Timed {
    #[serde(flatten)]
    sample: Sample,
    status: i32,
}

/// Runs `timed` with its arguments; the program it runs must succeed.
pub fn sample(timed: &mut Command) -> Result<Sample> {
    let output = timed.stderr(Stdio::piped()).output().context("start `timed`")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let result: Timed =
        serde_json::from_slice(&output.stdout).with_context(|| format!("{timed:?}: {errors}"))?;
    if result.status != 0 {
        bail!("{timed:?} ended with {}: {errors}", result.status);
    }
    Ok(result.sample)
}

impl std::ops::Add for Sample {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { wall_us: self.wall_us + other.wall_us, cpu_us: self.cpu_us + other.cpu_us }
    }
}
