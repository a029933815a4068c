//! Claims: whatever is taken and given back in whatever order, each has one owner.

use crate::place::{Place, endpoint};
use proptest::collection::vec;
use proptest::prelude::*;
use qiao_core::Endpoint;
use qiao_core::port::Listen;
use qiao_store::{Binding, Claims, Holder};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Barrier;

#[derive(Clone, Debug)]
enum Step {
    Take(Box<Endpoint>),
    /// Of the endpoint of that name; with its device still there or not.
    GiveBack(usize, bool),
    Collect,
}

const NAMES: [&str; 4] = ["c1", "c2", "c3", "c4"];
const PORTS: [&str; 6] =
    ["80:80", "81:80", "10.9.9.9:80:80", "9000-9019:9000-9019", "9019:1", "7000-7002:1-3"];

fn step() -> impl Strategy<Value = Step> {
    let take = (0..NAMES.len(), 2u8..6, proptest::sample::subsequence(PORTS.to_vec(), 0..3))
        .prop_map(|(name, host, ports)| Step::Take(Box::new(endpoint(NAMES[name], host, &ports))));
    prop_oneof![
        5 => take,
        3 => (0..NAMES.len(), any::<bool>()).prop_map(|(name, leaving)| Step::GiveBack(name, leaving)),
        1 => Just(Step::Collect),
    ]
}

/// Whether two endpoints want the same. The caller looks for overlapping ports; the store for equal ones.
fn clash(a: &Endpoint, b: &Endpoint) -> bool {
    let pieces =
        |e: &Endpoint| e.publish().iter().flat_map(|p| p.pieces()).map(|p| p.listen).collect::<Vec<_>>();
    a.addresses() == b.addresses() || pieces(a).iter().any(|listen| pieces(b).contains(listen))
}

fn claimants(claims: &Claims<'_>) -> BTreeMap<IpAddr, Holder> {
    let leases = claims.leases(&"blue".parse().unwrap()).unwrap();
    let addresses = leases.addresses().unwrap();
    addresses.into_iter().map(|ip| (ip, leases.holder(ip).unwrap().unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_has_one_owner(steps in vec(step(), 1..40)) {
        let place = Place::new();
        let store = place.store();
        let txn = store.begin().unwrap();
        let mut living: BTreeMap<&str, Endpoint> = BTreeMap::new();
        let mut leaving: BTreeMap<IpAddr, String> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Take(endpoint) => {
                    let name = NAMES.into_iter().find(|name| *name == endpoint.sandbox().as_str()).unwrap();
                    if living.contains_key(name) {
                        continue;
                    }
                    let ip = endpoint.addresses()[0].addr();
                    let clashes = living.values().any(|other| clash(other, &endpoint)) || leaving.contains_key(&ip);
                    let taken = txn.claims().take(&endpoint).unwrap();
                    prop_assert_eq!(taken.is_some(), clashes, "{:?}", taken);
                    match taken {
                        None => drop(living.insert(name, *endpoint)),
                        Some(_) => txn.claims().give_back(&endpoint, None).unwrap(),
                    }
                }
                Step::GiveBack(name, is_leaving) => {
                    let Some(endpoint) = living.remove(NAMES[name]) else { continue };
                    txn.claims().give_back(&endpoint, is_leaving.then_some("q-device")).unwrap();
                    if is_leaving {
                        leaving.insert(endpoint.addresses()[0].addr(), "q-device".into());
                    }
                }
                Step::Collect => {
                    let keys: Vec<String> = living.values().map(|e| e.id.key()).collect();
                    let collected = txn.claims().collect(&|owner| keys.iter().any(|key| key == owner)).unwrap();
                    prop_assert!(collected.is_empty(), "somebody has it: {:?}", collected);
                }
            }
            let of_living = living.values().map(|e| (e.addresses()[0].addr(), Holder::Endpoint(e.id.key())));
            let of_leaving = leaving.iter().map(|(ip, device)| (*ip, Holder::Leaving(device.clone())));
            prop_assert_eq!(claimants(&txn.claims()), of_living.chain(of_leaving).collect());
            for endpoint in living.values() {
                for publish in endpoint.publish() {
                    let bindings = bindings(&txn.claims(), publish.listen);
                    let own = bindings.iter().any(|binding| binding.owner == endpoint.id.key());
                    prop_assert!(own, "{} is bound by {:?}", publish, bindings);
                }
                let mac = endpoint.wire.as_ref().unwrap().mac;
                let owner = txn.claims().mac_owner(endpoint.network(), mac).unwrap();
                prop_assert_eq!(owner, Some(endpoint.id.key()));
            }
        }
        let collected = txn.claims().collect(&|_| false).unwrap();
        prop_assert!(collected.len() >= living.len() * 2, "their owners are not known any more");
        prop_assert_eq!(claimants(&txn.claims()).len(), leaving.len());
    }
}

/// Even without the lock a claim goes to one of those who want it.
#[test]
fn of_many_at_once_one_gets_it() {
    const MANY: usize = 8;
    let place = Place::new();
    place.store().begin().unwrap();
    for round in 2..40 {
        let barrier = Barrier::new(MANY);
        let winners: Vec<bool> = std::thread::scope(|scope| {
            let contend = |number: usize| {
                let (place, barrier) = (&place, &barrier);
                scope.spawn(move || {
                    let store = place.store();
                    let endpoint = endpoint(&format!("c{number}"), round, &[]);
                    barrier.wait();
                    store.claims().take(&endpoint).unwrap().is_none()
                })
            };
            let threads: Vec<_> = (0..MANY).map(contend).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(winners.iter().filter(|won| **won).count(), 1, "{winners:?}");
    }
}

#[test]
fn nobody_gives_back_what_is_anothers() {
    let place = Place::new();
    let store = place.store();
    let txn = store.begin().unwrap();
    let (first, second) = (endpoint("c1", 2, &["80:80"]), endpoint("c2", 2, &["80:80"]));
    assert_eq!(txn.claims().take(&first).unwrap(), None);
    assert_eq!(txn.claims().take(&second).unwrap().as_deref(), Some("address 10.0.0.2"));
    txn.claims().give_back(&second, None).unwrap();
    txn.claims().give_back(&second, Some("q-x")).unwrap();
    let holder = txn.claims().leases(first.network()).unwrap().holder([10, 0, 0, 2].into()).unwrap();
    assert_eq!(holder, Some(Holder::Endpoint("c1@eth0".into())));
    assert_eq!(bindings(&txn.claims(), first.publish()[0].listen).len(), 1);
}

/// What is in the way of a port.
fn bindings(claims: &Claims<'_>, listen: Listen) -> Vec<Binding> {
    let on_its_ports = claims.bindings(listen.protocol, listen.ports).unwrap();
    on_its_ports.into_iter().filter(|binding| binding.listen.conflicts(listen)).collect()
}

/// Looking and giving back make nothing: they work on a full disk.
#[test]
fn looking_makes_nothing() {
    let place = Place::new();
    let store = place.store();
    let (claims, nobody) = (store.claims(), endpoint("c1", 2, &["80:80", "9000-9019:9000-9019"]));
    assert_eq!(claims.count(nobody.network()).unwrap(), 0);
    assert_eq!(claims.mac_owner(nobody.network(), nobody.wire.as_ref().unwrap().mac).unwrap(), None);
    assert!(bindings(&claims, nobody.publish()[0].listen).is_empty());
    claims.give_back(&nobody, None).unwrap();
    claims.give_back(&nobody, Some("q-device")).unwrap();
    assert!(claims.collect(&|_| false).unwrap().is_empty());
    assert!(!place.file("run").exists());
    store.look().unwrap().sweep().unwrap();
    assert!(!place.file("run").exists() && !place.file("state").exists(), "nor does the lock of who looks");
}
