//! Golden plans: what a request comes to, as a file that can be read aloud. `UPDATE_GOLDEN=1 cargo test` writes
//! them anew; look at the difference before it is committed.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "`core` is pure, its tests are not")]

use ipnet::IpNet;
use qiao_core::child::{Mode, Vlan};
use qiao_core::driver::{Activation, HostNeeds, endpoint_state, host, network_state, restored};
use qiao_core::endpoint::{Extras, Join, Place, PortVlans, Tunable, Tuned, Way, Wire, host_if};
use qiao_core::network::{Adopted, Inline};
use qiao_core::owner::EndpointId;
use qiao_core::plan::{Key, Observed, Ownership, RouteId, State, Sysctl, Value, diff};
use qiao_core::port::{Backend, HostAddr, Listen, PortRange, Publish, PublishSpec};
use qiao_core::render::{self, Paths};
use qiao_core::solo::{Lent, Select, Tap};
use qiao_core::source::Origin;
use qiao_core::subnet::Family;
use qiao_core::{Bridge, Child, Driver, Endpoint, IfName, Mac, Network, NetworkId, Owner, Plan, Pool, Solo};
use std::fmt::Write as _;
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "plans", name].iter().collect()
}

/// Compares with the file, or writes it.
fn golden(name: &str, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file(name), text).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(file(name)).unwrap_or_default();
    if wanted == text {
        return;
    }
    let first = wanted.lines().zip(text.lines()).find(|(a, b)| a != b);
    panic!(
        "{name} is not what it was, first at {first:?}\n{text}\nUPDATE_GOLDEN=1 cargo test writes it anew"
    );
}

fn bridge(name: &str, subnets: &[&str]) -> Bridge {
    Bridge {
        device: IfName::new(&format!("br-{name}")).unwrap(),
        pools: subnets.iter().map(|subnet| Pool::new(subnet.parse().unwrap())).collect(),
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
    }
}

fn network(name: &str, bridge: Bridge) -> Network {
    bridge.check().unwrap();
    let id = NetworkId::from_bytes([name.len() as u8; 32]);
    Network {
        id,
        name: name.parse().unwrap(),
        driver: Driver::Bridge(bridge),
        labels: Default::default(),
        created: 0,
    }
}

/// The same with a route for each endpoint.
fn routed(name: &str, bridge: Bridge) -> Network {
    let device = IfName::new(&format!("rt-{name}")).unwrap();
    Network { driver: Driver::Routed(Bridge { device, ..bridge.clone() }), ..network(name, bridge) }
}

/// The first endpoint of a network that `c1` is on.
fn endpoint(network: &Network, (ifname, gateways): (&str, bool), publish: &[&str]) -> Endpoint {
    let second = |pool: &Pool| {
        let number = qiao_core::subnet::number(pool.gateway) + 1;
        network.endpoint_net(pool, pool.subnet.family().address(number))
    };
    let addresses: Vec<IpNet> = network.pools().iter().map(second).collect();
    let (sandbox, ifname) = ("c1".parse().unwrap(), IfName::new(ifname).unwrap());
    let wire = Wire {
        join: match network.child().map(|child| child.mode) {
            None => Join::Pair,
            Some(Mode::Macvlan(_)) => Join::Macvlan,
            Some(Mode::Ipvlan(..)) => Join::Ipvlan,
            Some(Mode::Vlan(_)) => Join::Vlan,
        },
        host_if: host_if(&sandbox, &ifname, 0),
        mac: Mac::derived(network.mac_number(), addresses[0].addr()),
        mtu: 1500,
        gateways: network
            .pools()
            .iter()
            .map(|pool| pool.gateway)
            .filter(|_| gateways && !network.is_internal())
            .collect(),
        publish: publish.iter().flat_map(|spec| published(spec, &addresses)).collect(),
        addresses,
        guard: network.bridge().is_some_and(|bridge| bridge.guard),
        allow: Vec::new(),
        extras: Default::default(),
    };
    let id = EndpointId { sandbox, ifname, network: network.name.clone() };
    Endpoint { id, netns: None, wire: Some(wire), attached: 0 }
}

fn published(spec: &str, addresses: &[IpNet]) -> Vec<Publish> {
    let spec: PublishSpec = spec.parse().unwrap();
    let to = |host: HostAddr| {
        let ip = addresses.iter().map(IpNet::addr).find(|ip| Family::of(*ip) == host.family())?;
        let ports: PortRange = spec.host.unwrap();
        let listen = Listen { protocol: spec.protocol, host, ports };
        Some(Publish { listen, backend: Backend { ip, port: spec.container.first() } })
    };
    let hosts = spec
        .host_ip
        .map_or(vec![HostAddr::Any(Family::V4), HostAddr::Any(Family::V6)], |ip| vec![HostAddr::from_ip(ip)]);
    hosts.into_iter().filter_map(to).collect()
}

/// What a host is before us and after us: as far as we change its settings, they are off.
fn untouched(used: &State) -> State {
    let mut state = State::default();
    for key in used.keys().filter(|key| matches!(key, Key::Sysctl(_))) {
        state.insert(key.clone(), &Owner::Host, Value::Number(0));
    }
    state
}

/// A host that forwarded nothing before us, with these networks in use.
fn host_state(networks: &[&Network]) -> State {
    let mut forward: Vec<Family> = networks.iter().flat_map(|n| activation(n).routes).collect();
    forward.sort();
    forward.dedup();
    let saved = [(Sysctl::Forward4, 0), (Sysctl::Forward6, 0)].into();
    let ruleset = networks.iter().any(|n| activation(n).needs_rules()).then_some(0);
    let mut state = host(&HostNeeds { forward, saved, ruleset, ..HostNeeds::default() });
    networks.iter().for_each(|network| state.extend(network_state(network, &activation(network))));
    state
}

/// How a network is in use. Its parent, if it has one that is a VLAN, is ours to make.
fn activation(network: &Network) -> Activation {
    let parent = "02:00:00:00:00:01".parse().unwrap();
    match (network.bridge(), network.child()) {
        (Some(bridge), _) => Activation::new(network, bridge, (1500, false)),
        (_, Some(child)) => Activation::of_child(child, (parent, 1500), Vlan::of_name(&child.parent)),
        _ => Activation::of_solo(network),
    }
}

fn attached(network: &Network, endpoint: &Endpoint) -> State {
    endpoint_state(network, &activation(network), endpoint)
}

/// States put together.
fn all(states: &[State]) -> State {
    let mut all = State::default();
    states.iter().for_each(|state| all.extend(state.clone()));
    all
}

fn seen(state: &State) -> Observed {
    let mut observed = Observed::default();
    for (key, object) in state.iter() {
        let owner = match key {
            Key::SandboxLoopback(_) => Ownership::Ours, // it bears no mark: any endpoint may want it
            _ => Ownership::Marked(object.owner.clone()),
        };
        observed.insert(key.clone(), owner, object.value.clone());
    }
    observed
}

/// A golden plan: what it is, from which state to which.
struct Case<'a> {
    name: &'a str,
    title: &'a str,
    about: Vec<String>,
    from: State,
    to: State,
}

impl Case<'_> {
    fn plan(&self) -> Plan {
        diff(&seen(&self.from), &self.to).unwrap()
    }

    fn check(&self) {
        let plan = self.plan();
        let again = diff(&seen(&self.to), &self.to).unwrap();
        let mut text = format!("# {}\n", self.title);
        self.about.iter().for_each(|line| writeln!(text, "{line}").unwrap());
        write!(text, "plan:\n{}", indented(&render::plan(&plan))).unwrap();
        write!(text, "again:\n{}", indented(&render::plan(&again))).unwrap();
        write!(text, "taken back:\n{}", indented(&render::plan(&plan.inverse()))).unwrap();
        golden(&format!("{}.plan", self.name), &text);
    }

    fn explain(&self) {
        let paths = Paths::from([("c1".parse().unwrap(), "/run/netns/c1".into())]);
        let mut text = format!("# {}\n", self.title);
        self.about.iter().for_each(|line| writeln!(text, "{line}").unwrap());
        for step in render::steps(&self.plan(), &paths) {
            writeln!(text, "\n{}. {}: {}", step.number, step.title, step.why).unwrap();
            step.commands.iter().for_each(|command| writeln!(text, "   {command}").unwrap());
        }
        golden(&format!("{}.explain", self.name), &text);
    }
}

fn indented(text: &str) -> String {
    if text.is_empty() {
        return "  (nothing)\n".into();
    }
    text.lines().fold(String::new(), |text, line| text + "  " + line + "\n")
}

fn about_network(network: &Network) -> String {
    let Some(bridge) = network.bridge() else { return about_child(network) };
    let pools: Vec<String> =
        bridge.pools.iter().map(|pool| format!("{} gateway {}", pool.subnet, pool.gateway)).collect();
    let flags = [
        (bridge.internal, "internal"),
        (!bridge.host_access, "no host access"),
        (!bridge.icc, "members apart"),
        (!bridge.isolate, "not isolated"),
        (!bridge.masquerade, "no masquerade"),
        (!bridge.guard, "no guard"),
    ];
    let flags: String = flags.iter().filter(|(on, _)| *on).map(|(_, word)| format!(", {word}")).collect();
    let (kind, pools) = (network.driver.as_str(), pools.join(", "));
    format!("network:   {} = {kind} {pools} on {}{flags}", network.name, bridge.device)
}

fn about_child(network: &Network) -> String {
    let child = network.child().unwrap();
    let pools: Vec<String> =
        child.pools.iter().map(|pool| format!("{} gateway {}", pool.subnet, pool.gateway)).collect();
    format!("network:   {} = {} {} on {}", network.name, child.mode, pools.join(", "), child.parent)
}

fn about_endpoint(endpoint: &Endpoint) -> String {
    let addresses: Vec<String> = endpoint.addresses().iter().map(ToString::to_string).collect();
    let publish: String = endpoint.publish().iter().map(|publish| format!(", {publish}")).collect();
    format!(
        "endpoint:  {} {}{publish}",
        endpoint.owner().to_string().trim_start_matches("endpoint "),
        addresses.join(", ")
    )
}

const V4: &[&str] = &["172.30.0.0/24"];
const BOTH: &[&str] = &["172.30.0.0/24", "fd00:30::/64"];

/// The first container of a host's first network.
fn first<'a>(what: (&'a str, &'a str), bridge: Bridge, publish: &[&str]) -> Case<'a> {
    first_of(what, &network("blue", bridge), publish)
}

fn first_of<'a>((name, title): (&'a str, &'a str), network: &Network, publish: &[&str]) -> Case<'a> {
    let endpoint = endpoint(network, ("eth0", true), publish);
    let about = vec![
        about_network(network),
        about_endpoint(&endpoint),
        "observed:  nothing of ours, forwarding off".into(),
    ];
    let to = all(&[host_state(&[network]), attached(network, &endpoint)]);
    Case { name, title, about, from: untouched(&to), to }
}

/// The same on a host where the network is in use.
fn next<'a>(what: (&'a str, &'a str), bridge: Bridge, publish: &[&str]) -> Case<'a> {
    let mut case = first(what, bridge.clone(), publish);
    case.from = host_state(&[&network("blue", bridge)]);
    case.about[2] = "observed:  the network in use".into();
    case
}

#[test]
fn attach() {
    let case = first(("attach-v4", "the first container, IPv4"), bridge("blue", V4), &[]);
    case.check();
    case.explain();
    let case = first(("attach-dual", "the first container, IPv4 and IPv6"), bridge("blue", BOTH), &[]);
    case.check();
    case.explain();
    next(("attach-next", "another container of a network in use"), bridge("blue", V4), &[]).check();
}

#[test]
fn networks_of_every_kind() {
    let plain = || bridge("blue", V4);
    for (what, bridge) in [
        (
            ("attach-internal", "an internal network, without the host"),
            Bridge { internal: true, host_access: false, ..plain() },
        ),
        (
            ("attach-internal-host", "an internal network, with the host"),
            Bridge { internal: true, ..plain() },
        ),
        (("attach-icc-off", "members that do not reach one another"), Bridge { icc: false, ..plain() }),
        (
            ("attach-no-masquerade", "a network that goes out under its own addresses"),
            Bridge { masquerade: false, ..plain() },
        ),
        (("attach-friends", "a network that is not isolated"), Bridge { isolate: false, ..plain() }),
        (("attach-no-guard", "ports that may send anything"), Bridge { guard: false, ..plain() }),
    ] {
        first(what, bridge, &[]).check();
    }
}

#[test]
fn routed_networks() {
    let case = first_of(
        ("routed-first", "the first container of a routed network"),
        &routed("blue", bridge("blue", BOTH)),
        &["8080:80"],
    );
    case.check();
    case.explain();
    let apart =
        Bridge { icc: false, internal: true, host_access: false, masquerade: false, ..bridge("blue", V4) };
    let apart = routed("blue", apart);
    first_of(("routed-internal", "an internal routed network, its members apart"), &apart, &[]).check();
    let blue = routed("blue", bridge("blue", V4));
    let eth0 = endpoint(&blue, ("eth0", true), &[]);
    let (host, about) = (host_state(&[&blue]), vec![about_network(&blue), about_endpoint(&eth0)]);
    let from = all(&[host.clone(), attached(&blue, &eth0)]);
    let title = "the container leaves a routed network";
    Case { name: "routed-detach", title, about, from, to: host }.check();
}

/// A point-to-point network of CNI, as its door describes it; the container is kept apart from others.
#[test]
fn open_routed_networks() {
    let open = Bridge {
        inline: Some(Inline { routed: true, apart: true, ..Inline::default() }),
        ..bridge("blue", BOTH)
    };
    let ptp = routed("blue", Bridge { isolate: false, ..open });
    let mut endpoint = endpoint(&ptp, ("eth0", false), &["8080:80"]);
    let (subnet, gateway) = ("172.30.0.0/24".parse().unwrap(), "172.30.0.1".parse().unwrap());
    let wire = endpoint.wire.as_mut().unwrap();
    wire.extras.routes = vec![(subnet, Some(gateway)), ("0.0.0.0/0".parse().unwrap(), Some(gateway))];
    let other = "02:00:00:00:00:77".parse().unwrap();
    let (before, after) = (Value::Mac(wire.mac), Value::Mac(other));
    wire.extras.tuned = vec![Tuned { what: Tunable::Mac, before, after }];
    (wire.mac, wire.extras.apart) = (other, true);
    let about = vec![about_network(&ptp), about_endpoint(&endpoint), "observed:  nothing of ours".into()];
    let to = all(&[host_state(&[&ptp]), attached(&ptp, &endpoint)]);
    let title = "an open routed network, with all that CNI's plugins ask for behind it";
    Case { name: "routed-open", title, about, from: untouched(&to), to }.check();
}

fn child(name: &str, parent: &str, (mode, subnets): (Mode, &[&str])) -> Network {
    let pools = bridge(name, subnets).pools;
    let child = Child {
        parent: parent.parse().unwrap(),
        mode,
        pools,
        mtu: None,
        internal: false,
        inside: false,
        broadcasts: Default::default(),
        dhcp: false,
        inline: false,
    };
    child.check().unwrap();
    Network { driver: Driver::Child(child), ..network(name, bridge(name, subnets)) }
}

#[test]
fn children() {
    let (bridge, l2) = (Mode::macvlan("bridge").unwrap(), Mode::ipvlan("l2", None).unwrap());
    let lan = child("lan", "eth0", (bridge, BOTH));
    let case = first_of(("macvlan", "a macvlan child of an interface of the host"), &lan, &[]);
    case.check();
    case.explain();
    let vlan = child("lan", "eth0.10", (l2, BOTH));
    let case = first_of(("ipvlan-vlan", "an ipvlan child of a VLAN that is made for it"), &vlan, &[]);
    case.check();
    case.explain();
    let l3 = child("lan", "eth0", (Mode::ipvlan("l3", Some("private")).unwrap(), V4));
    first_of(("ipvlan-l3", "an ipvlan child behind its parent"), &l3, &[]).check();
    let eth0 = endpoint(&vlan, ("eth0", true), &[]);
    let (host, about) = (host_state(&[&vlan]), vec![about_network(&vlan), about_endpoint(&eth0)]);
    let from = all(&[host.clone(), attached(&vlan, &eth0)]);
    Case { name: "ipvlan-detach", title: "the child goes", about, from, to: host.clone() }.check();
    let (title, about) = ("the last network on a VLAN goes", vec![about_network(&vlan)]);
    Case { name: "vlan-rm", title, about, from: host, to: State::default() }.check();
}

/// CNI's `bridge` with VLANs: the gateway is in the containers' VLAN.
#[test]
fn bridges_with_vlans() {
    let inline = Inline { routed: true, filtering: true, vlan: Some(10), ..Inline::default() };
    let blue = network("blue", Bridge { inline: Some(inline), ..bridge("blue", BOTH) });
    let mut eth0 = endpoint(&blue, ("eth0", true), &[]);
    let vlans = PortVlans { native: Some(10), untagged: [10].into(), tagged: [20, 21].into() };
    eth0.wire.as_mut().unwrap().extras.vlans = Some(vlans);
    let about = vec![about_network(&blue), about_endpoint(&eth0)];
    let to = all(&[host_state(&[&blue]), attached(&blue, &eth0)]);
    let title = "the first container of a bridge that tells VLANs apart";
    let case = Case { name: "bridge-vlan", title, about, from: untouched(&to), to };
    case.check();
    case.explain();
}

/// An interface by itself, with an address.
fn alone(solo: Solo, lent: Option<Lent>) -> (Network, Endpoint) {
    let network = Network { driver: Driver::Solo(solo), ..network("cni.lan", bridge("lan", V4)) };
    let base = child("cni.lan", "eth0", (Mode::macvlan("bridge").unwrap(), V4));
    let mut endpoint = endpoint(&base, ("eth0", false), &[]);
    let wire = endpoint.wire.as_mut().unwrap();
    (wire.join, wire.extras.lent) = (Join::Nothing, lent);
    (network, endpoint)
}

#[test]
fn interfaces_by_themselves() {
    let mac = "02:00:00:00:00:99".parse().ok();
    let lent =
        Lent { device: "enp3s0".parse().unwrap(), mac, mtu: 1500, alias: Some("rack 7".into()), up: true };
    let device = Solo::Device(Select::Name("enp3s0".parse().unwrap()));
    let tap = Tap { multi_queue: true, owner: Some(1000), bridge: "br0".parse().ok(), ..Tap::default() };
    for (what, solo, lent) in [
        (("dummy", "an interface that leads nowhere"), Solo::Dummy, None),
        (("tap", "an interface that a program serves"), Solo::Tap(tap), None),
        (("host-device", "a device of the host that is lent"), device, Some(lent)),
    ] {
        let (network, eth0) = alone(solo, lent);
        let about = vec![about_endpoint(&eth0)];
        let to = all(&[host_state(&[&network]), attached(&network, &eth0)]);
        let case = Case { name: what.0, title: what.1, about, from: untouched(&to), to };
        case.check();
        case.explain();
    }
}

/// A container that another program attached to a bridge of its own.
fn stranger() -> Endpoint {
    let place = Place {
        link: vec!["10.9.0.0/24".parse().unwrap(), "fd00:9::/64".parse().unwrap()],
        bridge: Some("cni0".parse().unwrap()),
        port: Some("veth1".parse().unwrap()),
        isolates: true,
        hairpins: true,
    };
    let number =
        |what, before, after| Tuned { what, before: Value::Number(before), after: Value::Number(after) };
    let mac = |text: &str| Value::Mac(text.parse().unwrap());
    let text = |text: &str| Value::Text(text.into());
    let tuned = vec![
        Tuned {
            what: Tunable::Sysctl("net/ipv4/conf/eth0/arp_filter".into()),
            before: text("0"),
            after: text("1"),
        },
        Tuned { what: Tunable::Mac, before: mac("02:00:00:00:00:01"), after: mac("02:00:00:00:00:77") },
        number(Tunable::Mtu, 1500, 1400),
        number(Tunable::Promiscuous, 0, 1),
    ];
    let id = RouteId::new("198.51.100.0/24".parse().unwrap(), (Some(100), None));
    let ways = vec![Way {
        id,
        via: Some("10.9.0.1".parse().unwrap()),
        mtu: 1300,
        advmss: 0,
        scope: None,
        origin: Origin::default(),
    }];
    let addresses: Vec<IpNet> = ["10.9.0.2/24", "fd00:9::2/64"].map(|net| net.parse().unwrap()).into();
    let extras =
        Extras { tuned, ways, isolated: true, apart: true, adopted: Some(place), ..Extras::default() };
    let id = EndpointId {
        sandbox: "c1".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
        network: "adopted.n1".parse().unwrap(),
    };
    let wire = Wire {
        join: Join::Adopted,
        host_if: "cni0".parse().unwrap(),
        mac: "02:00:00:00:00:01".parse().unwrap(),
        publish: published("8080:80", &addresses),
        addresses,
        mtu: 1500,
        gateways: Vec::new(),
        guard: false,
        allow: Vec::new(),
        extras,
    };
    Endpoint { id, netns: None, wire: Some(wire), attached: 0 }
}

#[test]
fn what_others_attached() {
    let eth0 = stranger();
    let device: IfName = "cni0".parse().unwrap();
    let network = Network {
        id: NetworkId::from_bytes([9; 32]),
        name: "adopted.n1".parse().unwrap(),
        driver: Driver::Adopted(Adopted { apart: [device.clone()].into() }),
        labels: Default::default(),
        created: 0,
    };
    let mac = "02:00:00:00:00:02".parse().unwrap();
    let mut activation = Activation::of_adopted(device.clone(), mac, vec![Family::V4, Family::V6]);
    activation.open.insert((Family::V4, device));
    let its = endpoint_state(&network, &activation, &eth0);
    let net = network_state(&network, &activation);
    let about = vec![about_endpoint(&eth0)];
    // Its settings are there already, as they were.
    let from = all(&[host_state(&[]), restored(&eth0)]);
    let to = all(&[host_state(&[]), net, its]);
    let title = "more is asked for what somebody else attached";
    Case { name: "adopted", title, about: about.clone(), from: from.clone(), to: to.clone() }.check();
    let case = Case { name: "adopted-detach", title: "it leaves", about, from: to, to: from };
    case.check();
    // What takes it back is what leaving does.
    let all_keys = |plan: &Plan| plan.keys().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(all_keys(&case.plan()), all_keys(&case.plan().inverse()));
    let shell = render::shell(&case.plan(), &Paths::new()).join("\n");
    assert!(shell.contains("ip link set eth0 mtu 1500"), "{shell}");
}

#[test]
fn published_ports() {
    let case = next(("publish-tcp", "one published port"), bridge("blue", BOTH), &["8080:80"]);
    case.check();
    case.explain();
    for (what, publish) in [
        (("publish-udp", "a published UDP port"), "53:53/udp"),
        (("publish-sctp", "a published SCTP port"), "3868:3868/sctp"),
        (
            ("publish-range", "a long range that keeps its numbers: one element"),
            "10000-10099:10000-10099/udp",
        ),
        (
            ("publish-range-shifted", "a short range, and one that changes its numbers: one element a port"),
            "7000-7002:80-82",
        ),
        (("publish-host-address", "a port on one address of the host"), "192.0.2.1:8080:80"),
        (("publish-loopback", "a port for clients on the host"), "127.0.0.1:8080:80"),
    ] {
        next(what, bridge("blue", V4), &[publish]).check();
    }
}

#[test]
fn two_networks() {
    let (blue, red) =
        (network("blue", bridge("blue", V4)), network("red", bridge("red", &["172.31.0.0/24"])));
    let (eth0, eth1) = (endpoint(&blue, ("eth0", true), &[]), endpoint(&red, ("eth1", false), &[]));
    let from = all(&[host_state(&[&blue, &red]), attached(&blue, &eth0)]);
    let to = all(&[from.clone(), attached(&red, &eth1)]);
    let about = vec![about_network(&blue), about_network(&red), about_endpoint(&eth0), about_endpoint(&eth1)];
    Case {
        name: "attach-second-network",
        title: "a container gets a second network; its default route stays",
        about,
        from,
        to,
    }
    .check();
}

#[test]
fn detach_and_remove() {
    let blue = network("blue", bridge("blue", BOTH));
    let eth0 = endpoint(&blue, ("eth0", true), &["8080:80"]);
    let (host, about) = (host_state(&[&blue]), vec![about_network(&blue), about_endpoint(&eth0)]);
    let from = all(&[host.clone(), attached(&blue, &eth0)]);
    Case { name: "detach", title: "the container leaves; the network stays", about, from, to: host.clone() }
        .check();
    let about = vec![about_network(&blue)];
    Case {
        name: "network-rm",
        title: "the last network goes, and the host is as it was",
        about,
        from: host.clone(),
        to: untouched(&host),
    }
    .check();
}

/// No golden file is left over from a case that is no more.
#[test]
fn every_file_has_its_case() {
    let source = include_str!("plans.rs");
    for entry in std::fs::read_dir(file("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.split('.').next().unwrap();
        assert!(source.contains(&format!("\"{stem}\"")), "{name} belongs to no case");
    }
}
