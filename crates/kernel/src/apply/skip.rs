//! What is done otherwise than one operation after another: what need not be done because something else does it
//! (deleting a link takes along what hangs on it), and what is done together.

use qiao_core::plan::{Key, Op, Plan, Value};
use qiao_core::route::Kind;
use qiao_core::{IfName, SandboxName};
use std::collections::BTreeSet;

/// What a plan deletes that other things hang on.
#[derive(Default)]
struct Deleted<'p> {
    links: BTreeSet<&'p IfName>,
    ends: BTreeSet<(&'p SandboxName, &'p IfName)>,
    ruleset: bool,
}

/// The plan's operations without those that another one does too. Where the rule set is made anew, what is
/// put in it comes right behind it: not for a moment is it in force without its elements.
pub fn needed(plan: &Plan) -> Vec<Op> {
    let deleted = deleted(plan);
    let kept = plan.ops().iter().filter(|op| !is_implied(op, &deleted));
    let rebuilt = plan.ops().iter().any(|op| matches!(op, Op::Set { key: Key::Ruleset, .. }));
    if !rebuilt {
        return joined(kept.cloned().collect());
    }
    let (firewall, rest): (Vec<_>, Vec<_>) =
        kept.cloned().partition(|op| matches!(op.key(), Key::Ruleset) || op.key().set().is_some());
    [firewall, rest].concat()
}

/// A new port's elements in one transaction: what it may send and what is published, just before it goes up. Until
/// then no packet passes.
fn joined(ops: Vec<Op>) -> Vec<Op> {
    let is_up = |op: &Op| matches!(op, Op::Add { key: Key::HostUp(_), .. });
    let Some(first) = ops.iter().position(is_up) else { return ops };
    let is_element = |op: &Op| matches!(op, Op::Add { key: Key::Guard(_) | Key::Publish(_), .. });
    let (before, after) = ops.split_at(first);
    let kept = |ops: &[Op]| ops.iter().filter(|op| !is_element(op)).cloned().collect::<Vec<_>>();
    let elements = ops.iter().filter(|op| is_element(op)).cloned().collect();
    [kept(before), elements, kept(after)].concat()
}

fn deleted(plan: &Plan) -> Deleted<'_> {
    let mut deleted = Deleted::default();
    for op in plan.ops() {
        match op {
            Op::Del {
                key: Key::Child(sandbox, name) | Key::Lone(sandbox, name) | Key::Lent(sandbox, name),
                ..
            } => {
                deleted.ends.insert((sandbox, name));
            }
            Op::Del { key: Key::Bridge(name) | Key::Vlan(name) | Key::Ifb(name), .. } => {
                deleted.links.insert(name);
            }
            Op::Del { key: Key::Ruleset, .. } => deleted.ruleset = true,
            Op::Del { key: Key::Veth(name), object } => {
                deleted.links.insert(name);
                if let Value::Veth { sandbox, peer, .. } = &object.value {
                    deleted.ends.insert((sandbox, peer));
                }
            }
            _ => {}
        }
    }
    deleted
}

fn is_implied(op: &Op, deleted: &Deleted<'_>) -> bool {
    let Op::Del { key, object } = op else { return false };
    if let Some(link) = key.hangs_on(&object.value) {
        return deleted.links.contains(link);
    }
    match (key, &object.value) {
        (
            Key::SandboxUp(sandbox, link)
            | Key::SandboxAddress(sandbox, link, _)
            | Key::SandboxNeighbour(sandbox, link, _)
            | Key::SandboxMac(sandbox, link)
            | Key::Tuned(sandbox, link, _)
            | Key::Master(sandbox, link)
            | Key::NoAdvertisements(sandbox, link),
            _,
        ) => deleted.ends.contains(&(sandbox, link)),
        // Those that lead nowhere hang on no interface.
        (Key::Route(sandbox, _), Value::Route { dev, attributes, .. }) => {
            attributes.kind == Kind::Unicast && deleted.ends.contains(&(sandbox, dev))
        }
        (Key::Way(sandbox, _) | Key::Native(sandbox, ..), Value::Way { dev, .. }) => {
            deleted.ends.contains(&(sandbox, dev))
        }
        _ => deleted.ruleset && key.set().is_some(),
    }
}
