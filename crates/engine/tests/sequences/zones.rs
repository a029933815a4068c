//! A firewall that is a program is told of all networks in use, by every command that may have changed them.

use crate::host::{Host, adoption, attach, child, create, detach, netns};
use qiao_core::request::Amend;
use qiao_core::zones::{Sources, Wanted, Zones};
use qiao_engine::{Engine, EngineError};
use qiao_kernel::fake::Fake;
use std::sync::{Arc, Mutex};

type Act = fn(&mut Engine<Fake>) -> Result<(), EngineError>;

/// Notes what it is told last.
#[derive(Clone, Debug, Default)]
struct Notes(Arc<Mutex<Vec<Wanted>>>);

impl Zones for Notes {
    fn settle(&mut self, wanted: &mut dyn FnMut() -> Option<Wanted>) {
        self.0.lock().unwrap().extend(wanted());
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
