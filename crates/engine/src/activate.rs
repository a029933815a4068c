//! Bringing networks into use and out of it: what the host needs while any is, and how it was before.

use crate::error::EngineError;
use crate::session::Session;
use qiao_core::driver::{Activation, Active, ETHERNET_MTU, HostNeeds, is_closed};
use qiao_core::endpoint::Netns;
use qiao_core::plan::{Key, State, Sysctl, Value};
use qiao_core::subnet::Family;
use qiao_core::{Driver, Network, NetworkName, Owner, driver};
use qiao_kernel::{Facts, Kernel};
use qiao_store::Saved;
use std::collections::BTreeSet;

/// A network that is about to come into use.
#[derive(Clone, Debug)]
pub(crate) struct Activating {
    /// Every network in use afterwards.
    pub active: Active,
    /// How the host was before the first of them.
    pub saved: Saved,
}

impl<K: Kernel> Session<'_, K> {
    /// How a network would come into use, and what the host's state would be.
    pub fn activating(
        &mut self,
        (network, netns): (&Network, Option<&Netns>),
        facts: &Facts,
    ) -> Result<Activating, EngineError> {
        let mut active = self.txn.active()?;
        self.refuse_taken(network, facts)?;
        if let Some(bridge) = network.bridge() {
            let host = (facts.mtu.unwrap_or(ETHERNET_MTU), facts.bridge_netfilter);
            let mut activation = Activation::new(network, bridge, host);
            if bridge.inline.is_some() {
                self.join_bridge(&mut activation, (&network.name, &active))?;
                self.join_vlan(&mut activation, (network, bridge))?;
            }
            if is_closed(network) {
                activation.let_through(network, &self.kernel.drops_forwarded()?);
                activation.answer_names(network, &self.kernel.drops_incoming()?);
            }
            active.insert(network.name.clone(), activation);
        }
        if let Some(child) = network.child() {
            let found = self.parent(child, netns)?;
            active.insert(
                network.name.clone(),
                Activation::of_child(child, (found.mac, found.mtu), found.vlan),
            );
        }
        if matches!(network.driver, Driver::Solo(_)) {
            active.insert(network.name.clone(), Activation::of_solo(network));
        }
        let saved = self.saved_for(&active, facts)?;
        Ok(Activating { active, saved })
    }

    /// How the host is before we change it, where we have not changed it already.
    pub fn saved_for(&mut self, active: &Active, facts: &Facts) -> Result<Saved, EngineError> {
        let mut saved = self.txn.saved()?;
        let known = saved.map();
        let routes = routed(active);
        let mut wanted: Vec<(Sysctl, u32)> =
            routes.iter().map(|family| (Sysctl::forward(*family), 1)).collect();
        if routes.contains(&Family::V6) {
            wanted.extend(facts.advertised.iter().map(|link| (Sysctl::AcceptRa(link.clone()), 2)));
        }
        let had = saved.sysctls.len();
        for (sysctl, value) in wanted.into_iter().filter(|(sysctl, _)| !known.contains_key(sysctl)) {
            let now = self.kernel.sysctl(&sysctl)?;
            saved.sysctls.extend(now.filter(|now| *now != value).map(|now| (sysctl, now)));
        }
        if saved.sysctls.len() > had {
            saved.transit = self.transit(&saved)?;
        }
        if had == 0 && !saved.sysctls.is_empty() {
            saved.before = facts.links.iter().cloned().collect();
        }
        Ok(saved)
    }

    /// Notes that a network is in use no more. With it goes what was noted of the host for its sake.
    pub fn deactivate(&mut self, network: &NetworkName) -> Result<(), EngineError> {
        let mut active = self.txn.active()?;
        if active.remove(network).is_some() {
            self.txn.set_active(&active)?;
        }
        self.forget_returned(&active)?;
        if active.is_empty() {
            self.txn.forget_saved()?;
        }
        Ok(self.txn.forget_claims(network)?)
    }
}

/// The families that these networks route.
pub(crate) fn routed(active: &Active) -> BTreeSet<Family> {
    active.values().flat_map(|activation| activation.routes.iter().copied()).collect()
}

/// What must exist on the host while these networks are in use. With none, only the settings remain, as they
/// were before.
pub(crate) fn host_state(active: &Active, saved: &Saved) -> State {
    if active.is_empty() {
        return restored(saved.sysctls.iter());
    }
    let forward = routed(active);
    let (kept, unused) =
        saved.sysctls.iter().partition::<Vec<_>, _>(|(sysctl, _)| is_needed(sysctl, &forward));
    let advertised = kept.iter().filter_map(|(sysctl, _)| match sysctl {
        Sysctl::AcceptRa(link) => Some(link.clone()),
        _ => None,
    });
    let needs = HostNeeds {
        advertised: advertised.collect(),
        transit: saved.transit.clone(),
        forward: forward.into_iter().collect(),
        saved: saved.map(),
        ruleset: active.values().any(Activation::needs_rules).then_some(qiao_core::render::DIGEST),
    };
    let mut state = driver::host(&needs);
    state.extend(restored(unused.into_iter()));
    state
}

/// Whether a setting is needed where these families are routed.
pub(crate) fn is_needed(sysctl: &Sysctl, forward: &BTreeSet<Family>) -> bool {
    match sysctl {
        Sysctl::Forward4 => forward.contains(&Family::V4),
        Sysctl::Forward6 | Sysctl::AcceptRa(_) => forward.contains(&Family::V6),
    }
}

fn restored<'a>(saved: impl Iterator<Item = &'a (Sysctl, u32)>) -> State {
    let mut state = State::default();
    saved.for_each(|(sysctl, value)| {
        state.insert(Key::Sysctl(sysctl.clone()), &Owner::Host, Value::Number(*value))
    });
    state
}
