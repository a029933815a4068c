//! Detaching: the same difference with less desired. It works without namespace, bridge, rules or free disk
//! space, and as often as one likes.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::lease::gateways_of;
use crate::outcome::Detached;
use crate::recover::places;
use crate::session::Session;
use qiao_core::driver::{endpoint_state, restored};
use qiao_core::endpoint::Join;
use qiao_core::flows::{Flows, flows};
use qiao_core::plan::{Key, Observed, Ownership, State, Value, diff, diff_all};
use qiao_core::request::Detach;
use qiao_core::subnet::Family;
use qiao_core::{Endpoint, IfName, Network, Plan};
use qiao_kernel::{Kernel, Places};
use qiao_store::{Journal, Made, Txn};
use std::collections::BTreeSet;

impl<K: Kernel> Engine<K> {
    /// Detaches a sandbox from a network, or from all. What is not attached is detached already.
    pub fn detach(&mut self, request: &Detach) -> Result<Detached, EngineError> {
        let done = self.detach_untold(request);
        self.told_of(done, |gone| &gone.endpoints)
    }

    fn detach_untold(&mut self, request: &Detach) -> Result<Detached, EngineError> {
        let mut session = self.begin()?;
        session.refuse_stuck_sandbox(&request.sandbox)?;
        let (endpoints, unreadable) = (session.endpoints_of(request)?, session.unreadable_in(request)?);
        let ended = session.ended.contains(&request.sandbox);
        let mut done = Detached { ended, ..Detached::default() };
        for name in &unreadable {
            done.plans.push(session.detach_unreadable(name)?);
        }
        for endpoint in endpoints {
            done.plans.push(session.detach_one(&endpoint)?);
            done.places.extend(places(&endpoint));
            done.endpoints.push(endpoint);
        }
        if done.endpoints.is_empty() && unreadable.is_empty() {
            done.plans.extend(session.detach_lost(request)?);
            done.leases = session.release_lost(request);
        }
        Ok(done)
    }

    /// What detaching would do. Nothing is touched.
    pub fn plan_detach(&mut self, request: &Detach) -> Result<Detached, EngineError> {
        let mut session = self.look_only()?;
        let ended = session.ended.contains(&request.sandbox);
        let mut done = Detached { endpoints: session.endpoints_of(request)?, ended, ..Detached::default() };
        for endpoint in &done.endpoints {
            done.plans.push(session.plan_removal(endpoint)?);
            done.places.extend(places(endpoint));
        }
        for name in session.unreadable_in(request)? {
            done.plans.push(session.plan_unreadable(&name)?);
        }
        Ok(done)
    }
}

impl<K: Kernel> Session<'_, K> {
    fn endpoints_of(&self, request: &Detach) -> Result<Vec<Endpoint>, EngineError> {
        let mut endpoints = self.txn.sandbox(&request.sandbox)?;
        endpoints.retain(|e| request.network.as_ref().is_none_or(|network| e.network() == network));
        endpoints.retain(|e| request.ifname.as_ref().is_none_or(|ifname| e.id.ifname == *ifname));
        Ok(endpoints)
    }

    /// Detaches one endpoint.
    pub fn detach_one(&mut self, endpoint: &Endpoint) -> Result<Plan, EngineError> {
        let endpoints = self.txn.endpoints_dir()?;
        self.txn.changes()?.detach(endpoint, &endpoints)?; // the journal: one rename
        self.finish_detach(endpoint)
    }

    /// Carries out a detachment that has begun.
    pub fn finish_detach(&mut self, endpoint: &Endpoint) -> Result<Plan, EngineError> {
        let done = self.twice(|session| {
            let plan = session.plan_removal(endpoint)?;
            session.apply_removal(endpoint, &plan).map(|()| plan)
        });
        let plan = done.map_err(|error| {
            let act = format!("detach `{}` from network `{}`", endpoint.sandbox(), endpoint.network());
            let rest = self.plan_removal(endpoint).unwrap_or_default();
            self.residue(&rest.inverse(), &places(endpoint), (&act, error))
        })?;
        self.release(endpoint)?;
        let given = self.hand_over_ports(endpoint);
        self.retire(endpoint.network())?;
        let handed = self.hand_over_routes(endpoint); // before it counts: a killed command's successor does it again
        self.txn.changes()?.detached(endpoint)?; // whatever became of that: nothing hinders anybody from leaving
        handed.and(given).map(|()| plan)
    }

    /// The flows are those of all the endpoint had, not of what was still there: a killed command may have
    /// taken the objects away and not their connections.
    fn apply_removal(&mut self, endpoint: &Endpoint, plan: &Plan) -> Result<(), EngineError> {
        self.apply(plan, &places(endpoint))?;
        if endpoint.wire.as_ref().is_some_and(|wire| wire.join == Join::Adopted) {
            let ports = endpoint.publish().iter().flat_map(|publish| publish.pieces());
            let had = ports.map(|publish| Flows::Listen(publish.listen)).collect::<BTreeSet<_>>();
            return Ok(self.kernel.forget(&(&had - &flows(plan)))?); // it may live on
        }
        let had = endpoint.addresses().iter().map(|net| Flows::Address(net.addr())).collect::<BTreeSet<_>>();
        Ok(self.kernel.forget(&(&had - &flows(plan)))?)
    }

    fn plan_removal(&mut self, endpoint: &Endpoint) -> Result<Plan, EngineError> {
        let Some(mut had) = endpoint_objects(&self.txn, endpoint)? else {
            return self.plan_lost(&|id| *id == endpoint.id);
        };
        // The loopback interface stays up: it was the sandbox's before us, and others may use it.
        had.remove(&Key::SandboxLoopback(endpoint.sandbox().clone()));
        self.keep_shared_vrf(endpoint, &mut had)?;
        let mut observed = self.observe_leaving(&had, &places(endpoint))?;
        // What another endpoint got from this one, when this began to leave, is that one's.
        let its = |key: &Key| had.get(key).map(|object| Ownership::Marked(object.owner.clone()));
        observed.retain(|key, found| {
            !matches!(found.owner, Ownership::Marked(_)) || its(key).is_none_or(|owner| owner == found.owner)
        });
        keep_own_routes(&mut observed, (endpoint, &had));
        self.find_renamed(endpoint, &had, &mut observed)?;
        // With an interface of ours go its settings; one that is not gets back those it had.
        let adopted = endpoint.wire.as_ref().is_some_and(|wire| wire.join == Join::Adopted);
        let before = restored(endpoint).part(|_, _| adopted);
        let mut rest = before.part(|key, _| observed.get(key).is_some());
        rest.extend(self.restorable(endpoint, &before)?);
        Ok(diff(&observed, &rest)?)
    }

    /// The root of a container can give its child of the host's interface another name. Whatever hangs there on
    /// that interface and is no other endpoint's is this one's.
    fn find_renamed(
        &mut self,
        endpoint: &Endpoint,
        had: &State,
        observed: &mut Observed,
    ) -> Result<(), EngineError> {
        let child = had.iter().find_map(|(key, object)| match (key, &object.value) {
            (Key::Child(..), Value::Child { parent, inside: false, .. }) => Some((parent, object)),
            _ => None,
        });
        let (Some((parent, object)), Some(netns)) = (child, &endpoint.netns) else { return Ok(()) };
        let mut strays = self.kernel.children_in(netns, parent)?;
        strays.retain(|name| *name != endpoint.id.ifname);
        if strays.is_empty() {
            return Ok(());
        }
        let others = self.txn.endpoints()?.into_iter().filter(|other| other.id != endpoint.id);
        let here = others.filter(|other| other.netns.as_ref().is_some_and(|other| other.is_same(netns)));
        let mut known: BTreeSet<_> = here.map(|other| other.id.ifname).collect();
        known.extend(self.txn.unreadable()?.into_keys().map(|name| name.ifname)); // it may be one of theirs
        for name in strays.into_iter().filter(|name| !known.contains(name)) {
            let key = Key::Child(endpoint.sandbox().clone(), name);
            observed.insert(key, Ownership::Marked(object.owner.clone()), object.value.clone());
        }
        Ok(())
    }

    /// Gives the default routes of an endpoint that left to others of the sandbox's, as far as they have a gateway
    /// of the family.
    fn hand_over_routes(&mut self, left: &Endpoint) -> Result<(), EngineError> {
        let gateways = left.wire.iter().flat_map(|wire| &wire.gateways);
        let mut lost: BTreeSet<Family> = gateways.map(|gateway| Family::of(*gateway)).collect();
        if lost.is_empty() || !left.netns.as_ref().is_some_and(|netns| self.kernel.is_alive(netns)) {
            return Ok(());
        }
        for mut heir in self.txn.sandbox(left.sandbox())? {
            let Some(network) = self.txn.network(heir.network())?.filter(|n| !n.is_internal()) else {
                continue;
            };
            let Some(wire) = heir.wire.as_mut().filter(|wire| !wire.extras.no_default) else { continue };
            let had = wire.gateways.len();
            for gateway in gateways_of(&network, wire) {
                if lost.remove(&Family::of(gateway)) {
                    wire.gateways.push(gateway);
                }
            }
            if wire.gateways.len() > had {
                self.inherit(&network, heir)?;
            }
        }
        Ok(())
    }

    fn inherit(&mut self, network: &Network, heir: Endpoint) -> Result<(), EngineError> {
        let Some(activation) = self.txn.active()?.remove(&network.name) else { return Ok(()) };
        let all = self.wanted(network, &activation, &heir);
        let routes = all.part(|key, _| matches!(key, Key::Route(..)));
        let done = self.make_routes(&routes, &places(&heir));
        let act =
            format!("hand the default route of `{}` over to network `{}`", heir.sandbox(), network.name);
        // The heir's record says that it has them, whatever became of it: else `repair` makes them.
        let plan = done.as_ref().map(Plan::clone).unwrap_or_default();
        let made = Made::Plan(plan);
        self.txn.update(&Journal { endpoint: heir, made, activates: false, creates: false })?;
        done.map(drop).map_err(|error| match error {
            EngineError::Failed { source, .. } => {
                let left = diff_all(&Observed::default(), &routes).0;
                let left = left.ops().iter().map(qiao_core::render::line).collect();
                EngineError::Residue { act, source, left }
            }
            other => other,
        })
    }

    /// Makes routes, but for those in whose way somebody else's are.
    fn make_routes(&mut self, routes: &State, places: &Places) -> Result<Plan, EngineError> {
        let observed = self.kernel.observe(routes, places)?;
        let (plan, _) = diff_all(&observed, routes);
        self.apply(&plan, places).map(|()| plan)
    }
}

/// A sandbox has one route to a destination: one that leads through another interface is not this endpoint's, unless it was
/// made so.
fn keep_own_routes(observed: &mut Observed, (endpoint, had): (&Endpoint, &State)) {
    let made_so = |key: &Key| had.get(key).and_then(|object| leads_by(&object.value));
    let is_others = |key: &Key, value: &Value| {
        leads_by(value).is_some_and(|dev| *dev != endpoint.id.ifname && made_so(key) != Some(dev))
    };
    observed.retain(|key, found| !is_others(key, &found.value));
}

/// The interface that a route leads through.
fn leads_by(value: &Value) -> Option<&IfName> {
    match value {
        Value::Route { dev, .. } | Value::Way { dev, .. } => Some(dev),
        _ => None,
    }
}

/// Everything that exists for an endpoint; none where its network is not known any more.
pub(crate) fn endpoint_objects(txn: &Txn<'_>, endpoint: &Endpoint) -> Result<Option<State>, EngineError> {
    let activation = txn.active()?.remove(endpoint.network());
    if endpoint.wire.is_none() {
        return Ok(Some(State::default()));
    }
    let network = txn.network(endpoint.network())?;
    Ok(network.zip(activation).map(|(network, activation)| endpoint_state(&network, &activation, endpoint)))
}
