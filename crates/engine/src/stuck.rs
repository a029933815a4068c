//! Changes that were begun and cannot be ended: requests about the same objects are refused, all others go on.

use crate::desired::Spared;
use crate::error::EngineError;
use crate::session::Session;
use qiao_core::{NetworkName, Owner, Refusal, SandboxName};
use qiao_kernel::Kernel;
use qiao_store::{About, Pending};

/// A change that was begun and cannot be ended.
#[derive(Debug)]
pub(crate) struct Stuck {
    /// Its file.
    pub file: String,
    /// What it is, where that can be read.
    pub change: Option<Pending>,
    /// Why it cannot be ended.
    pub why: String,
}

impl Stuck {
    fn about(&self) -> Option<About> {
        About::parse(&self.file)
    }

    fn is_of_sandbox(&self, sandbox: &SandboxName) -> bool {
        matches!(self.about(), Some(About::Endpoint(key)) if key.split('@').next() == Some(sandbox.as_str()))
    }

    /// Whether it makes or unmakes the network.
    fn decides(&self, network: &NetworkName) -> bool {
        let makes = |change: &Pending| match change {
            Pending::Attach(journal) => {
                (journal.activates || journal.creates) && journal.endpoint.network() == network
            }
            _ => false,
        };
        matches!(self.about(), Some(About::Network(name)) if name == network.as_str())
            || self.change.as_ref().is_some_and(makes)
    }

    /// Whether it needs the network for its end. Of one that cannot be read nobody knows.
    fn needs(&self, network: &NetworkName) -> bool {
        let of = match &self.change {
            Some(Pending::Attach(journal) | Pending::Detach(journal)) => Some(journal.endpoint.network()),
            Some(Pending::Amend(amendment)) => Some(amendment.after.network()),
            Some(Pending::Create(_) | Pending::Remove(_)) => None,
            None => return true,
        };
        of == Some(network)
    }

    /// In words, with the reason.
    pub fn told(&self) -> String {
        let what = self.change.as_ref().map_or_else(|| format!("`{}`", self.file), words);
        format!("{what} was begun and cannot be ended: {}", self.why)
    }
}

/// What a change is.
pub(crate) fn words(change: &Pending) -> String {
    match change {
        Pending::Attach(journal) => {
            format!("attaching `{}` to network `{}`", journal.endpoint.sandbox(), journal.endpoint.network())
        }
        Pending::Detach(journal) => {
            format!(
                "detaching `{}` from network `{}`",
                journal.endpoint.sandbox(),
                journal.endpoint.network()
            )
        }
        Pending::Amend(amendment) => {
            format!("changing the endpoint of `{}`", amendment.after.sandbox())
        }
        Pending::Create(creation) => format!("creating network `{}`", creation.network.name),
        Pending::Remove(network) => format!("removing network `{}`", network.name),
    }
}

impl<K: Kernel> Session<'_, K> {
    /// Refuses a request about an endpoint that a change which cannot be ended is about.
    pub fn refuse_stuck_sandbox(&self, sandbox: &SandboxName) -> Result<(), EngineError> {
        self.refuse_stuck(&|stuck| stuck.is_of_sandbox(sandbox))
    }

    /// The same for using a network.
    pub fn refuse_stuck_network(&self, network: &NetworkName) -> Result<(), EngineError> {
        self.refuse_stuck(&|stuck| stuck.decides(network))
    }

    /// The same for creating or removing a network.
    pub fn refuse_stuck_on(&self, network: &NetworkName) -> Result<(), EngineError> {
        self.refuse_stuck(&|stuck| stuck.decides(network) || stuck.needs(network))
    }

    fn refuse_stuck(&self, concerns: &dyn Fn(&Stuck) -> bool) -> Result<(), EngineError> {
        let Some(stuck) = self.stuck.iter().find(|stuck| concerns(stuck)) else { return Ok(()) };
        Err(Refusal::conflict("a change that was begun before is in the way").why(stuck.told()).into())
    }

    /// The endpoints that it is about, by their keys: what they have is not free.
    pub fn stuck_endpoints(&self) -> impl Iterator<Item = String> {
        self.stuck.iter().filter_map(|stuck| match stuck.about() {
            Some(About::Endpoint(key)) => Some(key),
            _ => None,
        })
    }

    /// What belongs to such changes is left alone by mending: their end is for recovery.
    pub fn spare_stuck(&self, spared: &mut Spared) {
        for change in self.stuck.iter().filter_map(|stuck| stuck.change.as_ref()) {
            match change {
                Pending::Attach(journal) | Pending::Detach(journal) => spared.endpoint(&journal.endpoint),
                Pending::Amend(amendment) => spared.endpoint(&amendment.after),
                Pending::Create(creation) => spared.owner(Owner::Network(creation.network.name.clone())),
                Pending::Remove(network) => spared.owner(Owner::Network(network.name.clone())),
            }
        }
    }
}
