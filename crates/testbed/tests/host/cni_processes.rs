//! CNI: what a whole chain starts, as `strace` sees it: each plugin is one process that runs no program.

use crate::cni_adopted::config;
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Outcome, Place, link_plugins};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

const LOG: &str = "/run/strace";
const CHAIN: [&str; 5] = ["bridge", "portmap", "firewall", "tuning", "bandwidth"];

/// Calls a plugin under strace; what came of it, and the programs and the processes that it started, itself included.
fn traced(
    host: &Host,
    (plugin, verb): (&str, &str),
    place: &Place,
    config: &Value,
) -> (Outcome, usize, usize) {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", LOG, "-e", "trace=execve,execveat,fork,vfork,clone,clone3"]);
    command.arg(format!("/run/plugins/{plugin}"));
    let known = host.qiao.command();
    command.envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("CNI_COMMAND", verb).env("CNI_IFNAME", "eth0").env("CNI_PATH", "/run/plugins");
    command.env("CNI_CONTAINERID", place.name()).env("CNI_NETNS", place.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(config.to_string().as_bytes());
    let outcome = Outcome::of(child.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(0), "{plugin} {verb}: {outcome}");
    let log = std::fs::read_to_string(LOG).unwrap();
    let done = || log.lines().filter(|line| !line.contains(" = -1"));
    let programs = done().filter(|line| line.contains("exec")).count();
    let is_process = |line: &&str| ["clone", "fork("].iter().any(|call| line.contains(call));
    let processes = done().filter(is_process).filter(|line| !line.contains("CLONE_THREAD")).count();
    (outcome, programs, processes)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_chain_starts_nothing() {
    on_a_host(|host| {
        std::fs::create_dir("/run/plugins").unwrap();
        link_plugins(std::path::Path::new("/run/plugins"));
        let c1 = host.container("c1");
        let before = host.snapshot();
        let more = json!({
            "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}, {"hostPort": 8081, "containerPort": 81}]},
            "ingressPolicy": "same-bridge", "sysctl": {"net.core.somaxconn": "500"},
            "ingressRate": 80_000_000, "ingressBurst": 800_000, "egressRate": 80_000_000, "egressBurst": 800_000,
        });
        let mut prev = Value::Null;
        for plugin in CHAIN {
            let mut config = config(plugin, &more);
            config["prevResult"] = prev;
            let (outcome, programs, processes) = traced(host, (plugin, "ADD"), &c1, &config);
            assert_eq!((programs, processes), (1, 0), "ADD of {plugin}");
            prev = outcome.json();
        }
        let mut copies = 0;
        for verb in ["CHECK", "DEL", "DEL"] {
            for plugin in CHAIN.into_iter().rev() {
                let mut config = config(plugin, &more);
                config["prevResult"] = prev.clone();
                let (_, programs, processes) = traced(host, (plugin, verb), &c1, &config);
                assert_eq!(programs, 1, "{verb} of {plugin}");
                // DEL may leave copies of itself, which wait for what the kernel takes its time to free.
                assert!(verb == "DEL" || processes == 0, "{verb} of {plugin}: {processes}");
                copies += processes;
            }
        }
        assert!(copies > 0, "the control: they are seen where there are any");
        host.assert_like(&before, "all is gone");
    });
}
