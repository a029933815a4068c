//! R-REL 21 and 25: a command may be killed at any of its system calls; the next one puts all in order.
//!
//! `cargo xtask sweep` kills at every call; otherwise every seventh, beginning elsewhere in each test.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Point, Server, attach_line, eventually, kill_at, points, run, stdout};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const KILLED: Option<i32> = Some(9);
/// Whoever comes sooner after rules were deleted makes some calls more.
const FREED: Duration = Duration::from_millis(60);

/// A change, how to prepare it, and how to end it.
struct Sweep<'a> {
    prepare: &'a dyn Fn(),
    line: String,
    end: &'a [&'a str],
    first: usize,
}

/// Kills a command at many of its calls. Each time the snapshot must be that of before once `end` has run.
fn sweep(host: &Host, sweep: &Sweep<'_>) {
    let Sweep { prepare, line, end, first } = sweep;
    prepare();
    host.ok(line); // what is made once and kept, such as directories, is there when the calls are counted
    ended(host, end);
    let (outcome, all) = counted(host, sweep);
    let before = host.snapshot();
    let step = if std::env::var_os("QIAO_SWEEP").is_some() { 1 } else { 7 };
    assert!(all.len() > 20, "{} calls", all.len());
    let mut missed = Vec::new();
    for point in all.iter().skip(if step == 1 { 0 } else { *first }).step_by(step) {
        prepare();
        std::thread::sleep(FREED);
        missed.extend((!is_killed(host, line, point)).then_some(point));
        ended(host, end);
        host.assert_like(&before, &format!("`qiao {line}` was killed at {point:?}, then {end:?}"));
    }
    // A few calls depend on the time, such as the note that rules are still being freed.
    assert!(
        missed.len() <= 2 + all.len() / step / 20,
        "of {} calls these did not come: {missed:?}; when they were counted it was said: {outcome}",
        all.len()
    );
    eprintln!("`qiao {line}`: {} calls, every {step}, {} did not come", all.len(), missed.len());
}

/// The calls of a command: the fewer of two counts, for what the machine does besides can make it say more.
fn counted(host: &Host, sweep: &Sweep<'_>) -> (Outcome, Vec<Point>) {
    let count = || {
        (sweep.prepare)();
        std::thread::sleep(FREED);
        let (outcome, all) = points(&host.qiao, &sweep.line);
        assert_eq!(outcome.code, Some(0), "the control: it works under strace: {outcome}");
        ended(host, sweep.end);
        (outcome, all)
    };
    let (one, other) = (count(), count());
    if one.1.len() <= other.1.len() { one } else { other }
}

/// Kills a command at a call. It is killed, or it ends well because the call does not come this time.
fn is_killed(host: &Host, line: &str, point: &Point) -> bool {
    let outcome = kill_at(&host.qiao, line, point);
    assert!(outcome.signal == KILLED || outcome.code == Some(0), "killed at {point:?}: {outcome}");
    outcome.signal == KILLED
}

fn ended(host: &Host, end: &[&str]) {
    end.iter().for_each(|line| drop(host.ok(line)));
}

/// A network with a member, and a namespace for another.
fn furnished(host: &Host) -> String {
    host.ok("network create front --ipv6");
    host.attached("other", "--network front -p 81:81");
    let web = host.container("web");
    attach_line(&web, "--network front -p 8080:80 -p 9000-9005:9000-9005/udp")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn attach_then_detach() {
    on_a_host(|host| {
        let line = furnished(host);
        sweep(host, &Sweep { prepare: &|| (), line, end: &["detach --if-exists web"], first: 0 });
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn attach_then_repair() {
    on_a_host(|host| {
        let line = furnished(host);
        // A command that was killed after its last step has attached: only then there is something to detach.
        sweep(host, &Sweep { prepare: &|| (), line, end: &["repair", "detach --if-exists web"], first: 3 });
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn detach_then_detach() {
    on_a_host(|host| {
        let attach = furnished(host);
        let prepare = || drop(host.ok(&attach));
        sweep(
            host,
            &Sweep {
                prepare: &prepare,
                line: "detach web".into(),
                end: &["detach --if-exists web"],
                first: 1,
            },
        );
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn detach_then_repair() {
    on_a_host(|host| {
        let attach = furnished(host);
        let prepare = || drop(host.ok(&attach));
        let end = ["repair", "detach --if-exists web"];
        sweep(host, &Sweep { prepare: &prepare, line: "detach web".into(), end: &end, first: 5 });
    });
}

/// The lease is taken before the journal is there: whoever is killed in between has one without an endpoint.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn attach_with_a_lease_then_detach() {
    on_a_host(|host| {
        let (_server, given) = patient_server(host);
        host.ok("network create lan -d macvlan --ipam-driver dhcp -o parent=up0");
        host.attached("other", "--network lan"); // who keeps leases runs all the time
        let line = attach_line(&host.container("web"), "--network lan");
        sweep(host, &Sweep { prepare: &|| (), line, end: &["detach --if-exists web"], first: 4 });
        let left = || given.lock().unwrap().len();
        assert!(eventually(Duration::from_secs(10), || left() == 1), "{} leases", left());
    });
}

/// A server whose leases need not be renewed while a test runs, and the clients that have one.
fn patient_server(host: &Host) -> (Server, Arc<Mutex<BTreeSet<u8>>>) {
    const OPTIONS: &[u8] = &[54, 4, 192, 0, 2, 100, 1, 4, 255, 255, 255, 0, 51, 4, 0, 0, 14, 16];
    let given = Arc::new(Mutex::new(BTreeSet::new()));
    let known = Arc::clone(&given);
    let server = Server::start(&host.lan, move |question| {
        let client = 150 + question.message[33] % 64; // of its hardware address
        let mut known = known.lock().unwrap();
        let kind = match question.kind {
            1 => 2,
            3 => 5,
            _ => {
                known.remove(&client);
                return Vec::new();
            }
        };
        if kind == 5 {
            known.insert(client);
        }
        vec![question.answer(kind, [192, 0, 2, client], OPTIONS)]
    });
    (server, given)
}

/// The first container of all: it brings the default network, the rules and forwarding with it.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_first_attach_then_detach() {
    on_a_host(|host| {
        let web = host.container("web");
        let line = attach_line(&web, "-p 8080:80");
        let prepare = || drop(std::fs::remove_dir_all(host.qiao.directory()));
        sweep(
            host,
            &Sweep {
                prepare: &prepare,
                line,
                end: &["detach --if-exists web", "network rm -f bridge"],
                first: 2,
            },
        );
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn create_then_remove() {
    on_a_host(|host| {
        let line = "network create front --ipv6".to_owned();
        sweep(host, &Sweep { prepare: &|| (), line, end: &["network rm -f front"], first: 4 });
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn remove_then_remove() {
    on_a_host(|host| {
        let prepare = || drop(host.ok("network create front --ipv6"));
        let line = "network rm front".to_owned();
        sweep(host, &Sweep { prepare: &prepare, line, end: &["network rm -f front"], first: 6 });
    });
}

/// Repairing after a flush, killed, then repaired.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn repair_then_repair() {
    on_a_host(|host| {
        furnished(host);
        let prepare = || {
            run("nft flush ruleset");
            run("ip link set br-front down");
        };
        sweep(host, &Sweep { prepare: &prepare, line: "repair".into(), end: &["repair"], first: 2 });
    });
}

/// A host's first rules are made beside its first links, by a thread that `strace` holds up here: whoever is killed then
/// leaves links and no rules.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_first_network_while_its_rules_are_made() {
    on_a_host(|host| {
        let line = "network create front";
        host.ok(line);
        host.ok("network rm front");
        let before = host.snapshot();
        let mut without_rules = 0;
        for nth in 1..100 {
            let kill = format!("inject=ioctl:signal=KILL:when={nth}");
            let late = "inject=sendto:delay_enter=30000:when=1"; // each thread's first
            let words =
                ["strace", "-f", "-o", "/dev/null", "-e", "trace=sendto,ioctl", "-e", late, "-e", &kill];
            let output = host.qiao.under(&words.map(str::to_owned)).args(line.split_whitespace()).output();
            let outcome = Outcome::of(output.expect("start strace"));
            let has_rules = stdout("nft list tables").contains("qiao");
            without_rules += usize::from(!has_rules && stdout("ip link").contains("br-front"));
            host.ok("network rm -f front");
            host.assert_like(&before, &format!("killed at its ioctl {nth}, then removed: {outcome}"));
            if outcome.signal != KILLED {
                assert_eq!(outcome.code, Some(0), "{outcome}");
                break;
            }
        }
        assert!(without_rules > 0, "the control: somebody was killed in between");
    });
}
