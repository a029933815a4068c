//! How long it takes; the figures are printed, the bounds are wide.

use crate::host::{V4, in_host, linux, owner, reach, serve, state};
use qiao_core::plan::{Key, State, Value, diff};
use qiao_core::port::{Backend, HostAddr, Listen, PortRange, Protocol};
use qiao_core::subnet::Family;
use qiao_kernel::{Kernel, Linux, Places};
use std::time::{Duration, Instant};

fn ports(first: u16, count: u16) -> Vec<(Listen, Backend)> {
    let entry = |port| {
        let ports = PortRange::one(port).unwrap();
        let listen = Listen { protocol: Protocol::Tcp, host: HostAddr::Any(Family::V4), ports };
        (listen, Backend { ip: V4.parse().unwrap(), port })
    };
    (first..first + count).map(entry).collect()
}

/// What an attachment does: looks, makes, looks again; by a command that has just begun.
fn attach(mut linux: Linux, wanted: &State) -> Duration {
    let start = Instant::now();
    let plan = diff(&linux.observe(wanted, &Places::new()).unwrap(), wanted).unwrap();
    linux.apply(&plan, &Places::new()).unwrap();
    let after = linux.observe(wanted, &Places::new()).unwrap();
    let took = start.elapsed();
    assert!(diff(&after, wanted).unwrap().is_empty());
    took
}

fn detach(mut linux: Linux, wanted: &State) -> Duration {
    let start = Instant::now();
    let plan = diff(&linux.observe(wanted, &Places::new()).unwrap(), &State::default()).unwrap();
    linux.apply(&plan, &Places::new()).unwrap();
    start.elapsed()
}

/// The middle of many, and the fastest: other programs of the machine take the processor for a while.
fn median(count: u16) -> ((Duration, Duration), Duration) {
    let wanted = state(&ports(50_000, count));
    let mut times: Vec<_> = (0..21).map(|_| (attach(linux(), &wanted), detach(linux(), &wanted))).collect();
    times.sort();
    (times[10], times[0].0)
}

#[test]
#[ignore = "needs root"]
fn an_attachment_takes_microseconds() {
    in_host("speed::an_attachment_takes_microseconds", || {
        let wanted = state(&ports(50_000, 1));
        let mut first: Vec<_> =
            (0..11).map(|_| (attach(linux(), &wanted), detach(linux(), &wanted))).collect();
        first.sort();
        println!("the first port of all, with the hooks: attach {:?}, detach {:?}", first[5].0, first[5].1);
        for present in [1, 10_000] {
            let others = serve(&ports(30_000, present));
            for count in [1, 100] {
                let ((attach, detach), fastest) = median(count);
                println!("{present} present, {count} more: attach {attach:?}, detach {detach:?}");
                assert!(fastest < Duration::from_millis(20), "{fastest:?}");
            }
            drop(others);
        }
        let start = Instant::now();
        let all = linux().survey().unwrap().iter().filter(|(key, _)| matches!(key, Key::Loopback(_))).count();
        println!("a look at all {all}: {:?}", start.elapsed());
        let mut mine = State::default();
        mine.insert(Key::Loopback(ports(1, 1)[0].0), &owner(), Value::Present);
        reach(&mut linux(), &state(&[]));
    });
}
