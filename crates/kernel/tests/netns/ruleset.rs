//! The constant rule set, loaded by our messages and by `nft` from its text.

use crate::namespace::{in_namespace, listing_of, make, nft};
use qiao_core::condition::{Condition, Side};
use qiao_core::driver::{Activation, HostNeeds, endpoint_state, host, network_state};
use qiao_core::endpoint::{Extras, Join, Wire, host_if};
use qiao_core::forwarding::Transit;
use qiao_core::owner::EndpointId;
use qiao_core::plan::{Key, Member, Observed, Ownership, State, Sysctl, Value, diff};
use qiao_core::port::{Backend, HostAddr, Listen, Publish};
use qiao_core::render::{self, DIGEST, RULESET};
use qiao_core::subnet::Family;
use qiao_core::{Bridge, Driver, Endpoint, IfName, Network, NetworkId, Owner, Pool};
use qiao_kernel::{Kernel, Linux, Places};

/// The rule set alone.
pub fn ruleset() -> State {
    let mut state = State::default();
    state.insert(Key::Ruleset, &Owner::Host, Value::Ruleset(DIGEST));
    state
}

/// How `nft` 1.0.6 lists the two rules about the target of a neighbour message: it has no name for that, reads
/// neither of them, and prints the sixteen bytes behind the first eight of the header.
const RAW: [&str; 2] = [
    "icmpv6 type nd-neighbor-advert iifname . @th,64,128 @ip6s iifname . ip6 saddr @ip6s accept",
    "ip6 saddr :: icmpv6 type nd-neighbor-solicit iifname . @th,64,128 @ip6s accept",
];

/// Whether this `nft` knows the target of a neighbour message by name.
fn knows_targets() -> bool {
    let version = nft(&["--version"]);
    let numbers = version.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok());
    numbers.take(3).collect::<Vec<_>>() >= vec![1, 0, 8]
}

/// What no `nft` reads, and all print so: the destination of the packet that an ICMP error quotes has no name.
const NAMELESS: &str = "@th,";

/// The words in lines of the text that this `nft` does not read.
fn unread() -> &'static [&'static str] {
    if knows_targets() { &[NAMELESS] } else { &["icmpv6 taddr", NAMELESS] }
}

/// Takes out the lines that hold one of `words`, and tells how many.
fn without(text: &str, words: &[&str]) -> (String, usize) {
    let (out, kept): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| words.iter().any(|w| line.contains(w)));
    (kept.join("\n"), out.len())
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn the_rule_set_is_what_its_text_says() {
    in_namespace("ruleset::the_rule_set_is_what_its_text_says", || {
        make(&mut Linux::open().unwrap(), &ruleset());
        let ours = nft(&["list", "ruleset"]);
        let nameless = |text: &str| {
            let lines = text.lines().filter(|line| line.contains(NAMELESS) && !RAW.contains(&line.trim()));
            lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(nameless(&ours), nameless(RULESET), "what `nft` does not read");
        assert_eq!(nameless(&ours).len(), 4, "{ours}");
        let (text, unread) = without(RULESET, unread());
        let (ours, raw) = without(&ours, &[NAMELESS]);
        assert_eq!(unread, raw, "{ours}");
        assert_same(&ours, &listing_of(&(text + "\n")));
    });
}

/// A network and a container with everything that has elements, as they are when nothing is left out.
fn everything() -> State {
    let pools = ["172.30.0.0/24", "fd00:30::/64"].map(|subnet| Pool::new(subnet.parse().unwrap()));
    let bridge = Bridge {
        device: "br-blue".parse().unwrap(),
        pools: pools.to_vec(),
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
        inline: None,
    };
    let (name, id) = ("blue".parse().unwrap(), NetworkId::from_bytes([7; 32]));
    let network =
        Network { id, name, driver: Driver::Bridge(bridge.clone()), labels: Default::default(), created: 0 };
    let id = EndpointId {
        sandbox: "c1".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
        network: network.name.clone(),
    };
    let publish = |spec: &str, backend: &str| {
        let (host, ports) = spec.rsplit_once(' ').unwrap();
        let (ports, protocol) = ports.split_once('/').unwrap();
        let host = HostAddr::from_ip(host.parse().unwrap());
        let listen = Listen { protocol: protocol.parse().unwrap(), host, ports: ports.parse().unwrap() };
        Publish { listen, backend: Backend { ip: backend.parse().unwrap(), port: listen.ports.first() } }
    };
    let wire = Wire {
        join: Join::Pair,
        host_if: host_if(&id.sandbox, &id.ifname, 0),
        mac: "02:00:00:00:00:07".parse().unwrap(),
        addresses: vec!["172.30.0.2/24".parse().unwrap(), "fd00:30::2/64".parse().unwrap()],
        mtu: 1500,
        gateways: vec![],
        publish: vec![
            publish("0.0.0.0 8080/tcp", "172.30.0.2"),
            publish(":: 8080/tcp", "fd00:30::2"),
            publish("192.0.2.1 53/udp", "172.30.0.2"),
            publish("2001:db8::1 3868/sctp", "fd00:30::2"),
            publish("0.0.0.0 10000-10099/udp", "172.30.0.2"),
            publish(":: 10000-10099/udp", "fd00:30::2"),
            publish("192.0.2.1 20000-20099/tcp", "172.30.0.2"),
            publish("2001:db8::1 20000-20099/tcp", "fd00:30::2"),
        ],
        guard: true,
        allow: vec!["172.30.0.99".parse().unwrap()],
        extras: Extras { conditions: conditions(), ..Extras::default() },
    };
    let endpoint = Endpoint { id, netns: None, wire: Some(wire), attached: 0 };
    let activation = Activation::new(&network, &bridge, (1500, false));
    let saved = [(Sysctl::Forward4, 0), (Sysctl::Forward6, 0)].into();
    let forward = vec![Family::V4, Family::V6];
    let mut state =
        host(&HostNeeds { forward, saved, advertised: vec![], transit: transit(), ruleset: Some(DIGEST) });
    state.extend(network_state(&network, &activation));
    state.extend(endpoint_state(&network, &activation, &endpoint));
    state.extend(routed(&network, &endpoint));
    let closed = [Member::Internal(bridge.device.clone()), Member::Closed(bridge.device)];
    closed.into_iter().for_each(|member| state.insert(Key::Member(member), &Owner::Host, Value::Present));
    state
        .iter()
        .filter(|(key, _)| **key == Key::Ruleset || key.set().is_some())
        .map(|(k, o)| (k.clone(), o.clone()))
        .collect()
}

/// What others let through, by each family.
fn transit() -> Transit {
    let name = |name: &str| name.parse::<IfName>().unwrap();
    let pair = |family| (family, name("wg0"), name("eth0"));
    Transit { pairs: [Family::V4, Family::V6].map(pair).into(), ..Transit::default() }
}

/// Of each family what must hold of both sides.
fn conditions() -> Vec<Condition> {
    let condition = |side, net: &str, not| Condition { side, nets: vec![net.parse().unwrap()], not };
    vec![
        condition(Side::Target, "192.0.2.0/28", true),
        condition(Side::Source, "10.0.0.0/8", false),
        condition(Side::Target, "2001:db8:7::/48", true),
        condition(Side::Source, "2001:db8:9::/48", false),
    ]
}

/// The same on a routed network.
fn routed(bridge: &Network, endpoint: &Endpoint) -> State {
    let pools = ["172.31.0.0/24", "fd00:31::/64"].map(|subnet| Pool::new(subnet.parse().unwrap())).to_vec();
    let device = "rt-red".parse().unwrap();
    let settings = Bridge { device, pools, ..bridge.bridge().unwrap().clone() };
    let (name, id) = ("red".parse().unwrap(), NetworkId::from_bytes([8; 32]));
    let network = Network {
        id,
        name,
        driver: Driver::Routed(settings.clone()),
        labels: Default::default(),
        created: 0,
    };
    let mut endpoint = endpoint.clone();
    (endpoint.id.network, endpoint.id.ifname) = (network.name.clone(), "eth1".parse().unwrap());
    if let Some(wire) = &mut endpoint.wire {
        wire.host_if = host_if(&endpoint.id.sandbox, &endpoint.id.ifname, 0);
        wire.addresses = vec!["172.31.0.2/32".parse().unwrap(), "fd00:31::2/128".parse().unwrap()];
        wire.publish.clear();
    }
    let activation = Activation::new(&network, &settings, (1500, false));
    let mut state = network_state(&network, &activation);
    state.extend(endpoint_state(&network, &activation, &endpoint));
    state
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn the_elements_are_what_explain_says() {
    in_namespace("ruleset::the_elements_are_what_explain_says", || {
        let everything = everything();
        let plan = diff(&Observed::default(), &everything).unwrap();
        let mut kernel = Linux::open().unwrap();
        kernel.apply(&plan, &Places::new()).unwrap();
        let commands = render::shell(&plan, &Default::default());
        let elements: Vec<String> = commands
            .iter()
            .filter_map(|line| line.strip_prefix("nft "))
            .map(|line| line.replace('\'', ""))
            .collect();
        assert!(elements.len() > 25, "{elements:#?}");
        let (text, _) = without(RULESET, unread());
        let text = listing_of(&format!("{text}\n{}\n", elements.join("\n")));
        let (ours, _) = without(&nft(&["list", "ruleset"]), &[NAMELESS]);
        assert_same(&ours, &text);
        let seen = kernel.survey().unwrap();
        for (key, object) in everything.iter() {
            let found = seen.get(key).unwrap_or_else(|| panic!("{key:?} is not seen"));
            assert_eq!(
                (&found.owner, &found.value),
                (&Ownership::Marked(object.owner.clone()), &object.value),
                "{key:?}"
            );
        }
        assert_eq!(seen.iter().count(), everything.len(), "and nothing else");
    });
}

/// Asserts that two listings say the same. Sets come in the order in which they were made, and their elements in
/// any: only chains have an order inside.
#[track_caller]
fn assert_same(ours: &str, text: &str) {
    let (ours, text) = (blocks(ours), blocks(text));
    for (a, b) in ours.iter().zip(&text) {
        assert_eq!(a, b);
    }
    assert_eq!(ours.len(), text.len());
}

fn blocks(listing: &str) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut table = "";
    for block in listing.trim_end().split("\n\t}\n") {
        let block = block.trim_start_matches("}\n");
        if let Some(line) = block.lines().find(|line| line.starts_with("table ")) {
            table = line;
        }
        let is_chain = block.lines().any(|line| line.starts_with("\tchain "));
        let mut lines: Vec<String> = match is_chain {
            true => block.lines().map(str::to_owned).collect(),
            false => block
                .split([',', '\n'])
                .map(|line| line.replace("elements = {", "").replace('}', "").trim().to_owned())
                .collect(),
        };
        if !is_chain {
            lines.sort();
        }
        lines.retain(|line| !line.is_empty());
        blocks.push([vec![table.to_owned()], lines].concat());
    }
    blocks.sort();
    blocks
}
