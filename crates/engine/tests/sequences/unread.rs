//! Every read of the store and every question to the kernel fails once, beside containers that run: what cannot be read
//! says nothing, and nobody loses anything by it.

use crate::host::{Host, Snapshot, attach, attach_publishing, chain, create, detach, given, ptp};
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
    Act { name: "plan of an attachment", act: |engine| engine.plan_attach(&attach("c2", "blue")).map(drop) },
    Act { name: "attachment", act: |engine| engine.attach(&attach("c2", "blue")).map(drop) },
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

/// What is damaged: the record of an endpoint is kept where it is, and with it all that the endpoint has.
#[test]
fn f1_an_unreadable_record_protects_its_endpoint() {
    const GARBAGE: [&[u8]; 3] =
        [b"", b"{\"v\":1,\"sum\":\"00", b"{\"v\":1,\"sum\":\"00000000\",\"body\":{}}\n"];
    for (record, bytes) in ["c0/eth0", "c1/eth0", "c1/eth1"].iter().zip(GARBAGE) {
        let host = busy();
        let path = host.run().join(format!("endpoints/{record}.json"));
        std::fs::write(&path, bytes).unwrap();
        let before = host.snapshot();
        for act in &ACTS {
            let done = (act.act)(&mut host.engine());
            done.unwrap_or_else(|error| panic!("{record}: {}: {}", act.name, chain(&error)));
            assert_eq!(lost(&before, &host), [""; 0], "{record}: {}", act.name);
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "{record}: {}: it stays where it is", act.name);
        }
        let (sandbox, ifname) = record.split_once('/').unwrap();
        let finds =
            |lines: Vec<String>| lines.iter().any(|line| line.contains(&format!("{record}: its record")));
        let found = host.engine().check().unwrap().findings.into_iter().map(|finding| finding.line).collect();
        assert!(finds(found) && finds(host.engine().repair().unwrap().left), "{record} is named");
        let refused = host.engine().attach(&attach(sandbox, "blue")).unwrap_err();
        assert!(
            matches!(&refused, EngineError::Refused(r) if r.to_string().contains("makes no sense")),
            "{refused}"
        );
        let networks = if *record == "c0/eth0" { vec!["blue"] } else { vec!["blue", "red"] };
        for network in networks {
            let error = host.engine().remove_network(&network.parse().unwrap()).unwrap_err();
            assert!(chain(&error).contains("has active endpoints"), "{}", chain(&error));
        }
        detached(&host, (sandbox, ifname), &before);
    }
}

/// Leaving takes all of it away, and nothing of anybody else's.
fn detached(host: &Host, (sandbox, ifname): (&str, &str), before: &Snapshot) {
    let request =
        qiao_core::request::Detach { ifname: Some(ifname.parse().unwrap()), ..detach(sandbox, None) };
    host.engine().detach(&request).unwrap();
    let (mark, key) = (format!("IfName(\"{ifname}\")"), format!("{sandbox}@{ifname}"));
    let is_its = |line: &String| line.contains(sandbox) && line.contains(&mark) || line.contains(&key);
    let left: Vec<String> = theirs(&host.snapshot()).into_iter().filter(is_its).collect();
    let inside = |line: &String| ["Sandbox", "Route(", "quarantine"].iter().any(|word| line.contains(word));
    let left: Vec<String> = left.into_iter().filter(|line| !inside(line)).collect();
    assert_eq!(left, [""; 0], "of {key}");
    let others =
        |line: &String| !line.contains(sandbox) && !line.contains("Neighbour") && !line.contains("HostRoute");
    let gone: Vec<String> = lost(before, host).into_iter().filter(others).collect();
    assert_eq!(gone, [""; 0], "beside {key}");
    let aside = std::fs::read_dir(host.run().join("quarantine")).unwrap().count();
    assert_eq!(aside, 1, "the record is set aside");
    std::fs::remove_dir_all(host.run().join("quarantine")).unwrap();
}

/// What a door says of who lives decides: CNI's GC.
#[test]
fn f1_an_unreadable_record_goes_with_a_door_that_says_so() {
    let host = Host::new();
    ["c0", "c1"].iter().for_each(|name| drop(host.engine().attach(&given(name, ptp())).unwrap()));
    std::fs::write(host.run().join("endpoints/c0/eth0.json"), b"{").unwrap();
    let (before, network) = (host.snapshot(), "cni.n1".parse().unwrap());
    host.engine().collect_network(&network, &|_| true).unwrap();
    assert_eq!(lost(&before, &host), [""; 0]);
    host.engine().collect_network(&network, &|id| id.sandbox.as_str() != "c0").unwrap();
    let left: Vec<_> = host.snapshot().store.into_values().filter(|owner| owner == "c0@eth0").collect();
    assert_eq!(left, [""; 0]);
    std::fs::remove_dir_all(host.run().join("quarantine")).unwrap();
    host.assert_healthy("c1 stays");
}

/// The host's own notes.
#[test]
fn damaged_notes_take_nothing_from_anybody() {
    for note in ["active.json", "host.json", "boot", "lock"] {
        let host = busy();
        let path = host.run().join(note);
        let before = host.snapshot();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"{\"v\":1,").unwrap();
        for act in &ACTS {
            let done = (act.act)(&mut host.engine());
            let said = done.err().map(|error| chain(&error));
            let theirs: Vec<String> =
                lost(&before, &host).into_iter().filter(|line| !line.starts_with("/run/host.json")).collect();
            assert_eq!(theirs, [""; 0], "{note}: {}: {said:?}", act.name);
        }
    }
}
