//! Saying what a request would do touches nothing, and says what would be done first.

use crate::host::{Host, assert_same, attach, attach_publishing, create, detach, netns};
use crate::kills::{Where, killed};
use crate::scenario::{BACK, FORWARD};
use qiao_engine::{Engine, EngineError};
use qiao_kernel::fake::{Fake, World};

type Plans = fn(&mut Engine<Fake>) -> Result<(), EngineError>;

const PLANS: [Plans; 4] = [
    |engine| engine.plan_attach(&attach_publishing("c2", "blue")).map(drop),
    |engine| engine.plan_detach(&detach("c1", None)).map(drop),
    |engine| engine.plan_create_network(&create("green")).map(drop),
    |engine| engine.plan_remove_network(&"red".parse().unwrap()).map(drop),
];

fn host() -> Host {
    let host = Host::new();
    host.create("blue");
    host.create("red");
    host.attach("c0", "blue");
    host.attach("c1", "red");
    host
}

#[track_caller]
fn touches_nothing(host: &Host, plan: Plans, first: Option<&str>) {
    let before = host.snapshot();
    let mut engine = host.engine();
    let result = plan(&mut engine);
    assert_same(&host.snapshot(), &before, &format!("{result:?}"));
    let notes = engine.store().take_notes();
    assert!(first.is_none_or(|first| notes.iter().any(|note| note.contains(first))), "{notes:?}");
    assert!(first.is_some() || notes.is_empty(), "{notes:?}");
}

#[test]
fn what_is_broken_is_not_mended() {
    let breaks: [fn(&mut World); 3] = [
        World::flush_ruleset,
        |world| world.remove_link(&"br-blue".parse().unwrap()),
        |world| world.remove_link(&"br-red".parse().unwrap()),
    ];
    for plan in PLANS {
        touches_nothing(&host(), plan, None);
        for breaks in breaks {
            let host = host();
            breaks(&mut host.kernel.world());
            touches_nothing(&host, plan, Some("mended first"));
        }
    }
}

#[test]
fn what_is_gone_is_not_collected() {
    let host = host();
    host.kernel.world().remove_namespace(&netns("c1"));
    touches_nothing(&host, PLANS[3], Some("red/c1/eth0 is gone"));
    host.engine().plan_remove_network(&"red".parse().unwrap()).unwrap();
    host.kernel.world().add_namespace(&netns("c1"));
    touches_nothing(
        &host,
        |engine| engine.plan_attach(&attach("c1", "red")).map(drop),
        Some("detached first"),
    );
}

#[test]
fn what_was_begun_is_not_ended() {
    for scenario in
        BACK.iter().chain(&FORWARD).filter(|s| s.name.contains("tachment") || s.name == "creation")
    {
        for at in [12, 20] {
            let (host, _) = scenario.host();
            if !killed(scenario, &host, (Where::Kernel, at)) {
                continue;
            }
            let is_begun = host.run().join("pending").read_dir().unwrap().count() > 0;
            for plan in PLANS {
                touches_nothing_or_mended(&host, plan, is_begun);
            }
        }
    }
}

fn touches_nothing_or_mended(host: &Host, plan: Plans, is_begun: bool) {
    let before = host.snapshot();
    let mut engine = host.engine();
    let result = plan(&mut engine);
    assert_same(&host.snapshot(), &before, &format!("{result:?}"));
    let notes = engine.store().take_notes();
    assert_eq!(is_begun, notes.iter().any(|note| note.contains("begun and not ended")), "{notes:?}");
}
