//! A container's networks.

use super::files;
use super::spec::on_host;
use crate::app::App;
use crate::args::{NetworkOption, Run};
use crate::output;
use qiao_container::{Files, Spec, Started};
use qiao_core::request::{self, Wish};
use qiao_core::settings::Settings;
use qiao_core::{Code, Endpoint, Refusal, SandboxName};
use qiao_engine::{Attached, Engine, EngineError};
use qiao_kernel::Linux;
use std::net::IpAddr;

/// The networks that a container shall be attached to.
#[derive(Debug)]
pub struct Wires<'a> {
    args: &'a Run,
    networks: Vec<Option<NetworkOption>>,
}

impl<'a> Wires<'a> {
    /// Reads them, and looks whether they exist.
    pub fn of(engine: &Engine<Linux>, args: &'a Run) -> Result<Self, EngineError> {
        let mut networks: Vec<Option<NetworkOption>> = args.network.iter().cloned().map(Some).collect();
        for network in networks.iter_mut().flatten() {
            network.name = engine.find_network(network.name.as_str())?.name;
        }
        if networks.is_empty() {
            networks.push(None);
        }
        Ok(Wires { args, networks })
    }

    /// Attaches the container to all of them.
    pub fn attach(&self, app: &App, spec: &Spec, started: &Started) -> Result<Joined, EngineError> {
        let mut engine = app.engine()?;
        let netns = (!on_host(self.args)).then(|| started.netns());
        let mut joined = Joined::default();
        for (place, network) in self.networks.iter().enumerate() {
            if app.interrupted().is_some() {
                break; // the container does not run
            }
            let request = self.request(spec, network.as_ref(), (place == 0, netns.clone()));
            joined.add(engine.attach(&request)?);
            super::super::attach::tell_notes(&engine);
        }
        Ok(joined)
    }

    fn request(
        &self,
        spec: &Spec,
        network: Option<&NetworkOption>,
        (first, netns): (bool, Option<String>),
    ) -> request::Attach {
        let wish = network.map(|n| Wish { ip: n.ip, ip6: n.ip6, mac: n.mac }).unwrap_or_default();
        let mut request = request::Attach { netns, wish, ..request::Attach::new(spec.name.clone()) };
        request.network = network.map(|n| n.name.clone());
        request.ifname = network.and_then(|n| n.ifname.clone());
        request.names.upstreams.clone_from(&self.args.inside.dns);
        if first {
            request.names.aliases.clone_from(&self.args.naming.alias);
            // What is said of no network in particular is meant for the first.
            request.wish.ip = request.wish.ip.or(self.args.ip);
            request.wish.ip6 = request.wish.ip6.or(self.args.ip6);
            request.wish.mac = request.wish.mac.or(self.args.mac_address);
            request.publish = self.args.publishing.publish.clone();
        }
        request
    }

    /// The files that say where the container is.
    pub fn files(&self, settings: &Settings, spec: &Spec, joined: &Joined) -> Files {
        let hosts = files::hosts(&self.args.inside, spec, &joined.endpoints);
        let asked = joined.resolvers();
        if !asked.is_empty() {
            return Files { hosts, resolv: files::named_resolv(&self.args.inside, &asked) };
        }
        let (resolv, warning) =
            files::resolv((&self.args.inside, settings), &joined.endpoints, on_host(self.args));
        warning.into_iter().for_each(|text| output::note(format!("warning: {text}")));
        Files { hosts, resolv }
    }
}

/// What a container has been attached to.
#[derive(Debug, Default)]
pub struct Joined {
    endpoints: Vec<Endpoint>,
    /// The gateways that are asked for names; of networks that lead somewhere, and of others.
    outward: Vec<IpAddr>,
    internal: Vec<IpAddr>,
}

impl Joined {
    fn add(&mut self, attached: Attached) {
        let Attached { endpoint, network, .. } = attached;
        self.endpoints.push(endpoint);
        if network.bridge().is_none_or(|bridge| bridge.dns.is_none()) {
            return;
        }
        let into = if network.is_internal() { &mut self.internal } else { &mut self.outward };
        into.extend(network.pools().iter().map(|pool| pool.gateway));
    }

    /// Who is asked for names. A gateway that leads nowhere knows only its members: it is asked last.
    fn resolvers(&self) -> Vec<IpAddr> {
        self.outward.iter().chain(&self.internal).copied().collect()
    }
}

/// Takes all networks away. That there are none is no error.
pub fn detach(app: &App, name: &SandboxName) -> Result<(), EngineError> {
    let request = request::Detach { sandbox: name.clone(), network: None, ifname: None };
    let mut engine = app.engine()?;
    let detached = engine.detach(&request);
    super::super::attach::tell_notes(&engine);
    match detached {
        Err(EngineError::Refused(Refusal { code: Code::NotFound, .. })) => Ok(()),
        result => result.map(|_| ()),
    }
}
