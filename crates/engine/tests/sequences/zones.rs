//! A firewall that is a program is told of all networks in use, by every command that may have changed them.

use crate::host::{Host, adoption, attach, child, create, detach, netns};
use qiao_core::request::Amend;
use qiao_core::zones::{Certainty, Part, Sources, Wanted, Zones};
use qiao_engine::{Engine, EngineError};
use qiao_kernel::fake::Fake;
use std::sync::{Arc, Mutex};

type Act = fn(&mut Engine<Fake>) -> Result<(), EngineError>;

/// Notes what it is told last, and how sure the engine was that this was not needed.
#[derive(Clone, Debug, Default)]
struct Notes(Arc<Mutex<Vec<Wanted>>>, Arc<Mutex<Vec<Certainty>>>);

impl Zones for Notes {
    fn settle(&mut self, known: Certainty, wanted: &mut dyn FnMut(Part) -> Option<Wanted>) {
        self.0.lock().unwrap().extend(wanted(Part::All));
        self.1.lock().unwrap().push(known);
    }

    fn lacking(&mut self, wanted: &Sources) -> Vec<String> {
        wanted.keys().map(|net| format!("nobody knows {net}")).collect()
    }
}

impl Notes {
    fn engine(&self, host: &Host) -> Engine<Fake> {
        host.engine().with_zones(Box::new(self.clone()))
    }

    /// What it was told since it was asked last: once, as `SOURCE in ZONE`.
    #[track_caller]
    fn told(&self) -> Vec<String> {
        let mut told = std::mem::take(&mut *self.0.lock().unwrap());
        assert_eq!(told.len(), 1, "{told:?}");
        told.pop().unwrap().sources.iter().map(|(net, zone)| format!("{net} in {zone}")).collect()
    }
}

#[test]
fn networks_of_our_own_are_told_while_they_are_in_use() {
    let (host, notes) = (Host::new(), Notes::default());
    let blue = notes.engine(&host).create_network(&create("blue")).unwrap().network;
    let blue: Vec<_> = blue.pools().iter().map(|pool| format!("{} in trusted", pool.subnet)).collect();
    assert_eq!(notes.told(), blue);
    notes.engine(&host).create_network(&child("lan")).unwrap();
    assert_eq!(notes.told(), blue, "the host forwards nothing for it");
    notes.engine(&host).attach(&attach("c1", "blue")).unwrap();
    assert_eq!(notes.told(), blue);
    notes.engine(&host).attach(&attach("c1", "nowhere")).unwrap_err();
    assert_eq!(notes.told(), blue, "whatever comes of it");
    notes.engine(&host).plan_attach(&attach("c2", "blue")).unwrap();
    assert!(notes.0.lock().unwrap().is_empty(), "what is only planned is nobody's concern");
    let findings = notes.engine(&host).check().unwrap().findings;
    assert_eq!(findings.len(), blue.len(), "{findings:?}");
    host.kernel.world().remove_namespace(&netns("c1"));
    let acts: [Act; 3] = [|engine| engine.gc().map(drop), |engine| engine.repair().map(drop), Engine::settle];
    for act in acts {
        act(&mut notes.engine(&host)).unwrap();
        assert_eq!(notes.told(), blue);
    }
    notes.engine(&host).remove_network(&"blue".parse().unwrap()).unwrap();
    assert_eq!(notes.told(), [""; 0]);
}

#[test]
fn it_need_not_be_asked_while_no_rule_has_changed() {
    let (host, notes) = (Host::new(), Notes::default());
    notes.engine(&host).create_network(&create("blue")).unwrap();
    let attached = || notes.engine(&host).attach(&attach("c1", "blue")).map(drop);
    let detached = || notes.engine(&host).detach(&detach("c1", None)).map(drop);
    let known = |act: &dyn Fn() -> Result<(), EngineError>| {
        notes.1.lock().unwrap().clear();
        let _ = act();
        std::mem::take(&mut *notes.1.lock().unwrap())
    };
    attached().and_then(|()| detached()).unwrap();
    assert_eq!((known(&attached), known(&detached)), (vec![Certainty::Unmoved], vec![Certainty::Unmoved]));
    host.kernel.world().generation += 1;
    assert_eq!(known(&attached), [Certainty::None], "somebody has changed a rule");
    assert_eq!(known(&attached), [Certainty::None], "it failed");
    assert_eq!(known(&|| notes.engine(&host).repair().map(drop)), [Certainty::None], "all is looked at");
    let single = || notes.engine(&host).attach(&adoption("c2")).map(drop);
    host.add_strangers();
    assert_eq!(known(&single), [Certainty::Unmoved]);
    let made = host.engine().store().endpoints().unwrap().into_iter().find(|e| e.id.sandbox.as_str() == "c2");
    let id = made.unwrap().id;
    let zoned = Amend { zone: Some(Some("home".into())), ..Amend::new(id.sandbox, id.ifname) };
    notes.engine(&host).amend(&zoned).unwrap();
    let left = || notes.engine(&host).detach(&detach("c2", None)).map(drop);
    assert_eq!(known(&left), [Certainty::None], "its address goes from a zone");
}

/// What is asked for in part is without single addresses.
#[test]
fn networks_are_asked_for_without_addresses() {
    #[derive(Debug)]
    struct Asks(Arc<Mutex<Vec<usize>>>);
    impl Zones for Asks {
        fn settle(&mut self, _: Certainty, wanted: &mut dyn FnMut(Part) -> Option<Wanted>) {
            let count = [Part::Networks, Part::All].map(|part| wanted(part).unwrap().sources.len());
            *self.0.lock().unwrap() = count.into();
        }

        fn lacking(&mut self, _: &Sources) -> Vec<String> {
            Vec::new()
        }
    }
    let (host, counts) = (Host::new(), Arc::new(Mutex::new(Vec::new())));
    host.add_strangers();
    let made = host.engine().attach(&adoption("c1")).unwrap().endpoint;
    let own = Amend::new(made.id.sandbox.clone(), made.id.ifname.clone());
    let mut engine = host.engine().with_zones(Box::new(Asks(Arc::clone(&counts))));
    engine.amend(&Amend { zone: Some(Some("home".into())), ..own }).unwrap();
    assert_eq!(*counts.lock().unwrap(), [0, made.addresses().len()]);
}

#[test]
fn of_others_the_addresses_are_told_for_which_it_was_asked() {
    let (host, notes) = (Host::new(), Notes::default());
    host.add_strangers();
    let made = notes.engine(&host).attach(&adoption("c1")).unwrap().endpoint;
    assert_eq!(notes.told(), [""; 0]);
    let amend = |zone: Option<&str>| {
        let own = Amend::new(made.id.sandbox.clone(), made.id.ifname.clone());
        notes.engine(&host).amend(&Amend { zone: Some(zone.map(str::to_owned)), ..own }).unwrap();
        notes.told()
    };
    let in_zone = |zone: &str| -> Vec<_> {
        let hosts = made.addresses().iter().map(|net| ipnet::IpNet::from(net.addr()));
        hosts.map(|net| format!("{net} in {zone}")).collect()
    };
    assert_eq!(amend(Some("home")), in_zone("home"));
    assert_eq!(amend(Some("trusted")), in_zone("trusted"));
    assert_eq!(amend(None), [""; 0]);
    assert!(host.engine().store().endpoints().unwrap().is_empty(), "nothing is asked for any more");
    notes.engine(&host).attach(&adoption("c1")).unwrap();
    notes.told();
    amend(Some("home"));
    notes.engine(&host).detach(&detach("c1", None)).unwrap();
    assert_eq!(notes.told(), [""; 0], "it goes with the container");
}

#[test]
fn a_network_whose_record_is_lost_is_not_forgotten() {
    let (host, notes) = (Host::new(), Notes::default());
    host.create("blue");
    host.attach("c1", "blue");
    let records = host.state().join("networks");
    let names: Vec<_> = std::fs::read_dir(&records).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let _ = notes.engine(&host).gc();
    let told = notes.0.lock().unwrap().pop().unwrap();
    assert!(told.lacks_some && told.sources.is_empty(), "{told:?}");
}
