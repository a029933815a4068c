//! Giving back settings of the host that no network needs any more: as they were before us, unless another program
//! has come to rely on them since. Forwarding is one switch for the whole host.

use crate::activate::{is_needed, routed};
use crate::error::EngineError;
use crate::session::Session;
use qiao_core::driver::Active;
use qiao_core::plan::{Key, Sysctl};
use qiao_core::subnet::Family;
use qiao_kernel::Kernel;
use qiao_store::Saved;
use std::collections::BTreeSet;

impl<K: Kernel> Session<'_, K> {
    /// The settings that stay as they are, although these networks do not need them, because another program does. The
    /// kernel is asked only where a setting is about to be given back.
    pub fn left_on(&mut self, active: &Active, saved: &Saved) -> Result<BTreeSet<Sysctl>, EngineError> {
        let needed = routed(active);
        let is_given_back = |family: &Family| {
            let switch = (Sysctl::forward(*family), 0);
            !needed.contains(family) && saved.sysctls.contains(&switch)
        };
        let families: Vec<Family> = [Family::V4, Family::V6].into_iter().filter(is_given_back).collect();
        let mut left = BTreeSet::new();
        if families.is_empty() {
            return Ok(left);
        }
        let found = self.kernel.forwarding()?;
        for family in families {
            let Some(user) = found.user(family, &saved.before) else { continue };
            let switch = Sysctl::forward(family);
            if !self.looks_only {
                self.txn.note(format!(
                    "`{switch}` was 0 before the first network and stays 1: {user} may need it"
                ));
            }
            left.insert(switch);
            // A host that forwards ignores router advertisements unless it is set not to.
            let advertised = saved.sysctls.iter().map(|(sysctl, _)| sysctl);
            let advertised = advertised.filter(|sysctl| matches!(sysctl, Sysctl::AcceptRa(_)));
            left.extend(advertised.filter(|_| family == Family::V6).cloned());
        }
        Ok(left)
    }

    /// What is still known of the host's settings when these networks are in use: what they do not need was given back,
    /// or belongs to another program from now on.
    pub fn forget_returned(&mut self, active: &Active) -> Result<(), EngineError> {
        let (mut saved, needed) = (self.txn.saved()?, routed(active));
        let before = saved.sysctls.len();
        saved.sysctls.retain(|(sysctl, _)| is_needed(sysctl, &needed));
        if saved.sysctls.is_empty() {
            saved = Saved::default();
        }
        if saved.sysctls.len() != before {
            self.txn.save(&saved)?;
        }
        Ok(())
    }
}

/// The keys of settings.
pub(crate) fn keys(sysctls: &BTreeSet<Sysctl>) -> impl Iterator<Item = Key> {
    sysctls.iter().cloned().map(Key::Sysctl)
}
