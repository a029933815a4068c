//! `setup`: a container joins its networks, all of them or none.

use super::bridge::{has_names, is_unmanaged, need_bridge, need_vrf, resolvers};
use super::call::Call;
use super::explain::explain;
use super::plugin::{self, Plugin};
use super::{dns, log, sysctl};
use qiao_core::IfName;
use qiao_core::request::{Attach, Detach};
use qiao_doors::netavark::answer::{self, Joined};
use qiao_doors::netavark::dns::{Entry, file, is_no_word, names};
use qiao_doors::netavark::setting::{self, Context};
use qiao_doors::netavark::{Failure, Network, Options, PerNetwork};
use qiao_engine::{Attached, Engine};
use qiao_kernel::{Kernel, Linux};
use serde_json::{Map, Value};
use std::net::IpAddr;

/// A network that is joined: what is asked for, and how it is taken back.
struct Job<'a> {
    own: &'a PerNetwork,
    network: &'a Network,
    act: Act,
    /// Where names are resolved; nowhere on a network that has none.
    listen: Vec<IpAddr>,
}

/// Who makes a network's interfaces.
enum Act {
    /// We do: what is asked for, and how it is taken back.
    Ours(Box<Attach>, Detach),
    /// A plugin does.
    Theirs(Plugin),
}

/// What was begun.
enum Begun<'a> {
    Ours(Detach),
    Theirs(&'a Job<'a>),
}

/// What there is of a container while it is being set up.
struct Setup<'a> {
    options: &'a Options,
    netns: &'a str,
    engine: Engine<Linux>,
    begun: Vec<Begun<'a>>,
    /// What was joined, by jobs.
    made: Vec<(&'a Job<'a>, Attached)>,
    lines: Vec<dns::Line>,
    answer: Map<String, Value>,
}

/// Runs.
pub fn setup(call: &Call, netns: &str) -> Result<Value, Failure> {
    std::fs::metadata(netns)
        .map_err(|error| Failure(format!("invalid namespace path: IO error: {error}")))?;
    let options = call.options()?;
    let networks = options.joined()?;
    let firewall = call.firewall()?;
    let dns_port = Some(call.dns_port()?);
    call.config()?;
    let context = Context { options: &options, netns, firewall, rootless: call.line.rootless, dns_port };
    let mut jobs =
        networks.into_iter().map(|network| job(call, context, network)).collect::<Result<Vec<_>, _>>()?;
    let listening: Vec<(&Network, &[IpAddr])> =
        jobs.iter().filter(|job| has_names(job.network)).map(|job| (job.network, &*job.listen)).collect();
    qiao_doors::netavark::dns::check(&options, &listening)?;
    // The default routes are those of the first; of several the lowest metric counts.
    jobs.sort_by_key(|job| setting::metric(job.network).unwrap_or_default());
    let mut setup = Setup {
        options: &options,
        netns,
        engine: call.engine()?,
        begun: Vec::new(),
        made: Vec::new(),
        lines: Vec::new(),
        answer: Map::new(),
    };
    let early = jobs.iter().any(|job| has_names(job.network)).then(|| dns::begin(call)).flatten();
    let done = jobs.iter().try_for_each(|job| setup.join(job));
    let done = done.and_then(|()| dns::add(call, &setup.lines, early, &|| setup.settings()));
    match done {
        Ok(()) => Ok(Value::Object(setup.answer)),
        Err(failure) => {
            let failure = setup.take_back(failure);
            jobs.iter().for_each(|job| sysctl::forget(job.network));
            Err(failure)
        }
    }
}

/// What a network asks for: the last place to refuse.
fn job<'a>(
    call: &Call,
    context: Context<'_>,
    (own, network): (&'a PerNetwork, &'a Network),
) -> Result<Job<'a>, Failure> {
    let leave = setting::detach(context.options, (own, network))?;
    let act = match network.driver.as_str() {
        "bridge" => {
            let attach = setting::attach(context, (own, network))?;
            need_vrf(network)?;
            need_bridge(network)?;
            Act::Ours(Box::new(attach), leave)
        }
        "macvlan" | "ipvlan" => {
            let attach = setting::attach_child(context, (own, network), parent(network)?)?;
            Act::Ours(Box::new(attach), leave)
        }
        driver => Act::Theirs(Plugin::find(driver, &call.line.plugins)?),
    };
    if has_names(network) {
        let bad = |name: &String| Some((name.clone(), is_no_word(name)?));
        for (name, why) in names(context.options, own).filter_map(bad) {
            let text = format!("invalid network alias {name:?}: {why}, ignoring this name");
            log::warn("network::bridge", text);
        }
    }
    Ok(Job { own, network, act, listen: resolvers(network)? })
}

/// The interface of the host that a network is on: that of the default route where nothing is said.
fn parent(network: &Network) -> Result<IfName, Failure> {
    if let Some(name) = network.network_interface.as_deref().filter(|name| !name.is_empty()) {
        return Ok(IfName::new(name)?);
    }
    let wrong = |error: qiao_kernel::KernelError| Failure(error.to_string());
    let facts = Linux::open().map_err(wrong)?.facts().map_err(wrong)?;
    let way = facts.ways.first().map(|(name, _)| name.clone());
    way.ok_or_else(|| Failure("failed to find default route interface".into()))
}

impl<'a> Setup<'a> {
    fn join(&mut self, job: &'a Job<'a>) -> Result<(), Failure> {
        let reply = match &job.act {
            Act::Ours(attach, leave) => self.attach(job, (attach, leave))?,
            Act::Theirs(plugin) => {
                self.begun.push(Begun::Theirs(job));
                plugin.setup(self.netns, &plugin::Input::new(self.options, (job.own, job.network)))?
            }
        };
        self.answer.insert(job.network.name.clone(), reply);
        Ok(())
    }

    fn attach(&mut self, job: &'a Job<'a>, (attach, leave): (&Attach, &Detach)) -> Result<Value, Failure> {
        if !is_unmanaged(job.network) {
            sysctl::announce(job.network)?;
        }
        let made = match self.engine.attach(attach) {
            Ok(made) => made,
            Err(error) => {
                return Err(explain((self.engine.kernel(), self.netns), (job.network, attach), error));
            }
        };
        self.begun.push(Begun::Ours(leave.clone()));
        log::plan("commands::setup", made.plan.ops());
        let addresses = made.endpoint.addresses().to_vec();
        let resolvers = job.listen.clone();
        if has_names(job.network) && !resolvers.is_empty() {
            self.lines.push(dns::Line {
                file: file(&job.network.name, job.network.internal),
                header: header(job.network, &resolvers),
                entry: Entry::new(self.options, job.own, &addresses),
            });
        }
        let mac = self.mac(&made)?;
        let lease = made.endpoint.wire.as_ref().and_then(|wire| wire.extras.leased.as_deref()).cloned();
        let joined = Joined { mac, addresses, resolvers, lease };
        self.made.push((job, made));
        Ok(answer::network(self.options, (job.own, job.network), &joined))
    }

    /// Sets what other tools look for.
    fn settings(&self) -> Result<(), Failure> {
        self.made.iter().try_for_each(|(job, made)| {
            if !is_unmanaged(job.network) {
                sysctl::bridge(made, job.network)?;
            }
            sysctl::inside(self.netns, &job.own.interface_name, job.network)
        })
    }

    /// The interface's hardware address: that of its parent where it has none of its own.
    fn mac(&mut self, made: &Attached) -> Result<String, Failure> {
        let Some(wire) = &made.endpoint.wire else { return Ok(String::new()) };
        if let Some(mac) = wire.own_mac() {
            return Ok(mac.to_string());
        }
        let link = self.engine.kernel().link(&wire.host_if);
        let link = link.map_err(|error| Failure(error.to_string()))?;
        Ok(link.and_then(|link| link.mac).map(|mac| mac.to_string()).unwrap_or_default())
    }

    /// Leaves what was joined, the last one first.
    fn take_back(&mut self, failure: Failure) -> Failure {
        let mut left = Vec::new();
        for begun in self.begun.drain(..).rev() {
            let done = match begun {
                Begun::Ours(leave) => self.engine.detach(&leave).map(drop).map_err(super::call::failure),
                Begun::Theirs(Job { own, network, act: Act::Theirs(plugin), .. }) => {
                    plugin.teardown(self.netns, &plugin::Input::new(self.options, (own, network)))
                }
                Begun::Theirs(_) => Ok(()),
            };
            left.extend(done.err());
        }
        left.retain(|more| *more != failure);
        left.iter().fold(failure, |all, more| Failure(format!("{all}; taking it back: {more}")))
    }
}

fn header(network: &Network, listen: &[IpAddr]) -> String {
    let upstreams = network.network_dns_servers.as_deref().unwrap_or_default();
    qiao_doors::netavark::dns::header(listen, upstreams)
}
