//! Every read of the store and every question to the kernel fails once, beside containers that run: what cannot be read
//! says nothing, and nobody loses anything by it.

use crate::host::{Host, Snapshot, attach, attach_publishing, chain, create, detach};
use qiao_engine::{Engine, EngineError};
use qiao_kernel::fake::{Fake, Fault, Faults};
use qiao_store::steps;

/// What is done beside containers that run.
struct Act {
    name: &'static str,
    act: fn(&mut Engine<Fake>) -> Result<(), EngineError>,
}

const ACTS: [Act; 9] = [
    Act { name: "check", act: |engine| engine.check().map(drop) },
    Act { name: "repair", act: |engine| engine.repair().map(drop) },
    Act { name: "gc", act: |engine| engine.gc().map(drop) },
    Act { name: "attachment", act: |engine| engine.attach(&attach("c2", "blue")).map(drop) },
    Act { name: "plan of an attachment", act: |engine| engine.plan_attach(&attach("c2", "blue")).map(drop) },
    Act { name: "detachment", act: |engine| engine.detach(&detach("c3", None)).map(drop) },
    Act { name: "detachment of nobody", act: |engine| engine.detach(&detach("nobody", None)).map(drop) },
    Act { name: "creation", act: |engine| engine.create_network(&create("green")).map(drop) },
    Act { name: "removal", act: |engine| engine.remove_network(&"idle".parse().unwrap()).map(drop) },
];

/// Containers that run on two networks, one that leaves, one whose namespace is gone, and a network without members.
fn busy() -> Host {
    let host = Host::new();
    ["c3", "c4"].iter().for_each(|name| host.kernel.world().add_namespace(&crate::host::netns(name)));
    host.create("blue");
    host.create("idle");
    host.create_routed("red");
    host.engine().attach(&attach_publishing("c0", "blue")).unwrap();
    host.attach("c1", "red");
    host.attach("c1", "blue");
    host.attach("c3", "blue");
    host.attach("c4", "red");
    host.kernel.world().remove_namespace(&crate::host::netns("c4"));
    host
}

/// What of a snapshot is the running containers' or their networks'.
fn theirs(snapshot: &Snapshot) -> Vec<String> {
    let is_others = |text: &str| ["c2", "c3", "c4", "idle", "green"].iter().any(|name| text.contains(name));
    let objects = snapshot.kernel.iter().map(|(key, found)| format!("{key:?} = {found:?}"));
    let files = snapshot.store.iter().map(|(path, text)| format!("{path} = {text}"));
    // A list of all networks, and what c4's and c3's address have in it.
    let files =
        files.filter(|line| !line.starts_with("/run/active.json") && !line.starts_with("/run/deleted"));
    objects.chain(files).filter(|line| !is_others(line)).collect()
}

/// What running containers lost.
fn lost(before: &Snapshot, host: &Host) -> Vec<String> {
    let now = theirs(&host.snapshot());
    theirs(before).into_iter().filter(|line| !now.contains(line)).collect()
}

/// Does an act with a fault armed; none if the point was not reached, else what was said.
fn faulty(host: &Host, act: &Act, (at, of): (usize, Of)) -> Option<Result<(), EngineError>> {
    let mut engine = host.engine();
    match of {
        Of::Store => steps::arm(at, steps::Fault::Unread),
        Of::Kernel => host.kernel.world().faults.arm(at, Fault::Fail),
    }
    let result = (act.act)(&mut engine);
    let reached = match of {
        Of::Store => steps::disarm().1,
        Of::Kernel => host.kernel.world().faults.disarm().1,
    };
    reached.then_some(result)
}

/// Whose reads fail.
#[derive(Clone, Copy, Debug)]
enum Of {
    Store,
    Kernel,
}

impl Of {
    /// Which of them fail; all do where `QIAO_SWEEP` is set.
    fn step(self) -> usize {
        match self {
            Of::Store => 7,
            Of::Kernel => 2,
        }
    }
}

fn nobody_loses_anything(of: Of, words: fn(usize) -> String) {
    let mut failed = 0;
    for (number, act) in ACTS.iter().enumerate() {
        let (mut reached, step) = (0, if std::env::var_os("QIAO_SWEEP").is_some() { 1 } else { of.step() });
        for at in (1 + number % step..).step_by(step) {
            let host = busy();
            let before = host.snapshot();
            let Some(result) = faulty(&host, act, (at, of)) else { break };
            reached += 1;
            let when = format!("{} where {of:?} fails at {at}", act.name);
            assert_eq!(
                lost(&before, &host),
                [""; 0],
                "{when}: {:?}",
                result.as_ref().err().map(|e| chain(e))
            );
            if let Err(error) = result {
                assert!(chain(&error).contains(&words(at)), "{when}: another failure: {}", chain(&error));
                failed += 1;
            }
            for act in [act, &ACTS[1]] {
                let again = (act.act)(&mut host.engine());
                let is_refused = matches!(&again, Err(EngineError::Refused(_)));
                assert!(again.is_ok() || is_refused, "{when}, again: {}", chain(&again.unwrap_err()));
                assert_eq!(lost(&before, &host), [""; 0], "{when}, and again");
            }
            host.assert_healthy(&when);
        }
        assert!(reached > 0, "the control: {} reads", act.name);
    }
    assert!(failed > ACTS.len(), "the control: what cannot be read is noticed");
}

#[test]
fn every_read_of_the_store_fails_once_and_no_container_loses_anything() {
    nobody_loses_anything(Of::Store, |_| "Input/output error".into());
}

#[test]
fn every_question_to_the_kernel_fails_once_and_no_container_loses_anything() {
    nobody_loses_anything(Of::Kernel, Faults::words);
}

/// The boot id is the first read with the lock held, whatever is read before.
#[test]
fn g1_an_unreadable_boot_id_keeps_the_state() {
    for act in &ACTS {
        let boot = |host: &Host| std::fs::read_link(host.run().join("boot")).unwrap();
        let noted = (1..20).any(|at| {
            let host = busy();
            let (before, noted) = (host.snapshot(), boot(&host));
            let mut engine = host.engine();
            steps::arm(at, steps::Fault::Unread);
            let result = (act.act)(&mut engine);
            assert!(steps::disarm().1, "{}: read {at} was reached", act.name);
            assert_eq!(lost(&before, &host), [""; 0], "{} at {at}", act.name);
            assert_eq!(boot(&host), noted);
            let is_boot = engine.store().take_notes().iter().any(|note| note.contains("boot_id"));
            assert!(!is_boot || result.is_ok(), "{}: the command goes on", act.name);
            is_boot
        });
        assert!(noted, "{}: nothing is said of the boot id", act.name);
    }
}
