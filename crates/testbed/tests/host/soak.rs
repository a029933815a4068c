//! Many random changes, failures and foreign interventions in a row; in the end nothing may be left.
//! `cargo xtask soak --minutes N` runs it for longer. A seed that failed is run again with `QIAO_SOAK_SEED`.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place, attach_line, kill_at, points, run};
use std::env;
use std::time::{Duration, Instant};

/// How long it takes when nothing else is said: what a run of all tests can afford.
const SECONDS: u64 = 10;
const PLACES: usize = 8;

/// A linear congruential generator (Knuth, MMIX): the same seed gives the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// One random step. What a command answers does not matter here; that it ends and what it leaves does.
fn step(host: &Host, places: &[Place], random: &mut Random) {
    let place = &places[random.below(places.len())];
    let network = ["red", "blue"][random.below(2)];
    let port = 8000 + random.below(20);
    let attach = attach_line(place, &format!("--network {network} -p {port}:80"));
    let detach = format!("detach --if-exists {}", place.name());
    match random.below(12) {
        0..=3 => drop(host.qiao.run(&attach)),
        4..=6 => drop(host.ok(&detach)),
        7 => killed(host, [&attach, &detach][random.below(2)], random),
        8 => run("nft flush ruleset"),
        9 => drop(host.qiao.run("network create green")),
        10 => drop(host.qiao.run("network rm green")),
        _ => drop(host.ok("gc")),
    }
}

fn killed(host: &Host, line: &str, random: &mut Random) {
    let (_, points) = points(&host.qiao, line);
    if !points.is_empty() {
        kill_at(&host.qiao, line, &points[random.below(points.len())]);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn random_changes_leave_nothing() {
    on_a_host(|host| {
        let seconds = number("QIAO_SOAK_SECONDS").unwrap_or(SECONDS);
        let seed = number("QIAO_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()) ^ clock());
        eprintln!("soak: {seconds} s, QIAO_SOAK_SEED={seed}");
        let before = host.snapshot();
        let places: Vec<_> = (0..PLACES).map(|n| host.container(&format!("c{n}"))).collect();
        let (mut random, began, mut steps) = (Random(seed), Instant::now(), 0);
        host.ok("network create red --ipv6");
        host.ok("network create blue");
        while began.elapsed() < Duration::from_secs(seconds) {
            step(host, &places, &mut random);
            steps += 1;
        }
        host.ok("repair");
        host.ok("check");
        places.iter().for_each(|place| drop(host.ok(&format!("detach --if-exists {}", place.name()))));
        host.ok("network rm -f red blue green");
        places.into_iter().for_each(Place::delete);
        eprintln!("soak: {steps} steps");
        host.assert_like(&before, &format!("{steps} steps with QIAO_SOAK_SEED={seed}"));
    });
}

fn clock() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |since| since.as_nanos() as u64)
}
