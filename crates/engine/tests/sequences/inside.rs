//! What the root of a container does to its own interfaces hinders nobody else.

use crate::host::{Host, assert_same, attach, attach_publishing, detach, netns};
use qiao_core::plan::{Key, Value};
use qiao_core::{IfName, SandboxName};
use qiao_kernel::fake::World;

/// Three containers on two networks; `c1` is the one whose root does things.
fn host() -> Host {
    let host = Host::new();
    host.create("blue");
    host.create("red");
    host.attach("c0", "blue");
    host.engine().attach(&attach_publishing("c1", "blue")).unwrap();
    host.kernel.world().add_namespace(&netns("c3"));
    host.attach("c3", "red");
    host
}

fn name(text: &str) -> SandboxName {
    text.parse().unwrap()
}

fn link(text: &str) -> IfName {
    text.parse().unwrap()
}

fn renames(world: &mut World) {
    world.rename_end(&name("c1"), &link("eth0"), &link("evil0"));
}

fn deletes(world: &mut World) {
    let its = |(key, value): (&Key, &Value)| match (key, value) {
        (Key::Veth(host_if), Value::Veth { sandbox, .. }) if *sandbox == name("c1") => Some(host_if.clone()),
        _ => None,
    };
    let pair = world.objects.iter().find_map(|(key, found)| its((key, &found.value))).unwrap();
    world.remove_link(&pair);
}

fn renames_and_takes_the_name(world: &mut World) {
    renames(world);
    world.namespaces.get_mut(&netns("c1")).unwrap().links.insert("eth0".into());
}

fn never_rests(world: &mut World) {
    world.restless.insert(name("c1"));
}

type Doing = (&'static str, fn(&mut World));

const DOINGS: [Doing; 4] = [
    ("renames it", renames),
    ("deletes it", deletes),
    ("renames it and makes another of the name", renames_and_takes_the_name),
    ("never rests", never_rests),
];

/// What others have must be as it was, whoever else is in a bad way.
#[track_caller]
fn assert_others(host: &Host, before: &crate::host::Snapshot, when: &str) {
    let without = |snapshot: &crate::host::Snapshot| {
        let mut snapshot = snapshot.clone();
        let of_c1 = |found: &qiao_core::plan::Found| format!("{:?}", found.owner).contains("\"c1\"");
        snapshot.kernel.retain(|key, found| key.sandbox() != Some(&name("c1")) && !of_c1(found));
        snapshot = snapshot.without_loopback();
        snapshot.kernel.retain(|key, _| !matches!(key, Key::Port(_) | Key::Fdb(..) | Key::HostUp(_)));
        snapshot.store.clear();
        snapshot
    };
    assert_same(&without(&host.snapshot()), &without(before), when);
}

#[test]
fn everybody_else_is_mended_by_the_next_command_and_by_a_repair() {
    for (what, does) in DOINGS {
        for breaks in [World::flush_ruleset, |world: &mut World| world.remove_link(&link("br-blue"))] {
            for repair in [true, false] {
                let host = host();
                let before = host.snapshot();
                does(&mut host.kernel.world());
                breaks(&mut host.kernel.world());
                assert!(!host.engine().check().unwrap().findings.is_empty(), "{what}");
                if repair {
                    host.engine().repair().unwrap();
                } else {
                    host.attach("c2", "blue");
                    host.detach("c2", None);
                }
                assert_others(&host, &before, &format!("it {what}, repair: {repair}"));
            }
        }
    }
}

#[test]
fn an_interface_that_was_renamed_or_deleted_is_made_anew() {
    for (what, does) in &DOINGS[..2] {
        let host = host();
        let before = host.snapshot();
        does(&mut host.kernel.world());
        assert!(!host.engine().check().unwrap().findings.is_empty(), "{what}");
        let repaired = host.engine().repair().unwrap();
        assert!(repaired.left.is_empty(), "{:?}", repaired.left);
        assert_same(&host.snapshot(), &before, what);
        host.assert_healthy(what);
    }
}

#[test]
fn what_cannot_be_mended_is_told_and_nothing_else() {
    for (what, does) in &DOINGS[2..] {
        let host = host();
        does(&mut host.kernel.world());
        let left = host.engine().repair().unwrap().left;
        assert!(
            matches!(&left[..], [only] if only.starts_with("endpoint blue/c1/eth0: ")),
            "{what}: {left:?}"
        );
        let findings = host.engine().check().unwrap().findings;
        assert!(!findings.is_empty(), "{what}");
    }
}

#[test]
fn it_can_leave_whatever_it_did() {
    for (what, does) in DOINGS {
        let host = Host::new();
        host.create("blue");
        host.attach("c0", "blue");
        let before = host.snapshot();
        host.engine().attach(&attach_publishing("c1", "blue")).unwrap();
        does(&mut host.kernel.world());
        host.engine().detach(&detach("c1", None)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_same(&host.snapshot().without_loopback(), &before.without_loopback(), what);
    }
}

/// Mending what others need must not cut off a container that only calls its interface otherwise.
#[test]
fn the_next_command_leaves_a_renamed_interface_alone() {
    let host = host();
    renames(&mut host.kernel.world());
    host.kernel.world().flush_ruleset();
    host.engine().attach(&attach("c2", "blue")).unwrap();
    let world = host.kernel.world();
    let renamed = |value: &Value| matches!(value, Value::Veth { peer, .. } if peer.as_str() == "evil0");
    assert!(world.objects.values().any(|found| renamed(&found.value)));
}
