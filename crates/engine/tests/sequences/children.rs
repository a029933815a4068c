//! Macvlan and ipvlan networks: what they share with the host, and what happens when that goes.

use crate::host::{Host, Server, attach, chain, child, detach};
use qiao_core::dhcp::{Ask, Keeper, Leased, Tenant, Trouble};
use qiao_core::plan::Key;
use qiao_core::request::{CreateNetwork, Kind};
use qiao_core::{Code, Refusal};
use qiao_engine::EngineError;

fn vlan() -> Key {
    Key::Vlan("uplink.10".parse().unwrap())
}

fn refusal<T: std::fmt::Debug>(result: Result<T, EngineError>) -> Refusal {
    match result {
        Err(EngineError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vlan_stays_until_its_last_network_goes() {
    let host = Host::new();
    let other = CreateNetwork { subnets: vec!["192.0.3.0/24".parse().unwrap()], ..child("wan") };
    host.create_child("lan");
    host.engine().create_network(&CreateNetwork { kind: Kind::Ipvlan, ..other }).unwrap();
    assert!(host.kernel.world().objects.contains_key(&vlan()));
    host.remove("lan");
    assert!(host.kernel.world().objects.contains_key(&vlan()), "the other is on it");
    host.assert_healthy("one network of two is gone");
    host.remove("wan");
    assert!(!host.kernel.world().objects.contains_key(&vlan()));
}

#[test]
fn a_vlan_that_was_there_is_left_alone() {
    let host = Host::new();
    host.kernel.world().links.insert("uplink.10".into());
    host.create_child("lan");
    host.attach("c1", "lan");
    host.assert_healthy("on somebody else's VLAN");
    host.detach("c1", None);
    host.remove("lan");
    assert!(
        host.kernel.world().links.contains("uplink.10") && !host.kernel.world().objects.contains_key(&vlan())
    );
}

/// An interface that is unplugged stops its own networks, says so, and stops nothing else.
#[test]
fn without_the_parent_the_rest_goes_on() {
    let host = Host::new();
    host.create("blue");
    host.create_child("lan");
    host.attach("c0", "lan");
    host.kernel.world().remove_link(&"uplink".parse().unwrap());
    host.attach("c1", "blue");
    host.engine().repair().unwrap();
    let health = host.engine().check().unwrap();
    let lines: Vec<_> = health.findings.iter().map(|finding| finding.line.as_str()).collect();
    assert_eq!(lines, ["! network `lan` is on interface `uplink`, which is not there"]);
    assert_eq!(refusal(host.engine().attach(&attach("c2", "lan"))).code, Code::NotFound);
    host.kernel.world().links.insert("uplink".into());
    host.engine().repair().unwrap();
    host.assert_healthy("it is back");
    host.engine().detach(&detach("c0", None)).unwrap();
}

/// Root in a container gives its interface another name; another network's on the same parent stays.
#[test]
fn a_renamed_child_goes_with_its_endpoint() {
    let host = Host::new();
    let other = CreateNetwork { subnets: vec!["192.0.3.0/24".parse().unwrap()], ..child("wan") };
    host.create_child("lan");
    host.engine().create_network(&other).unwrap();
    host.attach("c1", "lan");
    host.attach("c1", "wan");
    let key = |name: &str| Key::Child("c1".parse().unwrap(), name.parse().unwrap());
    let found = host.kernel.world().objects.remove(&key("eth0")).unwrap();
    host.kernel.world().objects.insert(key("evil0"), found);
    host.detach("c1", Some("lan"));
    assert!(!host.kernel.world().objects.contains_key(&key("evil0")), "it is gone");
    assert!(host.kernel.world().objects.contains_key(&key("eth1")), "the control: the other network's");
}

#[test]
fn what_the_kernel_lacks_is_named() {
    for (kind, lacks, option) in [
        (Kind::Ipvlan, "ipvlan", "CONFIG_IPVLAN"),
        (Kind::Macvlan, "macvlan", "CONFIG_MACVLAN"),
        (Kind::Macvlan, "vlan", "CONFIG_VLAN_8021Q"),
    ] {
        let host = Host::new();
        host.kernel.world().lacks.insert(lacks.into());
        let before = host.snapshot();
        let refusal = refusal(host.engine().create_network(&CreateNetwork { kind, ..child("lan") }));
        assert_eq!(refusal.code, Code::Unsupported, "{refusal:?}");
        assert!(refusal.why.as_ref().is_some_and(|why| why.contains(option)), "{refusal:?}");
        crate::host::assert_same(&host.snapshot(), &before, lacks);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let host = Host::new();
    let create = |change: fn(&mut CreateNetwork)| {
        let mut request = child("lan");
        change(&mut request);
        refusal(host.engine().create_network(&request))
    };
    assert!(create(|r| r.subnets.clear()).message.contains("--subnet"));
    assert_eq!(create(|r| r.parent = Some("eth9".parse().unwrap())).code, Code::NotFound);
    assert_eq!(create(|r| r.parent = Some("eth9.5".parse().unwrap())).code, Code::NotFound);
    assert!(create(|r| r.options.mtu = Some(9000)).message.contains("more than that of"));
    assert!(create(|r| r.options.icc = Some(false)).fix[0].contains("private"));
    assert!(create(|r| r.options.guard = Some(true)).message.contains("guard"));
    host.create_child("lan");
    let mut publishing = attach("c1", "lan");
    publishing.publish = vec!["80:80".parse().unwrap()];
    assert!(refusal(host.engine().attach(&publishing)).message.contains("cannot publish"));
    let again = CreateNetwork { parent: Some("uplink".parse().unwrap()), ..child("again") };
    assert_eq!(refusal(host.engine().create_network(&again)).code, Code::Conflict, "the same subnet");
}

/// What a DHCP server gives is what the endpoint has; a plan takes nothing, and leaving gives all back.
#[test]
fn a_lease_becomes_an_endpoint() {
    let host = Host::new();
    host.create_leased("lan");
    let before = host.snapshot();
    let planned = host.engine().plan_attach(&attach("c1", "lan")).unwrap();
    assert_eq!(host.snapshot(), before, "a plan takes nothing");
    host.attach("c1", "lan");
    let endpoint = &host.engine().store().endpoints().unwrap()[0];
    assert_eq!(endpoint.addresses(), planned.endpoint.addresses());
    let wire = endpoint.wire.as_ref().unwrap();
    assert_eq!((wire.addresses[0].to_string(), wire.mtu), ("192.0.2.101/24".into(), 1400));
    let routes: Vec<Key> = ["0.0.0.0/0", "198.51.100.0/24"]
        .map(|to| Key::Route("c1".parse().unwrap(), to.parse().unwrap()))
        .to_vec();
    assert!(routes.iter().all(|key| host.kernel.world().objects.contains_key(key)));
    let same = refusal(host.engine().attach(&attach("c1", "lan")));
    assert_eq!(same.code, Code::Conflict);
    host.assert_healthy("refused, and the first keeps its lease");
    assert!(host.snapshot().store.keys().any(|path| path == "/server/c1@lan@"));
    host.detach("c1", None);
    assert_eq!(host.snapshot().without_loopback(), before.without_loopback());
}

/// A keeper that is told to give a lease back right after it was taken.
#[derive(Debug)]
struct Hasty(Server);

impl Keeper for Hasty {
    fn acquire(&mut self, ask: &Ask) -> Result<Leased, Trouble> {
        let leased = self.0.acquire(ask)?;
        self.0.release(&ask.tenant).map(|()| leased)
    }

    fn release(&mut self, tenant: &Tenant) -> Result<(), Trouble> {
        self.0.release(tenant)
    }

    fn tenants(&mut self) -> Result<Vec<(Tenant, u64)>, Trouble> {
        self.0.tenants()
    }

    fn is_dead(&mut self) -> bool {
        false
    }

    fn revive(&mut self) -> Result<(), Trouble> {
        Ok(())
    }
}

#[test]
fn a_lease_that_was_given_back_meanwhile_is_not_used() {
    let host = Host::new();
    host.create_leased("lan");
    let before = host.snapshot();
    let mut engine = host.engine().with_keeper(Box::new(Hasty(host.server())));
    let error = engine.attach(&attach("c1", "lan")).unwrap_err();
    assert!(chain(&error).contains("was given back meanwhile"), "{}", chain(&error));
    assert_eq!(host.snapshot().kernel, before.kernel);
    host.attach("c1", "lan"); // the control
    host.assert_healthy("with a lease that stays");
}
