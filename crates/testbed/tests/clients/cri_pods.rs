//! Pods, as a kubelet asks containerd for them: ADD by path, DEL by path and again with an empty CNI_NETNS.

use crate::containerd::Containerd;
use crate::cri::{PortMapping, addresses, remove_pod, run_pod, stop_pod};
use crate::machine::{address, answers, is_closed, is_published, no_rule_has};
use crate::plugins::on_a_host_with_plugins;
use qiao_testbed::{Host, Place, Protocol, Service, run, stdout};
use serde_json::json;
use std::collections::BTreeSet;
use std::thread;

fn cluster(host: &Host) -> Containerd<'_> {
    Containerd::new(host, &json!({"subnet": "10.88.0.0/16"}))
}

fn tcp(host_port: u16) -> Vec<PortMapping> {
    vec![PortMapping { protocol: 0, container_port: 80, host_port: host_port.into(), host_ip: String::new() }]
}

fn end(id: &str) {
    stop_pod(id);
    remove_pod(id);
}

/// A pod's namespace, under a name.
fn place(containerd: &Containerd<'_>, id: &str, name: &str) -> Place {
    containerd.place(("k8s.io", id), name)
}

/// A cluster with a pod that stays, in which another has come and gone.
fn inhabited(host: &Host) -> Containerd<'_> {
    let containerd = cluster(host);
    run_pod("resident", &tcp(8079));
    end(&run_pod("rehearsal", &tcp(8078)));
    containerd
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_host_port_leads_to_the_pod_and_goes_with_it() {
    on_a_host_with_plugins(|host| {
        let containerd = inhabited(host);
        let before = containerd.machine.snapshot();
        let id = run_pod("web", &tcp(8080));
        let web = place(&containerd, &id, "web");
        is_published(host, &web, 8080);
        let said = addresses(&id);
        assert_eq!(said[0], address(&web, "eth0"));
        assert!(said.len() == 2 && said[1].starts_with("fd00:88::"), "{said:?}");
        let _server = Service::start(&web, Protocol::Tcp, "[::]:81");
        answers(&Place::HOST, &format!("[{}]:81", said[1]), "web");
        drop(_server);
        web.delete();
        end(&id);
        is_closed(host, 8080);
        no_rule_has(&said[0]);
        containerd.machine.assert_like(&before, "a pod");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn eight_pods_at_once() {
    const COUNT: u16 = 8;
    on_a_host_with_plugins(|host| {
        let containerd = inhabited(host);
        let before = containerd.machine.snapshot();
        let ids: Vec<String> = thread::scope(|scope| {
            let pods: Vec<_> =
                (1..=COUNT).map(|n| scope.spawn(move || run_pod(&format!("p{n}"), &tcp(8080 + n)))).collect();
            pods.into_iter().map(|pod| pod.join().expect("a pod")).collect()
        });
        let all: BTreeSet<_> = ids.iter().flat_map(|id| addresses(id)).collect();
        assert_eq!(all.len(), 2 * usize::from(COUNT), "{all:?}");
        for (id, n) in ids.iter().zip(1..) {
            let pod = place(&containerd, id, &format!("p{n}"));
            let _server = Service::start(&pod, Protocol::Tcp, "0.0.0.0:80");
            answers(&host.lan, &format!("192.0.2.1:{}", 8080 + n), pod.name());
            pod.delete();
        }
        thread::scope(|scope| ids.iter().for_each(|id| drop(scope.spawn(move || end(id)))));
        containerd.machine.assert_like(&before, "eight pods at once");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_whose_namespace_vanished_is_removed() {
    on_a_host_with_plugins(|host| {
        let containerd = inhabited(host);
        let before = containerd.machine.snapshot();
        let known: BTreeSet<_> = stdout("ls /run/netns").lines().map(str::to_owned).collect();
        let id = run_pod("web", &tcp(8080));
        let address = addresses(&id)[0].clone();
        containerd.ctr(&format!("-n k8s.io task kill -s 9 {id}"));
        for name in stdout("ls /run/netns").lines().filter(|name| !known.contains(*name)) {
            run(&format!("umount -l /run/netns/{name}"));
            run(&format!("rm /run/netns/{name}"));
        }
        end(&id);
        no_rule_has(&address);
        containerd.machine.assert_like(&before, "removing a pod whose namespace had vanished");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn pods_outlive_containerd() {
    on_a_host_with_plugins(|host| {
        let mut containerd = inhabited(host);
        let before = containerd.machine.snapshot();
        let id = run_pod("web", &tcp(8080));
        containerd.restart();
        let web = place(&containerd, &id, "web");
        is_published(host, &web, 8080);
        web.delete();
        end(&id);
        containerd.machine.assert_like(&before, "a restart of containerd and a pod's end");
    });
}

/// After a reboot a kubelet finds its pods dead, removes them, and runs new ones.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_reboot_keeps_no_address_and_no_port() {
    on_a_host_with_plugins(|host| {
        let range = json!({"subnet": "10.88.0.0/24", "rangeStart": "10.88.0.7", "rangeEnd": "10.88.0.8"});
        let mut containerd = Containerd::new(host, &range);
        let old = [run_pod("one", &tcp(8080)), run_pod("two", &tcp(8081))];
        containerd.machine.reboot();
        containerd.start_after_the_end();
        // The first is removed, as a kubelet does; of the second nobody knows any more.
        end(&old[0]);
        for (name, port) in [("three", 8080), ("four", 8081)] {
            let id = run_pod(name, &tcp(port));
            is_published(host, &place(&containerd, &id, name), port);
        }
    });
}
