//! Amending: what a later plugin of a chain asks for an endpoint that is attached already. As with an attachment the
//! journal comes first, and what fails or is killed is taken back. It counts with the endpoint's record, which is
//! written over in one go: leaving takes away all that it says.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::recover::{name, places};
use crate::session::Session;
use qiao_core::driver::{Activation, network_state, restored};
use qiao_core::endpoint::{Join, Tunable};
use qiao_core::plan::{Key, State, diff};
use qiao_core::port::joined;
use qiao_core::request::{Amend, Ingress};
use qiao_core::{Code, Driver, Endpoint, Mac, Network, Plan, Publish, Refusal};
use qiao_kernel::Kernel;
use qiao_store::{Amendment, Journal};
use std::collections::BTreeSet;

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
        let done = self.amend_untold(request);
        self.told(done)
    }

    fn amend_untold(&mut self, request: &Amend) -> Result<Option<(Endpoint, Plan)>, EngineError> {
        let mut session = self.begin()?;
        session.refuse_stuck_sandbox(&request.sandbox)?;
        let known = session.txn.record(&request.sandbox, request.ifname.as_str())?;
        session.refuse_unreadable_endpoint(&request.sandbox, &request.ifname)?;
        let Some(before) = known else {
            return Ok(None);
        };
        let network = session.txn.network(before.endpoint.network())?;
        let activation = session.txn.active()?.remove(before.endpoint.network());
        let Some((network, activation)) = network.zip(activation) else { return Ok(None) };
        let old = Version { endpoint: before.endpoint.clone(), network };
        if activation.is_adopted() && !session.lives(&old.endpoint) {
            session.detach_one(&old.endpoint)?;
            return Ok(None);
        }
        let new = session.amended(&old, request)?;
        if is_bare(&new.endpoint) {
            let plan = session.detach_one(&old.endpoint)?;
            return Ok(Some((new.endpoint, plan)));
        }
        session.route_more(&new.network.name, &new.endpoint)?;
        session.open_more(&old.network, &new.endpoint)?;
        let activation = session.txn.active()?.remove(&new.network.name).unwrap_or(activation);
        let plan = session.carry_out_change(&before, (&old, &new), &activation)?;
        if !without(old.endpoint.publish(), new.endpoint.publish()).is_empty() {
            session.hand_over_ports(&old.endpoint)?;
        }
        Ok(Some((new.endpoint, plan)))
    }
}

impl<K: Kernel> Session<'_, K> {
    /// What shall be: the last place to refuse.
    fn amended(&mut self, old: &Version, request: &Amend) -> Result<Version, EngineError> {
        let (mut endpoint, mut network) = (old.endpoint.clone(), old.network.clone());
        if matches!(network.driver, Driver::Host | Driver::None) {
            return Err(Refusal::invalid(format!("network `{}` has nothing to change", network.name)).into());
        }
        if let Some(ingress) = request.ingress {
            self.set_ingress(&mut network, &mut endpoint, ingress)?;
        }
        if let (Some(families), Some(wire)) = (&request.open, &mut endpoint.wire) {
            wire.extras.opened =
                families.iter().copied().filter(|family| wire.address(*family).is_some()).collect();
        }
        if let (Some(zone), Some(wire)) = (&request.zone, &mut endpoint.wire) {
            wire.extras.zone.clone_from(zone);
        }
        if let Some(wanted) = &request.tune {
            let mac = wanted.iter().any(|(what, _)| *what == Tunable::Mac);
            network.child().filter(|_| mac).map_or(Ok(()), |child| child.mode.check_mac())?;
            self.tune(&mut endpoint, wanted)?;
        }
        if let Some(limits) = request.limits {
            self.shape(&mut endpoint, limits)?;
        }
        if let Some(behind) = &request.behind {
            self.put_behind(&mut endpoint, behind.as_ref())?;
        }
        if let Some(sources) = &request.sources {
            self.source(&mut endpoint, sources)?;
        }
        if let (Some(clients), Some(wire)) = (request.clients, &mut endpoint.wire) {
            wire.extras.clients = clients;
        }
        if let (Some(conditions), Some(wire)) = (&request.conditions, &mut endpoint.wire) {
            wire.extras.conditions.clone_from(conditions);
        }
        let id = endpoint.id.clone();
        if let (Some(specs), Some(wire)) = (&request.publish, &mut endpoint.wire) {
            if !has_rules(&network) && !specs.is_empty() {
                return Err(no_rules(&network).into());
            }
            self.publish(network.bridge(), (&id, wire), (specs, request.held))?;
        }
        Ok(Version { endpoint, network })
    }

    /// Keeps an endpoint apart: a bridge as a whole, or a port that has no bridge.
    fn set_ingress(
        &mut self,
        network: &mut Network,
        endpoint: &mut Endpoint,
        ingress: Ingress,
    ) -> Result<(), EngineError> {
        let isolated = ingress == Ingress::Isolated;
        if let Driver::Adopted(adopted) = &mut network.driver {
            return self.keep_apart(adopted, endpoint, ingress);
        }
        match (&mut network.driver, &mut endpoint.wire) {
            _ if ingress == Ingress::Open => {}
            (Driver::Bridge(bridge), Some(wire)) => {
                bridge.inline.iter_mut().for_each(|inline| inline.apart = true);
                wire.extras.isolated |= isolated;
            }
            (Driver::Routed(bridge), Some(wire)) => {
                bridge.inline.iter_mut().for_each(|inline| inline.apart |= !isolated);
                wire.extras.apart = true;
            }
            _ => return Err(no_rules(network).into()),
        }
        Ok(())
    }

    fn carry_out_change(
        &mut self,
        before: &Journal,
        versions: (&Version, &Version),
        activation: &Activation,
    ) -> Result<Plan, EngineError> {
        let change = self.twice(|session| {
            let change = session.plan_change(before, versions, activation)?;
            session.change(&change).map(|()| change)
        })?;
        Ok(change.amendment.plan)
    }

    /// Gives ports that nobody has to another endpoint of a sandbox that waits for them.
    pub fn hand_over_ports(&mut self, left: &Endpoint) -> Result<(), EngineError> {
        for heir in self.txn.sandbox(left.sandbox())?.into_iter().filter(|heir| heir.id != left.id) {
            let mut free = Vec::new();
            for waiting in heir.wire.iter().flat_map(|wire| &wire.extras.waiting) {
                let Publish { listen, .. } = waiting;
                let bindings = self.txn.claims().bindings(listen.protocol, listen.ports)?;
                let is_free =
                    |p: &Publish| !bindings.iter().any(|binding| binding.listen.conflicts(p.listen));
                match is_free(waiting) {
                    true => free.push(*waiting),
                    false => free.extend(waiting.singles().filter(is_free)),
                }
            }
            if !free.is_empty() {
                self.give_ports(&heir, &free)?;
            }
        }
        Ok(())
    }

    fn give_ports(&mut self, heir: &Endpoint, ports: &[Publish]) -> Result<(), EngineError> {
        let network = self.txn.network(heir.network())?;
        let known = network.zip(self.txn.active()?.remove(heir.network()));
        let known = known.zip(self.txn.record(heir.sandbox(), heir.id.ifname.as_str())?);
        let Some(((network, activation), before)) = known else { return Ok(()) };
        let mut endpoint = heir.clone();
        if let Some(wire) = &mut endpoint.wire {
            let given: BTreeSet<Publish> = ports.iter().flat_map(|ports| ports.singles()).collect();
            let waiting = std::mem::take(&mut wire.extras.waiting).into_iter().flat_map(Publish::singles);
            wire.extras.waiting = joined(waiting.filter(|waiting| !given.contains(waiting)).collect());
            wire.publish = joined(wire.publish.iter().chain(ports).copied().collect());
        }
        self.route_more(&network.name, &endpoint)?;
        let old = Version { endpoint: heir.clone(), network: network.clone() };
        self.carry_out_change(&before, (&old, &Version { endpoint, network }), &activation).map(drop)
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
        let mut wanted = has.part(|key, object| had.get(key) != Some(object) || *key == Key::Ruleset);
        // What was changed and is to be no more becomes again what it was, as far as it is there.
        let back = restored(&old.endpoint).part(|key, _| has.get(key).is_none());
        if !back.is_empty() {
            let there = self.kernel.observe(&back, &places(&old.endpoint))?;
            wanted.extend(back.part(|key, _| there.get(key).is_some()));
            let kept = restored(&new.endpoint);
            let again = back.part(|key, _| kept.get(key).is_none());
            wanted.extend(self.restorable(&old.endpoint, &again)?);
        }
        let mut gone = had.part(|key, _| has.get(key).is_none() && wanted.get(key).is_none());
        let known = restored(&old.endpoint);
        let is_moved = |key: &Key| matches!(key, Key::Native(..)) && known.get(key).is_none();
        gone.extend(restored(&new.endpoint).part(|key, _| is_moved(key)));
        self.keep_shared_vrf(&old.endpoint, &mut gone)?;
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
        self.verify(plan, &change.wanted, &places(after))?;
        self.tell_names_again(after) // while it can be taken back: the disk may be full
    }

    /// Ends a change: whether it counts is what the record says. What the other version had is given back.
    pub fn end_amend(&mut self, amendment: &Amendment) -> Result<(), EngineError> {
        let Amendment { before, after, network, plan } = amendment;
        let record = self.txn.endpoint(after.sandbox(), after.id.ifname.as_str())?;
        self.refuse_unreadable_endpoint(after.sandbox(), &after.id.ifname)?; // which of the two it is cannot be known
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
        if kept != after {
            self.tell_names_again(kept)?;
        }
        Ok(self.txn.changes()?.amended(after)?)
    }
}

/// The refusal for what only the host's rules could do: they do not see this network's packets.
fn no_rules(network: &Network) -> Refusal {
    let what = format!("network `{}` is a {} network", network.name, network.driver.as_str());
    Refusal::new(Code::Unsupported, what).why("its packets do not pass the host's rules")
}

fn has_rules(network: &Network) -> bool {
    matches!(network.driver, Driver::Bridge(_) | Driver::Routed(_) | Driver::Adopted(_))
}

/// Whether there is nothing of an adopted endpoint but that it is known.
fn is_bare(endpoint: &Endpoint) -> bool {
    let Some(wire) = endpoint.wire.as_ref().filter(|wire| wire.join == Join::Adopted) else { return false };
    let extras = &wire.extras;
    let nothing = wire.publish.is_empty() && extras.waiting.is_empty() && extras.tuned.is_empty();
    nothing
        && extras.opened.is_empty()
        && extras.zone.is_none()
        && !extras.is_apart()
        && extras.shaped.is_none()
        && extras.sourced.is_none()
        && extras.vrf.is_none()
}

fn mac(endpoint: &Endpoint) -> Option<Mac> {
    endpoint.wire.as_ref().map(|wire| wire.mac)
}

/// The pieces that others have not: ports that are joined to a range, or not any more, stay who has them.
fn without(all: &[Publish], others: &[Publish]) -> Vec<Publish> {
    let others: BTreeSet<Publish> = others.iter().flat_map(|publish| publish.pieces()).collect();
    all.iter().flat_map(|publish| publish.pieces()).filter(|piece| !others.contains(piece)).collect()
}
