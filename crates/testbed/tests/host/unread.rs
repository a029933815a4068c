//! What cannot be read says nothing: every read of files and of the kernel fails once, beside containers that run, and no
//! container loses anything by it.
//!
//! `cargo xtask sweep` lets every read fail; otherwise every seventh does, beginning elsewhere in each test.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{
    ERRORS, Host, Outcome, Protocol, Service, Snapshot, ask, attach_line, eventually, fail_at, reads, run,
};
use std::time::Duration;

/// A command that reads, how to prepare it, and how to end it.
struct Sweep<'a> {
    line: &'a str,
    prepare: &'a [&'a str],
    end: &'a [&'a str],
    first: usize,
}

/// Containers that run: on a bridge with names and published ports, on a routed network, on both.
struct Running {
    _services: [Service; 3],
}

fn running(host: &Host) -> Running {
    host.ok("network create front --ipv6");
    host.ok("network create far -d routed --ipv6");
    let web = host.attached("web", "--network front -p 8080:80 -p 9000-9005:9000-9005/udp");
    let far = host.attached("far", "--network far -p 8082:80");
    let both = host.attached("both", "--network front -p 8081:80");
    host.attach(&both, "--network far");
    ["late", "leaver"].iter().for_each(|name| drop(host.container(name)));
    Running { _services: [&web, &far, &both].map(|place| Service::start(place, Protocol::Tcp, "[::]:80")) }
}

/// Whether the outside reaches all of them, by either family.
fn reached(host: &Host) -> bool {
    let answers =
        |to: &str| eventually(Duration::from_secs(2), || ask(&host.lan, Protocol::Tcp, to).is_some());
    ["192.0.2.1:8080", "[2001:db8::1]:8080", "192.0.2.1:8081", "192.0.2.1:8082"].into_iter().all(answers)
}

/// What was there and is not, whoever has it. Connections come and go.
fn lost(before: &Snapshot, host: &Host) -> Vec<String> {
    let now = host.snapshot();
    let gone = before.diff(&now).into_iter().filter(|line| line.starts_with("- "));
    gone.filter(|line| !line.starts_with("- conntrack") && now.lines_with(element(line)).is_empty()).collect()
}

/// An element of a set, without what stands around the first and the last one.
fn element(line: &str) -> &str {
    let line = line.trim_start_matches("- ").trim_end_matches([' ', '}', ',']);
    line.split_once("elements = { ").map_or(line, |(_, element)| element)
}

fn sweep(host: &Host, sweep: &Sweep<'_>) {
    let Sweep { line, prepare, end, first } = sweep;
    let _running = running(host);
    let all = |lines: &[&str]| lines.iter().for_each(|line| drop(host.ok(line)));
    all(prepare);
    host.ok(line); // what is made once and kept is there when the reads are counted
    all(end);
    all(prepare);
    let (outcome, points) = reads(&host.qiao, line);
    assert_eq!(outcome.code, Some(0), "the control: it works under strace: {outcome}");
    all(end);
    assert!(reached(host), "the control: they are reached");
    run("conntrack -F");
    let (before, step) = (host.snapshot(), if std::env::var_os("QIAO_SWEEP").is_some() { 1 } else { 7 });
    let (mut missed, mut failed) = (Vec::new(), 0);
    for (number, point) in points.iter().enumerate().skip(if step == 1 { 0 } else { *first }).step_by(step) {
        let error = ERRORS[number / step % ERRORS.len()];
        all(prepare);
        let prepared = host.snapshot();
        let (outcome, injected) = fail_at(&host.qiao, line, (point, error));
        let when = format!("`qiao {line}` with {error} at {point:?}: {outcome}");
        missed.extend((!injected).then_some(point));
        failed += usize::from(outcome.code != Some(0));
        assert_eq!(outcome.signal, None, "{when}");
        let theirs = lost(&prepared, host).into_iter().filter(|line| !line.contains("leaver"));
        let theirs: Vec<String> =
            theirs.filter(|line| end.is_empty() || !is_leavers(line, &before)).collect();
        assert_eq!(theirs, [""; 0], "{when}");
        assert!(reached(host), "{when}");
        all(end);
        run("conntrack -F");
        host.assert_like(&before, &format!("{when}, then {end:?}"));
    }
    assert!(
        missed.len() <= 2 + points.len() / step / 20,
        "of {} these did not come: {missed:?}",
        points.len()
    );
    assert!(failed > 0, "the control: what cannot be read is noticed");
    eprintln!(
        "`qiao {line}`: {} reads, every {step}, {failed} failed, {} did not come",
        points.len(),
        missed.len()
    );
}

/// What a container that leaves had, and was not there before it came.
fn is_leavers(line: &str, before: &Snapshot) -> bool {
    before.lines_with(element(line)).is_empty()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn checking() {
    on_a_host(|host| sweep(host, &Sweep { line: "check", prepare: &[], end: &[], first: 0 }));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn repairing() {
    on_a_host(|host| sweep(host, &Sweep { line: "repair", prepare: &[], end: &[], first: 2 }));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn collecting() {
    on_a_host(|host| sweep(host, &Sweep { line: "gc", prepare: &[], end: &[], first: 4 }));
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn attaching() {
    on_a_host(|host| {
        let line = "attach late --netns /run/netns/late --network front -p 8083:80";
        sweep(host, &Sweep { line, prepare: &[], end: &["detach late --if-exists"], first: 1 });
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn detaching() {
    on_a_host(|host| {
        let prepare = ["attach leaver --netns /run/netns/leaver --network front -p 8084:80"];
        sweep(
            host,
            &Sweep {
                line: "detach leaver",
                prepare: &prepare,
                end: &["detach leaver --if-exists"],
                first: 3,
            },
        );
    });
}

/// A `/proc` without the boot id, as hardened containers have it, and one that fails once.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn g1_an_unreadable_boot_id_keeps_the_state() {
    on_a_host(|host| {
        let _running = running(host);
        run("conntrack -F");
        let before = host.snapshot();
        for line in ["check", "plan attach late --netns /run/netns/late --network front", "gc", "repair"] {
            let shell = "mount -t proc -o subset=pid proc /proc && exec \"$@\"";
            let words = ["unshare", "-m", "sh", "-c", shell, "sh"].map(str::to_owned);
            let output = host.qiao.under(&words).args(line.split(' ')).output().unwrap();
            let outcome = Outcome::of(output);
            assert!(outcome.stderr.contains("boot_id"), "the control: it cannot be read: {outcome}");
            host.assert_like(&before, &format!("`qiao {line}` without a boot id: {outcome}"));
        }
        let (_, points) = reads(&host.qiao, "check");
        let opened = points.iter().filter(|point| point.syscall == "openat").take(8);
        let noticed = opened.filter(|point| {
            let (outcome, _) = fail_at(&host.qiao, "check", (point, "EIO"));
            host.assert_like(&before, &format!("`qiao check` with EIO at {point:?}: {outcome}"));
            outcome.stderr.contains("boot_id")
        });
        assert_eq!(noticed.count(), 1, "the boot id is read once");
        assert!(reached(host));
    });
}

/// An address search of a network that has a lease already, on a subnet that is too large to be searched.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn g3_an_unreadable_lease_ends_the_search() {
    on_a_host(|host| {
        host.ok("network create front --ipv6");
        host.attached("other", "--network front");
        let line = attach_line(&host.container("web"), "--network front");
        let before = host.snapshot();
        let (mut injected, mut failed) = (0, 0);
        for nth in 1..12 {
            let inject = format!("inject=readlinkat:error=EIO:when={nth}");
            let words = [
                "timeout",
                "20",
                "strace",
                "-f",
                "-o",
                "/run/failed",
                "-e",
                "trace=readlinkat",
                "-e",
                &inject,
            ];
            let output = host.qiao.under(&words.map(str::to_owned)).args(line.split(' ')).output().unwrap();
            let outcome = Outcome::of(output);
            assert_ne!(outcome.code, Some(124), "it goes on for ever with read {nth} failed: {outcome}");
            injected += usize::from(std::fs::read_to_string("/run/failed").unwrap().contains("(INJECTED)"));
            failed += usize::from(outcome.stderr.contains("Input/output error"));
            host.ok("detach web --if-exists");
            host.assert_like(&before, &format!("read {nth} failed: {outcome}"));
        }
        assert!(injected > 1 && failed > 1, "the control: {injected} reads failed, {failed} were said");
    });
}
