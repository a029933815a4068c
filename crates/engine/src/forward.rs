//! What drops the packets that the host forwards: our own networks are let through where that can be, and `check`
//! tells of the rest.

use crate::error::EngineError;
use crate::session::Session;
use qiao_core::Network;
use qiao_core::driver::{Active, is_closed};
use qiao_core::subnet::Family;
use qiao_kernel::Kernel;

impl<K: Kernel> Session<'_, K> {
    /// The networks in use, those of our own kind let through where `iptables` drops what is forwarded by now, and their
    /// questions for names where it drops what comes in.
    pub fn let_through(&mut self) -> Result<Active, EngineError> {
        let mut networks = Vec::new();
        for name in self.txn.active()?.keys() {
            networks.extend(self.txn.network(name)?);
        }
        self.let_through_of(&networks)
    }

    /// The same where the networks in use are known already.
    pub fn let_through_of(&mut self, networks: &[Network]) -> Result<Active, EngineError> {
        let mut active = self.txn.active()?;
        let closed: Vec<&Network> = networks.iter().filter(|network| is_closed(network)).collect();
        if closed.is_empty() {
            return Ok(active); // of all others their doors say it
        }
        let (forwarded, incoming) = (self.kernel.drops_forwarded()?, self.kernel.drops_incoming()?);
        for network in closed {
            if let Some(activation) = active.get_mut(&network.name) {
                activation.let_through(network, &forwarded);
                activation.answer_names(network, &incoming);
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
