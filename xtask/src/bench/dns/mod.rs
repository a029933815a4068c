//! `cargo xtask bench dns`: what a question for a container's name costs, beside aardvark-dns and dnsmasq.
//!
//! All serve the same names on one host, each at a gateway of its own, to one container. They take turns: A B A B.

mod load;

use crate::dist;
use crate::shell::find;
use anyhow::{Context, Result, bail};
use clap::Args;
use qiao_testbed::names::question;
use qiao_testbed::{Place, eventually, run};
use serde_json::{Value, json};
use std::fs;
use std::net::UdpSocket;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How it is measured.
#[derive(Debug, Args)]
pub struct Dns {
    /// With how many names
    #[arg(long, value_delimiter = ',', default_value = "10,1000,10000")]
    pub names: Vec<usize>,
    /// How many questions each time
    #[arg(long, default_value_t = 20_000)]
    pub questions: usize,
    /// How often each
    #[arg(long, default_value_t = 4)]
    pub rounds: usize,
    /// Also: what a client notices of another that misbehaves, and of one that floods
    #[arg(long)]
    pub abuse: bool,
    /// Also: what a client notices of names that change so often in a second
    #[arg(long, value_name = "N")]
    pub reloads: Option<u32>,
    /// Our program; it is built if none is given
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// The aardvark-dns that is compared with
    #[arg(long, value_name = "FILE", default_value = "/usr/lib/podman/aardvark-dns")]
    pub peer: PathBuf,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Dns {
    /// The directory of our program, built unless it is given.
    pub fn programs(&self) -> Result<PathBuf> {
        match self.program.as_deref().and_then(Path::parent) {
            Some(dir) => Ok(dir.to_owned()),
            None => dist::build(&["qiao"]),
        }
    }
}

/// A server at a gateway.
struct Server {
    name: &'static str,
    gateway: String,
    /// The file with its names.
    file: String,
    pid: String,
    child: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        match &mut self.child {
            // Those that it made for connections have its sockets, too.
            Some(child) => {
                drop(Command::new("kill").args(["-9", "--", &format!("-{}", self.pid)]).status());
                drop(child.wait());
            }
            None => drop(Command::new("kill").arg(&self.pid).status()),
        }
    }
}

/// What one turn gave: microseconds of processor time for a question, and the times of single ones, sorted.
struct Turn {
    cpu: f64,
    times: Vec<Duration>,
}

/// Questions on their way at one time while processor time is measured.
const WINDOW: usize = 32;
/// Questions one after the other, for their times.
const SINGLE: usize = 2000;
/// How long a server may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures; the table and the document.
pub fn measure(dns: &Dns, programs: &Path) -> Result<(String, Value)> {
    let (client, bad) = build();
    let mut text = format!(
        "\n{:9} {:>6} {:>12} {:>8} {:>8} {:>8}\n",
        "program", "names", "CPU us/query", "p50 us", "p99 us", "RSS kB"
    );
    let mut rows = Vec::new();
    for count in &dns.names {
        let servers = start(dns, (*count, programs))?;
        let mut turns: Vec<Vec<Turn>> = servers.iter().map(|_| Vec::new()).collect();
        for _ in 0..dns.rounds {
            for (server, turns) in servers.iter().zip(&mut turns) {
                turns.push(turn(&client, server, (dns.questions, *count))?);
            }
        }
        for (server, turns) in servers.iter().zip(&turns) {
            let mut row = row(server, (*count, turns))?;
            text.push_str(&line(&row));
            text.push_str(&others(dns, (server, *count), (&client, &bad), &mut row)?);
            rows.push(row);
        }
    }
    Ok((text, json!({"schema": "qiao.bench-dns/1", "rows": rows})))
}

/// What a client notices of others, in lines of the table and in the document.
fn others(
    dns: &Dns,
    (server, count): (&Server, usize),
    (client, bad): (&Place, &Place),
    row: &mut Value,
) -> Result<String> {
    let mut text = String::new();
    let mut tell = |name: &str, mut noticed: load::Noticed| {
        let (line, value) = noticed.told(name);
        text.push_str(&line);
        row[name] = value;
    };
    if dns.abuse {
        tell("abuse", load::beside((client, bad), &server.gateway, load::misbehave)?);
        tell("flood", load::beside((client, bad), &server.gateway, load::flood)?);
    }
    if let Some(rate) = dns.reloads {
        let (noticed, made) = load::reloading(client, server, (count, rate))?;
        tell("reloads", noticed);
        row["reloads"]["per_second"] = made.into();
    }
    Ok(text)
}

/// A bridge with a gateway for each server, and two containers that have an address beside each.
fn build() -> (Place, Place) {
    run("ip link set lo up");
    run("ip link add dns0 type bridge");
    run("ip link set dns0 up");
    for network in 1..4 {
        run(&format!("ip addr add 10.{network}.0.1/16 dev dns0"));
    }
    (container("client", 2), container("bad", 3))
}

fn container(name: &str, host: usize) -> Place {
    let place = Place::new(name);
    run(&format!("ip link add v{host} type veth peer name eth0 netns {name}"));
    run(&format!("ip link set v{host} master dns0 up"));
    place.run("ip link set eth0 up");
    for network in 1..4 {
        place.run(&format!("ip addr add 10.{network}.0.{host}/16 dev eth0"));
    }
    place
}

fn start(dns: &Dns, (count, programs): (usize, &Path)) -> Result<Vec<Server>> {
    let mut servers = vec![aardvark("qiao", (1, count), &programs.join("qiao"))?];
    if dns.peer.exists() {
        servers.push(aardvark("aardvark", (2, count), &dns.peer)?);
    }
    if find("dnsmasq").is_some() {
        servers.push(dnsmasq((3, count))?);
    }
    Ok(servers)
}

fn address(network: usize, number: usize) -> String {
    let host = number + 2;
    format!("10.{network}.{}.{}", host / 250, host % 250)
}

fn aardvark(name: &'static str, (network, count): (usize, usize), program: &Path) -> Result<Server> {
    let dir = format!("/run/{name}-{count}");
    fs::create_dir_all(&dir)?;
    let members: String = (0..count).map(|n| aardvark_line((network, n))).collect();
    let file = format!("{dir}/front");
    fs::write(&file, format!("10.{network}.0.1\n{members}"))?;
    let mut command = Command::new(program);
    command.arg0("aardvark-dns").args(["--config", &dir, "-p", "53", "run"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if !command.status().context("start aardvark-dns")?.success() {
        bail!("{} does not start", program.display());
    }
    let pid = || fs::read_to_string(format!("{dir}/aardvark.pid")).unwrap_or_default();
    eventually(Duration::from_secs(2), || !pid().is_empty());
    Ok(Server { name, gateway: format!("10.{network}.0.1"), file, pid: pid(), child: None })
}

fn aardvark_line((network, number): (usize, usize)) -> String {
    format!("{number:064x} {}  n{number},{number:012x}\n", address(network, number))
}

/// A line about a container in a server's own words; there are `count` besides.
fn member(server: &Server, (number, count): (usize, usize)) -> String {
    let network = server.gateway.split('.').nth(1).and_then(|part| part.parse().ok()).unwrap_or_default();
    match server.name {
        "dnsmasq" => format!("{} n{}\n", address(network, count + number), count + number),
        _ => aardvark_line((network, count + number)),
    }
}

fn dnsmasq((network, count): (usize, usize)) -> Result<Server> {
    let file = format!("/run/hosts-{count}");
    let hosts: String = (0..count).map(|n| format!("{} n{n}\n", address(network, n))).collect();
    fs::write(&file, hosts)?;
    let gateway = format!("10.{network}.0.1");
    let mut command = Command::new("dnsmasq");
    command.args([
        "-k",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--user=root",
    ]);
    command.args([
        format!("--listen-address={gateway}"),
        format!("--addn-hosts={file}"),
        "--pid-file=".into(),
    ]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let child = command.spawn().context("start dnsmasq")?;
    let server = Server { name: "dnsmasq", gateway, file, pid: child.id().to_string(), child: Some(child) };
    // It returns before it listens.
    if !eventually(PATIENCE, || answers(&server.gateway)) {
        bail!("dnsmasq does not serve {count} names at {} after {PATIENCE:?}", server.gateway);
    }
    Ok(server)
}

fn answers(gateway: &str) -> bool {
    let asked = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((gateway, 53))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        socket.send(&question(1, "n1", 1))?;
        socket.recv(&mut [0; 512])
    };
    asked().is_ok()
}

fn turn(client: &Place, server: &Server, (questions, count): (usize, usize)) -> Result<Turn> {
    let asks = |n: usize| question(n as u16, &format!("n{}", n * 7919 % count), 1);
    client.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((server.gateway.as_str(), 53))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut buffer = [0; 1500];
        let mut times = Vec::with_capacity(SINGLE);
        for n in 0..SINGLE {
            let begun = Instant::now();
            socket.send(&asks(n))?;
            let length =
                socket.recv(&mut buffer).with_context(|| format!("{} does not answer", server.name))?;
            times.push(begun.elapsed());
            if length < 12 || buffer[7] == 0 {
                bail!("{} does not know n{}", server.name, n * 7919 % count);
            }
        }
        let before = cpu(&server.pid)?;
        let mut asked = 0;
        while asked < questions {
            (0..WINDOW).try_for_each(|n| socket.send(&asks(asked + n)).map(drop))?;
            (0..WINDOW).try_for_each(|_| socket.recv(&mut buffer).map(drop)).context("an answer is lost")?;
            asked += WINDOW;
        }
        let used = cpu(&server.pid)? - before;
        times.sort();
        Ok(Turn { cpu: used.as_secs_f64() * 1e6 / asked as f64, times })
    })
}

/// The processor time of all threads of a process.
fn cpu(pid: &str) -> Result<Duration> {
    let mut all = 0u64;
    for task in fs::read_dir(format!("/proc/{}/task", pid.trim()))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        all += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(all))
}

fn row(server: &Server, (count, turns): (usize, &[Turn])) -> Result<Value> {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid.trim()))?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let rss: u64 = rss.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or_default();
    let median = |of: &dyn Fn(&Turn) -> f64| {
        let mut values: Vec<f64> = turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let at = |turn: &Turn, percent: usize| turn.times[turn.times.len() * percent / 100].as_secs_f64() * 1e6;
    Ok(json!({
        "program": server.name, "names": count, "cpu_us": median(&|turn| turn.cpu),
        "p50_us": median(&|turn| at(turn, 50)), "p99_us": median(&|turn| at(turn, 99)), "rss_kb": rss,
    }))
}

fn line(row: &Value) -> String {
    let number = |key: &str| row[key].as_f64().unwrap_or_default();
    format!(
        "{:9} {:>6} {:>12.2} {:>8.1} {:>8.1} {:>8}\n",
        row["program"].as_str().unwrap_or_default(),
        row["names"],
        number("cpu_us"),
        number("p50_us"),
        number("p99_us"),
        row["rss_kb"]
    )
}
