//! Where an engine is. Records and kernel belong together: the records of one network namespace say nothing of another.

use crate::error::EngineError;
use qiao_core::endpoint::Join;
use qiao_core::{Endpoint, EngineId, Refusal};
use qiao_kernel::Kernel;
use qiao_store::{Residence, Store, StoreError, Txn};

/// Where an engine is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    /// What the run directory is found to be of, and whose number that is.
    residence: Residence,
    /// Whether that is what its record says.
    known: bool,
}

impl Home {
    /// Finds out which engine a store's is, in a network namespace.
    pub fn find(store: &Store, netns: u64) -> Result<Self, StoreError> {
        let recorded = store.residence()?.filter(|recorded| recorded.netns == netns);
        match recorded {
            Some(residence) => Ok(Self { residence, known: true }),
            None => Ok(Self { residence: store.residence_in(netns)?, known: false }),
        }
    }

    /// The engine's number.
    pub fn engine(&self) -> EngineId {
        self.residence.engine
    }

    /// Records where the engine is, with the lock held. It is refused where the records are those of another network
    /// namespace that is still there: in this one the engine would create what is there already, and remove what it
    /// takes for a leftover. A namespace that was destroyed and created again, as that of Podman without root, is no
    /// obstacle.
    ///
    /// `writes` is false where nothing must be written.
    pub fn settle<K: Kernel>(
        &mut self,
        txn: &Txn<'_>,
        kernel: &mut K,
        writes: bool,
    ) -> Result<(), EngineError> {
        if self.known {
            return Ok(());
        }
        let elsewhere = txn.residence()?.filter(|recorded| recorded.netns != self.residence.netns);
        if elsewhere.is_some() {
            self.refuse_living(txn, kernel)?;
        }
        if writes {
            // The directory above may have been created with the run directory, a moment ago.
            self.residence = txn.residence_in(self.residence.netns)?;
            kernel.act_for(self.engine());
            txn.settle(self.residence)?;
            self.known = true;
        }
        Ok(())
    }

    fn refuse_living<K: Kernel>(&self, txn: &Txn<'_>, kernel: &mut K) -> Result<(), EngineError> {
        let endpoints = txn.endpoints()?;
        let living = endpoints.iter().find(|endpoint| self.is_joined(kernel, endpoint));
        let Some(living) = living else { return Ok(()) };
        let run = &txn.paths().run;
        Err(Refusal::conflict(format!("the records in {run} are those of another network namespace"))
            .why(format!("container `{}` is attached there", living.sandbox()))
            .fix("run the command in the network namespace that the container was attached in")
            .fix("qiao --run-dir DIR --state-dir DIR …      (an engine of its own for this namespace)")
            .into())
    }

    /// Whether an endpoint shows that the network namespace of its host is there: the ends of pairs, and the children of
    /// interfaces, are deleted with that namespace. An endpoint that cannot be asked may show it.
    fn is_joined<K: Kernel>(&self, kernel: &mut K, endpoint: &Endpoint) -> bool {
        let (Some(netns), Some(wire)) = (&endpoint.netns, &endpoint.wire) else { return false };
        if netns.cookie == self.residence.netns {
            return true; // the command runs in the container, whose namespace is none of a sandbox from there
        }
        if matches!(wire.join, Join::Nothing | Join::Adopted) || !kernel.is_alive(netns) {
            return false;
        }
        let links = kernel.links_in(netns);
        links.map_or(true, |links| links.iter().any(|link| link == endpoint.id.ifname.as_str()))
    }
}
