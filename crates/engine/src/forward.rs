//! What drops the packets that the host forwards: our own networks are let through where that can be, and `check`
//! tells of the rest.

use crate::error::EngineError;
use crate::session::Session;
use qiao_core::driver::{Activation, Active};
use qiao_core::subnet::Family;
use qiao_kernel::Kernel;

impl<K: Kernel> Session<'_, K> {
    /// The networks in use, those of our own kind let through where `iptables` drops what is forwarded by now, and their
    /// questions for names where it drops what comes in.
    pub fn let_through(&mut self) -> Result<Active, EngineError> {
        let mut active = self.txn.active()?;
        if !active.values().any(Activation::needs_rules) {
            return Ok(active);
        }
        let (forwarded, incoming) = (self.kernel.drops_forwarded()?, self.kernel.drops_incoming()?);
        let drops = !forwarded.is_empty() || !incoming.is_empty();
        for (name, activation) in active.iter_mut().filter(|_| drops) {
            if let Some(network) = self.txn.network(name)? {
                activation.let_through(&network, &forwarded);
                activation.answer_names(&network, &incoming);
            }
        }
        Ok(active)
    }

    /// Notes whose packets `iptables` drops where no rule lets them through: of all networks in use that lead
    /// anywhere, or, where its rules are nf_tables', of those that we do not let through by ourselves.
    pub fn note_dropped(&mut self) -> Result<(), EngineError> {
        let mut leading = Vec::new();
        for (name, activation) in self.let_through()? {
            let network = self.txn.network(&name)?;
            let leads = activation.needs_rules() && network.is_some_and(|network| !network.is_internal());
            leading.extend(leads.then_some((name, activation)));
        }
        if leading.is_empty() {
            return Ok(());
        }
        let all: Vec<String> = leading.iter().map(|(name, _)| format!("`{name}`")).collect();
        for family in self.kernel.drops_by_legacy() {
            self.txn.note(told("the legacy `iptables`", family, &all));
        }
        for family in self.kernel.drops_forwarded()? {
            let is_open = |open: &(Family, _)| open.0 == family;
            let closed = leading.iter().filter(|(_, activation)| !activation.open.iter().any(is_open));
            let closed: Vec<String> = closed.map(|(name, _)| format!("`{name}`")).collect();
            if !closed.is_empty() {
                self.txn.note(told("`iptables`", family, &closed));
            }
        }
        Ok(())
    }
}

fn told(who: &str, family: Family, networks: &[String]) -> String {
    let family = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    format!(
        "{who} drops what the host forwards by {family} (the policy of FORWARD): of the networks {} only that passes \
         which a rule of its lets through",
        networks.join(", ")
    )
}
