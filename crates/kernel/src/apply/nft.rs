//! The firewall's part of a plan: one transaction.

use super::failed;
use crate::error::KernelError;
use crate::kernel::ApplyError;
use crate::linux::Linux;
use crate::nft::{Damage, FAMILIES, RULESET, Session, TABLE, Write, encode};
use qiao_core::plan::{Key, Object, Op};
use qiao_nft::{Change, Table};

/// How often it is looked at anew because others change the rule set: `kube-proxy` or `iptables` may do so all the
/// time, and each of their changes refuses ours once.
const TRIES: usize = 64;

/// A transaction that is to be made.
#[derive(Debug)]
pub(super) struct Transaction {
    changes: Vec<Write>,
    /// The generation that it follows.
    generation: u32,
}

impl Transaction {
    /// What a group needs. What was seen counts for one try: whoever does not look again, to take something back, is not
    /// refused.
    pub fn begin(linux: &mut Linux, group: &[Op]) -> Result<Self, ApplyError> {
        let changes = changes(group)?;
        let generation = match (linux.seen.take(), group.first()) {
            (Some(generation), _) => generation,
            (None, Some(first)) => linux.nft.generation().map_err(|e| failed(first, e))?,
            (None, None) => 0,
        };
        Ok(Self { changes, generation })
    }

    /// Makes all of the changes or none of them. The kernel refuses if anybody else changed the rule set since it was
    /// looked at.
    pub fn commit(&self, session: &mut Session) -> Result<(), KernelError> {
        session.commit(&self.changes, Some(self.generation))
    }

    /// The same for changes of elements: where our rules are whole all the same, that is no reason to take everything
    /// back; else the caller looks again.
    fn commit_elements(&mut self, linux: &mut Linux) -> Result<(), KernelError> {
        for left in (0..TRIES).rev() {
            match self.commit(&mut linux.nft) {
                Err(error) if error.errno() == Some(libc::ERESTART) && left > 0 => {
                    let damage = linux.damage()?;
                    let seen = linux.seen.take().filter(|_| damage == Damage::None);
                    self.generation = seen.ok_or(error)?;
                }
                result => return result,
            }
        }
        Ok(())
    }

    /// Notes that it was made, for a group.
    pub fn made(&self, linux: &mut Linux, group: &[Op]) {
        let after = self.generation.checked_add(1).unwrap_or(1);
        linux.seen = Some(after);
        let makes =
            |op: &Op| matches!(op, Op::Add { key: Key::Ruleset, .. } | Op::Set { key: Key::Ruleset, .. });
        let unmakes = |op: &Op| matches!(op, Op::Del { key: Key::Ruleset, .. });
        linux.trusted = match linux.trusted {
            _ if group.iter().any(unmakes) => None,
            _ if group.iter().any(makes) => Some(after),
            trusted => trusted.filter(|t| *t == self.generation).map(|_| after),
        };
    }
}

/// Makes all of a group's changes or none of them.
pub fn apply(linux: &mut Linux, group: &[Op]) -> Result<(), ApplyError> {
    let Some(first) = group.first() else { return Ok(()) };
    let mut transaction = Transaction::begin(linux, group)?;
    let has_rules = group.iter().any(|op| *op.key() == Key::Ruleset);
    let done = match has_rules {
        true => transaction.commit(&mut linux.nft),
        false => transaction.commit_elements(linux),
    };
    done.map_err(|e| failed(first, e))?;
    transaction.made(linux, group);
    Ok(())
}

fn changes(group: &[Op]) -> Result<Vec<Write>, ApplyError> {
    let mut changes = Vec::new();
    for op in in_order(group) {
        match op {
            Op::Add { key: Key::Ruleset, .. } => changes.push(Write::Encoded(RULESET)),
            Op::Set { key: Key::Ruleset, .. } => {
                changes.extend(emptied().map(Write::from).chain([Write::Encoded(RULESET)]));
            }
            Op::Del { key: Key::Ruleset, .. } => changes.extend(deleted().map(Write::from)),
            _ => element_changes(op, &mut changes).map_err(|e| failed(op, e))?,
        }
    }
    Ok(changes)
}

/// What goes comes first, where the rule set itself stays: the kernel refuses an interval that overlaps another. To packets
/// all of it happens at once.
fn in_order(group: &[Op]) -> impl Iterator<Item = &Op> {
    let keeps_rules = group.iter().all(|op| *op.key() != Key::Ruleset);
    let goes = move |op: &&Op| keeps_rules && matches!(op, Op::Del { .. });
    group.iter().filter(goes).chain(group.iter().filter(move |op| !goes(op)))
}

/// Deletes our tables, whichever of them there are.
fn emptied() -> impl Iterator<Item = Change> {
    FAMILIES.into_iter().flat_map(|family| {
        let table = Change::NewTable(Table::new(family, TABLE));
        [table, Change::DelTable { family, name: TABLE.to_owned() }]
    })
}

fn deleted() -> impl Iterator<Item = Change> {
    FAMILIES.into_iter().map(|family| Change::DelTable { family, name: TABLE.to_owned() })
}

fn element_changes(op: &Op, changes: &mut Vec<Write>) -> Result<(), KernelError> {
    let encoded = |object: Option<Object>| {
        object.map(|object| encode(op.key(), &object)).transpose().map(Option::flatten)
    };
    if let Some((set, elements)) = encoded(op.before())? {
        push(changes, Write::Any(Change::DelElements { set, elements }));
    }
    if let Some((set, elements)) = encoded(op.after())? {
        let add = Change::AddElements { set, elements };
        push(changes, if op.is_exclusive() { Write::New(add) } else { Write::Any(add) });
    }
    Ok(())
}

/// Adds a change, in one message with the last where both are about elements of one set.
fn push(changes: &mut Vec<Write>, write: Write) {
    let left = match (changes.last_mut(), write) {
        (Some(Write::Any(last)), Write::Any(change)) => join(last, change).map(Write::Any),
        (Some(Write::New(last)), Write::New(change)) => join(last, change).map(Write::New),
        (_, write) => Some(write),
    };
    changes.extend(left);
}

/// Appends a change's elements to those of another; the change as it was where that cannot be.
fn join(last: &mut Change, change: Change) -> Option<Change> {
    match (last, change) {
        (Change::AddElements { set: at, elements }, Change::AddElements { set, elements: more })
        | (Change::DelElements { set: at, elements }, Change::DelElements { set, elements: more })
            if *at == set =>
        {
            elements.extend(more);
            None
        }
        (_, change) => Some(change),
    }
}
