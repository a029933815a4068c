//! What is not ours is never touched, whenever it comes.

use crate::host::{Host, attach, attach_publishing, chain, netns};
use crate::scenario::{BACK, FORWARD};
use qiao_core::plan::{Found, Key, Member, Ownership, Value};
use qiao_core::{Code, IfName, Mac};
use qiao_engine::EngineError;
use qiao_kernel::fake::{Fault, World};

/// A bridge of somebody else's, with the name of ours. What hangs on it bears no mark, neither ours nor his.
fn foreign_bridge(world: &mut World) {
    let (mac, device): (_, IfName) = (Mac::new([2, 0, 0, 0, 0, 1]).unwrap(), "qiao0".parse().unwrap());
    if world.has_link(&device) {
        return;
    }
    world.add_foreign(Key::Bridge(device.clone()), Value::Bridge { mac: Some(mac), mtu: 9000 });
    for key in hanging(&device) {
        world.objects.insert(key, Found { owner: Ownership::Ours, value: Value::Present });
    }
}

fn hanging(device: &IfName) -> [Key; 2] {
    let net = "172.17.0.1/16".parse().unwrap();
    [Key::BridgeUp(device.clone()), Key::BridgeAddress(device.clone(), net)]
}

/// Whether the foreign bridge came; if it did, it must be as it was made.
#[track_caller]
fn came(host: &Host, when: &str) -> bool {
    let (world, device) = (host.kernel.world(), "qiao0".parse().unwrap());
    let found = world.objects.get(&Key::Bridge("qiao0".parse().unwrap()));
    let Some(found) = found.filter(|found| found.owner == Ownership::Foreign) else { return false };
    assert!(matches!(found.value, Value::Bridge { mtu: 9000, .. }), "{when}: {found:?}");
    for key in hanging(&device) {
        assert!(world.objects.contains_key(&key), "{when}: {key:?} is gone");
    }
    true
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
        let when = format!("at {at}: {:?}", result.as_ref().map_err(|e| chain(e)));
        if came(&host, &when) {
            assert!(result.is_err(), "{when}, although it is in the way");
            host.detach("c1", None);
            host.engine().repair().unwrap();
            assert!(came(&host, &when), "{when}: it went");
        } else {
            assert!(result.is_ok(), "{when}");
        }
        reached
    });
}

#[test]
fn an_element_of_somebody_else_stays() {
    let host = Host::new();
    host.create("blue");
    let key = Key::Member(Member::Downlink("docker0".parse().unwrap()));
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

/// With everything of every container in them, by the next command at the latest.
#[test]
fn rules_that_are_flushed_or_changed_meanwhile_come_back() {
    for breaks in [World::flush_ruleset, World::damage_ruleset] {
        for scenario in BACK.iter().chain(&FORWARD) {
            scenario.at_every_point(|scenario, at| {
                let (host, before) = scenario.host();
                let mut engine = host.engine();
                host.kernel.world().faults.arm(at, Fault::Meanwhile(breaks));
                let result = (scenario.act)(&mut engine);
                let (_, reached) = host.kernel.world().faults.disarm();
                let when = format!("{} at {at}: {:?}", scenario.name, result.as_ref().map_err(|e| chain(e)));
                host.detach("c2", None); // it never was attached
                host.assert_healthy(&when);
                if result.is_err() && BACK.iter().any(|back| back.name == scenario.name) {
                    let (found, before) = (host.snapshot().without_loopback(), before.without_loopback());
                    crate::host::assert_same(&found, &before, &when);
                }
                reached
            });
        }
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

/// Two containers; from the second its routes were taken, so that there is something to mend inside.
fn broken_inside() -> Host {
    let host = Host::new();
    host.create("blue");
    host.attach("c0", "blue");
    host.attach("c1", "blue");
    let is_route = |key: &Key| matches!(key, Key::Route(sandbox, _) if sandbox.as_str() == "c1");
    host.kernel.world().objects.retain(|key, _| !is_route(key));
    host
}

/// A container that ends while all is mended, or looked at, is nobody's fault.
#[test]
fn a_sandbox_that_ends_while_all_is_mended_is_not_told() {
    let ends = || Fault::Meanwhile(|world| world.remove_namespace(&netns("c1")));
    let count = (1..2000).take_while(|at| {
        let host = broken_inside();
        let mut engine = host.engine();
        host.kernel.world().faults.arm(*at, ends());
        let repaired = engine.repair().unwrap();
        let (_, reached) = host.kernel.world().faults.disarm();
        assert!(repaired.left.is_empty(), "at {at}: {:?}", repaired.left);
        host.engine().gc().unwrap();
        host.assert_healthy(&format!("at {at}"));
        reached
    });
    assert!(count.count() > 10);
    let count = (1..2000).take_while(|at| {
        let host = broken_inside();
        let mut engine = host.engine();
        host.kernel.world().faults.arm(*at, ends());
        let health = engine.check().unwrap();
        let (_, reached) = host.kernel.world().faults.disarm();
        // It was seen broken before it ended, or is seen to be gone.
        let lines: Vec<_> = health.findings.iter().map(|finding| finding.line.as_str()).collect();
        let is_made = |line: &&str| line.starts_with('+') && !line.contains("route");
        assert!(!lines.iter().any(is_made), "at {at}: {lines:#?}");
        reached
    });
    assert!(count.count() > 3);
}
