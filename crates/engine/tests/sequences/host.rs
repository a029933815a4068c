//! A host to try things on: a fake kernel, and a store in a directory of its own.

use qiao_core::child::{Broadcasts, Child, Mode};
use qiao_core::dhcp::{Ask, Keeper, Leased, Tenant, Terms, Trouble};
use qiao_core::endpoint::{Extras, Join, PortVlans, Wire};
use qiao_core::network::Inline;
use qiao_core::plan::{Found, Key, Ownership};
use qiao_core::request::{Attach, CreateNetwork, Detach, Given, Kind};
use qiao_core::settings::Settings;
use qiao_core::solo::{Select, Solo};
use qiao_core::{Bridge, Driver, Network, NetworkId, NetworkName, Owner, Pool, SandboxName};
use qiao_engine::{Engine, EngineError};
use qiao_kernel::fake::Fake;
use qiao_store::Paths;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A host.
pub struct Host {
    pub kernel: Fake,
    dir: PathBuf,
}

/// Everything that exists: in the kernel, and in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub kernel: BTreeMap<Key, Found>,
    pub store: BTreeMap<String, String>,
}

impl Host {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("host-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let host = Self { kernel: Fake::default(), dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name) };
        let _ = std::fs::remove_dir_all(&host.dir); // of a killed test, whose number this process has again
        ["c0", "c1", "c2"].iter().for_each(|name| host.kernel.world().add_namespace(&netns(name)));
        host
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    /// The directory of what does not survive a reboot.
    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The directory of what does.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The engine as a new process has it.
    pub fn engine(&self) -> Engine<Fake> {
        let paths = Paths { state: self.path("state"), run: self.path("run") };
        let engine = Engine::open(self.kernel.again(), &paths, Settings::default()).unwrap();
        engine.with_keeper(Box::new(self.server()))
    }

    /// The DHCP server.
    pub fn server(&self) -> Server {
        Server(self.dir.join("server"))
    }

    /// Everything that exists.
    pub fn snapshot(&self) -> Snapshot {
        let mut store = BTreeMap::new();
        read_tree(&self.dir, &mut String::new(), &mut store);
        // Interfaces that are neither bridges nor pairs: those that may be lent are among them.
        store.extend(self.kernel.world().links.iter().map(|link| (format!("link {link}"), String::new())));
        Snapshot { kernel: self.kernel.world().objects.clone(), store }
    }

    /// Asserts that everything is as it must be: nothing to mend, nothing begun, no claim without an endpoint,
    /// no mark without one, and a way out for every sandbox.
    pub fn assert_healthy(&self, when: &str) {
        let mut engine = self.engine();
        let health = engine.check().unwrap();
        assert!(health.findings.is_empty(), "{when}: {:#?}", health.findings);
        let endpoints = engine.store().endpoints().unwrap();
        let keys: BTreeSet<String> = endpoints.iter().map(|endpoint| endpoint.id.key()).collect();
        let Snapshot { kernel, store } = self.snapshot();
        for (path, target) in store.iter().filter(|(path, _)| is_claim(path)) {
            let owner = target.split(' ').next().unwrap();
            assert!(keys.contains(owner), "{when}: {path} is of {target}");
        }
        let pending: Vec<_> = store
            .keys()
            .filter(|path| !path.ends_with(".tmp"))
            .filter(|path| path.contains("/pending/") || path.contains("/quarantine/"))
            .collect();
        assert!(pending.is_empty(), "{when}: {pending:?}");
        for (key, found) in &kernel {
            if let Ownership::Marked(Owner::Endpoint(id)) = &found.owner {
                let lost = !keys.contains(&id.key()) && !matches!(key, Key::SandboxLoopback(_));
                assert!(!lost, "{when}: {key:?} of {id} is left");
            }
        }
        let is_elsewhere = |wire: &Wire| wire.extras.vrf.is_some() || wire.extras.sourced.is_some();
        let ours = |wire: &Wire| wire.join != Join::Adopted && !is_elsewhere(wire);
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.wire.as_ref().is_some_and(ours)) {
            let out = Key::Route(endpoint.sandbox().clone(), "0.0.0.0/0".parse().unwrap());
            assert!(kernel.contains_key(&out), "{when}: {} has no way out", endpoint.sandbox());
        }
        let mut notes = engine.store().take_notes();
        notes.retain(|note| !note.contains("the policy of FORWARD")); // which drops in the fake kernel
        assert!(notes.is_empty(), "{when}: {notes:?}");
    }

    /// Somebody else attaches all sandboxes, as `net1` and `net2`.
    pub fn add_strangers(&self) {
        let mut world = self.kernel.world();
        let links = world.namespaces.values_mut().map(|namespace| &mut namespace.links);
        links.for_each(|links| links.extend(["net1".to_owned(), "net2".to_owned()]));
    }

    /// Adopts what somebody else attached.
    pub fn adopt(&self, sandbox: &str) {
        self.engine().attach(&adoption(sandbox)).unwrap();
    }

    pub fn attach(&self, sandbox: &str, network: &str) {
        self.engine().attach(&attach(sandbox, network)).unwrap();
    }

    pub fn detach(&self, sandbox: &str, network: Option<&str>) {
        self.engine().detach(&detach(sandbox, network)).unwrap();
    }

    pub fn create(&self, name: &str) {
        self.engine().create_network(&create(name)).unwrap();
    }

    /// Creates a network with a route for each endpoint.
    pub fn create_routed(&self, name: &str) {
        self.engine().create_network(&CreateNetwork { kind: Kind::Routed, ..create(name) }).unwrap();
    }

    /// Creates a network on a VLAN of the uplink.
    pub fn create_child(&self, name: &str) {
        self.engine().create_network(&child(name)).unwrap();
    }

    /// Creates a network whose addresses a DHCP server gives.
    pub fn create_leased(&self, name: &str) {
        let request = CreateNetwork { dhcp: true, subnets: Vec::new(), ..child(name) };
        self.engine().create_network(&request).unwrap();
    }

    /// Removes a network if it is there.
    pub fn remove(&self, name: &str) {
        match self.engine().remove_network(&name.parse::<NetworkName>().unwrap()) {
            Ok(_) => {}
            Err(EngineError::Refused(refusal)) if refusal.code == qiao_core::Code::NotFound => {}
            Err(error) => panic!("{}", chain(&error)),
        }
    }
}

/// A DHCP server and who keeps its leases: a file a lease, so that they are seen in snapshots.
#[derive(Debug)]
pub struct Server(PathBuf);

impl Server {
    fn file(&self, tenant: &Tenant) -> PathBuf {
        self.0.join(tenant.to_string().replace('/', "@"))
    }
}

impl Keeper for Server {
    fn acquire(&mut self, ask: &Ask) -> Result<Leased, Trouble> {
        let host: u8 = ask.tenant.sandbox.trim_start_matches('c').parse().unwrap();
        std::fs::create_dir_all(&self.0).unwrap();
        if !ask.only_offer {
            std::fs::write(self.file(&ask.tenant), "leased").unwrap();
        }
        let address = format!("192.0.2.{}/24", 100 + host).parse().unwrap();
        let router = [192, 0, 2, 1].into();
        let to = ("198.51.100.0/24".parse().unwrap(), Some([192, 0, 2, 9].into()));
        let terms = Terms {
            address,
            server: router,
            routers: vec![router],
            routes: vec![to],
            dns: Vec::new(),
            domain: None,
            mtu: Some(1400),
            seconds: None,
        };
        Ok(Leased { terms, mac: ask.mac.unwrap() })
    }

    fn release(&mut self, tenant: &Tenant) -> Result<(), Trouble> {
        let _ = std::fs::remove_file(self.file(tenant));
        Ok(())
    }

    fn tenants(&mut self) -> Result<Vec<(Tenant, u64)>, Trouble> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let tenant = |name: String| {
            let mut words = name.split('@').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            (Tenant { sandbox: word(), network: word(), ifname: word() }, 0)
        };
        Ok(entries.map(|entry| tenant(entry.file_name().to_string_lossy().into_owned())).collect())
    }

    fn is_dead(&mut self) -> bool {
        false
    }

    fn revive(&mut self) -> Result<(), Trouble> {
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Snapshot {
    /// Without the loopback interfaces that are up: they stay so, since others may use them.
    pub fn without_loopback(mut self) -> Self {
        self.kernel.retain(|key, _| !matches!(key, Key::SandboxLoopback(_)));
        self
    }

    /// Without the files that a killed command began to write; nobody reads them.
    pub fn without_unfinished(mut self) -> Self {
        self.store.retain(|path, _| !path.ends_with(".tmp"));
        self
    }

    /// What differs, in words.
    pub fn difference(&self, other: &Self) -> Vec<String> {
        [different(&self.kernel, &other.kernel), different(&self.store, &other.store)].concat()
    }
}

fn different<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    a: &BTreeMap<K, V>,
    b: &BTreeMap<K, V>,
) -> Vec<String> {
    let keys: BTreeSet<&K> = a.keys().chain(b.keys()).collect();
    let differ = keys.into_iter().filter(|key| a.get(key) != b.get(key));
    differ.map(|key| format!("{key:?}: {:?} is not {:?}", a.get(key), b.get(key))).collect()
}

/// Asserts that two snapshots are the same.
#[track_caller]
pub fn assert_same(found: &Snapshot, wanted: &Snapshot, when: &str) {
    let difference = found.difference(wanted);
    assert!(difference.is_empty(), "{when}: {difference:#?}");
}

/// Reads files and links. The address given out last, the firewall's generation, the boot and the lock are
/// left out: they only steer, and directories come and go with what is in them.
fn read_tree(dir: &Path, path: &mut String, found: &mut BTreeMap<String, String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if matches!(&*name, "last4" | "last6" | "boot" | "engine" | "lock") {
            continue;
        }
        let kind = entry.file_type().unwrap();
        let length = path.len();
        path.push('/');
        path.push_str(&name);
        if kind.is_dir() {
            read_tree(&entry.path(), path, found);
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).unwrap();
            found.insert(path.clone(), target.to_string_lossy().into_owned());
        } else {
            found.insert(
                path.clone(),
                String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned(),
            );
        }
        path.truncate(length);
    }
}

fn is_claim(path: &str) -> bool {
    ["leases", "macs", "ports", "ranges"].iter().any(|kind| path.starts_with(&format!("/run/{kind}/")))
        && !path.ends_with(".tmp")
}

/// Where a sandbox's namespace is.
pub fn netns(sandbox: &str) -> String {
    format!("/run/netns/{sandbox}")
}

pub fn attach(sandbox: &str, network: &str) -> Attach {
    let mut request = Attach::new(sandbox.parse::<SandboxName>().unwrap());
    request.netns = Some(netns(sandbox));
    request.network = Some(network.parse().unwrap());
    request
}

/// What makes an interface of somebody else's known.
pub fn adoption(sandbox: &str) -> Attach {
    adoption_of(sandbox, "net1")
}

pub fn adoption_of(sandbox: &str, ifname: &str) -> Attach {
    let name: NetworkName = format!("adopted.{}", ifname.replace("net", "n")).parse().unwrap();
    let network = Network {
        id: NetworkId::from_bytes([9; 32]),
        name,
        driver: Driver::Adopted(Default::default()),
        labels: Default::default(),
        created: 0,
    };
    let (host, net) = (sandbox.as_bytes()[1], ifname.as_bytes()[3] - b'0');
    let addresses = [format!("10.9.{net}.{host}/24"), format!("fd00:{net}::{host}/64")];
    let addresses = addresses.map(|net| net.parse().unwrap());
    let given = Given { held: true, ..Given::new(network, addresses.into(), Default::default()) };
    let ifname = Some(ifname.parse().unwrap());
    Attach { network: None, ifname, given: Some(Box::new(given)), ..attach(sandbox, "unused") }
}

/// The same with published ports of every kind.
pub fn attach_publishing(sandbox: &str, network: &str) -> Attach {
    let ports =
        ["8080:80", "5353:53/udp", "127.0.0.1:9000:90", "10000-10031:10000-10031/udp", "7000-7002:70-72"];
    Attach { publish: ports.iter().map(|port| port.parse().unwrap()).collect(), ..attach(sandbox, network) }
}

pub fn detach(sandbox: &str, network: Option<&str>) -> Detach {
    let network = network.map(|name| name.parse().unwrap());
    Detach { sandbox: sandbox.parse().unwrap(), network, ifname: None }
}

/// A network of both families.
pub fn create(name: &str) -> CreateNetwork {
    CreateNetwork { ipv6: Some(true), ..CreateNetwork::new(name.parse().unwrap()) }
}

/// A macvlan network on a VLAN of the uplink.
pub fn child(name: &str) -> CreateNetwork {
    CreateNetwork {
        kind: Kind::Macvlan,
        parent: Some("uplink.10".parse().unwrap()),
        subnets: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
        ..CreateNetwork::new(name.parse().unwrap())
    }
}

/// What a door asks for that describes the network itself, with an address of each sandbox's own.
pub fn given(sandbox: &str, driver: Driver) -> Attach {
    let name: NetworkName = "cni.n1".parse().unwrap();
    let (id, number) = (NetworkId::from_bytes([9; 32]), sandbox.bytes().last().unwrap() - b'0');
    let network = Network { id, name, driver, labels: Default::default(), created: 0 };
    let address = format!("10.9.0.{}/{}", 10 + number, if network.bridge().is_some() { 32 } else { 24 });
    let out = ("0.0.0.0/0".parse().unwrap(), Some("10.9.0.1".parse().unwrap()));
    let extras = Extras { routes: vec![out], ..Extras::default() };
    let given = Given::new(network, vec![address.parse().unwrap()], extras);
    Attach {
        ifname: Some("eth0".parse().unwrap()),
        given: Some(Box::new(given)),
        ..attach(sandbox, "cni.n1")
    }
}

/// A network of point-to-point links as CNI has it.
pub fn ptp() -> Driver {
    Driver::Routed(Bridge {
        device: "qiao-ptp".parse().unwrap(),
        pools: vec![Pool::new("10.9.0.0/24".parse().unwrap())],
        mtu: None,
        internal: false,
        host_access: true,
        icc: true,
        isolate: false,
        masquerade: true,
        guard: true,
        publish_address: None,
        dns: None,
        vrf: None,
        inline: Some(Inline { routed: true, apart: false, ..Inline::default() }),
    })
}

/// A network on a VLAN of a bridge, as CNI has it.
pub fn tagged(sandbox: &str) -> Attach {
    let Driver::Routed(bridge) = ptp() else { panic!("a routed network") };
    let inline = Inline { routed: true, filtering: true, vlan: Some(7), ..Inline::default() };
    let bridge = Bridge { device: "cni0".parse().unwrap(), inline: Some(inline), ..bridge };
    let mut request = given(sandbox, Driver::Bridge(bridge));
    let given = request.given.as_mut().unwrap();
    given.addresses =
        given.addresses.iter().map(|net| format!("{}/24", net.addr()).parse().unwrap()).collect();
    given.extras.vlans = Some(PortVlans { native: Some(7), untagged: [7].into(), ..PortVlans::default() });
    request
}

/// A network of interfaces on another one, as CNI has it.
pub fn on(parent: &str, (mode, inside): (Mode, bool)) -> Driver {
    let parent = parent.parse().unwrap();
    let (pools, mtu) = (Vec::new(), None);
    let broadcasts = Broadcasts { queue: Some(9), cutoff: Some(2) };
    Driver::Child(Child {
        parent,
        mode,
        pools,
        mtu,
        internal: false,
        inside,
        broadcasts,
        dhcp: false,
        inline: true,
    })
}

/// A network of a device of the host's, as CNI has it.
pub fn device() -> Driver {
    Driver::Solo(Solo::Device(Select::Name("nic0".parse().unwrap())))
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
