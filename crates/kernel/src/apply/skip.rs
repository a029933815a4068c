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
fn joined(mut ops: Vec<Op>) -> Vec<Op> {
    let is_up = |op: &Op| matches!(op, Op::Add { key: Key::HostUp(_), .. });
    let Some(first) = ops.iter().position(is_up) else { return ops };
    let is_element = |op: &Op| matches!(op, Op::Add { key: Key::Guard(_) | Key::Publish(_), .. });
    let after = ops.split_off(first);
    let (mut elements, mut done): (Vec<_>, Vec<_>) = ops.into_iter().partition(is_element);
    let (more, rest): (Vec<_>, Vec<_>) = after.into_iter().partition(is_element);
    elements.extend(more);
    done.extend(elements);
    done.extend(rest);
    done
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

#[cfg(test)]
mod tests {
    use super::*;
    use qiao_core::Owner;
    use qiao_core::plan::{Guard, Object};

    fn add(key: Key) -> Op {
        Op::Add { key, object: Object { owner: Owner::Host, value: Value::Present } }
    }

    #[test]
    fn elements_of_a_new_port_are_together_before_it_goes_up() {
        let port = IfName::new("q-web").unwrap();
        let guard = add(Key::Guard(Guard::Port(port.clone())));
        let (end, up) = (add(Key::Port(port.clone())), add(Key::HostUp(port)));
        let publish = add(Key::Publish(qiao_core::port::Listen {
            protocol: qiao_core::port::Protocol::Tcp,
            host: qiao_core::port::HostAddr::Any(qiao_core::subnet::Family::V4),
            ports: qiao_core::port::PortRange::new(80, 80).unwrap(),
        }));
        let plan = vec![guard.clone(), end.clone(), up.clone(), publish.clone()];
        assert_eq!(joined(plan), [end.clone(), guard.clone(), publish, up]);
        // A port that is up already must not be without its guard for longer than it is.
        assert_eq!(joined(vec![guard.clone(), end.clone()]), [guard, end]);
    }
}
