//! Forwarding when the last network goes, and others on the host who use it.

use crate::host::{Host, create};
use qiao_core::forwarding::OtherLink;
use qiao_core::plan::{Key, Sysctl, Value};
use qiao_engine::Engine;
use qiao_kernel::fake::{Fake, Fault};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Another engine comes.
fn come(host: &Host) {
    let link = OtherLink { name: "docker0".into(), kind: "bridge".into() };
    host.kernel.world().forwarding.links.push(link);
}

fn is_on(host: &Host) -> bool {
    host.kernel.world().objects[&Key::Sysctl(Sysctl::Forward4)].value == Value::Number(1)
}

/// Kills an act at a point; false where it has no such point.
fn kill(host: &Host, at: usize, act: &dyn Fn(&mut Engine<Fake>)) -> bool {
    let mut engine = host.engine();
    host.kernel.world().faults.arm(at, Fault::Die);
    let _ = catch_unwind(AssertUnwindSafe(|| act(&mut engine)));
    host.kernel.world().faults.disarm().1
}

/// A command was killed after it switched forwarding on, and another engine came before the next command took it back.
#[test]
fn e2_what_a_killed_command_began_is_taken_back_but_for_what_others_use() {
    for others in [false, true] {
        let mut reached = 0;
        for at in 1.. {
            let host = Host::new();
            if !kill(&host, at, &|engine| drop(engine.create_network(&create("blue")).unwrap())) {
                break;
            }
            if is_on(&host) {
                reached += 1;
                others.then(|| come(&host));
                host.engine().gc().unwrap();
                let exists = !host.engine().store().networks().unwrap().is_empty(); // it was killed at its end
                assert_eq!(is_on(&host), others || exists, "others: {others}, killed at {at}");
            }
        }
        assert!(reached > 3, "{reached}");
    }
}

/// Removing the last network, killed at any point: forwarding that others use stays on, and it is nobody's business
/// afterwards.
#[test]
fn e2_a_removal_killed_anywhere_leaves_forwarding_to_others() {
    let mut points = 0;
    for at in 1.. {
        let host = Host::new();
        host.create("blue");
        come(&host);
        let reached = kill(&host, at, &|engine| drop(engine.remove_network(&"blue".parse().unwrap())));
        host.engine().gc().unwrap();
        if !host.engine().store().networks().unwrap().is_empty() {
            host.engine().remove_network(&"blue".parse().unwrap()).unwrap(); // it had not begun
        }
        assert!(is_on(&host), "killed at {at}");
        assert_eq!(host.engine().store().saved().unwrap(), Default::default(), "killed at {at}");
        host.assert_healthy(&format!("killed at {at}"));
        if !reached {
            break;
        }
        points += 1;
    }
    assert!(points > 5, "{points}");
}
