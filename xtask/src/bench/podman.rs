//! `cargo xtask bench podman`: our netavark and others in turn, as Podman calls them: two published ports and names.

use crate::bench::cni::{QUIET, children};
use crate::bench::counts::{Counts, count};
use crate::bench::figures::Figures;
use crate::bench::sample::Sample;
use crate::dist;
use anyhow::{Context, Result, bail};
use clap::Args;
use qiao_testbed::Place;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{env, fs, thread};

/// How it is measured.
#[derive(Debug, Args)]
pub struct Podman {
    /// Our program, or a link to it; it is built if none is given
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// Another netavark to compare with, besides Debian's; may be repeated
    #[arg(long, value_name = "FILE")]
    pub peer: Vec<PathBuf>,
    /// The name server that all of them start; ours if none is given
    #[arg(long, value_name = "FILE")]
    pub aardvark: Option<PathBuf>,
    /// Which container it is that is set up, for the first time with all before it present
    #[arg(long, value_delimiter = ',', default_value = "1,100,300")]
    pub container: Vec<usize>,
    /// How often each
    #[arg(long, default_value_t = 10)]
    pub rounds: usize,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Debian's, where it is.
const DEBIAN: &str = "/usr/lib/podman/netavark";
/// What is written in the tables beside each time.
const ACT: &str = "2 ports, names";

/// A netavark, on a host of its own.
struct Side {
    name: String,
    program: PathBuf,
    host: Place,
    cgroup: String,
    aardvark: PathBuf,
}

impl Podman {
    /// The directory of our program, built unless it is given.
    pub fn programs(&self) -> Result<PathBuf> {
        match self.program.as_deref().and_then(Path::parent) {
            Some(dir) => Ok(dir.to_owned()),
            None => dist::staged(&["qiao"], &["qiao"]),
        }
    }
}

/// Measures; `programs` is where `qiao` was built, and a given program comes before it.
pub fn measure(podman: &Podman, (programs, cgroup): (&Path, &str)) -> Result<(Figures, Counts)> {
    let (mut figures, mut counts) = (Figures::new("qiao"), Counts::default());
    let sides = sides(podman, programs, cgroup)?;
    let mut there = 0;
    for number in &podman.container {
        for side in &sides {
            for present in there..number - 1 {
                side.call("setup", (present + 1, &side.place(present + 1)), &[])?;
            }
            counts.add(&side.name, "netavark", (number - 1, &count(&side.host)?));
        }
        there = number - 1;
        eprintln!("{there} present");
        for round in 0..podman.rounds {
            for at in 0..sides.len() {
                sides[(at + round) % sides.len()].sample(*number, &mut figures)?;
            }
        }
    }
    for side in &sides {
        counts.programs(&side.name, "netavark", side.programs()?);
    }
    Ok((figures, counts))
}

fn sides(podman: &Podman, programs: &Path, cgroup: &str) -> Result<Vec<Side>> {
    let ours = podman.program.clone().unwrap_or_else(|| programs.join("qiao"));
    let own = PathBuf::from("/run/bench/aardvark-dns");
    fs::create_dir_all("/run/bench").context("make a directory")?;
    std::os::unix::fs::symlink(fs::canonicalize(&ours)?, &own).context("link our name server")?;
    let aardvark = podman.aardvark.clone().unwrap_or(own);
    let debian = Some(PathBuf::from(DEBIAN)).filter(|path| path.exists());
    let peers = debian.into_iter().chain(podman.peer.clone());
    let all = std::iter::once(("qiao".to_owned(), ours)).chain(peers.map(|path| (version(&path), path)));
    let side = |(name, program): (String, PathBuf)| {
        let host = Place::new(&format!("host-{}", name.replace('.', "-")));
        host.run("ip link set lo up");
        fs::create_dir_all(format!("/run/bench/{name}/networks")).context("make Podman's folder")?;
        let (cgroup, aardvark) = (cgroup.to_owned(), aardvark.clone());
        Ok(Side { name, program, host, cgroup, aardvark })
    };
    all.map(side).collect()
}

/// What a netavark says that it is.
fn version(program: &Path) -> String {
    let said =
        Command::new(program).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).trim().replace(' ', "-")
}

impl Side {
    fn place(&self, number: usize) -> Place {
        Place::new(&format!("{}-{number}", self.name.replace('.', "-")))
    }

    /// Sets one up and tears it down again.
    fn sample(&self, number: usize, figures: &mut Figures) -> Result<()> {
        let place = self.place(number);
        for act in ["setup", "teardown"] {
            let (before, begun) = (children()?, Instant::now());
            self.call(act, (number, &place), &[])?;
            let sample = Sample { wall_us: begun.elapsed().as_micros() as u64, cpu_us: children()? - before };
            figures.add((&self.name, &format!("{act}, {ACT}"), number - 1), sample);
            thread::sleep(QUIET);
        }
        place.delete();
        Ok(())
    }

    /// How many programs a setup starts, itself among them, when the name server runs.
    fn programs(&self) -> Result<usize> {
        let (log, number) = ("/run/bench/programs", 1000);
        let place = self.place(number);
        // Another one has the name server running: `strace` would wait for it as long as there is a container.
        let other = self.place(number - 1);
        self.call("setup", (number - 1, &other), &[])?;
        self.call("setup", (number, &place), &["strace", "-f", "-qq", "-e", "trace=execve", "-o", log])?;
        let text = fs::read_to_string(log).context("read what strace wrote")?;
        for (number, place) in [(number, place), (number - 1, other)] {
            self.call("teardown", (number, &place), &[])?;
            place.delete();
        }
        Ok(text.lines().filter(|line| line.contains("execve") && line.ends_with("= 0")).count())
    }

    fn call(&self, act: &str, (number, place): (usize, &Place), under: &[&str]) -> Result<()> {
        let mut command = self.command(under);
        command.arg("--config").arg(format!("/run/bench/{}/networks", self.name)).arg("--rootless=false");
        command.arg("--aardvark-binary").arg(&self.aardvark).args([act, &place.path()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.host.inside(|| command.spawn()).context("start netavark")?;
        let mut stdin = child.stdin.take().context("its input")?;
        stdin.write_all(request(number).to_string().as_bytes()).context("write the request")?;
        drop(stdin);
        let output = child.wait_with_output().context("wait for netavark")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            bail!("{} {act}: {said} {}", self.name, String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// The program with its environment, under another one if any.
    fn command(&self, under: &[&str]) -> Command {
        let mut command = match under.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(self.link());
                command
            }
            None => {
                let mut command = Command::new(&self.program);
                command.arg0("netavark");
                command
            }
        };
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
        command.env("QIAO_CGROUP", &self.cgroup).env("RUST_LOG", "netavark=warn");
        command.env("QIAO_RUN_DIR", format!("/run/bench/{}/run", self.name));
        command.env("QIAO_STATE_DIR", format!("/run/bench/{}/state", self.name));
        command
    }

    /// The program under netavark's name.
    fn link(&self) -> PathBuf {
        let path = PathBuf::from(format!("/run/bench/{}/netavark", self.name));
        let _ = std::os::unix::fs::symlink(&self.program, &path);
        path
    }
}

/// What Podman sends for a container of this number.
fn request(number: usize) -> Value {
    let port = |at: usize| json!({"host_ip": "", "host_port": 2000 + 2 * number + at, "container_port": 80 + at, "range": 1, "protocol": "tcp"});
    let ip = format!("10.64.{}.{}", (number + 1) / 250, (number + 1) % 250 + 2);
    json!({
        "container_id": format!("{number:064x}"), "container_name": format!("c{number}"),
        "port_mappings": [port(0), port(1)],
        "networks": {"bench": {"interface_name": "eth0", "static_ips": [ip], "aliases": [format!("{number:012x}")]}},
        "network_info": {"bench": {
            "name": "bench", "id": format!("{:064x}", 7), "driver": "bridge", "network_interface": "podman1",
            "subnets": [{"subnet": "10.64.0.0/16", "gateway": "10.64.0.1"}], "ipv6_enabled": false,
            "internal": false, "dns_enabled": true, "ipam_options": {"driver": "host-local"},
        }},
    })
}
