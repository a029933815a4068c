//! Endpoints whose records make no sense. They may live: the place of a record says whose it is, and what that
//! endpoint has is kept, in the kernel and in the claims, until it is named by who detaches it.

use crate::desired::Spared;
use crate::error::EngineError;
use crate::session::Session;
use qiao_core::driver::Active;
use qiao_core::owner::EndpointId;
use qiao_core::request::Detach;
use qiao_core::{IfName, NetworkName, Plan, Refusal, SandboxName};
use qiao_kernel::{Kernel, Places};
use qiao_store::EndpointName;
use std::collections::BTreeSet;

impl<K: Kernel> Session<'_, K> {
    /// The owners of claims that they have.
    pub fn unreadable_keys(&self) -> Result<Vec<String>, EngineError> {
        Ok(self.txn.unreadable()?.keys().map(EndpointName::key).collect())
    }

    /// Refuses to attach a sandbox that has an unreadable record. Its endpoints have been read.
    pub fn refuse_unreadable(&self, sandbox: &SandboxName) -> Result<(), EngineError> {
        match self.txn.unreadable_of(sandbox).first() {
            Some(name) => Err(refusal(name).into()),
            None => Ok(()),
        }
    }

    /// Refuses to change an endpoint whose record is unreadable. The record has been read.
    pub fn refuse_unreadable_endpoint(
        &self,
        sandbox: &SandboxName,
        ifname: &IfName,
    ) -> Result<(), EngineError> {
        match self.txn.is_unreadable(sandbox, ifname) {
            true => {
                let name = EndpointName { sandbox: sandbox.clone(), ifname: ifname.clone() };
                Err(refusal(&name).into())
            }
            false => Ok(()),
        }
    }

    /// What belongs to them is left alone by mending.
    pub fn spare_unreadable(&self, active: &Active, spared: &mut Spared) -> Result<(), EngineError> {
        for (name, why) in self.txn.unreadable()? {
            let held = self.txn.claims().held_by(&name.key())?;
            let what = format!("endpoint {}/{}", name.sandbox, name.ifname);
            spared.notes.push(format!("{what}: its record makes no sense ({why}); it is left as it is"));
            let networks = self.txn.claims().networks_of(&name.key())?;
            networks.iter().filter(|name| !active.contains_key(name)).for_each(|name| spared.network(name));
            spared.unreadable(name, held.into_iter().map(|(_, ip)| ip));
        }
        Ok(())
    }

    /// Those of a request to detach. The sandbox's endpoints have been read.
    pub fn unreadable_in(&self, request: &Detach) -> Result<Vec<EndpointName>, EngineError> {
        let mut found = Vec::new();
        for name in self.txn.unreadable_of(&request.sandbox) {
            let is_on = match &request.network {
                Some(network) => self.may_be_on(&name, network)?,
                None => true,
            };
            if is_on && request.ifname.as_ref().is_none_or(|ifname| *ifname == name.ifname) {
                found.push(name);
            }
        }
        Ok(found)
    }

    /// Whether its claims are in the network, or nowhere.
    fn may_be_on(&self, name: &EndpointName, network: &NetworkName) -> Result<bool, EngineError> {
        let networks = self.txn.claims().networks_of(&name.key())?;
        Ok(networks.is_empty() || networks.contains(network))
    }

    /// Takes away what bears its mark, and gives back what it claimed. The record goes last: a killed command's
    /// successor does it again.
    pub fn detach_unreadable(&mut self, name: &EndpointName) -> Result<Plan, EngineError> {
        let key = name.key();
        let networks = self.txn.claims().networks_of(&key)?;
        let plan = self.plan_unreadable(name)?;
        self.apply(&plan, &Places::new())?;
        self.txn.names().take(&key)?;
        for network in &networks {
            let (sandbox, ifname) = (name.sandbox.clone(), Some(name.ifname.clone()));
            self.release_lost(&Detach { sandbox, network: Some(network.clone()), ifname });
        }
        self.txn.claims().collect(&|owner| owner != key)?;
        networks.iter().try_for_each(|network| self.retire(network))?;
        self.txn.drop_unreadable(name)?;
        Ok(plan)
    }

    /// What takes away everything that bears its mark.
    pub fn plan_unreadable(&mut self, name: &EndpointName) -> Result<Plan, EngineError> {
        self.plan_lost(&|id| id.sandbox == name.sandbox && id.ifname == name.ifname)
    }

    /// Detaches those of a network that do not live, and gives the keys of the others.
    pub fn collect_unreadable(
        &mut self,
        network: &NetworkName,
        lives: &dyn Fn(&EndpointId) -> bool,
    ) -> Result<BTreeSet<String>, EngineError> {
        let mut kept = BTreeSet::new();
        for name in self.txn.unreadable()?.into_keys() {
            let (sandbox, ifname) = (name.sandbox.clone(), name.ifname.clone());
            let id = EndpointId { sandbox, ifname, network: network.clone() };
            if lives(&id) || !self.txn.claims().networks_of(&name.key())?.contains(network) {
                kept.insert(name.key());
            } else {
                self.detach_unreadable(&name)?;
            }
        }
        Ok(kept)
    }
}

fn refusal(name: &EndpointName) -> Refusal {
    let EndpointName { sandbox, ifname } = name;
    Refusal::conflict(format!("the record of `{sandbox}` on its `{ifname}` makes no sense"))
        .why("what the endpoint has is kept until it is detached")
        .fix(format!("qiao detach {sandbox}"))
}
