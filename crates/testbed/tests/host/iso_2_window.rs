//! R-ISO 2: the guard is there before the first frame and until after the last.

use crate::frames::Attack;
use qiao_testbed::frame::{BROADCAST, Mac, contains, ethernet};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, eventually};
use std::process::{Child, Stdio};
use std::time::Duration;

const FLOOD: &str = include_str!("../../py/flood.py");
const SPOOFED: Mac = [2, 0, 0, 0, 0, 0x66];
const ROUNDS: usize = 12;

/// A process in the container that sends a frame as fast as it can, whenever there is an `eth0`.
fn flood(place: &qiao_testbed::Place, frame: &[u8]) -> Child {
    let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut command = place.command("python3");
    command.args(["-c", FLOOD, "eth0", &hex]).stdout(Stdio::null()).stdin(Stdio::null());
    command.spawn().expect("start python3")
}

/// How many spoofed frames the victim sees while the attacker comes and goes.
fn leaked(host: &Host, options: &str) -> usize {
    let attack = Attack::new(host, "");
    let place = host.container("flooder");
    let mut flooding = flood(&place, &ethernet((SPOOFED, BROADCAST), 0x88b5, b"spoofed"));
    let sent =
        || -> u64 { place.stdout("cat /sys/class/net/eth0/statistics/tx_packets").trim().parse().unwrap() };
    let sends = || assert!(eventually(Duration::from_secs(10), || sent() > 10), "the attacker sends");
    host.attach(&place, &format!("--network front {options}"));
    sends(); // it runs by now
    host.ok("detach flooder");
    for _ in 0..ROUNDS {
        host.attach(&place, &format!("--network front {options}"));
        host.ok("detach flooder");
    }
    host.attach(&place, &format!("--network front {options}"));
    sends();
    let _ = flooding.kill();
    let _ = flooding.wait();
    attack.seen.within(Duration::from_millis(300)).iter().filter(|frame| contains(frame, &SPOOFED)).count()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_frame_slips_through_while_a_container_comes_and_goes() {
    on_a_host(|host| assert_eq!(leaked(host, ""), 0));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_the_guard_they_do() {
    on_a_host(|host| assert!(leaked(host, "--guard off") > 0));
}
