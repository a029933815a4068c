//! Amending: what a later plugin of a chain asks for an endpoint that is attached already. The record comes first, with
//! what was and what shall be: leaving takes away all that it says, whenever this is killed.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::recover::places;
use crate::session::Session;
use qiao_core::driver::{Activation, network_state};
use qiao_core::plan::{State, diff};
use qiao_core::request::Amend;
use qiao_core::{Driver, Endpoint, Mac, Network, Plan, Publish, Refusal};
use qiao_kernel::Kernel;
use qiao_store::Journal;

/// An endpoint and its network, as they are or as they shall be.
struct Version {
    endpoint: Endpoint,
    network: Network,
}

impl<K: Kernel> Engine<K> {
    /// Amends an endpoint. None where there is no such endpoint.
    pub fn amend(&mut self, request: &Amend) -> Result<Option<(Endpoint, Plan)>, EngineError> {
        let mut session = self.begin()?;
        let Some(endpoint) = session.txn.endpoint(&request.sandbox, request.ifname.as_str())? else {
            return Ok(None);
        };
        let network = session.txn.network(endpoint.network())?;
        let Some((network, activation)) = network.zip(session.txn.active()?.remove(endpoint.network()))
        else {
            return Ok(None);
        };
        let old = Version { endpoint, network };
        let new = session.amended(&old, request)?;
        let plan = session.plan_change((&old, &new), &activation)?;
        session.change((&old, &new), &plan)?;
        Ok(Some((new.endpoint, plan)))
    }
}

impl<K: Kernel> Session<'_, K> {
    /// What shall be: the last place to refuse.
    fn amended(&mut self, old: &Version, request: &Amend) -> Result<Version, EngineError> {
        let (mut endpoint, mut network) = (old.endpoint.clone(), old.network.clone());
        let Driver::Bridge(bridge) = &mut network.driver else {
            return Err(Refusal::invalid(format!("network `{}` is no bridge", network.name)).into());
        };
        if let Some(from_its_own) = request.apart {
            bridge.inline.iter_mut().for_each(|inline| inline.apart = true);
            endpoint.wire.iter_mut().for_each(|wire| wire.extras.isolated |= from_its_own);
        }
        if let Some(mac) = request.mac {
            self.refuse_taken_mac(&old.endpoint, mac)?;
            endpoint.wire.iter_mut().for_each(|wire| (wire.mac, wire.extras.mac) = (mac, Some(mac)));
        }
        if let (Some(specs), Some(wire)) = (&request.publish, endpoint.wire.clone()) {
            let publish = self.publish(bridge, &wire, specs)?;
            endpoint.wire.iter_mut().for_each(|wire| wire.publish.clone_from(&publish));
        }
        Ok(Version { endpoint, network })
    }

    fn refuse_taken_mac(&self, endpoint: &Endpoint, mac: Mac) -> Result<(), EngineError> {
        match self.txn.claims().mac_owner(endpoint.network(), mac)? {
            Some(owner) if owner != endpoint.id.key() => {
                Err(Refusal::conflict(format!("the hardware address `{mac}` is taken by {owner}")).into())
            }
            _ => Ok(()),
        }
    }

    fn plan_change(
        &mut self,
        (old, new): (&Version, &Version),
        activation: &Activation,
    ) -> Result<Plan, EngineError> {
        let state = |session: &Self, version: &Version| {
            let mut state = network_state(&version.network, activation);
            state.extend(session.wanted(&version.network, activation, &version.endpoint));
            state
        };
        let (before, after) = (state(self, old), state(self, new));
        // What stays as it is, and is as it is, is not this command's.
        let differs =
            |key: &_, in_other: &State| before.get(key) != after.get(key) && in_other.get(key).is_some();
        let mut touched = before.part(|key, _| differs(key, &before));
        let wanted = after.part(|key, _| differs(key, &after));
        touched.extend(wanted.clone());
        let observed = self.kernel.observe(&touched, &places(&old.endpoint))?;
        Ok(diff(&observed, &wanted)?)
    }

    fn change(&mut self, (old, new): (&Version, &Version), plan: &Plan) -> Result<(), EngineError> {
        if old.network != new.network {
            self.txn.save_network(&new.network)?;
        }
        self.record(&both(&old.endpoint, &new.endpoint))?;
        let places = places(&old.endpoint);
        self.txn.claims().change_mac((&old.endpoint, &new.endpoint))?;
        let done = self.take_new_ports((&old.endpoint, &new.endpoint));
        let Err(error) = done.and_then(|()| self.apply(plan, &places)) else {
            self.give_ports(&new.endpoint, (old.endpoint.publish(), new.endpoint.publish()))?;
            return self.record(&new.endpoint);
        };
        let active = self.txn.active()?;
        let back = self.undo(plan, &places, &active);
        self.give_ports(&new.endpoint, (new.endpoint.publish(), old.endpoint.publish()))?;
        self.txn.claims().change_mac((&new.endpoint, &old.endpoint))?;
        self.record(&old.endpoint)?;
        let act = format!("change the endpoint of `{}`", old.endpoint.sandbox());
        Err(match back {
            Ok(()) => crate::recover::name(&act, error),
            Err(_) => self.residue(plan, &places, (&act, error)),
        })
    }

    fn record(&self, endpoint: &Endpoint) -> Result<(), EngineError> {
        let (endpoint, plan) = (endpoint.clone(), Plan::default());
        Ok(self.txn.update(&Journal { endpoint, plan, activates: false, creates: false })?)
    }

    fn take_new_ports(&self, (old, new): (&Endpoint, &Endpoint)) -> Result<(), EngineError> {
        let more = without(new.publish(), old.publish());
        match self.txn.claims().take_ports(new, &more)? {
            Some(taken) => Err(Refusal::conflict(format!("the {taken} is taken")).into()),
            None => Ok(()),
        }
    }

    /// Gives back the ports of `had` that are not in `kept`.
    fn give_ports(
        &self,
        endpoint: &Endpoint,
        (had, kept): (&[Publish], &[Publish]),
    ) -> Result<(), EngineError> {
        Ok(self.txn.claims().give_ports(endpoint, &without(had, kept))?)
    }
}

/// The endpoint with the ports of before and after: what may exist of them until the change is done.
fn both(old: &Endpoint, new: &Endpoint) -> Endpoint {
    let mut both = new.clone();
    let before = without(old.publish(), new.publish());
    both.wire.iter_mut().for_each(|wire| wire.publish.extend(&before));
    both
}

fn without(all: &[Publish], others: &[Publish]) -> Vec<Publish> {
    all.iter().filter(|publish| !others.contains(publish)).copied().collect()
}
