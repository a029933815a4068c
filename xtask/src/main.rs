//! `cargo xtask`: what is done around the code. `cargo xtask --help` lists it.

mod bench;
mod conformance;
mod dist;
mod guest;
mod layout;
mod needs;
mod patience;
mod shell;
mod sweep;
mod test;
mod vm;

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
    /// Build a static qiao into DIR/bin, CNI plugins into DIR/cni, and Podman's netavark into DIR/podman
    Dist {
        /// Where to
        dir: PathBuf,
    },
    /// Record anew which functions `dist` puts side by side (with valgrind)
    Layout,
    /// Kill commands at each of their system calls, and look what is left
    Sweep,
    /// Random changes, kills and interventions; in the end nothing may be left
    Soak {
        /// For how long
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// The seed of a run that failed
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Check whether plugins do what a specification says
    #[command(subcommand)]
    Conformance(conformance::Conformance),
    /// Run the tests of what this kernel lacks on another one, under qemu
    Vm {
        /// Only those with this in their names
        filter: Option<String>,
    },
    /// Measure
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    if layout::is_linker() {
        return layout::link();
    }
    let done = match Xtask::parse().task {
        Task::Test => test::all(),
        Task::Dist { dir } => dist::dist(&dir),
        Task::Layout => layout::record(),
        Task::Sweep => sweep::sweep(),
        Task::Soak { minutes, seed } => sweep::soak(minutes, seed),
        Task::Conformance(conformance) => conformance::conformance(&conformance),
        Task::Vm { filter } => vm::vm(filter.as_deref()),
        Task::Bench(bench) => bench::bench(&bench),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
