//! Amending: what a later plugin of a chain asks for an endpoint that is attached already. As with an attachment the
//! journal comes first, and what fails or is killed is taken back. It counts with the endpoint's record, which is
//! written over in one go: leaving takes away all that it says.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::recover::{name, places};
use crate::session::Session;
use qiao_core::driver::{Activation, network_state};
use qiao_core::endpoint::Wire;
use qiao_core::plan::{Key, State, diff};
use qiao_core::request::Amend;
use qiao_core::{Code, Driver, Endpoint, Mac, Network, Plan, Publish, Refusal};
use qiao_kernel::Kernel;
use qiao_store::{Amendment, Journal};

/// An endpoint and its network, as they are or as they shall be.
struct Version {
    endpoint: Endpoint,
    network: Network,
}

/// What is to be done.
struct Change {
    amendment: Amendment,
    /// The network as it shall be.
    network: Network,
    /// What must exist afterwards of what changes.
    wanted: State,
}

impl<K: Kernel> Engine<K> {
    /// Amends an endpoint. None where there is no such endpoint.
    pub fn amend(&mut self, request: &Amend) -> Result<Option<(Endpoint, Plan)>, EngineError> {
        let mut session = self.begin()?;
        session.refuse_stuck_sandbox(&request.sandbox)?;
        let Some(before) = session.txn.record(&request.sandbox, request.ifname.as_str())? else {
            return Ok(None);
        };
        let network = session.txn.network(before.endpoint.network())?;
        let activation = session.txn.active()?.remove(before.endpoint.network());
        let Some((network, activation)) = network.zip(activation) else { return Ok(None) };
        let old = Version { endpoint: before.endpoint.clone(), network };
        let new = session.amended(&old, request)?;
        let change = session.twice(|session| {
            let change = session.plan_change(&before, (&old, &new), &activation)?;
            session.change(&change).map(|()| change)
        })?;
        Ok(Some((new.endpoint, change.amendment.plan)))
    }
}

impl<K: Kernel> Session<'_, K> {
    /// What shall be: the last place to refuse.
    fn amended(&mut self, old: &Version, request: &Amend) -> Result<Version, EngineError> {
        let (mut endpoint, mut network) = (old.endpoint.clone(), old.network.clone());
        if let (Some(from_its_own), Some(wire)) = (request.apart, &mut endpoint.wire) {
            set_apart(&mut network, wire, from_its_own)?;
        }
        if let (Some(mac), Some(wire)) = (request.mac, &mut endpoint.wire) {
            self.refuse_taken_mac(&old.endpoint, mac)?;
            set_mac(&network, wire, mac)?;
        }
        if let (Some(specs), Some(wire)) = (&request.publish, endpoint.wire.clone()) {
            let bridge = network.bridge().ok_or_else(|| no_rules(&network))?;
            let held = request.held.then_some(&request.sandbox);
            let publish = self.publish((bridge, &wire), specs, held)?;
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
        before: &Journal,
        (old, new): (&Version, &Version),
        activation: &Activation,
    ) -> Result<Change, EngineError> {
        let state = |version: &Version| {
            let mut state = network_state(&version.network, activation);
            state.extend(self.wanted(&version.network, activation, &version.endpoint));
            state
        };
        let (had, has) = (state(old), state(new));
        // What stays as it is is not this command's, but for the rules: without them there are no elements.
        let wanted = has.part(|key, object| had.get(key) != Some(object) || *key == Key::Ruleset);
        let gone = had.part(|key, _| has.get(key).is_none());
        let plan = self.plan_between(&gone, &wanted, &old.endpoint)?;
        let plan = match self.mend_lost_rules(&plan)? {
            true => self.plan_between(&gone, &wanted, &old.endpoint)?,
            false => plan,
        };
        let network = Some(old.network.clone()).filter(|network| *network != new.network);
        let amendment = Amendment { before: before.clone(), after: new.endpoint.clone(), network, plan };
        Ok(Change { amendment, network: new.network.clone(), wanted })
    }

    fn plan_between(
        &mut self,
        gone: &State,
        wanted: &State,
        endpoint: &Endpoint,
    ) -> Result<Plan, EngineError> {
        let mut touched = gone.clone();
        touched.extend(wanted.clone());
        Ok(diff(&self.kernel.observe(&touched, &places(endpoint))?, wanted)?)
    }

    fn change(&mut self, change: &Change) -> Result<(), EngineError> {
        let Amendment { before, after, plan, .. } = &change.amendment;
        self.txn.changes()?.amend(&change.amendment)?; // on disk before the kernel is touched
        let done = self.try_change(change).and_then(|()| {
            let endpoint = after.clone();
            Ok(self.txn.update(&Journal { endpoint, ..before.clone() })?) // one rename: it counts
        });
        let Err(error) = done else { return self.end_amend(&change.amendment) };
        let act = format!("change the endpoint of `{}`", after.sandbox());
        Err(match self.end_amend(&change.amendment) {
            Ok(()) => name(&act, error),
            Err(_) => self.residue(plan, &places(after), (&act, error)),
        })
    }

    fn try_change(&mut self, change: &Change) -> Result<(), EngineError> {
        let Amendment { before, after, network, plan } = &change.amendment;
        if network.is_some() {
            self.txn.save_network(&change.network)?;
        }
        let claims = self.txn.claims();
        let taken = |what: String| Err(Refusal::conflict(format!("the {what} is taken")).into());
        if mac(&before.endpoint) != mac(after) && !claims.take_mac(after)? {
            return taken("hardware address".into());
        }
        if let Some(port) = claims.take_ports(after, &without(after.publish(), before.endpoint.publish()))? {
            return taken(port);
        }
        self.apply(plan, &places(after))?;
        self.verify(plan, &change.wanted, &places(after))
    }

    /// Ends a change: whether it counts is what the record says. What the other version had is given back.
    pub fn end_amend(&mut self, amendment: &Amendment) -> Result<(), EngineError> {
        let Amendment { before, after, network, plan } = amendment;
        let record = self.txn.endpoint(after.sandbox(), after.id.ifname.as_str())?;
        let (kept, left) = match record.as_ref() == Some(after) {
            true => (after, &before.endpoint),
            false => (&before.endpoint, after),
        };
        if kept != after {
            let active = self.txn.active()?;
            if self.undo(plan, &places(after), &active).is_err() {
                self.heal()?; // elements come back only where there are rules
                self.undo(plan, &places(after), &active)?;
            }
            network.iter().try_for_each(|network| self.txn.save_network(network))?;
        }
        let claims = self.txn.claims();
        if mac(kept) != mac(left) {
            claims.give_mac(left)?;
        }
        claims.give_ports(left, &without(left.publish(), kept.publish()))?;
        self.tell_names_again(kept)?;
        Ok(self.txn.changes()?.amended(after)?)
    }
}

/// The refusal for what only the host's rules could do: they do not see this network's packets.
fn no_rules(network: &Network) -> Refusal {
    let what = format!("network `{}` is a {} network", network.name, network.driver.as_str());
    Refusal::new(Code::Unsupported, what).why("its packets do not pass the host's rules")
}

/// Keeps an endpoint apart: a bridge as a whole, or a port that has no bridge.
fn set_apart(network: &mut Network, wire: &mut Wire, from_its_own: bool) -> Result<(), Refusal> {
    match &mut network.driver {
        Driver::Bridge(bridge) => {
            bridge.inline.iter_mut().for_each(|inline| inline.apart = true);
            wire.extras.isolated |= from_its_own;
        }
        Driver::Routed(bridge) => {
            bridge.inline.iter_mut().for_each(|inline| inline.apart |= !from_its_own);
            wire.extras.apart = true;
        }
        _ => return Err(no_rules(network)),
    }
    Ok(())
}

fn set_mac(network: &Network, wire: &mut Wire, mac: Mac) -> Result<(), Refusal> {
    match &network.driver {
        Driver::Bridge(_) => wire.extras.mac = Some(mac),
        Driver::Routed(_) => {
            wire.extras.first_mac = Some(wire.first_mac());
            wire.extras.mac = Some(mac);
        }
        Driver::Child(child) => child.mode.check_mac()?,
        Driver::Solo(solo) if solo.is_device() => wire.extras.mac = Some(mac),
        Driver::Solo(_) => {}
        Driver::Host | Driver::None => return Err(no_rules(network)),
    }
    wire.mac = mac;
    Ok(())
}

fn mac(endpoint: &Endpoint) -> Option<Mac> {
    endpoint.wire.as_ref().map(|wire| wire.mac)
}

fn without(all: &[Publish], others: &[Publish]) -> Vec<Publish> {
    all.iter().filter(|publish| !others.contains(publish)).copied().collect()
}
