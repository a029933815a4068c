//! One attachment, or those of one network, as a door that does not run for long asks about them.

use crate::activate::host_state;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::outcome::Finding;
use crate::recover::places;
use crate::session::Session;
use qiao_core::driver::{implied_state, network_state};
use qiao_core::owner::EndpointId;
use qiao_core::{Driver, Endpoint, Network, NetworkName};
use qiao_kernel::Kernel;

impl<K: Kernel> Engine<K> {
    /// What of an endpoint, of its network and of the host is not as it must be. Nothing is touched.
    pub fn inspect(&mut self, endpoint: &Endpoint) -> Result<Vec<Finding>, EngineError> {
        let mut session = Session::view(self)?;
        session.kernel.trust(None);
        let active = session.txn.active()?;
        let mut wanted = host_state(&active, &session.txn.saved()?);
        let network = session.txn.network(endpoint.network())?;
        if let (Some(network), Some(activation)) = (network, active.get(endpoint.network())) {
            wanted.extend(network_state(&network, activation));
            wanted.extend(implied_state(&network, activation));
            wanted.extend(session.wanted(&network, activation, endpoint));
        }
        let plan = session.missing(&wanted, &places(endpoint))?;
        Ok(plan.ops().iter().map(|op| Finding { line: qiao_core::render::line(op) }).collect())
    }

    /// Whether the host has what a network needs. Nothing is touched.
    pub fn can_serve(&mut self, network: &Network) -> Result<(), EngineError> {
        let mut session = Session::view(self)?;
        session.kernel.facts()?;
        if let Driver::Solo(solo) = &network.driver {
            return session.can_serve_solo(solo);
        }
        if let Some(bridge) = network.bridge() {
            return session.refuse_no_filtering(bridge, false);
        }
        match network.child() {
            Some(child) if child.inside => session.needs_kind(child.mode.kind()),
            Some(child) => session.parent(child, None).map(drop),
            None => Ok(()),
        }
    }

    /// Detaches the endpoints of a network that `lives` does not know, each as far as it goes; which they were. What
    /// bears the mark of such a one without a record goes too.
    pub fn collect_network(
        &mut self,
        network: &NetworkName,
        lives: &dyn Fn(&EndpointId) -> bool,
    ) -> Result<Vec<Endpoint>, EngineError> {
        let done = self.begin().and_then(|mut session| {
            let gone = session.detach_all(network, &mut |_, endpoint| lives(&endpoint.id));
            session.collect_lost(network, lives).and(gone)
        });
        self.told(done)
    }

    /// The same for those whose namespace is gone.
    pub fn collect_gone(&mut self, network: &NetworkName) -> Result<Vec<Endpoint>, EngineError> {
        let done = self.begin().and_then(|mut session| session.detach_all(network, &mut Session::lives));
        self.told(done)
    }
}

impl<K: Kernel> Session<'_, K> {
    fn detach_all(
        &mut self,
        network: &NetworkName,
        lives: &mut dyn FnMut(&mut Self, &Endpoint) -> bool,
    ) -> Result<Vec<Endpoint>, EngineError> {
        let (mut gone, mut failed) = (Vec::new(), None);
        for endpoint in self.txn.endpoints()?.into_iter().filter(|e| e.network() == network) {
            if lives(self, &endpoint) {
                continue;
            }
            match self.detach_one(&endpoint) {
                Ok(_) => gone.push(endpoint),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(gone), Err)
    }
}
