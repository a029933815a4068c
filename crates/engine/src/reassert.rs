//! Kernel = desired: looking whether everything is as it must be, and mending it.

use crate::activate::host_state;
use crate::desired::{Desired, Part};
use crate::engine::Engine;
use crate::error::{EngineError, chain};
use crate::outcome::{Finding, Health, Repaired};
use crate::session::Session;
use crate::stuck::{Stuck, words};
use qiao_core::driver::Active;
use qiao_core::plan::{Key, Observed, Ownership, State, diff_all};
use qiao_core::{Plan, Refusal};
use qiao_kernel::{Kernel, Places};

/// How far mending goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To what is in the host's own namespace: what other commands need. No sandbox is looked into, whose root
    /// could keep us there or fail us.
    Host,
    /// Into the sandboxes too.
    Sandboxes,
}

/// What was mended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mended {
    pub plans: Vec<Plan>,
    pub places: Places,
    /// What was not, and why.
    pub left: Vec<String>,
}

impl Mended {
    fn take(&mut self, what: &str, done: Result<(Plan, Vec<Refusal>), EngineError>) {
        match done {
            Ok((plan, refusals)) => {
                self.plans.extend(Some(plan).filter(|plan| !plan.is_empty()));
                self.left.extend(refusals.iter().map(|refusal| format!("{what}: {}", because(refusal))));
            }
            Err(EngineError::Refused(refusal)) => self.left.push(format!("{what}: {}", because(&refusal))),
            Err(error) => self.left.push(format!("{what}: {}", chain(&error))),
        }
    }
}

impl<K: Kernel> Engine<K> {
    /// Whether everything is as it must be. Nothing is touched.
    pub fn check(&mut self) -> Result<Health, EngineError> {
        let mut health = self.check_kernel()?;
        health.findings.extend(self.untold()?.into_iter().map(|what| Finding { line: format!("! {what}") }));
        Ok(health)
    }

    fn check_kernel(&mut self) -> Result<Health, EngineError> {
        let mut session = Session::view(self)?;
        session.kernel.trust(None); // look at the whole rule set, not at its generation
        let begun = session.txn.begun_changes()?;
        let mut health = session.look()?;
        session.note_dropped()?;
        session.note_transit()?;
        session.kernel.loopback_notes()?.into_iter().for_each(|note| session.txn.note(note));
        let flaws = session.kernel.rule_flaws().into_iter().map(|flaw| format!("rules: {flaw}"));
        let trouble = session.kernel.loopback_trouble()?;
        let unkept = session.keeper.as_mut().is_some_and(|keeper| keeper.is_dead());
        let unkept = unkept.then(|| "DHCP leases are kept by nobody".to_owned());
        let nameless = session.name_trouble()?;
        let overlaps = session.overlaps()?;
        let begun =
            begun.changes.iter().map(words).chain(begun.bad).chain(begun.unreadable.into_iter().map(|x| x.0));
        let lines = flaws
            .chain(trouble)
            .chain(unkept)
            .chain(nameless)
            .chain(overlaps)
            .chain(begun.map(|what| format!("{what} was begun and not ended")));
        health.findings.extend(lines.map(|what| Finding { line: format!("! {what}") }));
        Ok(health)
    }

    /// Mends what is not as it must be, and touches nothing else. What cannot be mended hinders nothing else from
    /// being mended.
    pub fn repair(&mut self) -> Result<Repaired, EngineError> {
        let done = self.repair_untold();
        self.told(done)
    }

    fn repair_untold(&mut self) -> Result<Repaired, EngineError> {
        let mut session = Session::lock(self)?;
        session.kernel.trust(None);
        session.recover()?;
        session.txn.sweep()?;
        session.revive_leases();
        let mut repaired = session.collect()?;
        session.remove_lost_networks()?;
        let mended = session.reassert(Reach::Sandboxes)?;
        repaired.left.extend(session.stuck.iter().map(Stuck::told));
        repaired.left.extend(mended.left);
        if let Err(error) = session.mend_names() {
            repaired.left.push(format!("names: {}", chain(&error)));
        }
        Ok(Repaired { plans: mended.plans, places: mended.places, ..repaired })
    }
}

fn because(refusal: &Refusal) -> String {
    let why = refusal.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{refusal}{why}")
}

impl<K: Kernel> Session<'_, K> {
    /// Looks at the little without which nothing works, and mends everything if any of it is missing: another
    /// program flushed the rules, deleted a bridge, or switched forwarding off.
    pub fn heal(&mut self) -> Result<(), EngineError> {
        if self.is_broken()? {
            self.reassert(Reach::Host)?;
        }
        Ok(())
    }

    /// Whether any of it is missing.
    pub fn is_broken(&mut self) -> Result<bool, EngineError> {
        let active = self.txn.active()?;
        if active.is_empty() {
            return Ok(false);
        }
        let mut essence = host_state(&active, &self.txn.saved()?);
        let (present, _) = self.present(&active)?;
        present.iter().for_each(|(name, activation)| essence.extend(activation.essence(name)));
        // Where the rule set has not moved, nobody has touched what is in other tables either.
        let looked = essence.part(|key, _| !key.is_opening());
        let lacks =
            self.lacks(&looked)? || !self.kernel.is_unmoved() && self.lacks_rules(&active, &present)?;
        let broken =
            lacks || self.lets_through_else(&self.txn.saved()?)? || self.kernel.loopback_trouble()?.is_some();
        if !broken {
            (self.seen, self.members_known) = (essence, true);
        }
        Ok(broken)
    }

    /// Whether a network or an endpoint is not in the sets of the rules where it must be, or a network is not let
    /// through. Another program has changed the rules: any element may be missing, or the policy of `iptables` be
    /// another.
    fn lacks_rules(&mut self, active: &Active, present: &Active) -> Result<bool, EngineError> {
        let mut networks = Vec::new();
        for name in present.keys() {
            networks.extend(self.txn.network(name)?);
        }
        let saved = self.txn.saved()?;
        let rules = self.desired(active, &saved)?.rules();
        Ok(self.lacks(&rules)? || self.let_through_of(&networks)? != *active)
    }

    fn lacks(&mut self, wanted: &State) -> Result<bool, EngineError> {
        let observed = self.kernel.observe(wanted, &Places::new())?;
        Ok(!diff_all(&observed, wanted).0.is_empty())
    }

    /// Brings the kernel to what must be: the rules first, since without them no port may be up, then each
    /// network and each endpoint by itself, last what nobody needs any more.
    pub fn reassert(&mut self, reach: Reach) -> Result<Mended, EngineError> {
        let active = self.let_through()?;
        if active != self.txn.active()? {
            self.txn.set_active(&active)?;
        }
        let saved = self.saved_now()?;
        if saved != self.txn.saved()? {
            self.txn.save(&saved)?;
        }
        let desired = self.desired(&active, &saved)?;
        let mut mended = Mended { left: desired.spared.notes.clone(), ..Mended::default() };
        let rules = self.twice(|session| session.mend_rules(&desired))?;
        mended.take("rules", Ok(rules));
        for part in &desired.parts {
            let done = self.twice(|session| session.mend(part, reach));
            // Its container ended meanwhile: there is nothing to mend, and the next command collects what is left.
            if done.is_err() && self.is_gone(&part.places) {
                continue;
            }
            mended.take(&part.what, done);
            mended.places.extend(part.places.clone());
        }
        mended.take("what nobody needs", self.twice(|session| session.remove_surplus(&desired)));
        Ok(mended)
    }

    fn mend_rules(&mut self, desired: &Desired) -> Result<(Plan, Vec<Refusal>), EngineError> {
        let mut rules = desired.rules();
        let mut observed = self.marked(desired)?;
        observed.retain(|key, _| key.is_firewall());
        rules.extend(self.spared_elements(desired)?);
        observed.extend(self.kernel.observe(&rules, &Places::new())?);
        let (plan, refusals) = diff_all(&observed, &rules);
        self.apply(&plan, &Places::new())?; // also where there is nothing to do: a proxy that ended is started
        Ok((plan, refusals))
    }

    /// The elements that are left alone: where the rule set is made anew, they come along.
    fn spared_elements(&mut self, desired: &Desired) -> Result<State, EngineError> {
        if desired.spared.is_nobody() {
            return Ok(State::default());
        }
        let elements = self.kernel.elements()?;
        let spared = elements.iter().filter(|(key, found)| desired.spared.has(key, found));
        let mut state = State::default();
        for (key, found) in spared {
            if let Ownership::Marked(owner) = &found.owner {
                state.insert(key.clone(), owner, found.value.clone());
            }
        }
        Ok(state)
    }

    fn mend(&mut self, part: &Part, reach: Reach) -> Result<(Plan, Vec<Refusal>), EngineError> {
        let (state, places) = match reach {
            Reach::Sandboxes => (part.state.clone(), part.places.clone()),
            Reach::Host => (part.state.part(|key, _| key.sandbox().is_none()), Places::new()),
        };
        let observed = self.kernel.observe(&state, &places)?;
        if reach == Reach::Host && lacks_a_pair(&state, &observed) {
            return Ok(Default::default()); // it cannot be made without its sandbox
        }
        let (plan, refusals) = diff_all(&observed, &state);
        self.refuse_taken_by(&plan)?;
        if !plan.is_empty() {
            self.apply(&plan, &places)?;
        }
        Ok((plan, refusals))
    }

    fn remove_surplus(&mut self, desired: &Desired) -> Result<(Plan, Vec<Refusal>), EngineError> {
        let mut observed = self.marked(desired)?;
        observed.retain(|key, _| desired.all.get(key).is_none());
        let (plan, refusals) = diff_all(&observed, &State::default());
        if !plan.is_empty() {
            self.apply(&plan, &Places::new())?;
        }
        Ok((plan, refusals))
    }

    /// Everything of the host's that bears a mark of ours, but for what is left alone.
    fn marked(&mut self, desired: &Desired) -> Result<Observed, EngineError> {
        let mut observed = self.kernel.survey()?;
        observed.retain(|key, found| !desired.spared.has(key, found));
        Ok(observed)
    }

    /// Whether a sandbox ended since it was seen to live.
    fn is_gone(&mut self, places: &Places) -> bool {
        places.values().any(|netns| !self.kernel.is_alive(netns))
    }

    /// What is not as it must be. What cannot be looked at is a finding too.
    fn look(&mut self) -> Result<Health, EngineError> {
        let active = self.let_through()?;
        let saved = self.saved_now()?;
        let desired = self.desired(&active, &saved)?;
        let (mut wanted, mut notes) = (desired.all.clone(), desired.spared.notes.clone());
        let (mut observed, mut all_places) = (self.marked(&desired)?, Places::new());
        observed.extend(self.kernel.observe(&desired.rules(), &Places::new())?);
        for part in &desired.parts {
            let found = self.kernel.observe(&part.state, &part.places);
            let is_gone = self.is_gone(&part.places);
            match found {
                Ok(found) if !is_gone => observed.extend(found),
                found => {
                    let error = found.err().filter(|_| !is_gone);
                    notes.extend(error.map(|error| format!("{}: {}", part.what, chain(&error))));
                    part.state.keys().for_each(|key| drop((wanted.remove(key), observed.remove(key))));
                }
            }
            all_places.extend(part.places.clone());
        }
        let (plan, refusals) = diff_all(&observed, &wanted);
        notes.extend(refusals.iter().map(because));
        let lines = plan.ops().iter().map(qiao_core::render::line);
        let lines = lines.chain(notes.into_iter().map(|note| format!("! {note}")));
        Ok(Health { findings: lines.map(|line| Finding { line }).collect(), plan, places: all_places })
    }
}

fn lacks_a_pair(state: &State, observed: &Observed) -> bool {
    state.keys().any(|key| matches!(key, Key::Veth(_)) && observed.get(key).is_none())
}
