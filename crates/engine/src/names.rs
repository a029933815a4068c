//! Names: what the name server is told of an endpoint, and that it serves before the attachment counts.
//!
//! The endpoint's link is made before the server is looked for, and the server looks for links once more after it
//! said that it ends: so one of the two always sees the other.

use crate::error::EngineError;
use crate::session::Session;
use qiao_core::names::{LINE_MAX, Named};
use qiao_core::network::Pool;
use qiao_core::port::{Listen, PortRange, Protocol, Publish};
use qiao_core::{Endpoint, Network, Refusal};
use qiao_kernel::{Kernel, holders};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The hidden command of `qiao` that is the name server: `NAME_SERVER RUN STATE`.
pub const NAME_SERVER: &str = "name-server";
/// How long the server may take to listen on a network's gateways.
const PATIENCE: Duration = Duration::from_secs(1);

impl<K: Kernel> Session<'_, K> {
    /// What the name server is told of an endpoint; none where its network has no names.
    pub(crate) fn named(&self, network: &Network, endpoint: &Endpoint) -> Option<Named> {
        let dns = network.bridge()?.dns.as_ref()?;
        let wire = endpoint.wire.as_ref()?;
        let own = wire.extras.names.as_ref()?;
        let aliases = own.aliases.iter().map(ToString::to_string);
        let lists = [&own.upstreams, &dns.upstreams, &self.settings.dns];
        let ports: BTreeSet<String> = wire.publish.iter().flat_map(ports).collect();
        Some(Named {
            network: network.name.to_string(),
            gateways: network.pools().iter().map(Pool::gateway_net).collect(),
            internal: network.is_internal(),
            addresses: wire.addresses.iter().map(|net| net.addr()).collect(),
            names: std::iter::once(endpoint.sandbox().to_string()).chain(aliases).collect(),
            upstreams: lists.into_iter().find(|list| !list.is_empty()).cloned().unwrap_or_default(),
            ports: ports.into_iter().take(64).collect(),
        })
    }

    /// Refuses names that the server could not be told of.
    pub fn refuse_names(&self, network: &Network, endpoint: &Endpoint) -> Result<(), Refusal> {
        match self.named(network, endpoint).map(|named| named.to_string().len()) {
            Some(length) if length > LINE_MAX => Err(Refusal::invalid("too many aliases")
                .why(format!("all names together take {LINE_MAX} octets"))),
            _ => Ok(()),
        }
    }

    /// Tells the name server of an endpoint, and starts it where there is none; it starts while the rest goes on.
    /// Whether the network is served already.
    pub fn tell_names(&mut self, network: &Network, endpoint: &Endpoint) -> Result<bool, EngineError> {
        let Some(named) = self.named(network, endpoint) else { return Ok(true) };
        self.txn.names().put(&endpoint.id.key(), &named.to_string())?;
        if !self.txn.names().is_running()? {
            self.start_names(network)?;
            return Ok(false);
        }
        Ok(self.txn.names().served(network.name.as_str())? == Some(Ok(())))
    }

    /// Tells the name server of an endpoint that may have changed.
    pub fn tell_names_again(&mut self, endpoint: &Endpoint) -> Result<(), EngineError> {
        if endpoint.wire.as_ref().is_none_or(|wire| wire.extras.names.is_none()) {
            return Ok(());
        }
        let Some(network) = self.txn.network(endpoint.network())? else { return Ok(()) };
        // What it knows it need not be told: a full disk hinders no change that has nothing to do with names.
        let told = self.txn.names().line(&endpoint.id.key())?;
        if told.is_some() && told == self.named(&network, endpoint).map(|named| named.to_string()) {
            return Ok(());
        }
        self.tell_names(&network, endpoint).map(drop)
    }

    fn start_names(&mut self, network: &Network) -> Result<bool, EngineError> {
        self.txn.names().forget_served(network.name.as_str())?;
        let paths = self.txn.paths();
        Ok(self.kernel.start_detached(&[NAME_SERVER, &paths.run, &paths.state])?)
    }

    /// Waits until a network's names are served.
    pub fn await_names(&mut self, network: &Network, endpoint: &Endpoint) -> Result<(), EngineError> {
        if self.named(network, endpoint).is_none() {
            return Ok(());
        }
        self.refuse_translated(network)?;
        let (start, mut step) = (Instant::now(), Duration::from_micros(50));
        let mut tried = start;
        loop {
            let running = self.txn.names().is_running()?;
            match self.txn.names().served(network.name.as_str())?.filter(|_| running) {
                Some(Ok(())) => return Ok(()),
                // Who has the port may be about to end.
                Some(Err(why)) if start.elapsed() > PATIENCE / 2 => {
                    return Err(unserved(network, holders::explain(&why)).into());
                }
                Some(Err(_)) => {}
                None if start.elapsed() > PATIENCE => return Err(self.unheard(network)?.into()),
                // It ended before it saw us, or somebody ended it.
                None if !running && tried.elapsed() > PATIENCE / 8 => {
                    tried = Instant::now();
                    self.start_names(network)?;
                }
                None if !self.kernel.starts_processes() => return Ok(()),
                None => {}
            }
            std::thread::sleep(step);
            step = (step * 2).min(Duration::from_micros(500));
        }
    }

    /// The server is silent, or somebody ends it each time.
    fn unheard(&mut self, network: &Network) -> Result<Refusal, EngineError> {
        let Some(number) = self.txn.names().process()? else {
            return Ok(unserved(network, "the name server does not answer".into()));
        };
        let why = format!("the name server, process {number}, does not answer");
        let silent = Refusal::conflict(format!("the names of network `{}` cannot be served", network.name));
        Ok(silent.why(why).fix(format!("kill -9 {number}; qiao repair")))
    }

    /// Refuses to serve names where port 53 of the gateways leads into a container already.
    fn refuse_translated(&self, network: &Network) -> Result<(), EngineError> {
        let port = PortRange::one(53)?;
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            for binding in self.txn.claims().bindings(protocol, port)? {
                let Listen { host, ports, .. } = binding.listen;
                let here = network.pools().iter().any(|pool| pool.gateway == host.ip());
                if ports.ports().any(|port| port == 53) && (host.ip().is_unspecified() || here) {
                    let why = format!("{} publishes {}", binding.owner, binding.listen);
                    let refusal = unserved(network, why);
                    return Err(refusal
                        .fix("-p IP:53:53        (on one address of the host, not on all)")
                        .into());
                }
            }
        }
        Ok(())
    }

    /// Tells the name server of every endpoint again, takes away what belongs to none, and starts it.
    pub fn mend_names(&mut self) -> Result<(), EngineError> {
        let silent = self.silence()?.map(Refusal::conflict);
        let mut known: BTreeSet<String> = self.unreadable_keys()?.into_iter().collect();
        let mut served = Vec::new();
        for endpoint in self.txn.endpoints()? {
            let Some(network) = self.txn.network(endpoint.network())? else { continue };
            if self.named(&network, &endpoint).is_some() {
                known.insert(endpoint.id.key());
                self.tell_names(&network, &endpoint)?;
                served = vec![(network, endpoint)];
            }
        }
        for key in self.txn.names().keys()?.into_iter().filter(|key| !known.contains(key)) {
            self.txn.names().take(&key)?;
        }
        served.into_iter().try_for_each(|(network, endpoint)| self.await_names(&network, &endpoint))?;
        silent.map_or(Ok(()), |refusal| Err(refusal.into()))
    }
}

/// What a container offers, for SRV.
fn ports(publish: &Publish) -> Vec<String> {
    let (first, listen) = (publish.backend.port, publish.listen);
    (0..listen.ports.count().min(64))
        .map(|n| format!("{}/{}", first.saturating_add(n), listen.protocol))
        .collect()
}

fn unserved(network: &Network, why: String) -> Refusal {
    Refusal::conflict(format!("the names of network `{}` cannot be served", network.name))
        .why(why)
        .fix("ss -lnp 'sport = :53'           (which process has the port)")
        .fix("qiao network create … --dns off    (a network without names)")
}
