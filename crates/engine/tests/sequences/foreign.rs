//! What is not ours is never touched, whenever it comes.

use crate::host::{Host, Snapshot, attach, attach_publishing, chain, netns};
use crate::scenario::{BACK, FORWARD};
use qiao_core::plan::{Found, Key, Member, Ownership, Value};
use qiao_core::{Code, Mac};
use qiao_engine::EngineError;
use qiao_kernel::fake::{Fault, World};

fn foreign(snapshot: &Snapshot) -> Vec<(&Key, &Found)> {
    snapshot.kernel.iter().filter(|(_, found)| found.owner == Ownership::Foreign).collect()
}

/// A bridge of somebody else's, with the name of ours.
fn foreign_bridge(world: &mut World) {
    let mac = Mac::new([2, 0, 0, 0, 0, 1]).unwrap();
    let device = "qiao0".parse().unwrap();
    if !world.has_link(&device) {
        world.add_foreign(Key::BridgeUp(device.clone()), Value::Present);
        world.add_foreign(
            Key::BridgeAddress(device.clone(), "172.17.0.1/16".parse().unwrap()),
            Value::Present,
        );
        world.add_foreign(Key::Bridge(device), Value::Bridge { mac, mtu: 9000 });
    }
}

#[test]
fn a_bridge_in_the_way_is_refused() {
    let host = Host::new();
    foreign_bridge(&mut host.kernel.world());
    let before = host.snapshot();
    match host.engine().attach(&attach("c1", "bridge")) {
        Err(EngineError::Refused(refusal)) => assert_eq!(refusal.code, Code::Conflict),
        other => panic!("{other:?}"),
    }
    crate::host::assert_same(&host.snapshot(), &before, "refused");
}

#[test]
fn a_bridge_that_comes_meanwhile_is_not_touched() {
    BACK[0].at_every_point(|scenario, at| {
        let (host, _) = scenario.host();
        let mut engine = host.engine();
        host.kernel.world().faults.arm(at, Fault::Meanwhile(foreign_bridge));
        let result = (scenario.act)(&mut engine);
        let (_, reached) = host.kernel.world().faults.disarm();
        let after = host.snapshot();
        if foreign(&after).is_empty() {
            result.unwrap_or_else(|error| panic!("at {at}: {}", chain(&error)));
        } else {
            assert_eq!(foreign(&after).len(), 3, "at {at}: {:?}", foreign(&after));
            assert!(result.is_err(), "at {at}: it is in the way");
            host.detach("c1", None);
            assert_eq!(foreign(&host.snapshot()).len(), 3, "at {at}, detached");
        }
        reached
    });
}

#[test]
fn an_element_of_somebody_else_stays() {
    let host = Host::new();
    host.create("blue");
    let key = Key::Member(Member::Bridge("docker0".parse().unwrap()));
    host.kernel.world().add_foreign(key.clone(), Value::Present);
    host.engine().attach(&attach_publishing("c1", "blue")).unwrap();
    host.engine().repair().unwrap();
    host.engine().gc().unwrap();
    host.detach("c1", None);
    assert!(host.kernel.world().objects.contains_key(&key));
}

#[test]
fn somebody_who_changes_the_rules_meanwhile_is_no_obstacle() {
    for scenario in BACK.iter().chain(&FORWARD) {
        scenario.at_every_point(|scenario, at| {
            let (host, _) = scenario.host();
            let mut engine = host.engine();
            host.kernel.world().faults.arm(at, Fault::Meanwhile(|world| world.generation += 1));
            let result = (scenario.act)(&mut engine);
            let (_, reached) = host.kernel.world().faults.disarm();
            let when = format!("{} at {at}", scenario.name);
            result.unwrap_or_else(|error| panic!("{when}: {}", chain(&error)));
            host.assert_healthy(&when);
            reached
        });
    }
}

#[test]
fn rules_that_are_flushed_meanwhile_come_back() {
    for scenario in &BACK {
        scenario.at_every_point(|scenario, at| {
            let (host, before) = scenario.host();
            let mut engine = host.engine();
            host.kernel.world().faults.arm(at, Fault::Meanwhile(World::flush_ruleset));
            let result = (scenario.act)(&mut engine);
            let (_, reached) = host.kernel.world().faults.disarm();
            let when = format!("{} at {at}", scenario.name);
            host.engine().repair().unwrap();
            host.assert_healthy(&when);
            if result.is_err() {
                let (found, before) = (host.snapshot().without_loopback(), before.without_loopback());
                crate::host::assert_same(&found, &before, &when);
            }
            reached
        });
    }
}

#[test]
fn a_sandbox_that_goes_meanwhile_leaves_nothing() {
    for scenario in BACK.iter().filter(|scenario| scenario.name.contains("attachment")) {
        scenario.at_every_point(|scenario, at| {
            let (host, _) = scenario.host();
            let mut engine = host.engine();
            host.kernel
                .world()
                .faults
                .arm(at, Fault::Meanwhile(|world| world.remove_namespace(&netns("c1"))));
            let result = (scenario.act)(&mut engine);
            let (_, reached) = host.kernel.world().faults.disarm();
            let when = format!("{} at {at}: {:?}", scenario.name, result.as_ref().map_err(|e| chain(e)));
            host.engine().gc().unwrap();
            host.engine().repair().unwrap();
            host.assert_healthy(&when);
            if reached {
                let endpoints = host.engine().store().endpoints().unwrap();
                assert!(endpoints.iter().all(|e| e.sandbox().as_str() != "c1"), "{when}");
            }
            reached
        });
    }
}
