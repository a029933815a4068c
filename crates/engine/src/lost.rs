//! Endpoints whose record was lost: their marks tell what is theirs. It goes when they are named: by who detaches them,
//! or by who says which of a network live.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::session::Session;
use qiao_core::endpoint::host_if;
use qiao_core::owner::EndpointId;
use qiao_core::plan::{Guard, Key, Ownership, State, Value, diff};
use qiao_core::request::Detach;
use qiao_core::{Mac, NetworkName, Owner, Plan};
use qiao_kernel::{Kernel, Places};
use qiao_store::EndpointName;
use std::collections::BTreeSet;

impl<K: Kernel> Engine<K> {
    /// Detaches an attachment that has no record, if there are traces of it. The looks are few: some doors are called
    /// again and again for containers that are gone. `mac` is that of its interface, where the door knows it.
    pub fn detach_traces(&mut self, id: &EndpointId, mac: Option<Mac>) -> Result<(), EngineError> {
        let mut session = self.begin()?;
        let is_known = session.txn.record(&id.sandbox, id.ifname.as_str())?.is_some();
        if session.txn.is_unreadable(&id.sandbox, &id.ifname) {
            session.refuse_stuck_sandbox(&id.sandbox)?;
            let name = EndpointName { sandbox: id.sandbox.clone(), ifname: id.ifname.clone() };
            return session.detach_unreadable(&name).map(drop);
        }
        if is_known || !session.has_traces(id, mac)? {
            return Ok(());
        }
        session.refuse_stuck_sandbox(&id.sandbox)?;
        let (network, ifname) = (Some(id.network.clone()), Some(id.ifname.clone()));
        session.detach_lost(&Detach { sandbox: id.sandbox.clone(), network, ifname })?;
        session.forget_lost(&BTreeSet::from([id.key()]), &id.network)
    }
}

impl<K: Kernel> Session<'_, K> {
    /// Whether the host's end of its pair is there, or its hardware address is claimed, or its port is in the rules.
    fn has_traces(&mut self, id: &EndpointId, mac: Option<Mac>) -> Result<bool, EngineError> {
        let port = host_if(&id.sandbox, &id.ifname, 0);
        if self.kernel.link_index(&port)?.is_some() && self.kernel.link(&port)?.is_some_and(|link| link.ours)
        {
            return Ok(true);
        }
        let claimant = mac.map_or(Ok(None), |mac| self.txn.claims().mac_owner(&id.network, mac))?;
        if claimant.is_some_and(|owner| owner == id.key()) {
            return Ok(true);
        }
        let mut state = State::default();
        for guard in [Guard::Port(port.clone()), Guard::Routed(port)] {
            state.insert(Key::Guard(guard), &Owner::Endpoint(id.clone()), Value::Present);
        }
        Ok(self.kernel.observe(&state, &Places::new())?.iter().next().is_some())
    }

    /// Takes away what is left of a network's endpoints that have no record, but for those that live.
    pub fn collect_lost(
        &mut self,
        network: &NetworkName,
        lives: &dyn Fn(&EndpointId) -> bool,
    ) -> Result<(), EngineError> {
        let mut known: BTreeSet<String> = self.txn.endpoints()?.iter().map(|e| e.id.key()).collect();
        known.extend(self.stuck_endpoints());
        known.extend(self.collect_unreadable(network, lives)?);
        let is_lost = |id: &EndpointId| id.network == *network && !known.contains(&id.key()) && !lives(id);
        let mut observed = self.kernel.survey()?;
        let owners = observed.iter().filter_map(|(_, found)| match &found.owner {
            Ownership::Marked(Owner::Endpoint(id)) if is_lost(id) => Some(id.key()),
            _ => None,
        });
        let lost: BTreeSet<String> = owners.collect();
        if lost.is_empty() {
            return Ok(());
        }
        observed.keep_endpoints(is_lost);
        let plan = diff(&observed, &State::default())?;
        self.apply(&plan, &Places::new())?;
        self.forget_lost(&lost, network)
    }

    /// Gives back what they claimed, and with the last member ends the network.
    fn forget_lost(&mut self, lost: &BTreeSet<String>, network: &NetworkName) -> Result<(), EngineError> {
        self.txn.claims().collect(&|owner| !lost.contains(owner))?;
        self.retire(network)
    }

    /// A sandbox without a record may still have objects that bear its mark: its record was lost.
    pub fn detach_lost(&mut self, request: &Detach) -> Result<Option<Plan>, EngineError> {
        let plan = self.plan_lost(&|id| {
            id.sandbox == request.sandbox
                && request.network.as_ref().is_none_or(|network| id.network == *network)
                && request.ifname.as_ref().is_none_or(|ifname| id.ifname == *ifname)
        })?;
        self.apply(&plan, &Places::new())?;
        Ok(Some(plan).filter(|plan| !plan.is_empty()))
    }

    /// What takes away everything that bears an endpoint's mark.
    pub fn plan_lost(&mut self, which: &dyn Fn(&EndpointId) -> bool) -> Result<Plan, EngineError> {
        let mut observed = self.kernel.survey()?;
        observed.keep_endpoints(which);
        Ok(diff(&observed, &State::default())?)
    }
}
