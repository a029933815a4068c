//! The laws of plans.

use crate::generate::{RULESET, desired, observed};
use crate::parents::parents;
use proptest::prelude::*;
use qiao_core::Plan;
use qiao_core::plan::{Key, Object, Observed, Op, Ownership, State, diff, diff_all};
use std::collections::BTreeMap;

/// A kernel that does what it is told, and minds when that makes no sense.
fn apply(observed: &Observed, ops: &[Op]) -> Observed {
    let mut after = observed.clone();
    for op in ops {
        let found = after.get(op.key());
        match op {
            Op::Add { .. } => assert!(found.is_none(), "{op:?}: it is there"),
            Op::Set { from, .. } => {
                assert_eq!(found.map(|f| &f.value), Some(from), "{op:?}: it is not as told")
            }
            Op::Del { object, .. } => assert_eq!(found.map(|f| &f.value), Some(&object.value), "{op:?}"),
        }
        if let Some(found) = found {
            assert_ne!(found.owner, Ownership::Foreign, "{op:?}: it is somebody else's");
        }
        match op.after() {
            Some(Object { owner, value }) => after.insert(op.key().clone(), Ownership::Marked(owner), value),
            None => drop(after.remove(op.key())),
        }
    }
    after
}

fn is_foreign(observed: &Observed, key: &Key) -> bool {
    observed.get(key).is_some_and(|found| found.owner == Ownership::Foreign)
}

/// Somebody else's, or of another owner of ours. That a bridge is up, or has an address, is nobody's in particular.
fn is_in_the_way(observed: &Observed, key: &Key, object: &Object) -> bool {
    let shared = matches!(
        key,
        Key::BridgeUp(_) | Key::BridgeAddress(..) | Key::VlanFiltering(_) | Key::BridgeVlan(..)
    );
    let as_wanted = observed.get(key).is_some_and(|found| found.value == object.value);
    match observed.get(key).map(|found| &found.owner) {
        Some(Ownership::Foreign) => !(shared && as_wanted),
        Some(Ownership::Marked(found)) => *found != object.owner,
        _ => false,
    }
}

/// What is seen of the keys of a plan.
fn touched(observed: &Observed, plan: &Plan) -> Observed {
    let mut seen = Observed::default();
    for key in plan.keys() {
        if let Some(found) = observed.get(key) {
            seen.insert(key.clone(), found.owner.clone(), found.value.clone());
        }
    }
    seen
}

fn values(observed: &Observed) -> BTreeMap<Key, qiao_core::Value> {
    observed.iter().map(|(key, found)| (key.clone(), found.value.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_reaches_what_is_desired(observed in observed(), desired in desired()) {
        let (plan, refusals) = diff_all(&observed, &desired);
        let after = apply(&observed, plan.ops());
        let mut in_the_way = 0;
        for (key, object) in desired.iter() {
            if is_in_the_way(&observed, key, object) {
                in_the_way += 1;
                prop_assert_eq!(after.get(key), observed.get(key));
            } else {
                prop_assert_eq!(after.get(key).map(|f| &f.value), Some(&object.value), "{:?}", key);
            }
        }
        prop_assert_eq!(in_the_way, refusals.len());
        for (key, found) in after.iter().filter(|(key, _)| desired.get(key).is_none()) {
            prop_assert_eq!(&found.owner, &Ownership::Foreign, "{:?} is ours and not desired", key);
        }
    }

    #[test]
    fn what_is_foreign_stays(observed in observed(), desired in desired()) {
        let (plan, _) = diff_all(&observed, &desired);
        let after = apply(&observed, plan.ops());
        for (key, found) in observed.iter().filter(|(key, _)| is_foreign(&observed, key)) {
            prop_assert_eq!(after.get(key), Some(found));
        }
    }

    #[test]
    fn the_second_plan_is_empty(observed in observed(), desired in desired()) {
        let (plan, refusals) = diff_all(&observed, &desired);
        let (again, refused) = diff_all(&apply(&observed, plan.ops()), &desired);
        prop_assert!(again.is_empty(), "{}", qiao_core::render::plan(&again));
        prop_assert_eq!(refusals, refused);
    }

    #[test]
    fn a_plan_is_refused_or_it_is_the_whole(observed in observed(), desired in desired()) {
        let (all, refusals) = diff_all(&observed, &desired);
        match diff(&observed, &desired) {
            Ok(plan) => {
                prop_assert!(refusals.is_empty());
                prop_assert_eq!(plan, all);
            }
            Err(refusal) => prop_assert_eq!(&refusal, &refusals[0]),
        }
    }

    #[test]
    fn any_part_of_a_plan_can_be_taken_back(observed in observed(), desired in desired(), part in 0.0..=1.0f64) {
        let (plan, _) = diff_all(&observed, &desired);
        let count = (part * plan.ops().len() as f64) as usize;
        let half = apply(&observed, plan.prefix(count).ops());
        let back = diff(&touched(&half, &plan), &plan.before()).unwrap();
        let after = apply(&half, back.ops());
        prop_assert_eq!(values(&after), values(&observed));
        for (key, found) in observed.iter().filter(|(_, found)| matches!(found.owner, Ownership::Marked(_))) {
            prop_assert_eq!(after.get(key), Some(found), "it is whose it was");
        }
    }

    #[test]
    fn the_inverse_of_a_plan_takes_it_back(observed in observed(), desired in desired()) {
        let (plan, _) = diff_all(&observed, &desired);
        let after = apply(&apply(&observed, plan.ops()), plan.inverse().ops());
        prop_assert_eq!(values(&after), values(&observed));
        prop_assert_eq!(plan.inverse().inverse(), plan);
    }

    #[test]
    fn an_operation_holds_what_it_replaces(observed in observed(), desired in desired()) {
        let (plan, _) = diff_all(&observed, &desired);
        for op in plan.ops() {
            let before = op.before().map(|object| object.value);
            prop_assert_eq!(observed.get(op.key()).map(|found| &found.value), before.as_ref());
            prop_assert_eq!(&op.inverse().inverse(), op);
            prop_assert_eq!(op.inverse().before(), op.after());
            prop_assert_ne!(op.before(), op.after(), "it does something");
        }
    }

    #[test]
    fn nothing_is_made_before_what_it_needs_nor_outlives_it(desired in desired()) {
        let nothing = Observed::default();
        let making = diff(&nothing, &desired).unwrap();
        check_order(making.ops(), &desired)?;
        let all = apply(&nothing, making.ops());
        let mut unmaking = diff(&all, &State::default()).unwrap().ops().to_vec();
        unmaking.reverse();
        check_order(&unmaking, &desired)?;
    }

    #[test]
    fn additions_come_first_and_deletions_go_backwards(observed in observed(), desired in desired()) {
        let (plan, _) = diff_all(&observed, &desired);
        let (made, gone): (Vec<_>, Vec<_>) = plan.ops().iter().partition(|op| !matches!(op, Op::Del { .. }));
        prop_assert_eq!([made.clone(), gone.clone()].concat(), plan.ops().iter().collect::<Vec<_>>());
        prop_assert!(made.is_sorted_by(|a, b| a.key() < b.key()));
        prop_assert!(gone.is_sorted_by(|a, b| a.key() > b.key()));
    }

    #[test]
    fn every_operation_has_a_line_and_every_line_its_owner(observed in observed(), desired in desired()) {
        let (plan, _) = diff_all(&observed, &desired);
        let text = qiao_core::render::plan(&plan);
        prop_assert_eq!(text.lines().count(), plan.ops().len());
        for (line, op) in text.lines().zip(plan.ops()) {
            prop_assert!(line.ends_with(&op.owner().to_string()), "{}", line);
            let shell = qiao_core::render::shell_op(op, &Default::default());
            prop_assert!(shell.iter().all(|command| !command.contains('\n')), "{:?}", shell);
        }
    }

    #[test]
    fn plans_survive_the_journal(observed in observed(), desired in desired()) {
        let (plan, _) = diff_all(&observed, &desired);
        let text = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}

fn check_order(ops: &[Op], all: &State) -> Result<(), TestCaseError> {
    let at: BTreeMap<&Key, usize> = ops.iter().enumerate().map(|(at, op)| (op.key(), at)).collect();
    prop_assert!(at.contains_key(&RULESET));
    for (key, object) in all.iter() {
        for parent in parents(key, object, all) {
            prop_assert!(at[parent] < at[key], "{:?} comes before {:?}", key, parent);
        }
    }
    Ok(())
}
