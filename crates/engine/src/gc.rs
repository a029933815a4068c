//! Collecting what belongs to nobody any more: endpoints whose namespace is gone, claims without an endpoint.

use crate::engine::Engine;
use crate::error::{EngineError, chain};
use crate::outcome::Repaired;
use crate::session::Session;
use qiao_core::{Endpoint, Network};
use qiao_kernel::Kernel;
use qiao_store::Holder;
use std::collections::BTreeSet;

impl<K: Kernel> Engine<K> {
    /// Collects what belongs to nobody any more.
    pub fn gc(&mut self) -> Result<Repaired, EngineError> {
        let done = self.gc_untold();
        self.told(done)
    }

    fn gc_untold(&mut self) -> Result<Repaired, EngineError> {
        let mut session = self.begin()?;
        let mut collected = session.collect()?;
        match session.kernel.collect_hooks() {
            Ok(hooks) => collected.claims.extend(hooks),
            Err(error) => collected.left.push(chain(&error)),
        }
        Ok(collected)
    }
}

impl<K: Kernel> Session<'_, K> {
    /// Detaches the endpoints whose namespace is gone, and gives back the claims of no endpoint.
    pub fn collect(&mut self) -> Result<Repaired, EngineError> {
        let (living, gone): (Vec<_>, Vec<_>) = self.txn.endpoints()?.into_iter().partition(|e| self.lives(e));
        let mut repaired = Repaired::default();
        let mut keys: BTreeSet<String> = living.iter().map(|endpoint| endpoint.id.key()).collect();
        keys.extend(self.stuck_endpoints());
        keys.extend(self.unreadable_keys()?);
        for endpoint in gone {
            match self.detach_one(&endpoint) {
                Ok(_) => repaired.collected.push(endpoint),
                Err(error) => {
                    repaired.left.push(format!("endpoint {}: {}", endpoint.id, chain(&error)));
                    keys.insert(endpoint.id.key());
                }
            }
        }
        repaired.claims = self.txn.claims().collect(&|owner| keys.contains(owner))?;
        repaired.claims.extend(self.collect_leases()?);
        self.forget_gone_devices()?;
        Ok(repaired)
    }

    /// Detaches the endpoints of one network whose namespace is gone, and gives their keys.
    pub fn collect_on(&mut self, network: &Network) -> Result<BTreeSet<String>, EngineError> {
        let mut collected = BTreeSet::new();
        let leases = self.txn.claims().leases(&network.name)?;
        let mut sandboxes = BTreeSet::new();
        for ip in leases.addresses()? {
            if let Some(Holder::Endpoint(key)) = leases.holder(ip)? {
                sandboxes.extend(key.split_once('@').map(|(sandbox, _)| sandbox.to_owned()));
            }
        }
        for sandbox in sandboxes.iter().filter_map(|name| qiao_core::SandboxName::new(name).ok()) {
            let gone: Vec<_> = self.txn.sandbox(&sandbox)?.into_iter().filter(|e| !self.lives(e)).collect();
            self.detach_gone(&gone)?;
            collected.extend(gone.iter().map(|endpoint| endpoint.id.key()));
        }
        Ok(collected)
    }

    /// Detaches endpoints whose namespace is gone, on the way to something else.
    pub fn detach_gone(&mut self, gone: &[Endpoint]) -> Result<(), EngineError> {
        for endpoint in gone {
            if self.looks_only {
                self.txn
                    .note(format!("the namespace of endpoint {} is gone; it is detached first", endpoint.id));
            } else {
                self.detach_one(endpoint)?;
            }
        }
        Ok(())
    }

    /// Detaches the endpoint that a claim names (`SANDBOX@IFNAME`) if its namespace is gone; whether it was. A
    /// container that has ended keeps neither address nor port from the next, whoever forgot to detach it.
    pub fn detach_if_gone(&mut self, key: &str) -> Result<bool, EngineError> {
        let Some((sandbox, ifname)) = key.split_once('@') else { return Ok(false) };
        let Ok(sandbox) = qiao_core::SandboxName::new(sandbox) else { return Ok(false) };
        let holder = self.txn.endpoint(&sandbox, ifname)?;
        let Some(gone) = holder.filter(|endpoint| !self.lives(endpoint)) else { return Ok(false) };
        self.detach_gone(&[gone])?;
        Ok(!self.looks_only)
    }

    /// Whether an endpoint's namespace is there.
    pub fn lives(&mut self, endpoint: &Endpoint) -> bool {
        endpoint.netns.as_ref().is_none_or(|netns| self.kernel.is_alive(netns))
    }

    /// Frees the addresses whose devices have gone since.
    fn forget_gone_devices(&mut self) -> Result<(), EngineError> {
        for network in self.txn.active()?.keys() {
            let leases = self.txn.claims().leases(network)?;
            for ip in leases.addresses()? {
                let Some(Holder::Leaving(device)) = leases.holder(ip)? else { continue };
                if !crate::leaving::is_there(self.kernel, &device)? {
                    leases.forget(ip)?;
                }
            }
        }
        Ok(())
    }
}
