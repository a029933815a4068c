//! CNI: records that were lost. What bears the mark of the attachment goes with its DEL, and with GC.

use crate::cni_adopted::{behind, config};
use crate::cni_bridge::{leases, ok};
use qiao_testbed::namespaces::on_a_host;
use qiao_testbed::{Host, Place};
use serde_json::{Value, json};

fn add(host: &Host, plugin: &str, place: &Place) -> Value {
    let port = 8000 + u16::from(place.name().as_bytes()[1]);
    let ports = json!({"runtimeConfig": {"portMappings": [{"hostPort": port, "containerPort": 80}]}});
    let text = config(plugin, &json!({})).to_string();
    let prev = ok(host, (plugin, "ADD"), (place.name(), &place.path()), &text).json();
    if plugin != "macvlan" {
        behind(host, ("portmap", "ADD"), (place.name(), &place.path()), (&prev, &ports));
    }
    prev
}

fn lose(host: &Host, place: &Place) {
    std::fs::remove_dir_all(format!("{}/endpoints/{}", host.qiao.run_dir(), place.name())).unwrap();
}

fn del(host: &Host, plugin: &str, (name, path): (&str, &str), prev: Option<&Value>) {
    let mut config = config(plugin, &json!({}));
    if let Some(prev) = prev {
        config["prevResult"] = prev.clone();
    }
    ok(host, (plugin, "DEL"), (name, path), &config.to_string());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn del_takes_away_what_bears_its_mark() {
    on_a_host(|host| {
        for plugin in ["bridge", "ptp", "macvlan"] {
            let (c1, c2) = (host.container("c1"), host.container("c2"));
            let before = host.snapshot();
            let first = add(host, plugin, &c1);
            let alone = host.snapshot();
            let second = add(host, plugin, &c2);
            lose(host, &c2);
            // A child is in the container, where nobody looks for it: the result tells of it.
            let told = |prev| Some(prev).filter(|_| plugin == "macvlan");
            let prev = told(&second);
            (0..2).for_each(|_| del(host, plugin, (c2.name(), &c2.path()), prev));
            host.assert_like(&alone, &format!("{plugin}: the other is as it was"));
            assert_eq!(
                c2.stdout("ip -o link show").lines().filter(|l| l.contains("eth0")).count(),
                0,
                "{plugin}"
            );
            assert_eq!(leases().len(), 2, "{plugin}: of both families");
            add(host, plugin, &c2);
            // The last one, whose namespace is gone too.
            del(host, plugin, (c2.name(), &c2.path()), None);
            lose(host, &c1);
            c1.delete();
            del(host, plugin, ("c1", ""), told(&first));
            c2.delete();
            let (_c1, _c2) = (host.container("c1"), host.container("c2"));
            host.assert_like(&before, &format!("{plugin}: all is gone"));
            [_c1, _c2].into_iter().for_each(Place::delete);
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn gc_takes_away_what_bears_the_networks_mark() {
    on_a_host(|host| {
        let (c1, c2) = (host.container("c1"), host.container("c2"));
        let before = host.snapshot();
        add(host, "bridge", &c1);
        let alone = host.snapshot();
        add(host, "bridge", &c2);
        lose(host, &c2);
        let gc = |name: &str, valid: &[&str]| {
            let valid: Vec<Value> =
                valid.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
            let more = json!({"cniVersion": "1.1.0", "name": name, "cni.dev/valid-attachments": valid});
            ok(host, ("bridge", "GC"), ("none", ""), &config("bridge", &more).to_string());
        };
        let links = || host.snapshot().lines_with("q-c2-").len();
        let had = links();
        gc("other", &[]);
        gc("n1", &["c1", "c2"]);
        assert!(had > 0 && links() == had, "it lives");
        gc("n1", &["c1"]);
        host.assert_like(&alone, "c2 is gone");
        gc("n1", &[]);
        host.assert_like(&before, "all is gone");
    });
}
