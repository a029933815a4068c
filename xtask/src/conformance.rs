//! `cargo xtask conformance cni`: whether directories of plugins do what the specification says.

use crate::shell::is_root;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use qiao_conformance::{Check, Plugins, Report, Suite, Verdict, all, is_inside, run_inside};
use std::env;
use std::fs;
use std::path::PathBuf;

/// What can be checked.
#[derive(Debug, Subcommand)]
pub enum Conformance {
    /// CNI plugins, against SPEC.md 1.1.0 and the customs of runtimes
    Cni(Cni),
}

/// Which plugins, and what becomes of the verdicts.
#[derive(Debug, Args)]
pub struct Cni {
    /// Directories of plugins, each with a name for the table if one is wanted
    #[arg(required = true, value_name = "[NAME=]BIN_DIR")]
    pub dirs: Vec<String>,
    /// Only checks whose names begin so
    #[arg(long, value_name = "ID")]
    pub only: Option<String>,
    /// Write the verdicts to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the table to this file, below the line of it that says so
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Succeed whatever the verdicts are
    #[arg(long)]
    pub report_only: bool,
}

/// Where the table begins in a page; what stands above it is written by hand.
const MARK: &str = "<!-- the rest is written by `cargo xtask conformance cni` -->\n";

/// Checks.
pub fn conformance(conformance: &Conformance) -> Result<()> {
    let Conformance::Cni(cni) = conformance;
    if is_inside() {
        run_inside();
        return Ok(());
    }
    if !is_root() {
        bail!("this makes network namespaces, which only root may");
    }
    let wanted = |check: &&Check| cni.only.as_ref().is_none_or(|id| check.id.starts_with(id.as_str()));
    let checks: Vec<_> = all().filter(wanted).collect();
    let suite = Suite { checks: checks.clone(), words: env::args().skip(1).collect() };
    let mut report = Report::new(checks);
    for dir in &cni.dirs {
        let plugins = plugins(dir)?;
        println!("\n{} ({})", plugins.name, plugins.dir.display());
        let verdicts = suite.run(&plugins, note);
        report.add(&plugins.name, verdicts);
    }
    write(cni, &report)?;
    print!("\n{}", report.summary());
    match report.failures() {
        0 => Ok(()),
        _ if cni.report_only => Ok(()),
        failures => bail!("{failures} checks failed"),
    }
}

fn plugins(word: &str) -> Result<Plugins> {
    let (name, dir) = word.split_once('=').unwrap_or((word, word));
    let dir = fs::canonicalize(dir).with_context(|| format!("find {dir}"))?;
    Ok(Plugins { name: name.to_owned(), dir })
}

fn note(check: &Check, verdict: &Verdict) {
    match verdict {
        Verdict::Pass => println!("pass  {:12} {}", check.id, check.says),
        Verdict::Fail(seen) => println!("FAIL  {:12} {}\n      seen: {}", check.id, check.says, seen.trim()),
        Verdict::NotApplicable(why) => println!("-     {:12} {why}", check.id),
    }
}

fn write(cni: &Cni, report: &Report) -> Result<()> {
    if let Some(file) = &cni.json {
        fs::write(file, report.json()).with_context(|| format!("write {}", file.display()))?;
    }
    if let Some(file) = &cni.markdown {
        let page = fs::read_to_string(file).unwrap_or_default();
        let above = page.split_once(MARK).map_or(page.as_str(), |(above, _)| above);
        let text =
            format!("{above}{MARK}\n{}\n{}", report.summary().replace('\n', "\n\n"), report.markdown());
        fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}
