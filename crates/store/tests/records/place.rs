//! A store in a directory of its own, and what is put in it.

use qiao_core::driver::{Activation, Active};
use qiao_core::endpoint::{Join, Wire, host_if};
use qiao_core::owner::EndpointId;
use qiao_core::plan::Sysctl;
use qiao_core::port::{Backend, Listen, Publish, PublishSpec};
use qiao_core::{Bridge, Driver, Endpoint, IfName, Mac, Network, NetworkId, Plan, Pool, SandboxName};
use qiao_store::{Journal, Made, Paths, Saved, Store};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A place for a store; it goes with its value.
pub struct Place(PathBuf);

impl Place {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("store-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path); // of a killed test, whose number this process has again
        Self(path)
    }

    pub fn store(&self) -> Store {
        let path = |name| self.0.join(name).to_string_lossy().into_owned();
        Store::open(&Paths { state: path("state"), run: path("run") }).unwrap()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.file(name)).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn network() -> Network {
    let bridge = Bridge {
        device: "br-blue".parse().unwrap(),
        pools: vec![Pool::new("10.0.0.0/24".parse().unwrap())],
        mtu: None,
        internal: false,
        host_access: true,
        icc: true,
        isolate: true,
        masquerade: true,
        guard: true,
        publish_address: None,
        dns: None,
        vrf: None,
        inline: None,
    };
    let id = NetworkId::from_bytes([7; 32]);
    let name = "blue".parse().unwrap();
    Network { id, name, driver: Driver::Bridge(bridge), labels: Default::default(), created: 7 }
}

/// An endpoint with an address that ends in `host`, and published ports.
pub fn endpoint(sandbox: &str, host: u8, publish: &[&str]) -> Endpoint {
    let (sandbox, ifname): (SandboxName, IfName) = (sandbox.parse().unwrap(), "eth0".parse().unwrap());
    let ip = std::net::IpAddr::from([10, 0, 0, host]);
    let wire = Wire {
        join: Join::Pair,
        host_if: host_if(&sandbox, &ifname, 0),
        mac: Mac::derived(7, ip),
        addresses: vec![format!("10.0.0.{host}/24").parse().unwrap()],
        mtu: 1500,
        gateways: vec![[10, 0, 0, 1].into()],
        publish: publish.iter().map(|spec| published(spec, ip)).collect(),
        guard: true,
        allow: vec![],
        extras: Default::default(),
    };
    let id = EndpointId { sandbox, ifname, network: "blue".parse().unwrap() };
    Endpoint { id, netns: None, wire: Some(wire), attached: 7 }
}

fn published(spec: &str, ip: std::net::IpAddr) -> Publish {
    let spec: PublishSpec = spec.parse().unwrap();
    let any = std::net::Ipv4Addr::UNSPECIFIED.into();
    let host = qiao_core::port::HostAddr::from_ip(spec.host_ip.unwrap_or(any));
    let listen = Listen { protocol: spec.protocol, host, ports: spec.host.unwrap() };
    Publish { listen, backend: Backend { ip, port: spec.container.first() } }
}

pub fn journal(endpoint: Endpoint) -> Journal {
    Journal { endpoint, made: Made::Plan(Plan::default()), activates: false, creates: false }
}

pub fn active() -> Active {
    let network = network();
    let activation = Activation::new(&network, network.bridge().unwrap(), (1500, false));
    [(network.name, activation)].into()
}

pub fn saved() -> Saved {
    Saved { sysctls: vec![(Sysctl::Forward4, 0)], ..Saved::default() }
}

/// A store with one of everything: a network in use, two endpoints, an attachment that has begun.
pub fn filled() -> Place {
    let place = Place::new();
    let store = place.store();
    let txn = store.begin().unwrap();
    txn.save_network(&network()).unwrap();
    txn.set_active(&active()).unwrap();
    txn.save(&saved()).unwrap();
    let changes = txn.changes().unwrap();
    for (sandbox, host) in [("c1", 2), ("c2", 3)] {
        let endpoint = endpoint(sandbox, host, &[]);
        changes.attach(&journal(endpoint.clone())).unwrap();
        assert_eq!(txn.claims().take(&endpoint).unwrap(), None);
        changes.attached(&endpoint, &txn.endpoints_dir().unwrap()).unwrap();
    }
    changes.attach(&journal(endpoint("c3", 4, &[]))).unwrap();
    drop(txn);
    place
}
