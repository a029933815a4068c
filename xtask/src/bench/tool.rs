//! The programs that are compared.

use crate::bench::chain::{Call, Chain};
use crate::bench::sample::Sample;
use crate::bench::world::{Run, Subject, World, load};
use crate::shell::find;
use anyhow::{Context, Result};
use qiao_conformance::Attachment;
use qiao_testbed::Place;
use serde_json::json;
use std::fs;
use std::path::Path;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program that does nothing.
    Empty,
    /// The least that can be done.
    Floor,
    /// The command.
    Qiao,
    /// Podman's.
    Netavark,
    /// Kubernetes': bridge, host-local and portmap.
    Cni,
}

/// A program on its host.
#[derive(Debug)]
pub struct Tool<'w> {
    /// Which.
    pub kind: Kind,
    /// Its host.
    pub host: Place,
    world: &'w World,
}

const NETAVARK: &str = "/usr/lib/podman/netavark";
const CNI: &str = "/usr/lib/cni";
/// The first index that the floor program gives its links.
const FLOOR_INDEX: usize = 10_000;

impl<'w> Tool<'w> {
    /// A tool that is installed here, with an empty network.
    pub fn new(world: &'w World, kind: Kind) -> Result<Option<Self>> {
        let is_here = match kind {
            Kind::Netavark => Path::new(NETAVARK).exists() && find("iptables").is_some(),
            Kind::Cni => Path::new(CNI).join("portmap").exists() && find("iptables").is_some(),
            _ => true,
        };
        if !is_here {
            return Ok(None);
        }
        let tool = Self { kind, host: world.host(&format!("{kind:?}").to_lowercase()), world };
        tool.prepare()?;
        Ok(Some(tool))
    }

    /// Where it is.
    pub fn world(&self) -> &'w World {
        self.world
    }

    fn prepare(&self) -> Result<()> {
        match self.kind {
            Kind::Floor => {
                for line in [
                    "ip link add br-floor type bridge mcast_snooping 0",
                    "ip addr add 10.65.0.1/16 dev br-floor",
                ] {
                    self.host.run(line);
                }
                self.host.run("ip link set br-floor addrgenmode none up");
                load(&self.host, qiao_floor::nft::TABLE)
            }
            Kind::Qiao => self
                .qiao("network create bench --subnet 10.64.0.0/16 --ipv6=false --dns off".split(' '))
                .map(drop),
            _ => Ok(()),
        }
    }

    /// Attaches a container.
    pub fn attach(&self, subject: Subject<'_>) -> Result<Sample> {
        match self.kind {
            Kind::Empty => self.run(vec![self.world.program("empty")]),
            Kind::Floor => self.floor("attach", subject),
            Kind::Qiao => self.qiao_attach(subject),
            Kind::Netavark => self.netavark("setup", subject),
            Kind::Cni => self.cni("ADD", subject),
        }
    }

    /// Detaches it.
    pub fn detach(&self, subject: Subject<'_>) -> Result<Sample> {
        match self.kind {
            Kind::Empty => self.run(vec![self.world.program("empty")]),
            Kind::Floor => self.floor("detach", subject),
            Kind::Qiao => self.qiao(["detach", &format!("b{}", subject.number)]),
            Kind::Netavark => self.netavark("teardown", subject),
            Kind::Cni => self.cni("DEL", subject),
        }
    }

    fn run(&self, words: Vec<String>) -> Result<Sample> {
        self.world.time(&Run { host: &self.host, words, input: None, output: None, env: Vec::new() })
    }

    fn floor(&self, act: &str, subject: Subject<'_>) -> Result<Sample> {
        let Subject { place, number, port, ports } = subject;
        let (host_if, index) = (format!("f{number}"), FLOOR_INDEX + number);
        let mut words = vec![self.world.program("qiao-floor"), act.to_owned(), place.path(), host_if];
        words.extend([index.to_string(), "br-floor".to_owned()]);
        words.extend([number + 1, port.into(), ports.into()].map(|number: usize| number.to_string()));
        self.run(words)
    }

    fn qiao_attach(&self, subject: Subject<'_>) -> Result<Sample> {
        let Subject { place, number, port, ports } = subject;
        let mut words = vec!["attach".to_owned(), format!("b{number}"), "--netns".to_owned(), place.path()];
        words.extend(["--network", "bench"].map(str::to_owned));
        let publish = (0..ports).map(|n| format!("{}:80", port + 2 * n));
        words.extend(publish.flat_map(|publish| ["-p".to_owned(), publish]));
        self.qiao(words.iter().map(String::as_str))
    }

    /// Runs `qiao` on its host.
    pub fn qiao<'s>(&self, words: impl IntoIterator<Item = &'s str>) -> Result<Sample> {
        let program = self.world.program("qiao");
        let words = std::iter::once(program).chain(words.into_iter().map(str::to_owned)).collect();
        let env = self.world.env();
        self.world.time(&Run { host: &self.host, words, input: None, output: None, env })
    }

    fn netavark(&self, act: &str, subject: Subject<'_>) -> Result<Sample> {
        let input = Path::new("/run/bench/netavark.json");
        fs::write(input, netavark_request(subject).to_string()).context("write netavark's request")?;
        let words = [NETAVARK, "--config", "/run/bench/netavark", act, &subject.place.path()];
        let words = words.map(str::to_owned).to_vec();
        self.world.time(&Run { host: &self.host, words, input: Some(input), output: None, env: Vec::new() })
    }

    /// The plugins one after the other, as a runtime starts them.
    fn cni(&self, act: &str, Subject { place, number, port, .. }: Subject<'_>) -> Result<Sample> {
        let chain = Chain::new((Path::new(CNI), "bench"), &[Chain::portmap()]);
        let mappings = json!({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]});
        let attachment = Attachment::of(place).named(&format!("b{number}")).offering(mappings);
        let (input, output) = (Path::new("/run/bench/cni.json"), Path::new("/run/bench/cni-answer.json"));
        let mut all = Sample::default();
        let mut run = |call: &Call| {
            fs::write(input, &call.input).context("write the request")?;
            let (words, env) = (vec![call.program.clone()], call.env.clone());
            all = all
                + self.world.time(&Run {
                    host: &self.host,
                    words,
                    input: Some(input),
                    output: Some(output),
                    env,
                })?;
            fs::read_to_string(output).context("read the answer")
        };
        let kept = format!("/run/bench/cni-result-{number}.json");
        if act == "ADD" {
            let result = chain.add(&attachment, &mut run)?;
            fs::write(&kept, result.to_string()).context("keep the result")?;
        } else {
            let result = fs::read_to_string(&kept).context("read the result")?;
            chain.del((&attachment, &serde_json::from_str(&result)?), &mut run)?;
        }
        Ok(all)
    }
}

fn netavark_request(Subject { number, port, .. }: Subject<'_>) -> serde_json::Value {
    let id = format!("{number:064x}");
    let ip = format!("10.66.{}.{}", (number + 1) / 256, (number + 1) % 256);
    json!({
        "container_id": id, "container_name": format!("b{number}"),
        "networks": {"bench": {"static_ips": [ip], "interface_name": "eth0"}},
        "network_info": {"bench": {
            "name": "bench", "id": format!("{:064x}", 1), "driver": "bridge", "network_interface": "podman9",
            "subnets": [{"subnet": "10.66.0.0/16", "gateway": "10.66.0.1"}],
            "ipv6_enabled": false, "internal": false, "dns_enabled": false, "options": {},
            "ipam_options": {"driver": "host-local"},
        }},
        "port_mappings": [{"container_port": 80, "host_port": port, "host_ip": "", "protocol": "tcp", "range": 1}],
    })
}
