//! What others break is mended by the next command, what is gone is collected, and a boot begins anew.

use crate::host::{Host, assert_same, attach, attach_publishing, detach, netns};
use qiao_core::plan::{Found, Key, Ownership, Sysctl, Value};
use qiao_engine::EngineError;
use qiao_kernel::fake::World;

/// Two networks, three endpoints, ports.
fn busy() -> Host {
    let host = Host::new();
    host.create("blue");
    host.create("red");
    host.attach("c0", "blue");
    host.engine().attach(&attach_publishing("c1", "blue")).unwrap();
    host.attach("c1", "red");
    host
}

type Break = fn(&mut World);

const ESSENTIAL: [(&str, Break); 7] = [
    ("the rules are flushed", World::flush_ruleset),
    ("a rule is changed", World::damage_ruleset),
    ("a bridge is deleted", |world| world.remove_link(&"br-blue".parse().unwrap())),
    ("every bridge is deleted, and the rules are flushed", |world| {
        world.remove_link(&"br-blue".parse().unwrap());
        world.remove_link(&"br-red".parse().unwrap());
        world.flush_ruleset();
    }),
    ("forwarding is switched off", |world| {
        for sysctl in [Sysctl::Forward4, Sysctl::Forward6] {
            world.objects.get_mut(&Key::Sysctl(sysctl)).unwrap().value = Value::Number(0);
        }
    }),
    ("a bridge is taken down", |world| {
        world.objects.remove(&Key::BridgeUp("br-red".parse().unwrap()));
    }),
    ("a bridge has another MTU", |world| {
        let bridge = world.objects.get_mut(&Key::Bridge("br-red".parse().unwrap())).unwrap();
        let Value::Bridge { mtu, .. } = &mut bridge.value else { panic!() };
        *mtu = 1400;
    }),
];

#[test]
fn the_next_command_mends_what_nothing_works_without() {
    for (what, breaks) in ESSENTIAL {
        let host = busy();
        let before = host.snapshot();
        breaks(&mut host.kernel.world());
        assert!(!host.engine().check().unwrap().findings.is_empty(), "{what}: it was noticed");
        host.attach("c2", "red");
        host.assert_healthy(what);
        host.detach("c2", None);
        assert_same(&host.snapshot().without_loopback(), &before.without_loopback(), what);
    }
}

/// A socket of the host's may be in the way of serving 127.0.0.1: that is told, and hinders nobody.
#[test]
fn what_cannot_serve_127_0_0_1_hinders_nobody() {
    let host = busy();
    let before = host.snapshot();
    host.attach("c2", "red");
    host.kernel.world().flush_ruleset();
    host.kernel.world().objects.retain(|key, _| !matches!(key, Key::Loopback(_)));
    host.kernel.world().loopback_taken = true;
    host.detach("c2", None);
    assert!(host.kernel.world().objects.contains_key(&Key::Ruleset), "the rules came back");
    let left = host.engine().repair().unwrap().left;
    assert!(left.iter().any(|line| line.contains("c1") && line.contains("127.0.0.1")), "{left:?}");
    host.kernel.world().loopback_taken = false;
    assert_eq!(host.engine().repair().unwrap().left, Vec::<String>::new());
    assert_same(&host.snapshot().without_loopback(), &before.without_loopback(), "nothing is in the way");
}

#[test]
fn a_check_touches_nothing_and_a_repair_mends_everything() {
    let all: Vec<Key> = busy().kernel.world().objects.keys().cloned().collect();
    let mut mended = 0;
    for at in 0..all.len() {
        let host = busy();
        let before = host.snapshot();
        let key = before.kernel.keys().nth(at).unwrap().clone();
        // A sysctl cannot go, nor a port without its bridge; a pair that is gone is another matter.
        if matches!(key, Key::Sysctl(_) | Key::Veth(_) | Key::Port(_)) {
            continue;
        }
        let found = host.kernel.world().objects.remove(&key).unwrap();
        host.kernel.world().generation += 1;
        let broken = host.snapshot();
        assert!(!host.engine().check().unwrap().findings.is_empty(), "{key:?} is gone, and nobody saw it");
        assert_same(&host.snapshot(), &broken, "a check");
        host.engine().repair().unwrap();
        assert_same(&host.snapshot(), &before, &format!("without {key:?} {found:?}"));
        mended += 1;
    }
    assert!(mended > 60, "{mended}");
}

/// Somebody deleted an element and did nothing else: the generation tells, and whichever it was, it is back.
#[test]
fn d6_the_next_command_brings_back_any_element() {
    let elements = busy().kernel.world().objects.keys().filter(|key| key.set().is_some()).count();
    assert!(elements > 30, "{elements}");
    for at in 0..elements {
        let host = busy();
        let key = {
            let mut world = host.kernel.world();
            let key = world.objects.keys().filter(|key| key.set().is_some()).nth(at).unwrap().clone();
            world.objects.remove(&key).unwrap();
            world.generation += 1;
            key
        };
        host.attach("c2", "red");
        host.assert_healthy(&format!("without {key:?}"));
    }
}

#[test]
fn a_port_on_another_bridge_is_put_back_with_its_settings() {
    let host = busy();
    let before = host.snapshot();
    let mut world = host.kernel.world();
    for (key, found) in &mut world.objects {
        match (key, &mut found.value) {
            (Key::Veth(_), Value::Veth { bridge, .. }) => *bridge = Some("docker0".parse().unwrap()),
            (Key::Port(_), Value::Port { fixed, .. }) => *fixed = true,
            _ => {}
        }
    }
    drop(world);
    host.engine().repair().unwrap();
    assert_same(&host.snapshot(), &before, "put back");
}

#[test]
fn the_endpoints_of_sandboxes_that_are_gone_are_collected() {
    let host = Host::new();
    host.create("blue");
    host.create("red");
    host.attach("c0", "blue");
    let before = host.snapshot();
    host.engine().attach(&attach_publishing("c1", "blue")).unwrap();
    host.attach("c1", "red");
    host.kernel.world().remove_namespace(&netns("c1"));
    let collected = host.engine().gc().unwrap().collected;
    assert_eq!(collected.len(), 2);
    assert_same(&host.snapshot(), &before, "collected");
    assert!(host.engine().gc().unwrap().collected.is_empty());
}

#[test]
fn a_container_that_comes_back_under_its_name_replaces_the_one_that_is_gone() {
    let host = Host::new();
    host.engine().attach(&attach_publishing("c1", "bridge")).unwrap();
    host.kernel.world().remove_namespace(&netns("c1"));
    host.kernel.world().add_namespace(&netns("c1"));
    host.engine().attach(&attach_publishing("c1", "bridge")).unwrap();
    host.assert_healthy("replaced");
    assert_eq!(host.engine().store().endpoints().unwrap().len(), 1);
}

#[test]
fn an_address_waits_for_its_own_device_and_not_for_the_next_of_that_name() {
    let host = Host::new();
    let old = host.engine().attach(&attach_publishing("c1", "bridge")).unwrap().endpoint;
    let device = old.wire.unwrap().host_if;
    let lease = host.run().join("leases/bridge/172.17.0.2");
    let wished = |index: u32| {
        let _ = std::fs::remove_file(&lease);
        std::os::unix::fs::symlink(format!("~{device}:{index}"), &lease).unwrap();
        let mut request = attach_publishing("c0", "bridge");
        (request.wish.ip, request.publish) = (Some("172.17.0.2".parse().unwrap()), Vec::new());
        host.engine().attach(&request)
    };
    let before = host.kernel.world().link_index(&device).unwrap();
    host.detach("c1", None);
    host.engine().attach(&attach_publishing("c1", "bridge")).unwrap();
    let now = host.kernel.world().link_index(&device).unwrap();
    assert_ne!(before, now, "the same name, another device");
    assert!(matches!(wished(now), Err(EngineError::Refused(_))), "the control: a device that is there");
    wished(before).unwrap();
}

#[test]
fn a_record_that_is_lost_is_no_obstacle_to_leaving() {
    let host = Host::new();
    host.create("blue");
    let before = host.snapshot();
    host.engine().attach(&attach_publishing("c1", "blue")).unwrap();
    std::fs::remove_dir_all(host.run().join("endpoints")).unwrap();
    host.detach("c1", None);
    host.engine().repair().unwrap();
    assert_same(&host.snapshot().without_loopback(), &before, "detached without a record");
}

/// What is kept meanwhile: see `unread`.
#[test]
fn garbage_is_said_and_set_aside_when_it_is_detached() {
    let host = busy();
    let record = host.run().join("endpoints/c1/eth0.json");
    std::fs::write(&record, "{}").unwrap();
    let mut engine = host.engine();
    engine.detach(&detach("c1", None)).unwrap();
    let notes = engine.store().take_notes();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(!record.exists() && host.run().join("quarantine/c1:eth0.json").exists());
    let its = |found: &Found| matches!(&found.owner, Ownership::Marked(owner) if owner.to_string() == "endpoint c1/eth0");
    let left: Vec<Key> = host
        .kernel
        .world()
        .objects
        .iter()
        .filter(|(_, found)| its(found))
        .map(|(key, _)| key.clone())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    host.engine().attach(&attach_publishing("c1", "blue")).unwrap();
}

/// Lost, or damaged: nobody knows any more how it must be, so it stays as it is, and `repair` says so.
#[test]
fn endpoints_whose_network_has_no_record_are_left_alone() {
    for damage in [None, Some("{")] {
        let host = busy();
        let before = host.snapshot();
        let record = host.state().join("networks/blue.json");
        damage.map_or_else(|| std::fs::remove_file(&record), |text| std::fs::write(&record, text)).unwrap();
        let findings = host.engine().check().unwrap().findings;
        assert!(findings.iter().any(|f| f.line.contains("blue/c1/eth0")), "{findings:?}");
        let left = host.engine().repair().unwrap().left;
        assert!(
            matches!(&left[..], [a, b] if a.contains("blue/c0/eth0") && b.contains("blue/c1/eth0")),
            "{left:?}"
        );
        assert_eq!(host.snapshot().kernel, before.kernel, "after a repair");
        host.kernel.world().remove_link(&"br-red".parse().unwrap());
        host.attach("c2", "red");
        host.detach("c2", None);
        let kernel = host.snapshot().without_loopback().kernel;
        assert_eq!(kernel, before.without_loopback().kernel, "after the next command mended something");
    }
}

#[test]
fn a_network_without_record_and_endpoints_is_no_network() {
    let host = Host::new();
    let before = host.snapshot();
    host.create("blue");
    host.attach("c0", "blue");
    std::fs::remove_file(host.state().join("networks/blue.json")).unwrap();
    assert_eq!(host.engine().repair().unwrap().left.len(), 1, "the control: it is in use");
    host.detach("c0", None);
    assert!(host.engine().repair().unwrap().left.is_empty());
    assert_same(&host.snapshot().without_loopback(), &before, "the network's objects");
}

#[test]
fn a_boot_begins_anew_and_keeps_the_networks() {
    let host = busy();
    *host.kernel.world() = World::default();
    host.kernel.world().add_namespace(&netns("c1"));
    let boot = host.run().join("boot");
    std::fs::remove_file(&boot).unwrap();
    std::os::unix::fs::symlink("11111111-2222-3333-4444-555555555555", &boot).unwrap();
    assert!(host.engine().check().unwrap().findings.is_empty());
    assert!(host.engine().store().endpoints().unwrap().is_empty(), "the containers are gone");
    host.engine().attach(&attach("c1", "blue")).unwrap();
    host.assert_healthy("after the boot");
}
