//! What a firewall that is a program has to be told: whose packets it must not drop. It is told after a command, when the
//! lock is free again: it takes its time, and answers what becomes of others' rules too.

use crate::engine::Engine;
use crate::error::EngineError;
use qiao_core::zones::{Certainty, Part, Sources, TRUSTED, Wanted, Zones};
use qiao_core::{Endpoint, Network};
use qiao_kernel::Kernel;
use qiao_store::{Store, StoreError};

impl<K: Kernel> Engine<K> {
    /// With somebody who tells such a firewall.
    #[must_use]
    pub fn with_zones(mut self, zones: Box<dyn Zones>) -> Self {
        self.zones = Some(zones);
        self
    }

    /// Tells it, whatever came of a command: also one that failed may have ended what another one began.
    pub(crate) fn told<T>(&mut self, done: Result<T, EngineError>) -> Result<T, EngineError> {
        self.settle_zones(Certainty::None);
        done
    }

    /// The same after a command about endpoints. Where no rule of the host's has changed since the command before, such a
    /// firewall has forgotten nothing, and need not be asked.
    pub(crate) fn told_of<T>(
        &mut self,
        done: Result<T, EngineError>,
        endpoints: fn(&T) -> &[Endpoint],
    ) -> Result<T, EngineError> {
        let has_zone = |endpoint: &Endpoint| endpoint.wire.as_ref().is_some_and(|w| w.extras.zone.is_some());
        let is_quiet = done.as_ref().is_ok_and(|done| !endpoints(done).iter().any(has_zone));
        let is_unmoved = is_quiet && self.kernel.is_unmoved();
        self.settle_zones(if is_unmoved { Certainty::Unmoved } else { Certainty::None });
        done
    }

    fn settle_zones(&mut self, known: Certainty) {
        if let Some(zones) = &mut self.zones {
            let store = &self.store;
            zones.settle(known, &mut |part| wanted(store, part).ok());
        }
    }

    /// What it was not told, or has forgotten.
    pub(crate) fn untold(&mut self) -> Result<Vec<String>, EngineError> {
        let Some(zones) = &mut self.zones else { return Ok(Vec::new()) };
        Ok(zones.lacking(&wanted(&self.store, Part::All)?.sources))
    }
}

/// The subnets of networks of our own kind in use; of others the addresses for which their doors asked for it.
fn wanted(store: &Store, part: Part) -> Result<Wanted, StoreError> {
    let (mut sources, mut has_others, mut lacks_some) = (Sources::new(), false, false);
    for name in store.active()?.keys() {
        let Some(network) = store.network(name)? else {
            lacks_some = true;
            continue;
        };
        if !is_own(&network) {
            has_others = true;
            continue;
        }
        sources.extend(network.pools().iter().map(|pool| (pool.subnet.into(), TRUSTED.to_owned())));
    }
    if has_others && part == Part::All {
        lacks_some |= !store.unreadable()?.is_empty();
        for endpoint in store.endpoints()? {
            let Some(zone) = endpoint.wire.as_ref().and_then(|wire| wire.extras.zone.as_ref()) else {
                continue;
            };
            sources.extend(endpoint.addresses().iter().map(|net| (net.addr().into(), zone.clone())));
        }
    }
    Ok(Wanted { sources, lacks_some })
}

/// Whether a network says itself who reaches whom.
fn is_own(network: &Network) -> bool {
    network.bridge().is_some_and(|bridge| bridge.inline.is_none_or(|inline| inline.closed))
}
