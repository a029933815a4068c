//! Ten thousand elements at once: one transaction, seen whole right after, and gone in one.

use crate::namespace::{in_namespace, make};
use crate::ruleset::ruleset;
use qiao_core::plan::{Guard, Key, Ownership, State, Value, diff};
use qiao_core::port::{Backend, HostAddr, Listen, PortRange, Protocol};
use qiao_core::subnet::Family;
use qiao_core::{Mac, Owner};
use qiao_kernel::{Kernel, Linux, Places};

const MANY: u16 = 10_000;

/// As many published ports, and as many hardware addresses: the largest set of each table.
fn elements() -> State {
    let mut state = ruleset();
    let owner = Owner::Network("a-network-with-a-name-of-some-length".parse().unwrap());
    for number in 1..=MANY {
        let ports = PortRange::one(number).unwrap();
        let listen = Listen { protocol: Protocol::Tcp, host: HostAddr::Any(Family::V4), ports };
        let backend = Backend { ip: [10, 0, (number >> 8) as u8, number as u8].into(), port: number };
        state.insert(Key::Publish(listen), &owner, Value::Backend(backend));
        let mac = Mac::new([2, 0, 0, 0, (number >> 8) as u8, number as u8]).unwrap();
        let guard = Guard::Mac(format!("q-{number}").parse().unwrap(), mac);
        state.insert(Key::Guard(guard), &owner, Value::Present);
    }
    state
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ten_thousand_at_once() {
    in_namespace("elements::ten_thousand_at_once", || {
        let mut kernel = Linux::open().unwrap();
        let desired = elements();
        for _ in 0..12 {
            make(&mut kernel, &desired);
            let seen = kernel.survey().unwrap();
            let missing = desired.iter().find(|(key, object)| {
                seen.get(key).map(|f| (&f.owner, &f.value))
                    != Some((&Ownership::Marked(object.owner.clone()), &object.value))
            });
            assert_eq!(missing, None);
            assert_eq!(seen.iter().count(), desired.len());
            let gone = diff(&seen, &State::default()).unwrap();
            kernel.apply(&gone, &Places::new()).unwrap();
            assert_eq!(kernel.survey().unwrap().iter().count(), 0);
        }
    });
}

/// The elements alone go in one transaction too, without their rule set.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn ten_thousand_go_at_once() {
    in_namespace("elements::ten_thousand_go_at_once", || {
        let mut kernel = Linux::open().unwrap();
        make(&mut kernel, &elements());
        let seen = kernel.survey().unwrap();
        let plan = diff(&seen, &ruleset()).unwrap();
        assert_eq!(plan.ops().len(), 2 * usize::from(MANY));
        kernel.apply(&plan, &Places::new()).unwrap();
        assert_eq!(kernel.survey().unwrap().iter().count(), 1);
    });
}
