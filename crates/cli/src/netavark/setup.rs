//! `setup`: a container joins its networks, all of them or none.

use super::call::{Call, failure};
use super::{dns, sysctl};
use qiao_core::request::{Attach, Detach};
use qiao_doors::netavark::answer::{self, Joined};
use qiao_doors::netavark::dns::Entry;
use qiao_doors::netavark::setting::{self, Context};
use qiao_doors::netavark::{Failure, Network, Options, PerNetwork};
use qiao_engine::{Attached, Engine};
use qiao_kernel::{Kernel, Linux};
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::path::Path;

/// A network that is joined: what is asked for, and how it is taken back.
struct Job<'a> {
    own: &'a PerNetwork,
    network: &'a Network,
    attach: Attach,
    leave: Detach,
}

/// What there is of a container while it is being set up.
struct Setup<'a> {
    options: &'a Options,
    netns: &'a str,
    engine: Engine<Linux>,
    begun: Vec<Detach>,
    lines: Vec<dns::Line>,
    answer: Map<String, Value>,
}

/// Runs.
pub fn setup(call: &Call, netns: &Path) -> Result<Value, Failure> {
    std::fs::metadata(netns)
        .map_err(|error| Failure(format!("invalid namespace path: IO error: {error}")))?;
    let netns = netns.to_str().ok_or_else(|| Failure("invalid namespace path: it is not UTF-8".into()))?;
    let options = call.options()?;
    let networks = options.joined()?;
    let firewall = call.firewall()?;
    let dns_port = Some(call.dns_port()?);
    call.config()?;
    let context = Context { options: &options, netns, firewall, rootless: call.line.rootless, dns_port };
    let jobs = networks.into_iter().map(|network| job(context, network)).collect::<Result<Vec<_>, _>>()?;
    let mut setup = Setup {
        options: &options,
        netns,
        engine: call.engine()?,
        begun: Vec::new(),
        lines: Vec::new(),
        answer: Map::new(),
    };
    let done = jobs.iter().try_for_each(|job| setup.join(job)).and_then(|()| dns::add(call, &setup.lines));
    match done {
        Ok(()) => Ok(Value::Object(setup.answer)),
        Err(failure) => Err(setup.take_back(failure)),
    }
}

/// What a network asks for: the last place to refuse.
fn job<'a>(context: Context<'_>, (own, network): (&'a PerNetwork, &'a Network)) -> Result<Job<'a>, Failure> {
    match network.driver.as_str() {
        "bridge" => {}
        other => return Err(Failure(format!("the network driver {other} is not there yet"))),
    }
    let attach = setting::attach(context, (own, network))?;
    if network.dns_enabled {
        Entry::new(context.options, (own, network), &[])?;
    }
    Ok(Job { own, network, attach, leave: setting::detach(context.options, (own, network))? })
}

impl Setup<'_> {
    fn join(&mut self, job: &Job<'_>) -> Result<(), Failure> {
        let made = self.engine.attach(&job.attach).map_err(failure)?;
        self.begun.push(job.leave.clone());
        let wire = made.endpoint.wire.as_ref();
        let mac = wire.map(|wire| wire.mac.to_string()).unwrap_or_default();
        if job.network.option("mode") != Some("unmanaged") {
            sysctl::bridge(&made, job.network)?;
        }
        sysctl::inside(self.netns, &job.own.interface_name, job.network)?;
        let addresses = made.endpoint.addresses().to_vec();
        let resolvers = self.resolvers(job.network, &made)?;
        if job.network.dns_enabled && !resolvers.is_empty() {
            self.lines.push(dns::Line {
                file: qiao_doors::netavark::dns::file(&job.network.name, job.network.internal),
                header: header(job.network, &resolvers),
                entry: Entry::new(self.options, (job.own, job.network), &addresses)?,
            });
        }
        let joined = Joined { mac, addresses, resolvers };
        let reply = answer::network(self.options, (job.own, job.network), &joined);
        self.answer.insert(job.network.name.clone(), reply);
        Ok(())
    }

    /// Where names are resolved: at the gateways, or at the addresses that somebody else's bridge has.
    fn resolvers(&mut self, network: &Network, made: &Attached) -> Result<Vec<IpAddr>, Failure> {
        let device = made.network.bridge().filter(|_| network.option("mode") == Some("unmanaged"));
        let Some(bridge) = device.filter(|_| network.dns_enabled) else { return Ok(network.gateways()) };
        let link = self.engine.kernel().link(&bridge.device);
        let link = link.map_err(|error| Failure(error.to_string()))?;
        Ok(link.map(|link| link.addresses.iter().map(|net| net.addr()).collect()).unwrap_or_default())
    }

    /// Leaves what was joined, the last one first.
    fn take_back(&mut self, failure: Failure) -> Failure {
        let mut left = Vec::new();
        for leave in self.begun.drain(..).rev() {
            left.extend(self.engine.detach(&leave).err().map(super::call::failure));
        }
        left.iter().fold(failure, |all, more| Failure(format!("{all}; taking it back: {more}")))
    }
}

fn header(network: &Network, listen: &[IpAddr]) -> String {
    let upstreams = network.network_dns_servers.as_deref().unwrap_or_default();
    qiao_doors::netavark::dns::header(listen, upstreams)
}
