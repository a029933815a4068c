//! A change that was begun and cannot be ended hinders nobody but those who ask for the same.

use crate::host::{Host, assert_same, attach, create, detach};
use crate::kills::{Where, killed};
use crate::scenario::{BACK, FORWARD, Scenario};
use qiao_core::Code;
use qiao_core::plan::Key;
use qiao_engine::EngineError;
use std::cell::Cell;

fn scenario<'a>(all: &'a [Scenario], name: &str) -> &'a Scenario {
    all.iter().find(|scenario| scenario.name == name).unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, EngineError>, when: &str) {
    match result {
        Err(EngineError::Refused(refusal)) => {
            let why = refusal.why.unwrap_or_default();
            assert!(
                refusal.code == Code::Conflict && why.contains("begun and cannot be ended"),
                "{when}: {why}"
            );
        }
        other => panic!("{when}: {other:?}"),
    }
}

/// A host on which the act was killed at this point and cannot be ended; the second says whether the point was
/// reached.
fn stuck(scenario: &Scenario, at: usize) -> (Host, bool) {
    let (host, _) = scenario.host();
    let reached = killed(scenario, &host, (Where::Kernel, at));
    host.kernel.world().stubborn.insert("c1".parse().unwrap());
    (host, reached)
}

fn is_stuck(host: &Host) -> bool {
    host.engine().repair().unwrap().left.iter().any(|left| left.contains("cannot be ended"))
}

/// What concerns others goes on; what concerns the same is refused; and it ends when it can.
fn others_go_on(scenario: &Scenario, verb: &str) {
    let stuck_at = Cell::new(0);
    scenario.at_every_point(|scenario, at| {
        let (host, reached) = stuck(scenario, at);
        if !reached || !is_stuck(&host) {
            return reached;
        }
        stuck_at.set(stuck_at.get() + 1);
        let when = format!("{} killed at {at}", scenario.name);
        host.attach("c2", "blue");
        host.detach("c2", None);
        host.create("green");
        host.attach("c2", "green");
        host.detach("c2", None);
        host.remove("green");
        refused(host.engine().attach(&attach("c1", "blue")), &when);
        refused(host.engine().detach(&detach("c1", None)), &when);
        refused(host.engine().remove_network(&"blue".parse().unwrap()), &when);
        refused(host.engine().create_network(&create("blue")), &when);
        let findings = host.engine().check().unwrap().findings;
        let told = format!("{verb} `c1` to network `blue` was begun")
            .replace("detaching `c1` to", "detaching `c1` from");
        assert!(findings.iter().any(|finding| finding.line.contains(&told)), "{when}: {findings:?}");
        host.kernel.world().stubborn.clear();
        assert!(host.engine().repair().unwrap().left.is_empty(), "{when}");
        host.assert_healthy(&when);
        true
    });
    assert!(stuck_at.get() > 5, "{stuck_at:?}");
}

#[test]
fn an_attachment_that_cannot_be_taken_back() {
    others_go_on(scenario(&BACK, "attachment beside another"), "attaching");
}

#[test]
fn a_detachment_that_cannot_be_finished() {
    others_go_on(scenario(&FORWARD, "detachment"), "detaching");
}

/// It brought the first network into use. What others need of that since stays when it is taken back.
#[test]
fn the_first_attachment() {
    let stuck_at = Cell::new(0);
    scenario(&BACK, "first attachment").at_every_point(|scenario, at| {
        let (host, reached) = stuck(scenario, at);
        if !reached || !is_stuck(&host) {
            return reached;
        }
        stuck_at.set(stuck_at.get() + 1);
        let when = format!("killed at {at}");
        refused(host.engine().attach(&attach("c2", "bridge")), &when);
        host.create("green");
        host.attach("c2", "green");
        host.kernel.world().stubborn.clear();
        let repaired = host.engine().repair().unwrap();
        assert!(repaired.left.is_empty(), "{when}");
        let mut mended = repaired.plans.iter().flat_map(|plan| plan.keys());
        assert!(!mended.any(|key| *key == Key::Ruleset), "{when}: the rules were away in between");
        host.assert_healthy(&when);
        let control = Host::new();
        control.create("green");
        control.attach("c2", "green");
        let members = |host: &Host| host.snapshot().kernel.keys().map(|key| format!("{key:?}").len()).count();
        assert_eq!(members(&host), members(&control), "{when}: nothing of it is left");
        true
    });
    assert!(stuck_at.get() > 5, "{stuck_at:?}");
}

#[test]
fn a_change_that_cannot_be_read() {
    let host = Host::new();
    host.create("blue");
    host.create("green");
    host.attach("c0", "blue");
    let before = host.snapshot();
    let file = host.run().join("pending/attach:c1@eth0.json");
    std::fs::write(&file, "{\"v\":99,\"sum\":\"\",\"body\":{}}").unwrap();
    host.attach("c2", "green");
    host.detach("c2", None);
    refused(host.engine().attach(&attach("c1", "green")), "the same container");
    refused(host.engine().remove_network(&"green".parse().unwrap()), "nobody knows what it is about");
    assert!(is_stuck(&host) && file.exists(), "a newer version's record is not set aside");
    std::fs::remove_file(&file).unwrap();
    assert_same(&host.snapshot().without_loopback(), &before.without_loopback(), "without it");
}
