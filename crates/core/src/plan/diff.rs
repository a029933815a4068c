//! The one place where plans are made.

use super::{Found, Key, Object, Observed, Op, Ownership, Plan, State};
use crate::owner::Owner;
use crate::refusal::Refusal;

/// What turns `observed` into `desired`: additions and changes in the order of dependency, then deletions in
/// the reverse order (make before break).
///
/// `observed` is complete for everything the plan may touch: a key that is in neither is left alone. An
/// object that is not ours is never changed or deleted; if it is in the way the whole is refused.
pub fn diff(observed: &Observed, desired: &State) -> Result<Plan, Refusal> {
    let (plan, mut refusals) = diff_all(observed, desired);
    if refusals.is_empty() { Ok(plan) } else { Err(refusals.swap_remove(0)) }
}

/// The same, leaving out what something foreign is in the way of: for repairing all that can be.
pub fn diff_all(observed: &Observed, desired: &State) -> (Plan, Vec<Refusal>) {
    let (mut ops, mut refusals) = (Vec::new(), Vec::new());
    for (key, object) in desired.iter() {
        match observed.get(key).map(|found| change(key, found, object)) {
            None => ops.push(Op::Add { key: key.clone(), object: object.clone() }),
            Some(Ok(op)) => ops.extend(op),
            Some(Err(refusal)) => refusals.push(refusal),
        }
    }
    let gone = observed.iter().rev().filter(|(key, _)| desired.get(key).is_none());
    ops.extend(gone.filter_map(|(key, found)| removal(key, found)));
    (Plan::new(ops), refusals)
}

fn change(key: &Key, found: &Found, object: &Object) -> Result<Option<Op>, Refusal> {
    match &found.owner {
        Ownership::Foreign if shared(key) && found.value == object.value => return Ok(None),
        Ownership::Foreign => return Err(in_the_way(key, "it was not made by qiao")),
        Ownership::Marked(owner) if *owner != object.owner => {
            return Err(in_the_way(key, &format!("it belongs to {owner}")));
        }
        Ownership::Marked(_) | Ownership::Ours => {}
    }
    if found.value == object.value {
        return Ok(None);
    }
    let (owner, from, to) = (object.owner.clone(), found.value.clone(), object.value.clone());
    Ok(Some(Op::Set { key: key.clone(), owner, from, to }))
}

/// What may be somebody else's as well as ours, as long as it is there: on a bridge or a `vrf` device that was there before us.
fn shared(key: &Key) -> bool {
    matches!(
        key,
        Key::BridgeUp(_)
            | Key::BridgeAddress(..)
            | Key::VlanFiltering(_)
            | Key::BridgeVlan(..)
            | Key::Vrf(..)
    )
}

fn in_the_way(key: &Key, why: &str) -> Refusal {
    Refusal::conflict(format!("{} is in the way", crate::render::noun(key))).why(why)
}

fn removal(key: &Key, found: &Found) -> Option<Op> {
    let owner = match &found.owner {
        Ownership::Foreign => return None,
        Ownership::Marked(owner) => owner.clone(),
        Ownership::Ours => Owner::Host,
    };
    Some(Op::Del { key: key.clone(), object: Object { owner, value: found.value.clone() } })
}
