//! `cargo xtask bench`: what attaching costs, beside the least that it can cost, and what CNI plugins cost, beside
//! those of others, in one run.
//!
//! Everything happens in namespaces of its own. The programs take turns, so that what else the machine does
//! falls on all of them; ratios within one run are what counts.

mod cgroup;
mod chain;
mod cni;
mod counts;
mod dns;
mod figures;
mod first_packet;
mod growth;
mod podman;
mod ports;
mod sample;
mod tool;
mod world;

use crate::dist;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use figures::Figures;
use qiao_testbed::namespaces;
use serde_json::Value;
use std::env;
use std::path::{Path, PathBuf};

/// Where the programs are, for the run inside.
const PROGRAMS: &str = "QIAO_BENCH_PROGRAMS";

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Attaching and detaching
    Attach(Attach),
    /// CNI plugins, ours and others
    Cni(cni::Cni),
    /// Questions for names, to our server and others
    Dns(dns::Dns),
    /// Netavark, ours and others
    Podman(podman::Podman),
}

/// How it is measured.
#[derive(Debug, Args)]
pub struct Attach {
    /// With how many containers present
    #[arg(long, value_delimiter = ',', default_value = "0,200,1000")]
    pub present: Vec<usize>,
    /// How often each
    #[arg(long, default_value_t = 30)]
    pub rounds: usize,
    /// Measure instead one container with this many published ports, also beside 10,000 others
    #[arg(long, value_name = "N")]
    pub ports: Option<u16>,
    /// Measure instead how long the first packet of this many containers waits for its answer
    #[arg(long, value_name = "N")]
    pub first_packet: Option<usize>,
    /// Fill the networks of netavark and CNI too, which takes minutes
    #[arg(long)]
    pub peers_present: bool,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Measures.
pub fn bench(bench: &Bench) -> Result<()> {
    if namespaces::is_inside() {
        return inside(bench);
    }
    if !crate::shell::is_root() {
        bail!("this makes network namespaces, which only root may");
    }
    let programs = match bench {
        Bench::Attach(_) => dist::staged(&["qiao", "qiao-floor"], &["qiao", "qiao-floor", "empty", "timed"])?,
        Bench::Cni(cni) => cni.plugins()?,
        Bench::Dns(dns) => dns.programs()?,
        Bench::Podman(podman) => podman.programs()?,
    };
    let mut status = namespaces::again();
    let status = status.args(env::args_os().skip(1)).env(PROGRAMS, programs);
    let status = status.env(cgroup::NAME, std::process::id().to_string()).status();
    match status.context("start unshare")?.success() {
        true => Ok(()),
        false => bail!("the measurement failed"),
    }
}

fn inside(bench: &Bench) -> Result<()> {
    namespaces::boot();
    // Where plugins keep what outlives a reboot: the machine's own is not ours to fill.
    qiao_testbed::run("mount -t tmpfs -o mode=755 tmpfs /var/lib");
    let programs = PathBuf::from(env::var_os(PROGRAMS).context("the programs are built first")?);
    if let Bench::Dns(options) = bench {
        let (table, document) = dns::measure(options, &programs)?;
        return tell(&table, &document, options.json.as_deref());
    }
    let cgroup = cgroup::Cgroup::make()?;
    let world = world::World::new(&programs, cgroup.path())?;
    match bench {
        Bench::Dns(_) => Ok(()), // measured above
        Bench::Attach(options) => {
            let figures = attach(&world, options)?;
            tell(&figures.table(), &figures.json(), options.json.as_deref())
        }
        Bench::Cni(options) => {
            let (figures, counts) = cni::measure(options, (&programs, cgroup.path()))?;
            let mut document = figures.json();
            document["counts"] = counts.json();
            tell(&(figures.table() + &counts.table()), &document, options.json.as_deref())
        }
        Bench::Podman(options) => {
            let (figures, counts) = podman::measure(options, (&programs, cgroup.path()))?;
            let mut document = figures.json();
            document["counts"] = counts.json();
            tell(&(figures.table() + &counts.table()), &document, options.json.as_deref())
        }
    }
}

fn attach(world: &world::World, attach: &Attach) -> Result<Figures> {
    let mut figures = Figures::new("floor");
    match (attach.ports, attach.first_packet) {
        (Some(ports), _) => ports::measure(world, (ports, attach.rounds), &mut figures)?,
        (None, Some(count)) => first_packet::measure(world, count, &mut figures)?,
        (None, None) => growth::measure(world, attach, &mut figures)?,
    }
    Ok(figures)
}

fn tell(table: &str, document: &Value, file: Option<&Path>) -> Result<()> {
    print!("{table}");
    match file {
        Some(file) => std::fs::write(file, format!("{document:#}\n"))
            .with_context(|| format!("write {}", file.display())),
        None => Ok(()),
    }
}
