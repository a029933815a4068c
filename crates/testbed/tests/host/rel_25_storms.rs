//! R-REL 25 and 26: many commands at once: none fails, nothing has two owners, nothing is left.

use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, attach_line, eventually, run, stdout};
use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const MANY: usize = 64;

fn start(host: &Host, line: &str) -> Child {
    let mut command = host.qiao.command();
    command.args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("start qiao")
}

/// The host when its bridge has had a port once: the kernel gives it a multicast route then, for good, and the
/// hooks for loopback clients stay as long as the network.
fn used(host: &Host) -> qiao_testbed::Snapshot {
    host.attached("once", "--network front -p 80");
    host.ok("detach once");
    run("ip netns del once");
    let is_idle = || stdout("ip link show br-front").contains("NO-CARRIER");
    assert!(eventually(Duration::from_secs(10), is_idle), "the bridge has no port any more");
    host.snapshot()
}

/// Runs all at once; all must succeed.
fn at_once(host: &Host, lines: &[String]) -> Vec<Outcome> {
    let children: Vec<Child> = lines.iter().map(|line| start(host, line)).collect();
    let outcomes = children.into_iter().map(|child| Outcome::of(child.wait_with_output().expect("an end")));
    let outcomes: Vec<Outcome> = outcomes.collect();
    for (line, outcome) in lines.iter().zip(&outcomes) {
        assert_eq!(outcome.code, Some(0), "`qiao {line}`: {outcome}");
    }
    outcomes
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn attaching_and_detaching() {
    on_a_host(|host| {
        host.ok("network create front --ipv6");
        let places: Vec<_> = (0..MANY).map(|n| host.container(&format!("c{n}"))).collect();
        let before = used(host);
        let attach: Vec<_> =
            places.iter().map(|place| attach_line(place, "--network front -p 80 --json")).collect();
        let outcomes = at_once(host, &attach);
        let mut seen = BTreeSet::new();
        for outcome in &outcomes {
            let wire = outcome.json();
            for unique in
                [&wire["endpoint"]["addresses"], &wire["endpoint"]["mac"], &wire["endpoint"]["ports"]]
            {
                assert!(
                    !unique.is_null() && seen.insert(unique.to_string()),
                    "twice or not at all: {unique}"
                );
            }
        }
        host.ok("check");
        let detach: Vec<_> = places.iter().map(|place| format!("detach {}", place.name())).collect();
        at_once(host, &detach);
        host.assert_like(&before, "the storm");
    });
}

/// Nobody takes for left behind what another is about to make, and names that nobody asked for do not collide.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn running() {
    on_a_host(|host| {
        let lines = vec!["run --rm -- true".to_owned(); MANY];
        at_once(host, &lines);
        host.ok("check");
        assert_eq!(host.ok("ps -a -q").stdout, "");
    });
}

/// Half of them come while the other half goes.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn coming_while_others_go() {
    on_a_host(|host| {
        host.ok("network create front");
        let places: Vec<_> = (0..MANY / 2).map(|n| host.container(&format!("c{n}"))).collect();
        let before = used(host);
        let (left, right) = places.split_at(MANY / 4);
        let come = |half: &[qiao_testbed::Place]| -> Vec<String> {
            half.iter().map(|place| attach_line(place, "--network front")).collect()
        };
        let go = |half: &[qiao_testbed::Place]| -> Vec<String> {
            half.iter().map(|place| format!("detach {}", place.name())).collect()
        };
        at_once(host, &come(left));
        for _ in 0..2 {
            at_once(host, &[come(right), go(left)].concat());
            at_once(host, &[come(left), go(right)].concat());
        }
        at_once(host, &go(left));
        host.assert_like(&before, "coming and going");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn creating_and_removing_networks() {
    on_a_host(|host| {
        let before = host.snapshot();
        let create: Vec<_> = (0..MANY / 4).map(|n| format!("network create n{n}")).collect();
        at_once(host, &create);
        let subnets: BTreeSet<String> = (0..MANY / 4)
            .map(|n| host.ok(&format!("network inspect n{n} -f {{{{.IPAM}}}}")).stdout)
            .collect();
        assert_eq!(subnets.len(), MANY / 4, "each has a subnet of its own");
        at_once(host, &(0..MANY / 4).map(|n| format!("network rm n{n}")).collect::<Vec<_>>());
        host.assert_like(&before, "the storm");
    });
}

/// Others may remove a network, or come to it, between the look at it and its removal.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn pruning() {
    on_a_host(|host| {
        let place = host.container("c");
        for _ in 0..3 {
            let mut lines: Vec<_> =
                (0..8).map(|n| format!("network create n{n} --subnet 10.7.{n}.0/24")).collect();
            at_once(host, &lines);
            lines = vec!["network prune".into(); 8];
            lines.push("network rm -f n3 n4".into());
            at_once(host, &lines);
            let left = host.ok("network ls -q -f driver=bridge").stdout;
            assert_eq!(left.lines().count(), 1, "{left}");
            let lines = ["network prune".into(), attach_line(&place, "--network bridge")];
            at_once(host, &lines);
            host.ok("detach c");
        }
    });
}

/// The same name wins once.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn one_port_goes_to_one_of_many() {
    on_a_host(|host| {
        host.ok("network create front");
        let places: Vec<_> = (0..MANY / 4).map(|n| host.container(&format!("c{n}"))).collect();
        let lines = places.iter().map(|place| attach_line(place, "--network front -p 8080:80"));
        let children: Vec<Child> = lines.map(|line| start(host, &line)).collect();
        let codes: Vec<_> = children
            .into_iter()
            .map(|child| Outcome::of(child.wait_with_output().expect("an end")).code)
            .collect();
        assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 5))), "{codes:?}");
        host.ok("check");
    });
}

/// Others change the rule set all the time, as `kube-proxy` and the plugins of other networks do. The kernel then
/// refuses what was decided on an older one; that is decided again, and no command fails.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn beside_others_who_change_the_rule_set() {
    const OTHERS: usize = 3;
    on_a_host(|host| {
        host.ok("network create front");
        let (stop, changes) = (AtomicBool::new(false), AtomicUsize::new(0));
        let change = &|number: usize| {
            while !stop.load(Ordering::Relaxed) {
                run(&format!("nft add table inet other{number}"));
                run(&format!("nft delete table inet other{number}"));
                changes.fetch_add(2, Ordering::Relaxed);
            }
        };
        let outcomes = thread::scope(|scope| {
            (0..OTHERS).for_each(|number| drop(scope.spawn(move || change(number))));
            let lines = (0..10).flat_map(|n| {
                let place = host.container(&format!("c{n}"));
                [attach_line(&place, &format!("--network front -p {}:80", 8000 + n)), format!("detach c{n}")]
            });
            let outcomes: Vec<_> = lines.map(|line| (host.qiao.run(&line), line)).collect();
            stop.store(true, Ordering::Relaxed);
            outcomes
        });
        for (outcome, line) in &outcomes {
            assert_eq!(outcome.code, Some(0), "`qiao {line}`: {outcome}");
        }
        let changes = changes.into_inner();
        assert!(changes > outcomes.len(), "the control: {changes} changes of others");
    });
}
