//! One namespace under two names: one endpoint a network, and the first one's default route.

use crate::host::{Host, assert_same, attach, create, netns};
use qiao_core::plan::{Key, Value};
use qiao_core::request::Attach;
use qiao_core::{Code, SandboxName};
use qiao_engine::EngineError;

fn other_name(name: &str, network: &str) -> Attach {
    Attach { sandbox: name.parse().unwrap(), netns: Some(netns("c1")), ..attach(name, network) }
}

#[test]
fn the_same_network_twice_is_refused() {
    let long = "x".repeat(128);
    for first in ["c1", long.as_str()] {
        let host = Host::new();
        host.create("blue");
        host.engine().attach(&other_name(first, "blue")).unwrap();
        let before = host.snapshot();
        match host.engine().attach(&other_name("c9", "blue")) {
            Err(EngineError::Refused(refusal)) => {
                let whose = if first == "c1" { "c1/eth0" } else { "a long name" };
                let why = refusal.why.unwrap();
                assert!(refusal.code == Code::Conflict && why.contains(whose), "{why}");
            }
            other => panic!("{other:?}"),
        }
        assert_same(&host.snapshot(), &before, "refused");
        host.engine().create_network(&create("red")).unwrap();
        host.engine().attach(&other_name(first, "red")).unwrap();
    }
}

#[test]
fn another_network_keeps_the_first_default_route() {
    let host = Host::new();
    host.create("blue");
    host.create("red");
    host.attach("c1", "blue");
    let routes = |name: &str| {
        let (world, name) = (host.kernel.world(), name.parse::<SandboxName>().unwrap());
        let of = |(key, value): (&Key, &Value)| {
            matches!(key, Key::Route(sandbox, _) if *sandbox == name).then(|| value.clone())
        };
        world.objects.iter().filter_map(|(key, found)| of((key, &found.value))).collect::<Vec<_>>()
    };
    let first = routes("c1");
    assert_eq!(first.len(), 2);
    let second = host.engine().attach(&other_name("c9", "red")).unwrap().endpoint;
    assert_eq!(second.id.ifname.as_str(), "eth1");
    assert!(second.wire.unwrap().gateways.is_empty());
    assert_eq!((routes("c1"), routes("c9")), (first, Vec::new()));
}
