//! The firewall's part of a plan: one transaction.

use super::failed;
use crate::error::KernelError;
use crate::kernel::ApplyError;
use crate::linux::Linux;
use crate::nft::{Damage, FAMILIES, RULESET, TABLE, Write, encode};
use qiao_core::plan::{Key, Object, Op};
use qiao_nft::{Change, Table};

/// How often it is looked at anew because others change the rule set: `kube-proxy` or `iptables` may do so all the
/// time, and each of their changes refuses ours once.
const TRIES: usize = 64;

/// Makes all of a group's changes or none of them. The kernel refuses if anybody else changed the rule set
/// since it was looked at. Where our rules are whole all the same, that is no reason to take everything back; else
/// the caller looks again.
pub fn apply(linux: &mut Linux, group: &[Op]) -> Result<(), ApplyError> {
    let Some(first) = group.first() else { return Ok(()) };
    let changes = changes(group)?;
    let generation = match linux.seen {
        Some(generation) => generation,
        None => linux.nft.generation().map_err(|e| failed(first, e))?,
    };
    // What was seen counts for one try: whoever does not look again, to take something back, is not refused.
    linux.seen = None;
    let is_rules = |op: &Op| *op.key() == Key::Ruleset;
    let tries = if group.iter().any(is_rules) { 1 } else { TRIES };
    let generation = commit(linux, &changes, (generation, tries)).map_err(|e| failed(first, e))?;
    let after = generation.checked_add(1).unwrap_or(1);
    linux.seen = Some(after);
    let makes = group
        .iter()
        .any(|op| matches!(op, Op::Add { key: Key::Ruleset, .. } | Op::Set { key: Key::Ruleset, .. }));
    let unmakes = group.iter().any(|op| matches!(op, Op::Del { key: Key::Ruleset, .. }));
    linux.trusted = match linux.trusted {
        _ if unmakes => None,
        _ if makes => Some(after),
        trusted => trusted.filter(|t| *t == generation).map(|_| after),
    };
    Ok(())
}

/// Commits changes of elements; the generation that they followed.
fn commit(
    linux: &mut Linux,
    changes: &[Write],
    (generation, tries): (u32, usize),
) -> Result<u32, KernelError> {
    let mut generation = generation;
    for left in (0..tries).rev() {
        match linux.nft.commit(changes, Some(generation)) {
            Err(error) if error.errno() == Some(libc::ERESTART) && left > 0 => {
                let damage = linux.damage()?;
                generation = linux.seen.take().filter(|_| damage == Damage::None).ok_or(error)?;
            }
            result => return result.map(|()| generation),
        }
    }
    Ok(generation)
}

fn changes(group: &[Op]) -> Result<Vec<Write>, ApplyError> {
    let mut changes = Vec::new();
    for op in group {
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
