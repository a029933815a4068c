//! A fault at every point: what fails has never been, or says what is left; and the failure that is seen is
//! the injected one.

use crate::host::{Host, Snapshot, assert_same, chain};
use crate::scenario::{BACK, FORWARD, Scenario};
use qiao_engine::EngineError;
use qiao_kernel::fake::{Fault, Faults};
use qiao_store::steps;

/// Does the act with a fault armed at a point; none if the point was not reached.
fn failing(scenario: &Scenario, host: &Host, (at, fault): (usize, Fault)) -> Option<EngineError> {
    let mut engine = host.engine();
    host.kernel.world().faults.arm(at, fault);
    let result = (scenario.act)(&mut engine);
    let (count, reached) = host.kernel.world().faults.disarm();
    let when = format!("{} with {fault:?} at {at}", scenario.name);
    if !reached {
        assert!(count < at, "{when}");
        result.unwrap_or_else(|error| panic!("{when}: without a fault: {}", chain(&error)));
        return None;
    }
    let error = result.err().unwrap_or_else(|| panic!("{when}: the fault was not noticed"));
    assert!(chain(&error).contains(&Faults::words(at)), "{when}: another failure: {}", chain(&error));
    Some(error)
}

fn back(scenario: &Scenario, (at, fault): (usize, Fault)) -> bool {
    let (host, before) = scenario.host();
    let when = format!("{} with {fault:?} at {at}", scenario.name);
    let Some(error) = failing(scenario, &host, (at, fault)) else { return false };
    match &error {
        EngineError::Residue { left, .. } => {
            assert!(!left.is_empty(), "{when}: something is left, but what?")
        }
        _ => assert_same(&host.snapshot(), &before, &when),
    }
    after(scenario, &host, &before, &when);
    true
}

/// The next command ends what is pending, and then nothing is left.
fn after(scenario: &Scenario, host: &Host, before: &Snapshot, when: &str) {
    (scenario.then)(host);
    host.assert_healthy(when);
    let (found, before) = (host.snapshot().without_loopback(), before.clone().without_loopback());
    assert_same(&found, &before, &format!("{when}, afterwards"));
}

#[test]
fn one_fault_is_taken_back() {
    for scenario in &BACK {
        for fault in [Fault::Fail, Fault::Stop] {
            scenario.at_every_point(|scenario, at| {
                let (host, before) = scenario.host();
                let when = format!("{} with {fault:?} at {at}", scenario.name);
                let Some(error) = failing(scenario, &host, (at, fault)) else { return false };
                assert!(!matches!(error, EngineError::Residue { .. }), "{when}: {}", chain(&error));
                assert_same(&host.snapshot(), &before, &when);
                true
            });
        }
    }
}

#[test]
fn a_kernel_that_fails_from_some_point_on_leaves_what_is_said_and_the_next_command_ends_it() {
    BACK.iter()
        .for_each(|scenario| scenario.at_every_point(|scenario, at| back(scenario, (at, Fault::FailOn))));
}

#[test]
fn what_is_to_go_goes_the_second_time() {
    for scenario in &FORWARD {
        for fault in [Fault::Fail, Fault::Stop, Fault::FailOn] {
            scenario.at_every_point(|scenario, at| {
                let (host, _) = scenario.host();
                let when = format!("{} with {fault:?} at {at}", scenario.name);
                if failing(scenario, &host, (at, fault)).is_none() {
                    return false;
                }
                (scenario.then)(&host);
                host.assert_healthy(&when);
                true
            });
        }
    }
}

#[test]
fn a_full_disk_is_taken_back() {
    for scenario in &BACK {
        for fault in [steps::Fault::Full, steps::Fault::FullOn] {
            scenario.at_every_point(|scenario, at| {
                let (host, before) = scenario.host();
                let when = format!("{} with {fault:?} at {at}", scenario.name);
                let mut engine = host.engine();
                steps::arm(at, fault);
                let result = (scenario.act)(&mut engine);
                let (_, reached) = steps::disarm();
                if !reached {
                    return false;
                }
                match result {
                    // Only the note of the firewall's generation may be lost.
                    Ok(()) => host.assert_healthy(&when),
                    Err(error) => {
                        assert!(chain(&error).contains("No space left"), "{when}: {}", chain(&error));
                        match error {
                            // The list of networks in use cannot be written anew: the next command does it.
                            EngineError::Residue { .. } if matches!(fault, steps::Fault::FullOn) => {}
                            _ => assert_same(&host.snapshot(), &before, &when),
                        }
                        after(scenario, &host, &before, &when);
                    }
                }
                true
            });
        }
    }
}

#[test]
fn leaving_needs_no_room() {
    for scenario in FORWARD.iter().filter(|scenario| scenario.name == "detachment") {
        let (host, _) = scenario.host();
        let mut engine = host.engine();
        steps::arm(1, steps::Fault::FullOn);
        let result = (scenario.act)(&mut engine);
        steps::disarm();
        result.unwrap_or_else(|error| panic!("{}: {}", scenario.name, chain(&error)));
        host.assert_healthy(scenario.name);
    }
}
