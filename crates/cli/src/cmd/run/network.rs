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
use qiao_engine::{Engine, EngineError};
use qiao_kernel::Linux;

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
    pub fn attach(&self, app: &App, spec: &Spec, started: &Started) -> Result<Vec<Endpoint>, EngineError> {
        let mut engine = app.engine()?;
        let netns = (!on_host(self.args)).then(|| started.netns());
        let mut endpoints = Vec::new();
        for (place, network) in self.networks.iter().enumerate() {
            let request = self.request(spec, network.as_ref(), (place == 0, netns.clone()));
            endpoints.push(engine.attach(&request)?.endpoint);
            super::super::attach::tell_notes(&engine);
        }
        Ok(endpoints)
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
        if first {
            // What is said of no network in particular is meant for the first.
            request.wish.ip = request.wish.ip.or(self.args.ip);
            request.wish.ip6 = request.wish.ip6.or(self.args.ip6);
            request.wish.mac = request.wish.mac.or(self.args.mac_address);
            request.publish = self.args.publishing.publish.clone();
        }
        request
    }

    /// The files that say where the container is.
    pub fn files(&self, settings: &Settings, spec: &Spec, endpoints: &[Endpoint]) -> Files {
        let hosts = files::hosts(&self.args.inside, spec, endpoints);
        let (resolv, warning) = files::resolv((&self.args.inside, settings), endpoints, on_host(self.args));
        warning.into_iter().for_each(|text| output::note(format!("warning: {text}")));
        Files { hosts, resolv }
    }
}

/// Takes all networks away. That there are none is no error.
pub fn detach(app: &App, name: &SandboxName) -> Result<(), EngineError> {
    let request = request::Detach { sandbox: name.clone(), network: None, ifname: None };
    match app.engine()?.detach(&request) {
        Err(EngineError::Refused(Refusal { code: Code::NotFound, .. })) => Ok(()),
        result => result.map(|_| ()),
    }
}
