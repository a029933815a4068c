//! What an attachment does not look for: the kernel refuses to make what it has, and then everything is looked at.

use crate::host::{Host, assert_same, attach, chain};
use ipnet::IpNet;
use qiao_core::owner::EndpointId;
use qiao_core::plan::{Found, Key, Member, Ownership, Value};
use qiao_core::port::Backend;
use qiao_core::request::{Attach, Wish};
use qiao_core::{Endpoint, Owner, SandboxName};
use std::net::IpAddr;

/// `c1` with a port, and with the addresses that it had before.
fn published(before: Option<&Endpoint>) -> Attach {
    let had = before.map(Endpoint::addresses).unwrap_or_default().iter().map(IpNet::addr);
    let wish = had.fold(Wish::default(), |wish, ip| match ip {
        IpAddr::V4(ip) => Wish { ip: Some(ip), ..wish },
        IpAddr::V6(ip) => Wish { ip6: Some(ip), ..wish },
    });
    Attach { wish, publish: vec!["8080:80".parse().unwrap()], ..attach("c1", "blue") }
}

/// The elements that bear the mark of `c1`.
fn elements(host: &Host) -> Vec<(Key, Found)> {
    let is_its = |found: &Found| matches!(&found.owner, Ownership::Marked(Owner::Endpoint(id)) if id.sandbox == "c1".parse::<SandboxName>().unwrap());
    let world = host.kernel.world();
    let elements = world.objects.iter().filter(|(key, found)| key.set().is_some() && is_its(found));
    elements.map(|(key, found)| (key.clone(), found.clone())).collect()
}

/// A host with `c0` on `blue`, how it is with `c1` besides, and an element of `c1` that is there before it, changed
/// by `change`.
fn with_leftover(at: usize, change: impl Fn(&mut Found)) -> Option<(Host, Key, Attach)> {
    let host = Host::new();
    host.create("blue");
    host.attach("c0", "blue");
    let attached = host.engine().attach(&published(None)).unwrap();
    let (key, mut found) = elements(&host).into_iter().nth(at)?;
    host.detach("c1", None);
    change(&mut found);
    host.kernel.world().objects.insert(key.clone(), found);
    Some((host, key, published(Some(&attached.endpoint))))
}

#[test]
fn what_a_lost_endpoint_left_becomes_its_own() {
    let mut tried = 0;
    while let Some((host, key, again)) = with_leftover(tried, |_| {}) {
        host.engine().attach(&again).unwrap();
        host.assert_healthy(&format!("{key:?} was there"));
        tried += 1;
    }
    assert!(tried >= 6, "{tried}");
}

#[test]
fn what_is_somebody_elses_is_left_alone() {
    let mut tried = 0;
    while let Some((host, key, again)) = with_leftover(tried, |found| found.owner = Ownership::Foreign) {
        let before = host.snapshot();
        let error = host.engine().attach(&again).unwrap_err();
        assert!(chain(&error).contains("is in the way"), "{key:?}: {}", chain(&error));
        assert_same(&host.snapshot().without_loopback(), &before.without_loopback(), &format!("{key:?}"));
        tried += 1;
    }
    assert!(tried >= 6, "{tried}");
}

/// Entries for clients of the host's own are taken for absent because the port was free. Where a lost endpoint left
/// one, it is made over: its owner and where it leads are those of whoever has the port now.
#[test]
fn what_a_lost_endpoint_left_for_clients_of_the_host_is_made_over() {
    let host = Host::new();
    host.create("blue");
    host.attach("c0", "blue");
    let attached = host.engine().attach(&published(None)).unwrap();
    let entries = || -> Vec<(Key, Found)> {
        let world = host.kernel.world();
        let entries = world.objects.iter().filter(|(key, _)| matches!(key, Key::Loopback(_)));
        entries.map(|(key, found)| (key.clone(), found.clone())).collect()
    };
    let own = entries();
    assert!(!own.is_empty(), "it publishes for clients of the host");
    host.detach("c1", None);
    assert_eq!(entries(), []);
    let lost = EndpointId { sandbox: "c9".parse().unwrap(), ..attached.endpoint.id.clone() };
    for (key, found) in &own {
        let value = match &found.value {
            Value::Backend(backend) => Value::Backend(Backend { port: backend.port + 1, ..*backend }),
            other => panic!("{other:?}"),
        };
        let owner = Ownership::Marked(Owner::Endpoint(lost.clone()));
        host.kernel.world().objects.insert(key.clone(), Found { owner, value });
    }
    assert_ne!(entries(), own, "the control");
    host.engine().attach(&published(Some(&attached.endpoint))).unwrap();
    assert_eq!(entries(), own);
    host.assert_healthy("with what was left made over");
    host.detach("c1", None);
    assert_eq!(entries(), []);
}

#[test]
fn what_somebody_takes_out_of_the_rules_comes_back_with_the_next_command_whatever_it_is_about() {
    let members = |host: &Host| {
        let world = host.kernel.world();
        let of_red = |found: &Found| matches!(&found.owner, Ownership::Marked(Owner::Network(name)) if name.as_str() == "red");
        let members =
            world.objects.iter().filter(|(key, found)| matches!(key, Key::Member(_)) && of_red(found));
        members.map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    let host = Host::new();
    host.create("blue");
    host.create("red");
    host.attach("c0", "red");
    host.attach("c1", "blue");
    let all = members(&host);
    assert!(all.iter().any(|key| matches!(key, Key::Member(Member::Masquerade(_)))), "{all:?}");
    for key in all {
        host.kernel.world().objects.remove(&key);
        host.kernel.world().generation += 1;
        host.attach("c2", "blue");
        host.assert_healthy(&format!("{key:?} was taken"));
        host.detach("c2", None);
    }
}
