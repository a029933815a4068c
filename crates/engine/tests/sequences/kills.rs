//! Killed at every point: the next command ends what was begun, and nothing is left.

use crate::host::{Host, Snapshot, assert_same, chain};
use crate::scenario::{BACK, FORWARD, Scenario};
use qiao_kernel::fake::{Fault, Killed};
use qiao_store::steps;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where a process is killed.
#[derive(Clone, Copy, Debug)]
pub enum Where {
    /// At a question to the kernel or an operation on it.
    Kernel,
    /// At a step that changes a file.
    Store,
}

/// Does the act and is killed at a point; false if the point was not reached.
pub fn killed(scenario: &Scenario, host: &Host, (place, at): (Where, usize)) -> bool {
    let mut engine = host.engine();
    match place {
        Where::Kernel => host.kernel.world().faults.arm(at, Fault::Die),
        Where::Store => steps::arm(at, steps::Fault::Die),
    }
    let result = catch_unwind(AssertUnwindSafe(|| (scenario.act)(&mut engine)));
    let reached = match place {
        Where::Kernel => host.kernel.world().faults.disarm().1,
        Where::Store => steps::disarm().1,
    };
    match result {
        Err(payload) => {
            assert!(
                payload.is::<Killed>() || payload.is::<steps::Killed>(),
                "it was not killed, it panicked"
            );
            assert!(reached);
        }
        Ok(result) => {
            assert!(!reached, "the killed one went on");
            result.unwrap_or_else(|error| panic!("{}: {}", scenario.name, chain(&error)));
        }
    }
    reached
}

/// The next command is the one that takes the act back, or finishes it.
fn then(scenario: &Scenario, host: &Host, before: Option<&Snapshot>, when: &str) {
    (scenario.then)(host);
    host.assert_healthy(when);
    if let Some(before) = before {
        let found = host.snapshot().without_loopback().without_unfinished();
        assert_same(&found, &before.clone().without_loopback(), when);
    }
}

/// The next command is `repair`; nothing is left then, not even a file that nobody reads.
fn repair(scenario: &Scenario, host: &Host, before: Option<&Snapshot>, when: &str) {
    let repaired = host.engine().repair();
    repaired.unwrap_or_else(|error| panic!("{when}: {}", chain(&error)));
    let unfinished: Vec<String> =
        host.snapshot().store.into_keys().filter(|path| path.ends_with(".tmp")).collect();
    assert!(unfinished.is_empty(), "{when}: {unfinished:?}");
    host.assert_healthy(&format!("{when}, repaired"));
    then(scenario, host, before, when);
}

fn everywhere(scenario: &Scenario, place: Where, back: bool) {
    for next in [then, repair] {
        scenario.at_every_point(|scenario, at| {
            let (host, before) = scenario.host();
            let when = format!("{} killed in the {place:?} at {at}", scenario.name);
            let reached = killed(scenario, &host, (place, at));
            if reached {
                next(scenario, &host, back.then_some(&before), &when);
            }
            reached
        });
    }
}

#[test]
fn in_the_kernel_while_something_is_made() {
    BACK.iter().for_each(|scenario| everywhere(scenario, Where::Kernel, true));
}

#[test]
fn in_the_kernel_while_something_goes() {
    FORWARD.iter().for_each(|scenario| everywhere(scenario, Where::Kernel, false));
}

#[test]
fn in_the_store_while_something_is_made() {
    BACK.iter().for_each(|scenario| everywhere(scenario, Where::Store, true));
}

#[test]
fn in_the_store_while_something_goes() {
    FORWARD.iter().for_each(|scenario| everywhere(scenario, Where::Store, false));
}

/// Killed twice: the command that ends what was begun is killed too.
#[test]
fn while_what_was_killed_is_ended() {
    let scenario = &BACK[0];
    for first in [10, 25, 40] {
        let count = (1..1000)
            .take_while(|at| {
                let (host, before) = scenario.host();
                assert!(killed(scenario, &host, (Where::Kernel, first)), "there is a point {first}");
                let ending = Scenario {
                    name: "ending",
                    setup: |_| {},
                    then: |_| {},
                    act: |engine| engine.repair().map(drop),
                };
                let reached = killed(&ending, &host, (Where::Kernel, *at));
                then(scenario, &host, Some(&before), &format!("killed at {first}, then at {at}"));
                reached
            })
            .count();
        assert!(count > 0, "nothing was to be ended after a kill at {first}");
    }
}
