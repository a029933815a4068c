//! `cargo xtask`: what is done around the code. `cargo xtask --help` lists it.

mod dist;
mod needs;
mod shell;
mod test;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Tests, measurements and releases of qiao.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what the tests need, then run all of them: format, lints, documentation, tests
    Test,
    /// Build a static qiao into DIR/bin
    Dist {
        /// Where to
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Xtask::parse().task {
        Task::Test => test::all(),
        Task::Dist { dir } => dist::dist(&dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
