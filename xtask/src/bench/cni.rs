//! `cargo xtask bench cni`: our plugins and others in turn, as a runtime calls them, one or several at once.

use crate::bench::chain::{Call, Chain};
use crate::bench::counts::{Counts, count};
use crate::bench::figures::Figures;
use crate::bench::sample::Sample;
use crate::dist;
use crate::shell::top;
use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use qiao_conformance::Attachment;
use qiao_testbed::Place;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

/// How it is measured.
#[derive(Debug, Args)]
pub struct Cni {
    /// The directory of our plugins; they are built if none is given
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The directory of the plugins that they are compared with
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/cni")]
    pub peer: PathBuf,
    /// Which container it is that is added, for the first time with all before it present
    #[arg(long, value_delimiter = ',', default_value = "1,100,300")]
    pub container: Vec<usize>,
    /// How many are added at once
    #[arg(long, value_delimiter = ',', default_value = "1,2,8")]
    pub at_once: Vec<usize>,
    /// How often each
    #[arg(long, default_value_t = 10)]
    pub rounds: usize,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Cni {
    /// The directory of our plugins.
    pub fn plugins(&self) -> Result<PathBuf> {
        if let Some(dir) = &self.dir {
            return dir.canonicalize().with_context(|| format!("find {}", dir.display()));
        }
        let dir = top().join("target/dist");
        dist::dist(&dir)?;
        Ok(dir.join("cni"))
    }
}

/// One side of the comparison: some plugins, some chain of them, on a host of their own.
struct Side {
    name: &'static str,
    chain: Chain,
    host: Place,
    cgroup: String,
    ports: u16,
}

/// Containers that are attached.
struct Container {
    place: Place,
    attachment: Attachment,
    result: Value,
}

const CHAINS: [(&str, u16); 2] = [("bridge", 0), ("chain", 2)];
/// How long the kernel may clean up after a sample, so that the next does not pay for it.
pub const QUIET: Duration = Duration::from_millis(150);

/// Measures; `ours` is where our plugins are.
pub fn measure(cni: &Cni, (ours, cgroup): (&Path, &str)) -> Result<(Figures, Counts)> {
    let (mut figures, mut counts) = (Figures::new("others"), Counts::default());
    for (chain, ports) in CHAINS {
        let side = |name, dir: &Path| Side::new((name, dir), (chain, ports), cgroup);
        let mut sides = [side("qiao", ours), side("others", &cni.peer)];
        let mut there = 0;
        for number in &cni.container {
            for side in &mut sides {
                side.fill(there..number - 1)?;
                counts.add(side.name, chain, (number - 1, &count(&side.host)?));
            }
            there = number - 1;
            eprintln!("{chain}: {there} present");
            for at_once in &cni.at_once {
                rounds(&sides, (chain, *number, *at_once), cni.rounds, &mut figures)?;
            }
        }
        for side in &sides {
            counts.programs(side.name, chain, side.programs()?);
        }
    }
    Ok((figures, counts))
}

/// Every side in turn, and back.
fn rounds(
    sides: &[Side; 2],
    (chain, number, at_once): (&str, usize, usize),
    rounds: usize,
    figures: &mut Figures,
) -> Result<()> {
    for round in 0..rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order.map(|at| &sides[at]) {
            let (add, del) = side.sample(number, at_once)?;
            let mut note = |verb: &str, sample| {
                figures.add((side.name, &format!("{chain}: {verb}, {at_once} at once"), number - 1), sample);
            };
            note("ADD", add);
            note("DEL", del);
            thread::sleep(QUIET);
        }
    }
    Ok(())
}

impl Side {
    fn new((name, dir): (&'static str, &Path), (chain, ports): (&str, u16), cgroup: &str) -> Self {
        let rest = [Chain::portmap(), json!({"type": "firewall"}), json!({"type": "tuning"})];
        let rest = if ports == 0 { &[][..] } else { &rest };
        let host = Place::new(&format!("host-{name}-{chain}"));
        host.run("ip link set lo up");
        Self {
            name,
            chain: Chain::new((dir, &format!("bench-{chain}")), rest),
            host,
            cgroup: cgroup.to_owned(),
            ports,
        }
    }

    fn container(&self, number: usize) -> Container {
        let place = Place::new(&format!("{}{}-{number}", self.name, self.ports));
        let port = |at: u16| 2_000 + self.ports * number as u16 + at;
        let mapping = |at| json!({"hostPort": port(at), "containerPort": 80 + at, "protocol": "tcp"});
        let mappings: Vec<_> = (0..self.ports).map(mapping).collect();
        let attachment = Attachment::of(&place).offering(json!({"portMappings": mappings}));
        Container { place, attachment, result: Value::Null }
    }

    /// Containers that stay.
    fn fill(&mut self, numbers: std::ops::Range<usize>) -> Result<()> {
        numbers.into_iter().try_for_each(|number| self.add(&mut self.container(number + 1)))
    }

    /// Adds some containers at once, and deletes them at once. Wall-clock time until the last is done, and the
    /// processor time of one, on average.
    fn sample(&self, number: usize, at_once: usize) -> Result<(Sample, Sample)> {
        let mut containers: Vec<_> =
            (number..number + at_once).map(|number| self.container(number)).collect();
        let add = batch(&mut containers, |container| self.add(container))?;
        thread::sleep(QUIET);
        let del = batch(&mut containers, |container| self.del(container))?;
        containers.into_iter().for_each(|container| container.place.delete());
        Ok((add, del))
    }

    fn add(&self, container: &mut Container) -> Result<()> {
        container.result = self.chain.add(&container.attachment, |call| self.run(call, &[]))?;
        Ok(())
    }

    fn del(&self, container: &mut Container) -> Result<()> {
        self.chain.del((&container.attachment, &container.result), |call| self.run(call, &[]))
    }

    /// How many programs an ADD starts: its plugins, and what they start.
    fn programs(&self) -> Result<usize> {
        let log = "/run/bench/programs";
        let mut container = self.container(30_000 / usize::from(self.ports.max(1)));
        let mut programs = 0;
        container.result = self.chain.add(&container.attachment, |call| {
            let answer = self.run(call, &["strace", "-f", "-qq", "-e", "trace=execve", "-o", log])?;
            let text = std::fs::read_to_string(log).context("read what strace wrote")?;
            programs += text.lines().filter(|line| line.contains("execve") && line.ends_with("= 0")).count();
            Ok(answer)
        })?;
        self.del(&mut container)?;
        container.place.delete();
        Ok(programs)
    }

    /// Starts a plugin on the host of this side, under another program if any.
    fn run(&self, call: &Call, under: &[&str]) -> Result<String> {
        let words: Vec<&str> = under.iter().copied().chain([call.program.as_str()]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
        command.env("QIAO_CGROUP", &self.cgroup);
        // A host's own: what another one has is not on this.
        command.env("QIAO_RUN_DIR", format!("/run/bench/{}/run", self.host.name()));
        command.env("QIAO_STATE_DIR", format!("/run/bench/{}/state", self.host.name()));
        command.envs(call.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.host.inside(|| command.spawn()).with_context(|| format!("start {words:?}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(call.input.as_bytes()).context("write the request")?;
        }
        let output = child.wait_with_output().context("wait for the plugin")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "{words:?} ended with {}: {text} {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(text)
    }
}

/// Does the same for all at once.
fn batch(containers: &mut [Container], act: impl Fn(&mut Container) -> Result<()> + Sync) -> Result<Sample> {
    let (count, before, begun) = (containers.len() as u64, children()?, Instant::now());
    thread::scope(|scope| {
        let threads: Vec<_> = containers.iter_mut().map(|container| scope.spawn(|| act(container))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread failed"))?)
    })?;
    let wall_us = begun.elapsed().as_micros() as u64;
    Ok(Sample { wall_us, cpu_us: (children()? - before) / count })
}

/// The processor time of all children that have ended, in microseconds.
pub fn children() -> Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("ask for the children's processor time")?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as u64)
}
