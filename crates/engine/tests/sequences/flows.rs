//! What the sequences do when nothing goes wrong, and what they refuse.

use crate::host::{Host, assert_same, attach, attach_publishing, chain, create, detach};
use qiao_core::flows::Flows;
use qiao_core::plan::Key;
use qiao_core::port::{HostAddr, Listen, PortRange, Protocol};
use qiao_core::subnet::Family;
use qiao_core::{Code, Refusal};
use qiao_engine::EngineError;

#[track_caller]
fn refused<T>(result: Result<T, EngineError>, code: Code) -> Refusal {
    match result {
        Err(EngineError::Refused(refusal)) if refusal.code == code => refusal,
        Err(error) => panic!("not a refusal of the kind {code:?}: {}", chain(&error)),
        Ok(_) => panic!("it was not refused"),
    }
}

/// The kernel says so only when it is tried: that is taken back, and told as what it is.
#[test]
fn a_bridge_that_is_full_is_told() {
    let host = Host::new();
    host.create("blue");
    host.attach("c0", "blue");
    let before = host.snapshot();
    host.kernel.world().most_ports = 1;
    let refusal = refused(host.engine().attach(&attach_publishing("c1", "blue")), Code::Exhausted);
    assert!(refusal.message.contains("`c1`"), "{refusal:?}");
    assert_same(&host.snapshot().without_loopback(), &before.without_loopback(), "refused");
    host.create("red");
    host.attach("c1", "red");
}

#[test]
fn attached_published_detached() {
    let host = Host::new();
    host.create("blue");
    let before = host.snapshot();
    let attached = host.engine().attach(&attach_publishing("c1", "blue")).unwrap();
    assert_eq!(attached.endpoint.id.ifname.as_str(), "eth0");
    assert_eq!(attached.endpoint.addresses().len(), 2, "both families");
    host.assert_healthy("attached");
    let published = host.kernel.world().objects.keys().filter(|key| matches!(key, Key::Publish(_))).count();
    assert!(published > 5, "{published}");
    let detached = host.engine().detach(&detach("c1", None)).unwrap();
    assert_eq!(detached.endpoints.len(), 1);
    assert_same(&host.snapshot().without_loopback(), &before, "detached");
    let address = attached.endpoint.addresses()[0].addr();
    assert!(
        host.kernel.world().forgotten.contains(&Flows::Address(address)),
        "its connections are forgotten"
    );
}

#[test]
fn planning_touches_nothing() {
    let host = Host::new();
    host.create("blue");
    host.attach("c0", "blue");
    let before = host.snapshot();
    assert!(!host.engine().plan_attach(&attach_publishing("c1", "blue")).unwrap().plan.is_empty());
    assert!(!host.engine().plan_detach(&detach("c0", None)).unwrap().plans[0].is_empty());
    assert!(!host.engine().plan_create_network(&create("green")).unwrap().plan.is_empty());
    assert_same(&host.snapshot(), &before, "planned");
}

#[test]
fn what_is_planned_is_what_is_done() {
    let host = Host::new();
    host.create("blue");
    let mut request = attach("c1", "blue");
    request.publish.push("8080:80".parse().unwrap());
    let planned = host.engine().plan_attach(&request).unwrap().plan;
    let done = host.engine().attach(&request).unwrap().plan;
    assert_eq!(qiao_core::render::plan(&planned), qiao_core::render::plan(&done));
}

#[test]
fn the_second_time_is_refused_or_nothing() {
    let host = Host::new();
    host.attach("c1", "bridge");
    let attached = host.snapshot();
    refused(host.engine().attach(&attach("c1", "bridge")), Code::Conflict);
    assert_same(&host.snapshot(), &attached, "attached twice");
    host.detach("c1", None);
    let gone = host.snapshot();
    let again = host.engine().detach(&detach("c1", None)).unwrap();
    assert!(again.endpoints.is_empty() && again.plans.is_empty(), "there is nothing to do");
    assert_same(&host.snapshot(), &gone, "detached twice");
    let again = host.engine().repair().unwrap();
    assert!(again.plans.is_empty(), "{:#?}", again.plans);
}

#[test]
fn the_last_network_leaves_the_host_as_it_was() {
    let host = Host::new();
    let before = host.snapshot();
    host.create("blue");
    host.create("green");
    host.attach("c1", "blue");
    refused(host.engine().remove_network(&"blue".parse().unwrap()), Code::Conflict);
    refused(host.engine().create_network(&create("blue")), Code::Conflict);
    host.detach("c1", None);
    host.remove("blue");
    host.remove("green");
    assert_same(&host.snapshot().without_loopback(), &before, "removed");
    refused(host.engine().remove_network(&"blue".parse().unwrap()), Code::NotFound);
}

#[test]
fn an_address_is_never_given_twice_and_not_given_back_at_once() {
    let host = Host::new();
    host.create("blue");
    let mut seen = Vec::new();
    for _ in 0..8 {
        for name in ["c0", "c1", "c2"] {
            host.attach(name, "blue");
        }
        let endpoints = host.engine().store().endpoints().unwrap();
        let now: Vec<_> = endpoints.iter().flat_map(|e| e.addresses().to_vec()).collect();
        assert_eq!(now.len(), 6);
        assert!(now.iter().all(|address| !seen.contains(address)), "{now:?} again");
        seen.extend(now);
        ["c0", "c1", "c2"].iter().for_each(|name| host.detach(name, None));
    }
}

#[test]
fn ports_are_refused_to_the_second_and_free_after_the_first() {
    let host = Host::new();
    host.create("blue");
    host.engine().attach(&attach_publishing("c1", "blue")).unwrap();
    let before = host.snapshot();
    for port in ["8080:80", "127.0.0.1:8080:80", "5000-5400:1/udp", "10005:1/udp", "7002:1"] {
        let mut request = attach("c2", "blue");
        request.publish = vec![port.parse().unwrap()];
        match host.engine().attach(&request) {
            // The first free one of a range.
            Ok(_) if port.starts_with("5000") => host.detach("c2", None),
            result => drop(refused(result.map(drop), Code::Conflict)),
        }
        assert_same(&host.snapshot().without_loopback(), &before.clone().without_loopback(), port);
    }
    host.detach("c1", None);
    host.engine().attach(&attach_publishing("c2", "blue")).unwrap();
    host.assert_healthy("published by the second");
}

#[test]
fn a_socket_of_the_host_is_in_the_way() {
    let host = Host::new();
    let ports = PortRange::one(8080).unwrap();
    let listen = Listen { protocol: Protocol::Tcp, host: HostAddr::Any(Family::V4), ports };
    host.kernel.world().sockets.push(listen);
    let before = host.snapshot();
    let refusal = refused(host.engine().attach(&attach_publishing("c1", "bridge")), Code::Conflict);
    assert!(refusal.why.unwrap().contains("8080"));
    assert_same(&host.snapshot(), &before, "refused");
}

#[test]
fn one_default_route_a_sandbox_and_the_next_network_inherits_it() {
    let host = Host::new();
    host.create("blue");
    host.create("red");
    host.attach("c1", "blue");
    host.attach("c1", "red");
    host.assert_healthy("on both");
    host.detach("c1", Some("blue"));
    host.assert_healthy("on one");
    let endpoints = host.engine().store().endpoints().unwrap();
    assert_eq!(endpoints[0].wire.as_ref().unwrap().gateways.len(), 2, "it has both gateways now");
    host.attach("c1", "blue");
    host.assert_healthy("on both again");
}

#[test]
fn the_plain_networks_need_nothing_of_the_host() {
    let host = Host::new();
    let before = host.snapshot();
    host.attach("c1", "none");
    let objects: Vec<Key> = host.kernel.world().objects.keys().cloned().collect();
    assert!(objects.contains(&Key::SandboxLoopback("c1".parse().unwrap())));
    host.detach("c1", None);
    let mut request = attach("c2", "host");
    request.netns = None;
    host.engine().attach(&request).unwrap();
    host.detach("c2", None);
    assert_same(&host.snapshot().without_loopback(), &before, "gone");
}
