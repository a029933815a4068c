//! Kernel = desired: looking whether everything is as it must be, and mending it.

use crate::activate::host_state;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::outcome::{Finding, Health, Repaired};
use crate::recover::places;
use crate::session::Session;
use qiao_core::driver::network_state;
use qiao_core::plan::{Observed, State, diff_all};
use qiao_core::{Plan, Refusal};
use qiao_kernel::{Kernel, Places};

impl<K: Kernel> Engine<K> {
    /// Whether everything is as it must be. Nothing is touched.
    pub fn check(&mut self) -> Result<Health, EngineError> {
        let mut session = Session::lock(&mut self.kernel, &self.store, &self.settings)?;
        session.kernel.trust(None); // look at the whole rule set, not at its generation
        let (pending, bad) = session.txn.changes()?.read()?;
        let (desired, places) = session.desired()?;
        let (plan, refusals) = session.difference(&desired, &places)?;
        let mut findings: Vec<Finding> =
            plan.ops().iter().map(|op| Finding { line: qiao_core::render::line(op) }).collect();
        findings.extend(refusals.into_iter().map(|r| Finding { line: format!("! {r}{}", because(&r)) }));
        let trouble = session.kernel.loopback_trouble()?;
        findings.extend(trouble.map(|what| Finding { line: format!("! {what}") }));
        let begun = pending.len() + bad.len();
        findings.extend(
            (begun > 0).then(|| Finding { line: format!("! {begun} changes were begun and not ended") }),
        );
        Ok(Health { findings, plan, places })
    }

    /// Mends what is not as it must be, and touches nothing else.
    pub fn repair(&mut self) -> Result<Repaired, EngineError> {
        let mut session = Session::lock(&mut self.kernel, &self.store, &self.settings)?;
        session.kernel.trust(None);
        session.recover()?;
        session.txn.sweep()?;
        let mut repaired = session.collect()?;
        repaired.plan = session.reassert()?;
        Ok(repaired)
    }
}

fn because(refusal: &Refusal) -> String {
    refusal.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
}

impl<K: Kernel> Session<'_, K> {
    /// Looks at the little without which nothing works, and mends everything if any of it is missing: another
    /// program flushed the rules, deleted a bridge, or switched forwarding off.
    pub fn heal(&mut self) -> Result<(), EngineError> {
        let active = self.txn.active()?;
        if active.is_empty() {
            return Ok(());
        }
        let mut essence = host_state(&active, &self.txn.saved()?);
        active.iter().for_each(|(name, activation)| essence.extend(activation.essence(name)));
        let observed = self.kernel.observe(&essence, &Places::new())?;
        let (plan, _) = diff_all(&observed, &essence);
        if !plan.is_empty() || self.kernel.loopback_trouble()?.is_some() {
            self.reassert()?;
        }
        Ok(())
    }

    /// Brings the kernel to what must be.
    pub fn reassert(&mut self) -> Result<Plan, EngineError> {
        let (desired, places) = self.desired()?;
        self.twice(|session| {
            let (plan, _) = session.difference(&desired, &places)?;
            session.apply(&plan, &places).map(|()| plan)
        })
    }

    fn difference(&mut self, desired: &State, places: &Places) -> Result<(Plan, Vec<Refusal>), EngineError> {
        let mut observed: Observed = self.kernel.survey()?;
        observed.extend(self.kernel.observe(desired, places)?);
        Ok(diff_all(&observed, desired))
    }

    /// Everything that must exist: of the host, of the networks in use, of the endpoints that live.
    fn desired(&mut self) -> Result<(State, Places), EngineError> {
        let (active, mut all_places) = (self.txn.active()?, Places::new());
        let mut desired =
            if active.is_empty() { State::default() } else { host_state(&active, &self.txn.saved()?) };
        for (name, activation) in &active {
            match self.txn.network(name)? {
                Some(network) => desired.extend(network_state(&network, activation)),
                None => desired.extend(activation.essence(name)),
            }
        }
        for endpoint in self.txn.endpoints()? {
            let alive = endpoint.netns.as_ref().is_none_or(|netns| self.kernel.is_alive(netns));
            let (Some(network), Some(activation)) =
                (self.txn.network(endpoint.network())?, active.get(endpoint.network()))
            else {
                continue;
            };
            if alive {
                desired.extend(self.wanted(&network, activation, &endpoint));
                all_places.extend(places(&endpoint));
            }
        }
        Ok((desired, all_places))
    }
}
