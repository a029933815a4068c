//! `ctr run --cni`: DEL comes with an empty CNI_NETNS, or never.

use crate::containerd::{Containerd, RUNTIME_PATH};
use crate::machine::{FILES, address, answers, no_rule_has};
use crate::plugins::on_a_host_with_plugins;
use qiao_testbed::{Place, Protocol, Service};
use serde_json::json;

fn run_line(options: &str, words: &str) -> String {
    format!("run --runc-binary {RUNTIME_PATH} --cni {options} --rootfs {FILES}/rootfs {words}")
}

/// The one address there is serves container after container.
#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_address_is_free_when_the_container_has_ended() {
    on_a_host_with_plugins(|host| {
        let range = json!({"subnet": "10.88.0.0/24", "rangeStart": "10.88.0.7", "rangeEnd": "10.88.0.7"});
        let containerd = Containerd::new(host, &range);
        for name in ["one", "two", "three"] {
            let text = containerd.ctr(&run_line("--rm", &format!("{name} /bin/ip addr show dev eth0")));
            assert!(text.contains("10.88.0.7/24"), "{text}");
            no_rule_has("10.88.0.7");
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_detached_container_is_reached() {
    on_a_host_with_plugins(|host| {
        let containerd = Containerd::new(host, &json!({"subnet": "10.88.0.0/24"}));
        for name in ["web", "friend"] {
            containerd.ctr(&run_line("-d", &format!("{name} /bin/sleep 1000")));
        }
        let web = containerd.place(("default", "web"), "web");
        let friend = containerd.place(("default", "friend"), "friend");
        let _server = Service::start(&web, Protocol::Tcp, "0.0.0.0:80");
        let to = format!("{}:80", address(&web, "eth0"));
        [&friend, &Place::HOST].iter().for_each(|from| answers(from, &to, "web"));
    });
}
