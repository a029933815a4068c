//! What is tried at every point: an act, how the host is before it, and what undoes it.

use crate::host::{
    Host, Snapshot, adoption, adoption_of, attach, attach_publishing, child, create, detach, device, given,
    netns, on, ptp, tagged,
};
use qiao_core::Driver;
use qiao_core::child::Mode;
use qiao_core::endpoint::{Clients, Tunable};
use qiao_core::plan::{Key, Value};
use qiao_core::port::PublishSpec;
use qiao_core::request::{Amend, Ingress};
use qiao_core::shape::{Limits, Rate};
use qiao_core::solo::{Solo, Tap};
use qiao_core::source::Sources;
use qiao_core::subnet::Family;
use qiao_core::vrf::Behind;
use qiao_engine::{Engine, EngineError};
use qiao_kernel::fake::Fake;

/// A scenario.
pub struct Scenario {
    pub name: &'static str,
    /// Makes the host what it is before the act.
    pub setup: fn(&Host),
    /// What is done.
    pub act: fn(&mut Engine<Fake>) -> Result<(), EngineError>,
    /// What follows: for an attachment what takes it back, for a detachment the same again.
    pub then: fn(&Host),
}

/// An attachment or a creation that fails has never been.
pub const BACK: [Scenario; 26] = [
    Scenario {
        name: "first attachment",
        setup: |_| {},
        act: |engine| engine.attach(&attach_publishing("c1", "bridge")).map(drop),
        then: |host| {
            host.detach("c1", None);
            host.remove("bridge");
        },
    },
    Scenario {
        name: "first attachment, whose rules take longer than its links",
        setup: |host| host.kernel.world().slow_foundation = true,
        act: |engine| engine.attach(&attach_publishing("c1", "bridge")).map(drop),
        then: |host| {
            host.detach("c1", None);
            host.remove("bridge");
        },
    },
    Scenario {
        name: "attachment beside another",
        setup: blue_with_c0,
        act: |engine| engine.attach(&attach_publishing("c1", "blue")).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "attachment to a second network",
        setup: |host| {
            blue_with_c0(host);
            host.create("red");
            host.attach("c1", "blue");
        },
        act: |engine| engine.attach(&attach_publishing("c1", "red")).map(drop),
        then: |host| host.detach("c1", Some("red")),
    },
    Scenario {
        name: "attachment to a routed network",
        setup: |host| {
            blue_with_c0(host);
            host.create_routed("red");
            host.attach("c0", "red");
        },
        act: |engine| engine.attach(&attach_publishing("c1", "red")).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "attachment by a point-to-point link of CNI",
        setup: blue_with_c0,
        act: |engine| engine.attach(&given("c1", ptp())).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "what is chained behind a point-to-point link",
        setup: |host| drop(host.engine().attach(&given("c1", ptp())).unwrap()),
        act: |engine| engine.amend(&Amend { publish: ports(), ..amend() }).map(drop),
        then: |host| {
            host.engine().amend(&Amend { publish: Some(Vec::new()), ..amend() }).unwrap();
        },
    },
    Scenario {
        name: "attachment to a macvlan network",
        setup: |host| host.create_child("lan"),
        act: |engine| engine.attach(&attach("c1", "lan")).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "attachment by a child of an interface of the sandbox's own",
        setup: has_eth9,
        act: |engine| engine.attach(&given("c1", on("eth9", (macvlan(), true)))).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "attachment by a device of the host's",
        setup: has_nic0,
        act: |engine| engine.attach(&given("c1", device())).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "attachment in a VLAN of a bridge",
        setup: |_| {},
        act: |engine| engine.attach(&tagged("c1")).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "attachment by a tap",
        setup: |_| {},
        act: |engine| engine.attach(&given("c1", Driver::Solo(Solo::Tap(Tap::default())))).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "another hardware address of a child",
        setup: |host| drop(host.engine().attach(&given("c1", on("uplink", (macvlan(), false)))).unwrap()),
        act: |engine| engine.amend(&Amend { publish: None, ..other_mac_and_ports() }).map(drop),
        then: |host| drop(host.engine().amend(&Amend { tune: Some(Vec::new()), ..amend() }).unwrap()),
    },
    Scenario {
        name: "attachment with a lease",
        setup: |host| {
            host.create_leased("lan");
            host.attach("c0", "lan");
        },
        act: |engine| engine.attach(&attach("c1", "lan")).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "creation of a network on a VLAN",
        setup: |_| {},
        act: |engine| engine.create_network(&child("lan")).map(drop),
        then: |host| host.remove("lan"),
    },
    Scenario {
        name: "publishing what is attached",
        setup: |host| {
            blue_with_c0(host);
            host.attach("c1", "blue");
        },
        act: |engine| engine.amend(&Amend { publish: ports(), ..amend() }).map(drop),
        then: |host| {
            host.engine().amend(&Amend { publish: Some(Vec::new()), ..amend() }).unwrap();
        },
    },
    Scenario {
        name: "adoption",
        setup: Host::add_strangers,
        act: |engine| engine.attach(&adoption("c1")).map(drop),
        then: |host| drop(host.engine().amend(&stranger()).unwrap()),
    },
    Scenario {
        name: "everything of what is adopted",
        setup: |host| {
            host.add_strangers();
            host.adopt("c0");
            host.engine().amend(&Amend { sandbox: "c0".parse().unwrap(), ..everything("8090:80") }).unwrap();
            host.adopt("c1");
            host.engine().amend(&little()).unwrap();
        },
        act: |engine| engine.amend(&everything("8080:80")).map(drop),
        then: |host| drop(host.engine().amend(&little()).unwrap()),
    },
    Scenario {
        name: "settings of what is attached",
        setup: |host| {
            blue_with_c0(host);
            host.attach("c1", "blue");
        },
        act: |engine| engine.amend(&Amend { tune: Some(settings()), ..amend() }).map(drop),
        then: |host| {
            host.engine().amend(&Amend { tune: Some(Vec::new()), ..amend() }).unwrap();
        },
    },
    Scenario {
        name: "limits and a VRF of what is attached",
        setup: |host| {
            blue_with_c0(host);
            host.attach("c1", "blue");
        },
        act: |engine| engine.amend(&Amend { limits: limits(), behind: blue_vrf(), ..amend() }).map(drop),
        then: |host| {
            let nothing = Amend { limits: Some(Limits::default()), behind: Some(None), ..amend() };
            host.engine().amend(&nothing).unwrap();
        },
    },
    Scenario {
        name: "routing by source of what is attached",
        setup: |host| {
            blue_with_c0(host);
            host.attach("c1", "blue");
        },
        act: |engine| engine.amend(&Amend { sources: sources(), ..amend() }).map(drop),
        then: |host| {
            host.engine().amend(&Amend { sources: Some(Sources::default()), ..amend() }).unwrap();
        },
    },
    Scenario {
        name: "limits and sources of what is adopted",
        setup: |host| {
            host.add_strangers();
            host.adopt("c1");
            host.engine().amend(&little()).unwrap();
        },
        act: |engine| engine.amend(&Amend { limits: limits(), sources: sources(), ..stranger() }).map(drop),
        then: |host| {
            let nothing =
                Amend { limits: Some(Limits::default()), sources: Some(Sources::default()), ..stranger() };
            host.engine().amend(&nothing).unwrap();
        },
    },
    Scenario {
        name: "attachment to nothing",
        setup: |_| {},
        act: |engine| engine.attach(&attach("c1", "none")).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "creation",
        setup: blue_with_c0,
        act: |engine| engine.create_network(&create("green")).map(drop),
        then: |host| host.remove("green"),
    },
    Scenario {
        name: "creation where what is forwarded is dropped",
        setup: |host| {
            all_dropped(host);
            blue_with_c0(host);
        },
        act: |engine| engine.create_network(&create("green")).map(drop),
        then: |host| host.remove("green"),
    },
    Scenario {
        name: "attachment to a routed network where what is forwarded is dropped",
        setup: |host| {
            all_dropped(host);
            host.create_routed("red");
        },
        act: |engine| engine.attach(&attach_publishing("c1", "red")).map(drop),
        then: |host| host.detach("c1", None),
    },
];

/// A detachment, a removal or a repair that fails is finished by the next one.
pub const FORWARD: [Scenario; 22] = [
    Scenario {
        name: "detachment",
        setup: |host| {
            blue_with_c0(host);
            host.engine().attach(&attach_publishing("c1", "blue")).unwrap();
        },
        act: |engine| engine.detach(&detach("c1", None)).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "removal where what is forwarded is dropped",
        setup: |host| {
            blue_with_c0(host);
            all_dropped(host);
            host.create("green");
        },
        act: |engine| engine.remove_network(&"green".parse().unwrap()).map(drop),
        then: |host| host.remove("green"),
    },
    // That the network needs it is noted first: it stays noted, and is looked after, whatever becomes of the act.
    Scenario {
        name: "letting through what is adopted",
        setup: |host| {
            host.add_strangers();
            all_dropped(host);
            host.adopt("c1");
            host.engine().amend(&little()).unwrap();
        },
        act: |engine| engine.amend(&let_through()).map(drop),
        then: |host| drop(host.engine().amend(&let_through()).unwrap()),
    },
    Scenario {
        name: "detachment of what is adopted",
        setup: |host| {
            host.add_strangers();
            host.adopt("c1");
            host.engine().amend(&everything("8080:80")).unwrap();
        },
        act: |engine| engine.detach(&detach("c1", Some("adopted.n1"))).map(drop),
        then: |host| host.detach("c1", Some("adopted.n1")),
    },
    Scenario {
        name: "ports that go to another network of the container",
        setup: |host| {
            host.add_strangers();
            for name in ["net1", "net2"] {
                host.engine().attach(&adoption_of("c1", name)).unwrap();
                let publish = Some(vec!["8080:80".parse().unwrap()]);
                host.engine().amend(&Amend { publish, held: true, ..stranger_at(name) }).unwrap();
            }
        },
        act: |engine| {
            engine.amend(&Amend { publish: Some(Vec::new()), ..stranger_at("net1") }).map(drop)?;
            let left = engine.store().endpoint(&"c1".parse().unwrap(), "net2").unwrap().unwrap();
            assert_eq!(left.publish().len(), 2, "both families: {left:?}");
            Ok(())
        },
        then: |host| drop(host.engine().amend(&stranger_at("net1")).unwrap()),
    },
    Scenario {
        name: "another hardware address and other ports",
        setup: |host| {
            blue_with_c0(host);
            host.attach("c1", "blue");
            host.engine()
                .amend(&Amend { publish: Some(vec!["8081:81".parse().unwrap()]), ..amend() })
                .unwrap();
        },
        act: |engine| engine.amend(&other_mac_and_ports()).map(drop),
        then: |host| drop(host.engine().amend(&other_mac_and_ports()).unwrap()),
    },
    Scenario {
        name: "detachment from the network with the default route",
        setup: |host| {
            host.create("blue");
            host.create("red");
            host.attach("c1", "blue");
            host.attach("c1", "red");
        },
        act: |engine| engine.detach(&detach("c1", Some("blue"))).map(drop),
        then: |host| host.detach("c1", Some("blue")),
    },
    Scenario {
        name: "detachment from a routed network with the default route",
        setup: |host| {
            host.create_routed("red");
            host.create_routed("green");
            host.attach("c1", "red");
            host.attach("c1", "green");
        },
        act: |engine| engine.detach(&detach("c1", Some("red"))).map(drop),
        then: |host| host.detach("c1", Some("red")),
    },
    Scenario {
        name: "repair of a routed network",
        setup: |host| {
            host.create_routed("red");
            host.attach("c0", "red");
            let mut world = host.kernel.world();
            world.remove_link(&"rt-red".parse().unwrap());
            world.objects.retain(|key, _| !matches!(key, Key::HostRoute(_) | Key::Neighbour(..)));
        },
        act: repairs,
        then: |host| drop(host.engine().repair().unwrap()),
    },
    Scenario {
        name: "detachment of the last point-to-point link",
        setup: |host| {
            blue_with_c0(host);
            host.engine().attach(&given("c1", ptp())).unwrap();
            let other =
                Amend { publish: ports(), ingress: Some(Ingress::SameBridge), ..other_mac_and_ports() };
            host.engine().amend(&other).unwrap();
        },
        act: |engine| engine.detach(&detach("c1", None)).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "detachment from a macvlan network",
        setup: |host| {
            host.create_child("lan");
            host.attach("c0", "lan");
            host.attach("c1", "lan");
        },
        act: |engine| engine.detach(&detach("c1", None)).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "detachment of a device of the host's",
        setup: lent,
        act: |engine| engine.detach(&detach("c1", None)).map(drop),
        then: has_come_back,
    },
    Scenario {
        name: "detachment of a device whose sandbox vanished",
        setup: |host| {
            lent(host);
            host.kernel.world().remove_namespace(&netns("c1"));
        },
        act: |engine| engine.detach(&detach("c1", None)).map(drop),
        then: has_come_back,
    },
    Scenario {
        name: "repair where a sandbox with a device vanished",
        setup: |host| {
            lent(host);
            host.kernel.world().remove_namespace(&netns("c1"));
        },
        act: repairs,
        then: has_come_back,
    },
    Scenario {
        name: "detachment of the last in a VLAN of a bridge",
        setup: |host| drop(host.engine().attach(&tagged("c1")).unwrap()),
        act: |engine| engine.detach(&detach("c1", None)).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "detachment of a child of an interface of the sandbox's own",
        setup: |host| {
            has_eth9(host);
            drop(host.engine().attach(&given("c1", on("eth9", (macvlan(), true)))).unwrap());
        },
        act: |engine| engine.detach(&detach("c1", None)).map(drop),
        then: |host| host.detach("c1", None),
    },
    Scenario {
        name: "detachment with a lease, whose router another one inherits",
        setup: |host| {
            host.create_leased("lan");
            host.create_leased("wan");
            host.attach("c1", "lan");
            host.attach("c1", "wan");
        },
        act: |engine| engine.detach(&detach("c1", Some("lan"))).map(drop),
        then: |host| host.detach("c1", Some("lan")),
    },
    Scenario {
        name: "removal of the last network on a VLAN",
        setup: |host| host.create_child("lan"),
        act: |engine| engine.remove_network(&"lan".parse().unwrap()).map(drop),
        then: |host| host.remove("lan"),
    },
    Scenario {
        name: "repair of a VLAN",
        setup: |host| {
            blue_with_c0(host);
            host.create_child("lan");
            host.attach("c1", "lan");
            let mut world = host.kernel.world();
            world.remove_link(&"uplink.10".parse().unwrap());
            world.flush_ruleset();
        },
        act: repairs,
        then: |host| drop(host.engine().repair().unwrap()),
    },
    Scenario {
        name: "removal",
        setup: |host| {
            blue_with_c0(host);
            host.create("green");
        },
        act: |engine| engine.remove_network(&"green".parse().unwrap()).map(drop),
        then: |host| host.remove("green"),
    },
    Scenario {
        name: "removal of the last network",
        setup: |host| host.create("green"),
        act: |engine| engine.remove_network(&"green".parse().unwrap()).map(drop),
        then: |host| host.remove("green"),
    },
    Scenario {
        name: "repair",
        setup: |host| {
            blue_with_c0(host);
            let mut world = host.kernel.world();
            world.remove_link(&"br-blue".parse().unwrap());
            world.flush_ruleset();
        },
        act: repairs,
        then: |host| drop(host.engine().repair().unwrap()),
    },
];

fn amend() -> Amend {
    Amend::new("c1".parse().unwrap(), "eth0".parse().unwrap())
}

/// What a plugin behind a main one of somebody else's asks for.
fn stranger() -> Amend {
    stranger_at("net1")
}

fn stranger_at(ifname: &str) -> Amend {
    Amend::new("c1".parse().unwrap(), ifname.parse().unwrap())
}

fn little() -> Amend {
    Amend {
        publish: Some(vec!["9000:90".parse().unwrap()]),
        clients: Some(Clients::Members),
        ingress: Some(Ingress::Open),
        tune: Some(Vec::new()),
        ..stranger()
    }
}

fn let_through() -> Amend {
    Amend { open: Some(vec![Family::V4, Family::V6]), ..stranger() }
}

fn everything(port: &str) -> Amend {
    Amend {
        publish: Some(vec![port.parse().unwrap(), format!("{port}/udp").parse().unwrap()]),
        clients: Some(Clients::All),
        ingress: Some(Ingress::Isolated),
        tune: Some(settings()),
        ..stranger()
    }
}

fn limits() -> Option<Limits> {
    let rate = Some(Rate { rate: 8_000_000, burst: 800_000 });
    Some(Limits { ingress: rate, egress: rate })
}

fn blue_vrf() -> Option<Option<Behind>> {
    Some(Some(Behind { name: "vrf-blue".parse().unwrap(), table: Some(1001) }))
}

fn sources() -> Option<Sources> {
    let ip = |net: &str, gateway: &str| (net.parse().unwrap(), Some(gateway.parse().unwrap()));
    let ips = vec![ip("10.9.0.2/24", "10.9.0.1"), ip("fd00:9::2/64", "fd00:9::1")];
    Some(Sources { ips, table: None, hints: true })
}

fn settings() -> Vec<(Tunable, Value)> {
    vec![
        (Tunable::Sysctl("net/ipv4/ip_forward".into()), Value::Text("1".into())),
        (Tunable::Mac, Value::Mac("02:00:00:00:00:77".parse().unwrap())),
        (Tunable::Mtu, Value::Number(1400)),
        (Tunable::Promiscuous, Value::Number(1)),
    ]
}

fn ports() -> Option<Vec<PublishSpec>> {
    Some(["8080:80", "5353:53/udp", "7000-7002:70-72"].iter().map(|port| port.parse().unwrap()).collect())
}

fn other_mac_and_ports() -> Amend {
    let mac = Value::Mac("02:00:00:00:00:77".parse().unwrap());
    Amend { publish: ports(), tune: Some(vec![(Tunable::Mac, mac)]), ..amend() }
}

/// A repair that leaves anything has failed.
fn repairs(engine: &mut Engine<Fake>) -> Result<(), EngineError> {
    let left = engine.repair()?.left;
    let what = left.first().map(|what| EngineError::failed("repair", std::io::Error::other(what.clone())));
    what.map_or(Ok(()), Err)
}

fn macvlan() -> Mode {
    Mode::macvlan("bridge").unwrap()
}

/// The host has a device that can be lent.
fn has_nic0(host: &Host) {
    host.kernel.world().links.insert("nic0".into());
}

fn lent(host: &Host) {
    has_nic0(host);
    host.engine().attach(&given("c1", device())).unwrap();
    assert!(!host.kernel.world().links.contains("nic0"), "it is lent");
}

/// Whatever became of the sandbox.
fn has_come_back(host: &Host) {
    host.detach("c1", None);
    assert!(host.kernel.world().links.contains("nic0"), "it is back");
}

/// `c1` has an interface that somebody else made.
fn has_eth9(host: &Host) {
    host.kernel.world().namespaces.get_mut(&netns("c1")).unwrap().links.insert("eth9".into());
}

/// As Docker does it.
fn all_dropped(host: &Host) {
    let mut world = host.kernel.world();
    let both = [Family::V4, Family::V6];
    (world.drops, world.drops_incoming) = (both.into(), both.into());
    world.generation += 1;
}

fn blue_with_c0(host: &Host) {
    host.create("blue");
    host.attach("c0", "blue");
}

impl Scenario {
    /// A host as it is before the act.
    pub fn host(&self) -> (Host, Snapshot) {
        let host = Host::new();
        (self.setup)(&host);
        let before = host.snapshot();
        (host, before)
    }

    /// Tries `point` at 1, 2, 3 … until it is not reached any more, and asserts that there was one.
    pub fn at_every_point(&self, point: impl Fn(&Self, usize) -> bool) {
        let count = (1..2000).take_while(|at| point(self, *at)).count();
        println!("{}: {count} points", self.name);
        assert!(count > 0, "{}: no point was reached", self.name);
        assert!(count < 1999, "{}: there is no end of points", self.name);
    }
}
