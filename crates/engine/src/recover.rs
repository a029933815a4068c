//! Ending what a killed command began, and taking back what failed.

use crate::detach::endpoint_objects;
use crate::error::{EngineError, chain};
use crate::session::Session;
use crate::stuck::Stuck;
use qiao_core::driver::Active;
use qiao_core::plan::State;
use qiao_core::{Endpoint, NetworkName, Plan, SandboxName};
use qiao_kernel::{Kernel, Places};
use qiao_store::{Creation, Journal, Made, Pending};

/// The sandbox that a change is about, if it is about one.
pub(crate) fn sandbox_of(change: &Pending) -> Option<&SandboxName> {
    match change {
        Pending::Attach(journal) | Pending::Detach(journal) => Some(journal.endpoint.sandbox()),
        Pending::Amend(amendment) => Some(amendment.after.sandbox()),
        Pending::Create(_) | Pending::Remove(_) => None,
    }
}

impl<K: Kernel> Session<'_, K> {
    /// Ends everything that was begun: an attachment is taken back, a detachment finished. What cannot be ended
    /// hinders only requests about the same objects.
    pub fn recover(&mut self) -> Result<(), EngineError> {
        let mut begun = self.txn.changes()?.read()?;
        if begun.is_empty() {
            return Ok(());
        }
        // Whoever leaves gives others what they wait for: what was begun of that is ended before it is begun anew.
        begun.changes.sort_by_key(|change| !matches!(change, Pending::Amend(_)));
        for change in begun.changes {
            match self.end(&change) {
                Ok(()) => self.ended.extend(sandbox_of(&change).cloned()),
                Err(error) => {
                    let why = chain(&error);
                    self.stuck.push(Stuck { file: change.file(), change: Some(change), why });
                }
            }
        }
        let unreadable = begun.unreadable.into_iter();
        self.stuck.extend(unreadable.map(|(file, error)| Stuck { file, change: None, why: chain(&error) }));
        begun.bad.iter().try_for_each(|file| self.txn.drop_change(file))?;
        Ok(self.txn.sweep()?)
    }

    fn end(&mut self, change: &Pending) -> Result<(), EngineError> {
        match change {
            Pending::Attach(journal) => self.end_attach(journal),
            Pending::Detach(journal) => self.finish_detach(&journal.endpoint).map(drop),
            Pending::Amend(amendment) => self.end_amend(amendment),
            Pending::Create(creation) => self.end_create(creation),
            Pending::Remove(network) => self.finish_remove(network).map(drop),
        }
    }

    /// The networks in use but for one.
    fn active_without(&self, network: &NetworkName) -> Result<Active, EngineError> {
        let mut active = self.txn.active()?;
        active.remove(network);
        Ok(active)
    }

    /// Takes an attachment back that failed. The error tells what is left, if anything is.
    pub fn take_back(
        &mut self,
        journal: &Journal,
        (act, plan): (&str, &Plan),
        error: EngineError,
    ) -> EngineError {
        match self.end_attach(journal) {
            Ok(()) => name(act, error),
            Err(_) => self.residue(plan, &places(&journal.endpoint), (act, error)),
        }
    }

    /// The error for what could not be taken back.
    pub fn residue(
        &mut self,
        plan: &Plan,
        places: &Places,
        (act, error): (&str, EngineError),
    ) -> EngineError {
        let left = self.left(plan, places);
        match error {
            EngineError::Failed { source, .. } => EngineError::Residue { act: act.to_owned(), source, left },
            EngineError::Refused(refusal) => {
                EngineError::Residue { act: act.to_owned(), source: Box::new(refusal), left }
            }
            residue @ EngineError::Residue { .. } => residue,
        }
    }

    fn end_attach(&mut self, journal: &Journal) -> Result<(), EngineError> {
        let endpoint = &journal.endpoint;
        let rest =
            if journal.activates { self.active_without(endpoint.network())? } else { self.txn.active()? };
        match self.own_objects(journal)? {
            Some(own) => self.undo(&journal.made.plan(&own), &places(endpoint), &rest)?,
            None => {
                let plan = self.plan_lost(&|id| *id == endpoint.id)?;
                self.apply(&plan, &places(endpoint))?;
            }
        }
        self.release(endpoint)?;
        if journal.activates {
            self.deactivate(endpoint.network())?;
        }
        if let Some(network) = self.txn.network(endpoint.network())?.filter(|_| journal.creates) {
            self.txn.remove_network(&network)?;
        }
        Ok(self.txn.changes()?.not_attached(endpoint)?)
    }

    /// What an endpoint must have, where its record does not say it itself; none where its network is not known.
    fn own_objects(&self, journal: &Journal) -> Result<Option<State>, EngineError> {
        match &journal.made {
            Made::Plan(_) => Ok(Some(State::default())),
            Made::All { .. } => endpoint_objects(&self.txn, &journal.endpoint),
        }
    }

    /// Gives back what an endpoint had. Its addresses wait for its device to be gone.
    pub fn release(&mut self, endpoint: &Endpoint) -> Result<(), EngineError> {
        let Some(wire) = &endpoint.wire else { return Ok(()) };
        let leaving = match wire.join.is_pair() {
            true => crate::leaving::of(self.kernel, &wire.host_if)?,
            false => None, // a child is deleted before this, or goes with its namespace
        };
        if wire.extras.names.is_some() {
            self.txn.names().take(&endpoint.id.key())?;
        }
        self.end_lease(endpoint);
        Ok(self.txn.claims().give_back(endpoint, leaving.as_deref())?)
    }

    pub fn end_create(&mut self, creation: &Creation) -> Result<(), EngineError> {
        let Creation { network, plan } = creation;
        let kept = self.txn.network(&network.name)?.is_some_and(|kept| kept.id == network.id);
        if !kept {
            let rest = self.active_without(&network.name)?;
            self.undo(plan, &Places::new(), &rest)?;
            self.deactivate(&network.name)?;
        }
        Ok(self.txn.changes()?.created(network)?)
    }
}

/// Where an endpoint's sandbox is.
pub(crate) fn places(endpoint: &Endpoint) -> Places {
    endpoint.netns.iter().map(|netns| (endpoint.sandbox().clone(), netns.clone())).collect()
}

/// Puts the act into an error that does not have it.
pub(crate) fn name(act: &str, error: EngineError) -> EngineError {
    match error {
        EngineError::Failed { source, .. } => EngineError::Failed { act: act.to_owned(), source },
        EngineError::Refused(refusal) => EngineError::Refused(refusal.context(format!("cannot {act}"))),
        residue @ EngineError::Residue { .. } => residue,
    }
}
