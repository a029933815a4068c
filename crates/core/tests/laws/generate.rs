//! Networks, endpoints, hosts, and what a kernel might show of them.

use ipnet::IpNet;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use qiao_core::child::{Broadcasts, Mode, Vlan};
use qiao_core::driver::{Activation, HostNeeds, endpoint_state, host, network_state};
use qiao_core::endpoint::{Clients, Extras, Join, PortVlans, Tunable, Tuned, Way, Wire, host_if};
use qiao_core::forwarding::Transit;
use qiao_core::network::Inline;
use qiao_core::owner::EndpointId;
use qiao_core::plan::{Key, Observed, Ownership, RouteId, State, Sysctl, Value};
use qiao_core::port::{Backend, HostAddr, Listen, PortRange, Protocol, Publish};
use qiao_core::shape::{self, Limits, Rate, Shaping};
use qiao_core::solo::{Lent, Select, Solo, Tap};
use qiao_core::source::Origin;
use qiao_core::subnet::Family;
use qiao_core::{Bridge, Child, Driver, Endpoint, IfName, Mac, Network, NetworkId, Owner, Pool, Subnet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The names are few, so that what is generated twice meets itself.
const NETWORKS: [&str; 3] = ["blue", "red", "a-name.that_is-longer"];
const SANDBOXES: [&str; 4] = ["c1", "c2", "web.1", "x"];

pub fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)]
}

pub fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_filter_map("unicast", |mut bytes| {
        bytes[0] &= 0xfe;
        Mac::new(bytes).ok()
    })
}

pub fn ports() -> impl Strategy<Value = PortRange> {
    (1u16..=65500, 0u16..35).prop_map(|(first, more)| PortRange::new(first, first + more).unwrap())
}

/// A network of the number: its name, its device and its subnets are its own.
fn network(number: usize) -> impl Strategy<Value = Network> {
    (any::<[bool; 6]>(), 0u8..3, option::of(1280u32..9000), kind()).prop_map(
        move |(flags, families, mtu, kind)| {
            let [internal, host_access, icc, isolate, masquerade, guard] = flags;
            let v4 = Pool::new(format!("10.{number}.0.0/24").parse().unwrap());
            let v6 = Pool::new(format!("fd00:{number}::/64").parse().unwrap());
            let pools = match families {
                0 => vec![v4],
                1 => vec![v6],
                _ => vec![v4, v6],
            };
            let device = IfName::new(&format!("br-{number}")).unwrap();
            let bridge = Bridge {
                device,
                pools,
                mtu,
                internal,
                host_access,
                icc,
                isolate,
                masquerade,
                guard,
                publish_address: None,
                dns: None,
                vrf: guard.then(|| "vrf0".parse().unwrap()),
                inline: None,
            };
            bridge.check().unwrap();
            let id = NetworkId::from_bytes([number as u8; 32]);
            let name = NETWORKS[number].parse().unwrap();
            let driver = match kind {
                Kind::Bridge => Driver::Bridge(bridge),
                Kind::Routed => Driver::Routed(bridge),
                Kind::Tagged(vlan) => {
                    let inline =
                        Inline { routed: icc, filtering: true, vlan, closed: guard, ..Inline::default() };
                    Driver::Bridge(Bridge { inline: Some(inline), ..bridge })
                }
                Kind::Open => Driver::Routed(Bridge {
                    inline: Some(Inline { routed: true, apart: icc, ..Inline::default() }),
                    ..bridge
                }),
                Kind::Solo(0) => Driver::Solo(Solo::Dummy),
                Kind::Solo(1) => {
                    Driver::Solo(Solo::Tap(Tap { multi_queue: icc, owner: mtu, ..Tap::default() }))
                }
                Kind::Solo(_) => Driver::Solo(Solo::Device(Select::Name("nic0".parse().unwrap()))),
                Kind::Child(mode, parent) => {
                    let Bridge { pools, mtu, internal, .. } = bridge;
                    let inside = parent == "eth8";
                    let broadcasts = Broadcasts {
                        queue: Some(7).filter(|_| masquerade),
                        cutoff: Some(-1).filter(|_| icc),
                    };
                    let (parent, inline, dhcp) = (parent.parse().unwrap(), guard, false);
                    Driver::Child(Child {
                        parent,
                        mode,
                        pools,
                        mtu,
                        internal,
                        inside,
                        broadcasts,
                        dhcp,
                        inline,
                    })
                }
            };
            Network { id, name, driver, labels: Default::default(), created: 7 }
        },
    )
}

/// The kinds of network with a wire.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Bridge,
    Routed,
    Open,
    Tagged(Option<u16>),
    Child(Mode, &'static str),
    Solo(u8),
}

fn kind() -> impl Strategy<Value = Kind> {
    let modes = ["bridge", "private", "vepa"].map(|mode| Mode::macvlan(mode).unwrap()).into_iter();
    let modes = modes.chain(["l2", "l3", "l3s"].map(|mode| Mode::ipvlan(mode, None).unwrap()));
    let modes = modes.chain([Mode::Vlan(7)]);
    let child = (select(modes.collect::<Vec<_>>()), select(vec!["eth7", "eth7.10", "eth8"]));
    prop_oneof![
        3 => Just(Kind::Bridge),
        3 => Just(Kind::Routed),
        2 => Just(Kind::Open),
        2 => select(vec![None, Some(7), Some(8)]).prop_map(Kind::Tagged),
        2 => child.prop_map(|(mode, parent)| Kind::Child(mode, parent)),
        2 => (0u8..3).prop_map(Kind::Solo),
    ]
}

pub fn any_network() -> impl Strategy<Value = Network> {
    (0..NETWORKS.len()).prop_flat_map(network)
}

fn address(pool: &Pool, host: u16) -> IpNet {
    let ip: IpAddr = match pool.subnet.first() {
        IpAddr::V4(first) => Ipv4Addr::from(u32::from(first) + 2 + u32::from(host % 200)).into(),
        IpAddr::V6(first) => Ipv6Addr::from(u128::from(first) + 2 + u128::from(host)).into(),
    };
    pool.subnet.with_host(ip)
}

fn publish(addresses: Vec<IpNet>) -> impl Strategy<Value = Publish> {
    (any::<Index>(), protocol(), any::<bool>(), ports(), 1u16..60000).prop_map(
        move |(which, protocol, any, ports, port)| {
            let ip = which.get(&addresses).addr();
            let family = Family::of(ip);
            let one = match family {
                Family::V4 => IpAddr::from([192, 0, 2, 1]),
                Family::V6 => "2001:db8::1".parse().unwrap(),
            };
            let host = if any { HostAddr::Any(family) } else { HostAddr::One(one) };
            let port = if any && ports.count() > 1 { ports.first() } else { port };
            Publish { listen: Listen { protocol, host, ports }, backend: Backend { ip, port } }
        },
    )
}

/// What an endpoint may have besides.
fn extras() -> impl Strategy<Value = Extras> {
    let clients = select(vec![Clients::Members, Clients::All, Clients::None]);
    let tuned = prop_oneof![
        Just((Tunable::Mtu, Value::Number(1400))),
        Just((Tunable::Promiscuous, Value::Number(1))),
        Just((Tunable::Sysctl("net/ipv4/ip_forward".into()), Value::Text("1".into()))),
    ];
    let tuned = tuned.prop_map(|(what, after)| Tuned { what, before: Value::Number(0), after });
    let way = (0u32..3, 0u32..3, 0u32..2).prop_map(|(table, priority, mtu)| {
        let net = "198.51.100.0/24".parse().unwrap();
        let id = RouteId::new(net, (Some(table), Some(priority)));
        Way { id, via: None, mtu: mtu * 1300, advmss: 0, scope: None, origin: Origin::default() }
    });
    (clients, vec(tuned, 0..2), vec(way, 0..2), option::of(shaping())).prop_map(
        |(clients, tuned, ways, shaped)| Extras { clients, tuned, ways, shaped, ..Extras::default() },
    )
}

/// How fast it may be.
fn shaping() -> impl Strategy<Value = Shaping> {
    let rate = (8u64..1 << 40, 8u64..1 << 34).prop_map(|(rate, burst)| Rate { rate, burst });
    (option::of(rate.clone()), option::of(rate)).prop_map(|(ingress, egress)| Shaping {
        link: "q-c1-aaaaaaa".parse().unwrap(),
        ifb: "bwpaaaaaaaaaaaa".parse().unwrap(),
        mtu: 1500,
        limits: Limits { ingress, egress },
    })
}

/// An endpoint of a network.
fn endpoint(network: Network, sandbox: usize) -> impl Strategy<Value = Endpoint> {
    let pools = network.pools().to_vec();
    (any::<u16>(), any::<bool>(), extras()).prop_flat_map(move |(host, guard, extras)| {
        let address = |pool| network.endpoint_net(pool, address(pool, host).addr());
        let mut addresses: Vec<IpNet> = pools.iter().map(address).collect();
        if addresses.is_empty() {
            addresses.push(format!("10.250.{}.{}/24", sandbox, host % 200).parse().unwrap());
        }
        let is_device = matches!(&network.driver, Driver::Solo(solo) if solo.is_device());
        let (network, pools, extras) = (network.clone(), pools.clone(), extras);
        vec(publish(addresses.clone()), 0..3).prop_map(move |publish| {
            let sandbox = SANDBOXES[sandbox].parse().unwrap();
            let ifname =
                IfName::new(&format!("eth{}", network.id.as_str().bytes().last().unwrap() - b'0')).unwrap();
            let wire = Wire {
                join: join(&network),
                host_if: host_if(&sandbox, &ifname, 0),
                mac: Mac::derived(network.mac_number(), addresses[0].addr()),
                addresses: addresses.clone(),
                mtu: 1500,
                gateways: pools.iter().map(|pool| pool.gateway).collect(),
                publish,
                guard,
                allow: Vec::new(),
                extras: Extras {
                    lent: is_device.then(lent),
                    vlans: vlans(&network),
                    shaped: extras.shaped.clone().map(|shaped| Shaping {
                        link: host_if(&sandbox, &ifname, 0),
                        ifb: shape::ifb(&sandbox, &ifname),
                        ..shaped
                    }),
                    ..extras.clone()
                },
            };
            let id = EndpointId { sandbox, ifname, network: network.name.clone() };
            Endpoint { id, netns: None, wire: Some(wire), attached: 7 }
        })
    })
}

fn vlans(network: &Network) -> Option<PortVlans> {
    let native = network.bridge()?.inline.filter(|inline| inline.filtering)?.vlan;
    Some(PortVlans { native, untagged: native.into_iter().collect(), tagged: [20, 21].into() })
}

fn lent() -> Lent {
    let (device, mac) = ("nic0".parse().unwrap(), "02:00:00:00:00:99".parse().ok());
    Lent { device, mac, mtu: 1500, alias: Some("rack 7".into()), up: true }
}

/// What others let through.
fn transit() -> Transit {
    let pair = |family, to: &str| (family, "wg0".parse().unwrap(), to.parse().unwrap());
    Transit { pairs: [pair(Family::V4, "uplink"), pair(Family::V4, "wg0")].into(), open: [Family::V6].into() }
}

fn needs() -> impl Strategy<Value = HostNeeds> {
    (0u8..4, any::<bool>(), any::<bool>()).prop_map(|(forward, was_off, passes)| {
        let families = [Family::V4, Family::V6];
        let forward: Vec<_> = families
            .into_iter()
            .enumerate()
            .filter(|(at, _)| forward >> at & 1 == 1)
            .map(|(_, f)| f)
            .collect();
        let saved = if was_off { vec![(Sysctl::Forward4, 0), (Sysctl::Forward6, 0)] } else { vec![] };
        HostNeeds {
            forward,
            saved: saved.into_iter().collect(),
            advertised: vec!["uplink".parse().unwrap()],
            transit: if passes { transit() } else { Transit::default() },
            ruleset: Some(7),
        }
    })
}

/// What must exist for some networks and some of their endpoints.
pub fn desired() -> impl Strategy<Value = State> {
    let members = (0..NETWORKS.len(), btree_set(0..SANDBOXES.len(), 0..3), any::<bool>()).prop_flat_map(
        |(number, sandboxes, hairpin)| {
            network(number).prop_flat_map(move |network| {
                let endpoints: Vec<_> =
                    sandboxes.iter().map(|sandbox| endpoint(network.clone(), *sandbox)).collect();
                endpoints.prop_map(move |endpoints| state(&network, &endpoints, hairpin))
            })
        },
    );
    (needs(), vec(members, 0..3)).prop_map(|(needs, members)| {
        let mut all = host(&needs);
        members.into_iter().for_each(|state| all.extend(state));
        all
    })
}

fn join(network: &Network) -> Join {
    match network.child().map(|child| child.mode) {
        None if network.bridge().is_none() => Join::Nothing,
        None => Join::Pair,
        Some(Mode::Macvlan(_)) => Join::Macvlan,
        Some(Mode::Ipvlan(..)) => Join::Ipvlan,
        Some(Mode::Vlan(_)) => Join::Vlan,
    }
}

fn state(network: &Network, endpoints: &[Endpoint], hairpin: bool) -> State {
    let mac: Mac = "02:00:00:00:00:01".parse().unwrap();
    let activation = match (network.bridge(), network.child()) {
        (Some(bridge), _) => Activation::new(network, bridge, (1500, hairpin)),
        (_, Some(child)) => Activation::of_child(child, (mac, 1500), Vlan::of_name(&child.parent)),
        _ => Activation::of_solo(network),
    };
    let mut state = network_state(network, &activation);
    endpoints.iter().for_each(|endpoint| state.extend(endpoint_state(network, &activation, endpoint)));
    state
}

/// What somebody did to an object.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Untouched,
    Gone,
    Changed,
    Foreign,
    Unreadable,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Untouched),
        3 => Just(Fate::Gone),
        3 => Just(Fate::Changed),
        1 => Just(Fate::Foreign),
        2 => Just(Fate::Unreadable),
    ]
}

/// What a kernel shows: of a state of ours, not all, not as it was, and not all of it ours.
pub fn observed() -> impl Strategy<Value = Observed> {
    desired().prop_flat_map(|state| {
        vec(fate(), state.len()).prop_map(move |fates| {
            let mut observed = Observed::default();
            for ((key, object), fate) in state.iter().zip(fates) {
                let marked = Ownership::Marked(object.owner.clone());
                let (owner, value) = match fate {
                    Fate::Gone => continue,
                    Fate::Untouched => (marked, object.value.clone()),
                    Fate::Changed => (marked, changed(&object.value)),
                    Fate::Foreign => (Ownership::Foreign, changed(&object.value)),
                    Fate::Unreadable => (Ownership::Ours, object.value.clone()),
                };
                observed.insert(key.clone(), owner, value);
            }
            observed
        })
    })
}

fn changed(value: &Value) -> Value {
    match value.clone() {
        Value::Number(number) => Value::Number(number ^ 1),
        Value::Ruleset(digest) => Value::Ruleset(!digest),
        Value::Bridge { mac, mtu } => Value::Bridge { mac, mtu: mtu + 1 },
        Value::Port { fixed, isolated, hairpin } => Value::Port { fixed: !fixed, isolated, hairpin },
        Value::Vlan { parent, id, up } => Value::Vlan { parent, id, up: !up },
        Value::Child { parent, mode, mac, mtu, inside, broadcasts } => {
            Value::Child { parent, mode, mac, mtu: mtu + 1, inside, broadcasts }
        }
        Value::Vlans(vlans) => Value::Vlans(PortVlans { native: None, tagged: [4].into(), ..vlans }),
        Value::Dummy { mac, mtu } => Value::Dummy { mac, mtu: mtu + 1 },
        Value::Tap { tap, mac, mtu } => Value::Tap { tap, mac, mtu: mtu + 1 },
        Value::Lent { lent, astray } => Value::Lent { lent, astray: !astray },
        Value::PointToPoint { arp, enslaved } => Value::PointToPoint { arp: !arp, enslaved },
        Value::Route { dev, via, onlink, src, attributes } => {
            Value::Route { dev, via, onlink: !onlink, src, attributes }
        }
        Value::Veth { sandbox, peer, mac, mtu, bridge: None } => {
            Value::Veth { sandbox, peer, mac, mtu: mtu + 1, bridge: None }
        }
        Value::Veth { sandbox, peer, mac, mtu, .. } => Value::Veth { sandbox, peer, mac, mtu, bridge: None },
        Value::Mac(mac) => Value::Mac(mac.host_end()),
        Value::Text(text) => Value::Text(text + "1"),
        Value::Way { dev, via, mtu, advmss, scope, origin } => {
            Value::Way { dev, via, mtu: mtu + 1, advmss, scope, origin }
        }
        Value::Backend(backend) => Value::Backend(Backend { port: backend.port ^ 1 | 2, ..backend }),
        other => other,
    }
}

/// A subnet of any size that a network may have.
pub fn subnet() -> impl Strategy<Value = Subnet> {
    prop_oneof![
        (any::<u32>(), 0u8..=32).prop_map(|(ip, len)| IpNet::new_assert(Ipv4Addr::from(ip).into(), len)),
        (any::<u128>(), 0u8..=128).prop_map(|(ip, len)| IpNet::new_assert(Ipv6Addr::from(ip).into(), len)),
    ]
    .prop_map(Subnet::around)
}

pub fn owner() -> impl Strategy<Value = Owner> {
    let word = "[A-Za-z0-9][A-Za-z0-9_.-]{0,127}";
    prop_oneof![
        Just(Owner::Host),
        word.prop_map(|name| Owner::Network(name.parse().unwrap())),
        (word, "[a-z]{1,14}[0-9]", word).prop_map(|(sandbox, ifname, network)| {
            let (sandbox, ifname) = (sandbox.parse().unwrap(), ifname.parse().unwrap());
            Owner::Endpoint(EndpointId { sandbox, ifname, network: network.parse().unwrap() })
        }),
    ]
}

/// A key that is always desired where anything is.
pub const RULESET: Key = Key::Ruleset;
