//! What a host needs for its first network, made beside that network's links: the rule set takes as long as they do.
//! Nothing passes meanwhile: the host forwards only when the rules stand, and the first port comes up last of all.

use super::nft::Transaction;
use super::{Part, failed, part, setting};
use crate::error::KernelError;
use crate::kernel::ApplyError;
use crate::linux::Linux;
use crate::nft::Session;
use qiao_core::plan::{Key, Op};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// How many operations at a plan's beginning can be carried out beside what follows them: the rule set, where it is new,
/// and the host's settings.
pub(crate) fn length(ops: &[Op]) -> usize {
    let is_new = ops.first().is_some_and(|op| matches!(op, Op::Add { key: Key::Ruleset, .. }));
    let length = ops.iter().take_while(|op| matches!(part(op), Part::Nft | Part::Sysctl)).count();
    let has_links = ops.get(length).is_some_and(|op| part(op) == Part::Host);
    if is_new && has_links { length } else { 0 }
}

/// Whether something cannot be done before the foundation is there.
pub(crate) fn is_needed_by(part: &Part) -> bool {
    matches!(part, Part::Nft | Part::Sysctl | Part::Opening | Part::Loopback)
}

/// A thread that makes the rules, and the host's settings behind them.
pub(super) struct Foundation<'scope> {
    rules: &'scope [Op],
    settings: &'scope [Op],
    thread: ScopedJoinHandle<'scope, Result<Transaction, KernelError>>,
}

impl<'scope> Foundation<'scope> {
    /// Begins with the first operations. Where no thread is to be had, nothing is done.
    pub fn begin(
        scope: &'scope Scope<'scope, '_>,
        linux: &mut Linux,
        first: &'scope [Op],
    ) -> Result<Option<Self>, ApplyError> {
        let count = first.iter().take_while(|op| part(op) == Part::Nft).count();
        let (rules, settings) = first.split_at(count);
        let Some(seen) = linux.seen.filter(|_| count > 0) else { return Ok(None) };
        let transaction = Transaction::begin(linux, rules)?;
        let make = move || transaction.commit(&mut Session::open()?).map(|()| transaction);
        let thread = Builder::new().spawn_scoped(scope, make);
        if thread.is_err() {
            linux.seen = Some(seen);
        }
        Ok(thread.ok().map(|thread| Self { rules, settings, thread }))
    }

    /// Waits for the rules, and goes on with the settings: the kernel lets nobody write them who writes while links are
    /// made, but has him try again and again.
    pub fn wait(self, linux: &mut Linux) -> Result<(), ApplyError> {
        let done = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (done, self.rules.first()) {
            (Ok(transaction), _) => transaction.made(linux, self.rules),
            (Err(error), Some(first)) => return Err(failed(first, error)),
            (Err(_), None) => {}
        }
        self.settings.iter().try_for_each(|op| setting(op).map_err(|error| failed(op, error)))
    }
}
