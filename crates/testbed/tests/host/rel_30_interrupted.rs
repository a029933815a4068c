//! R-REL 30: another program changes links while commands read them. The kernel says of a dump that was changed
//! meanwhile that it was (`NLM_F_DUMP_INTR`); no command fails for it.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, attach_line, stdout};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const PAIRS: usize = 400;

/// Another program: `ip`, one process that is given a line after the other.
fn ip() -> Child {
    let mut command = Command::new("ip");
    command.args(["-force", "-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("start ip")
}

/// Makes pairs on the host: more links than the kernel tells of in one datagram.
fn crowd() {
    let mut ip = ip();
    let mut lines = ip.stdin.take().expect("a pipe");
    for n in 0..PAIRS {
        writeln!(lines, "link add a{n} type veth peer name b{n}").expect("a line for ip");
    }
    drop(lines);
    ip.wait().expect("the end of ip");
    assert_eq!(
        stdout("ip -o link show type veth").lines().filter(|line| line.contains(": a")).count(),
        PAIRS
    );
}

/// Runs `act` while links come and go, one each few milliseconds.
fn while_links_change<T>(act: impl FnOnce() -> T) -> T {
    const PROGRAMS: usize = 3; // deleting one takes the kernel some 10 ms
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let change = |n: usize| {
            let mut ip = ip();
            let mut lines = ip.stdin.take().expect("a pipe");
            while !ended.load(Ordering::Relaxed) {
                for line in [format!("link add flap{n} type bridge"), format!("link del flap{n}")] {
                    writeln!(lines, "{line}").expect("a line for ip");
                    thread::sleep(Duration::from_millis(6));
                }
            }
            drop(lines);
            ip.wait().expect("the end of ip");
        };
        (0..PROGRAMS).for_each(|n| drop(scope.spawn(move || change(n))));
        let result = act();
        ended.store(true, Ordering::Relaxed);
        result
    })
}

/// How many dumps of `ip` itself are interrupted meanwhile, of so many: what the commands are up against.
fn interrupted(of: usize) -> usize {
    let dump = || Command::new("ip").args(["-o", "link"]).output().expect("start ip");
    (0..of).filter(|_| String::from_utf8_lossy(&dump().stderr).contains("Dump was interrupted")).count()
}

fn cni(host: &Host, verb: &str, container: (&str, &str)) -> Outcome {
    let config = r#"{"cniVersion":"1.1.0","name":"n1","type":"bridge","bridge":"cni0","isDefaultGateway":true,"ipMasq":true,
        "ipam":{"type":"host-local","dataDir":"/run/leases","ranges":[[{"subnet":"10.9.0.0/24"},{"subnet":"10.9.1.0/24"}]]}}"#;
    host.qiao.plugin(("bridge", verb), container, config)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn g2_links_that_change_meanwhile_fail_no_command() {
    on_a_host(|host| {
        crowd();
        host.ok("network create front --ipv6");
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let inside = (c2.name(), &*c2.path());
        let (outcomes, hindered) = while_links_change(|| {
            let hindered = interrupted(20);
            let mut outcomes = Vec::new();
            let mut done = |what: &str, outcome: Outcome| outcomes.push((what.to_owned(), outcome));
            for round in 0..40 {
                done("STATUS", cni(host, "STATUS", ("none", "")));
                done("create", host.qiao.run("network create other"));
                done("rm", host.qiao.run("network rm other"));
                if round % 4 == 0 {
                    done("attach", host.qiao.run(&attach_line(&c1, "--network front -p 8080:80")));
                    done("ADD", cni(host, "ADD", inside));
                    done("check", host.qiao.run("check"));
                    done("repair", host.qiao.run("repair"));
                    done("DEL", cni(host, "DEL", inside));
                    done("detach", host.qiao.run("detach c1"));
                }
            }
            (outcomes, hindered)
        });
        let failed: Vec<&(String, Outcome)> =
            outcomes.iter().filter(|(_, outcome)| outcome.code != Some(0)).collect();
        let verbs: BTreeSet<&str> = failed.iter().map(|(what, _)| what.as_str()).collect();
        let (failures, all) = (failed.len(), outcomes.len());
        assert!(hindered > 0, "dumps are interrupted at this pace");
        assert!(failed.is_empty(), "{failures} of {all}, {verbs:?}: {}", failed[0].1);
    });
}
