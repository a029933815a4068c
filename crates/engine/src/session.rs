//! A session: the lock is held, what was begun is ended, and what was broken is mended.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::reassert::Reach;
use crate::recover::sandbox_of;
use crate::restore::keys;
use crate::stuck::{Stuck, words};
use qiao_core::dhcp::{Keeper, Leased};
use qiao_core::driver::{Activation, Active, endpoint_state};
use qiao_core::plan::{Key, Object, Observed, State, diff, diff_all};
use qiao_core::port::Listen;
use qiao_core::settings::{LoopbackMethod, Settings};
use qiao_core::{Endpoint, IfName, Network, Op, Owner, Plan, Refusal, SandboxName};
use qiao_kernel::{ApplyError, FREED, InTheWay, Kernel, KernelError, Places};
use qiao_store::{Store, StoreError, Txn};
use std::collections::BTreeSet;

/// A session.
pub(crate) struct Session<'e, K> {
    pub kernel: &'e mut K,
    pub txn: Txn<'e>,
    pub settings: &'e Settings,
    /// Who keeps leases of DHCP servers.
    pub keeper: Option<&'e mut (dyn Keeper + 'static)>,
    /// The lease of what is being attached.
    pub leased: Option<Leased>,
    /// What was begun before and cannot be ended.
    pub stuck: Vec<Stuck>,
    /// The sandboxes about which a killed command had begun something that is ended.
    pub ended: Vec<SandboxName>,
    /// Whether nothing must be touched: what would be done first is noted for the user.
    pub looks_only: bool,
    /// What was seen to be as it must be since the lock is held: it need not be looked at again.
    pub seen: State,
    /// Whether each network in use was found to be in the sets of the rules where it must be.
    pub members_known: bool,
    /// Whether something was not as it was taken to be: from here on everything is looked at.
    pub doubts: bool,
    /// What was asked last of the host's ports, and what was in their way.
    pub asked: Option<(Listen, Option<InTheWay>)>,
}

impl<'e, K: Kernel> Session<'e, K> {
    /// Takes the lock and puts everything in order.
    pub fn begin(engine: &'e mut Engine<K>) -> Result<Self, EngineError> {
        let mut session = Self::lock(engine)?;
        session.recover()?;
        session.heal()?;
        session.revive_leases();
        Ok(session)
    }

    /// Takes the lock and touches nothing. What a request would do before anything else is noted.
    pub fn look_only(engine: &'e mut Engine<K>) -> Result<Self, EngineError> {
        let mut session = Self::view(engine)?;
        session.looks_only = true;
        let begun = session.txn.begun_changes()?;
        session.ended = begun.changes.iter().filter_map(sandbox_of).cloned().collect();
        for change in &begun.changes {
            session.txn.note(format!("{} was begun and not ended; that is ended first", words(change)));
        }
        if session.is_broken()? {
            session
                .txn
                .note("rules, settings or bridges are not as they must be; they are mended first".into());
        }
        Ok(session)
    }

    /// Takes the lock.
    pub fn lock(engine: &'e mut Engine<K>) -> Result<Self, EngineError> {
        Self::locked(engine, Store::begin, true)
    }

    /// Takes the lock where there is one, and makes nothing.
    pub fn view(engine: &'e mut Engine<K>) -> Result<Self, EngineError> {
        Self::locked(engine, Store::look, false)
    }

    fn locked(
        engine: &'e mut Engine<K>,
        lock: impl FnOnce(&'e Store) -> Result<Txn<'e>, StoreError>,
        writes: bool,
    ) -> Result<Self, EngineError> {
        let Engine { kernel, store, settings, keeper, home, .. } = engine;
        let txn = lock(store)?;
        home.settle(&txn, kernel, writes)?;
        kernel.trust(txn.generation());
        kernel.expect_freeing(txn.deleted_within(FREED));
        Ok(Self {
            kernel,
            txn,
            settings,
            keeper: keeper.as_deref_mut(),
            leased: None,
            stuck: Vec::new(),
            ended: Vec::new(),
            looks_only: false,
            seen: State::default(),
            members_known: false,
            doubts: false,
            asked: None,
        })
    }

    /// What must exist for an endpoint with these settings.
    pub fn wanted(&self, network: &Network, activation: &Activation, endpoint: &Endpoint) -> State {
        let state = endpoint_state(network, activation, endpoint);
        if self.settings.loopback != LoopbackMethod::Off {
            return state;
        }
        state.part(|key, _| !matches!(key, Key::Loopback(_)))
    }

    /// What must be done so that `wanted` is as it must be.
    pub fn plan(&mut self, wanted: &State, places: &Places) -> Result<Plan, EngineError> {
        let plan = self.missing(wanted, places)?;
        self.refuse_taken_by(&plan)?;
        if self.mend_lost_rules(&plan)? { self.missing(wanted, places) } else { Ok(plan) }
    }

    /// The same where little need be looked at, as long as nothing speaks against it: the kernel refuses to make
    /// what it has already, and then everything is looked at.
    pub fn plan_new(
        &mut self,
        presumed: &Presumed,
        wanted: &State,
        places: &Places,
    ) -> Result<Plan, EngineError> {
        if self.doubts || self.looks_only {
            return self.plan(wanted, places);
        }
        let known = self.members_known && presumed.settled;
        let unseen = wanted.part(|key, object| {
            self.seen.get(key) != Some(object) && !(known && is_member(key, &object.owner))
        });
        let asked = unseen.part(|key, object| !presumed.is_absent(key, object));
        let plan = diff(&self.kernel.observe(&asked, places)?, &unseen)?;
        self.refuse_taken_by(&plan)?;
        if self.mend_lost_rules(&plan)? { self.plan(wanted, places) } else { Ok(plan) }
    }

    /// The same for looking whether anything is missing.
    pub fn missing(&mut self, wanted: &State, places: &Places) -> Result<Plan, EngineError> {
        let unseen = wanted.part(|key, object| self.seen.get(key) != Some(object));
        let observed = self.kernel.observe(&unseen, places)?;
        Ok(diff(&observed, &unseen)?)
    }

    /// A plan that makes the rule set anew although networks are in use: somebody flushed it since it was mended,
    /// and with it went what others have in it. That comes back first; true if there was need.
    pub fn mend_lost_rules(&mut self, plan: &Plan) -> Result<bool, EngineError> {
        let makes_rules = plan.ops().iter().any(|op| *op.key() == Key::Ruleset && op.after().is_some());
        let in_use = self.txn.active()?.values().any(Activation::needs_rules);
        if !makes_rules || self.looks_only || !in_use {
            return Ok(false);
        }
        self.reassert(Reach::Host).map(|_| true)
    }

    /// Carries out a plan and forgets the connections that it makes wrong.
    pub fn apply(&mut self, plan: &Plan, places: &Places) -> Result<(), EngineError> {
        self.kernel.apply(plan, places)?;
        if plan.ops().iter().any(|op| !matches!(op, Op::Add { .. })) && self.kernel.is_freeing() {
            self.txn.note_deletion();
        }
        self.kernel.forget(&qiao_core::flows::flows(plan))?;
        if let Some(generation) = self.kernel.generation() {
            self.txn.set_generation(generation);
        }
        Ok(())
    }

    /// Looks again at what a plan made: nothing of it must be missing.
    pub fn verify(&mut self, plan: &Plan, desired: &State, places: &Places) -> Result<(), EngineError> {
        let made: BTreeSet<&Key> = plan.ops().iter().map(Op::key).collect();
        let wanted = desired.part(|key, _| made.contains(key));
        let missing = diff(&self.kernel.observe(&wanted, places)?, &wanted)?;
        // What is there besides, such as a setting of the host's for new bridges, is the next command's to mend.
        let Some(op) = missing.ops().iter().find(|op| op.after().is_some()) else { return Ok(()) };
        let what = qiao_core::render::line(op);
        Err(Refusal::conflict("the kernel is not as it was made")
            .why(format!("missing afterwards: {what}"))
            .into())
    }

    /// Does something, and once more if somebody else changed meanwhile what it was about: it looks again.
    pub fn twice<T>(&mut self, act: impl Fn(&mut Self) -> Result<T, EngineError>) -> Result<T, EngineError> {
        match act(self) {
            Err(error) if is_race(&error) => {
                (self.seen, self.doubts) = (State::default(), true);
                act(self)
            }
            result => result,
        }
    }

    /// What exists of what is to go. Where the root of a sandbox changes it faster than it can be looked at, the
    /// host's side is enough: what is inside hangs on the pair, and goes with it.
    pub fn observe_leaving(&mut self, state: &State, places: &Places) -> Result<Observed, KernelError> {
        match self.kernel.observe(state, places) {
            Err(KernelError::Interrupted) => self.kernel.observe(state, &Places::new()),
            seen => seen,
        }
    }

    /// Takes a plan back, however much of it was carried out: looks at everything it touches, and brings that
    /// back to how it was before.
    ///
    /// `rest` are the networks in use without it: where they came into use since, they keep what they need.
    pub fn undo(&mut self, plan: &Plan, places: &Places, rest: &Active) -> Result<(), EngineError> {
        let (mut touched, mut before) = (touched(plan), plan.before());
        if before.keys().any(|key| matches!(key, Key::Sysctl(_))) {
            let saved = self.txn.saved()?;
            for key in keys(&self.left_on(rest, &saved)?) {
                touched.remove(&key);
                before.remove(&key);
            }
        }
        if !rest.is_empty() {
            let needed = self.rest(&touched, rest, &self.txn.saved()?)?;
            before.extend(needed.part(|key, _| touched.get(key).is_some()));
        }
        let observed = self.observe_leaving(&touched, places)?;
        // What somebody else has made meanwhile stays in the way of nobody.
        let (back, _) = diff_all(&observed, &before);
        self.apply(&back, places)
    }

    /// What is left of a plan that could not be taken back: all it made, where the kernel does not tell.
    pub fn left(&mut self, plan: &Plan, places: &Places) -> Vec<String> {
        let back = match self.kernel.observe(&touched(plan), places) {
            Ok(observed) => diff_all(&observed, &plan.before()).0,
            Err(_) => plan.inverse(),
        };
        back.ops().iter().map(qiao_core::render::line).collect()
    }
}

/// What is taken to be without a look at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presumed {
    /// There was no link of this name when the lock was held already: it is not there, nor what hangs on it, nor
    /// the elements of the endpoint that it is for.
    pub absent: Option<IfName>,
    /// The network was in use before, as it is now: its members are those that are known.
    pub settled: bool,
}

impl Presumed {
    fn is_absent(&self, key: &Key, object: &Object) -> bool {
        let Some(link) = &self.absent else { return false };
        let hangs = !matches!(key, Key::HostRoute(_)) && key.hangs_on(&object.value) == Some(link);
        // Nobody else has entries for clients of the host's own, and the ports were free.
        hangs || key.is_made_once(&object.owner) || matches!(key, Key::Loopback(_))
    }
}

/// Whether it is a network's place in the rules, or an address of its bridge: what every command has looked at when
/// the network came into use, and `check` and `repair` look at again.
fn is_member(key: &Key, owner: &Owner) -> bool {
    matches!((key, owner), (Key::Member(_) | Key::BridgeAddress(..), Owner::Network(_)))
}

/// Everything a plan touches, as it is after the plan or else as it was before.
fn touched(plan: &Plan) -> State {
    let object = |op: &Op| Some((op.key().clone(), op.after().or_else(|| op.before())?));
    plan.ops().iter().filter_map(object).collect()
}

/// Whether somebody else changed what we were about to change.
fn is_race(error: &EngineError) -> bool {
    let EngineError::Failed { source, .. } = error else { return false };
    let apply = source.downcast_ref::<ApplyError>().map(|e| &e.source);
    apply.or_else(|| source.downcast_ref::<KernelError>()).is_some_and(KernelError::is_race)
}
