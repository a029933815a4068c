//! Several calls at once, and calls that are killed.

use super::{addresses, bridge, with};
use crate::attachment::Attachment;
use crate::call::request;
use crate::check::Check;
use crate::network::Network;
use crate::stage::Stage;
use crate::verdict::{Met, must, of, same};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

const SECTION: &str = "Lifecycle & Ordering";

pub const CHECKS: &[Check] = &[
    Check::must(
        "CONC-1",
        (SECTION, "eight ADDs of different containers at once: all work, no address twice"),
        eight_at_once,
    ),
    Check::must(
        "CONC-2",
        (SECTION, "eight chains with published ports at once, added and deleted: nothing is left"),
        eight_chains,
    )
    .on(&["bridge", "host-local", "portmap", "firewall"]),
    Check::must(
        "CONC-3",
        (SECTION, "two containers ask for the last address at once: one gets it"),
        last_address,
    ),
    Check::custom(
        "CONC-4",
        ("kubelet", "DEL while others are added takes nothing from them"),
        del_among_adds,
    ),
    Check::custom(
        "KILL-1",
        ("real life", "an ADD that is killed in the middle: DEL succeeds, and nothing is left"),
        killed_adds,
    ),
    Check::custom(
        "KILL-2",
        ("real life", "a DEL that is killed in the middle: the next DEL succeeds, and nothing is left"),
        killed_dels,
    ),
    Check::custom(
        "KILL-4",
        ("real life", "a chain whose `portmap` is killed in the middle of ADD or DEL: DEL of the chain succeeds, and nothing is left"),
        killed_portmaps,
    )
    .on(&["bridge", "host-local", "portmap"]),
    Check::custom(
        "KILL-3",
        ("real life", "after an ADD that was killed, another container's ADD works"),
        next_after_kill,
    ),
];

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("c{number}")).collect()
}

/// The same for all at once.
fn at_once<T: Send>(attachments: &[Attachment], act: impl Fn(&Attachment) -> T + Sync) -> Vec<T> {
    let act = &act;
    thread::scope(|scope| {
        let threads: Vec<_> =
            attachments.iter().map(|attachment| scope.spawn(move || act(attachment))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a call")).collect()
    })
}

fn all_different(results: &[Value], expected: usize) -> Met {
    let found: Vec<_> = results.iter().flat_map(addresses).collect();
    let unique: BTreeSet<_> = found.iter().collect();
    same("different addresses", &unique.len(), &expected)
}

fn eight_at_once(stage: &Stage) -> Met {
    let attachments: Vec<_> = names(8).iter().map(|name| stage.container(name).1).collect();
    let results: Vec<_> =
        at_once(&attachments, |a| stage.add(&bridge(), a)).into_iter().collect::<Met<_>>()?;
    all_different(&results, 16)?;
    at_once(&attachments, |a| stage.del(&bridge(), a)).into_iter().collect()
}

fn eight_chains(stage: &Stage) -> Met {
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let chain = [with(&bridge(), "ipMasq", &json!(true)), portmap, json!({"type": "firewall"})];
    let network = Network::new(stage, ("1.0.0", "net"), &chain);
    let published = |attachment: &Attachment, port: usize| {
        attachment
            .offering(json!({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]}))
    };
    network.add(&published(&stage.container("resident").1, 8000))?;
    let before = stage.snapshot();
    let attachments: Vec<_> = names(8)
        .iter()
        .enumerate()
        .map(|(at, name)| published(&stage.container(name).1, 8001 + at))
        .collect();
    let results: Vec<_> = at_once(&attachments, |a| network.add(a)).into_iter().collect::<Met<_>>()?;
    all_different(&results, 16)?;
    let ends: Vec<_> = at_once(&attachments, |a| {
        let at = attachments.iter().position(|other| other.id == a.id).unwrap_or_default();
        network.del(a, results.get(at))
    });
    ends.into_iter().collect::<Met<Vec<()>>>()?;
    stage.unchanged(&before, "eight chains")
}

fn last_address(stage: &Stage) -> Met {
    let attachments: Vec<_> = names(4).iter().map(|name| stage.container(name).1).collect();
    let answers = at_once(&attachments, |a| stage.run("ADD", &super::bridge_with_one_address(), a));
    let winners = answers.iter().filter(|answer| answer.code == Some(0)).count();
    same("ADDs that got the one address", &winners, &1)
}

fn del_among_adds(stage: &Stage) -> Met {
    let old: Vec<_> = names(4).iter().map(|name| stage.container(name).1).collect();
    old.iter().try_for_each(|attachment| stage.add(&bridge(), attachment).map(drop))?;
    let new: Vec<_> = names(8).iter().skip(4).map(|name| stage.container(name).1).collect();
    let both = [old, new.clone()].concat();
    let ends = at_once(&both, |a| {
        if new.iter().any(|n| n.id == a.id) {
            stage.add(&bridge(), a)
        } else {
            stage.del(&bridge(), a).map(|()| json!({}))
        }
    });
    let results: Vec<_> = ends.into_iter().collect::<Met<_>>()?;
    all_different(&results, 8)
}

/// How often a call is killed: at so many moments of its time.
const MOMENTS: u32 = 12;

fn config() -> Value {
    with(&super::bridge(), "ipMasq", &json!(true))
}

/// How long a call takes.
fn time(act: impl FnOnce() -> Met) -> Met<Duration> {
    let begun = Instant::now();
    act()?;
    Ok(begun.elapsed())
}

/// Starts a call and kills it after a time; whether that came before its end.
fn kill(stage: &Stage, (verb, config, attachment): (&str, &Value, &Attachment), after: Duration) -> bool {
    let running = stage.call(verb, config, attachment).start();
    thread::sleep(after);
    running.kill();
    running.wait().signal == Some(9)
}

/// An attachment that was made and deleted in full, and how long its ADD and its DEL took.
fn rehearsal(stage: &Stage) -> Met<(Duration, Duration)> {
    stage.add(&config(), &stage.container("resident").1)?;
    let (_, attachment) = stage.container("rehearsal");
    let add = time(|| stage.add(&config(), &attachment).map(drop))?;
    let del = time(|| stage.del(&config(), &attachment))?;
    Ok((add, del))
}

/// Kills at so many moments of a call's time. Where its end came first, it is much faster than when it was timed.
fn sweep(full: Duration, mut kill: impl FnMut(u32, Duration) -> Met<bool>) -> Met {
    let (mut full, mut killed) = (full, 0);
    for moment in 1..=MOMENTS {
        match of(&format!("moment {moment} of {MOMENTS}"), kill(moment, full * moment / MOMENTS))? {
            true => killed += 1,
            false => full /= 2,
        }
    }
    must(killed >= 3, || format!("only {killed} of {MOMENTS} calls were killed before their end"))
}

fn killed_adds(stage: &Stage) -> Met {
    let (add, _) = rehearsal(stage)?;
    let before = stage.snapshot();
    sweep(add, |moment, after| {
        let (_, attachment) = stage.container(&format!("c{moment}"));
        let killed = kill(stage, ("ADD", &config(), &attachment), after);
        stage.del(&config(), &attachment)?;
        stage.unchanged(&before, "a killed ADD and DEL").map(|()| killed)
    })
}

fn killed_dels(stage: &Stage) -> Met {
    let (_, del) = rehearsal(stage)?;
    let before = stage.snapshot();
    sweep(del, |moment, after| {
        let (_, attachment) = stage.container(&format!("c{moment}"));
        stage.add(&config(), &attachment)?;
        let killed = kill(stage, ("DEL", &config(), &attachment), after);
        stage.del(&config(), &attachment)?;
        stage.unchanged(&before, "a killed DEL and another").map(|()| killed)
    })
}

fn next_after_kill(stage: &Stage) -> Met {
    let (add, _) = rehearsal(stage)?;
    sweep(add, |moment, after| {
        let (_, attachment) = stage.container(&format!("c{moment}"));
        let killed = kill(stage, ("ADD", &config(), &attachment), after);
        stage.add(&config(), &stage.container(&format!("n{moment}")).1).map(|_| killed)
    })
}

fn killed_portmaps(stage: &Stage) -> Met {
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let ports =
        |port: u32| json!({"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]});
    let both = Network::new(stage, ("1.0.0", "net"), &[bridge(), portmap.clone()]);
    let first = Network::new(stage, ("1.0.0", "net"), &[bridge()]);
    both.add(&stage.container("resident").1.offering(ports(7999)))?;
    let rehearsal = stage.container("rehearsal").1.offering(ports(7998));
    let mut last = json!({});
    let add = time(|| both.add(&rehearsal).map(|result| last = result))?;
    both.del(&rehearsal, Some(&last))?;
    let before = stage.snapshot();
    sweep(add, |moment, after| {
        let attachment = stage.container(&format!("c{moment}")).1.offering(ports(8000 + moment));
        let result = first.add(&attachment)?;
        let config = request(("1.0.0", "net"), &portmap, &attachment, Some(&result));
        let killed = kill(stage, ("ADD", &config, &attachment), after);
        kill(stage, ("DEL", &config, &attachment), after);
        both.del(&attachment, Some(&result))?;
        stage.unchanged(&before, "a killed ADD, a killed DEL, and DEL").map(|()| killed)
    })
}
