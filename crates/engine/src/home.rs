//! Where an engine is. Records and kernel belong together: the records of one network namespace say nothing of another.

use crate::error::EngineError;
use qiao_core::endpoint::Netns;
use qiao_core::{EngineId, Refusal};
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
    /// namespace and a container of theirs lives: in this one the engine would create what is there already, and
    /// remove what it takes for a leftover.
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
        // From within a container, its namespace counts as the host's own and cannot be opened as a sandbox's.
        let mut lives = |netns: &Netns| netns.cookie == self.residence.netns || kernel.is_alive(netns);
        let wired = txn.endpoints()?.into_iter().filter(|endpoint| endpoint.wire.is_some());
        let living = wired.into_iter().find(|endpoint| endpoint.netns.as_ref().is_some_and(&mut lives));
        let Some(living) = living else { return Ok(()) };
        let run = &txn.paths().run;
        Err(Refusal::conflict(format!("the records in {run} are those of another network namespace"))
            .why(format!("container `{}` is attached there", living.sandbox()))
            .fix("run the command in the network namespace that the container was attached in")
            .fix("qiao --run-dir DIR --state-dir DIR …      (an engine of its own for this namespace)")
            .into())
    }
}
