//! Plans as the `ip`, `nft`, `bridge` and `sysctl` commands that do the same.

use super::element::element;
use super::shape;
use crate::endpoint::{PortVlans, Tunable};
use crate::mac::Mac;
use crate::name::{IfName, SandboxName};
use crate::owner::Owner;
use crate::plan::{Key, Object, Op, Plan, RouteId, Switch, Value};
use crate::solo::Lent;
use crate::source::Selector;
use crate::subnet::Family;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The paths of the sandboxes' namespaces.
pub type Paths = BTreeMap<SandboxName, String>;

/// The commands that do what the plan does, one a line.
pub fn shell(plan: &Plan, paths: &Paths) -> Vec<String> {
    plan.ops().iter().flat_map(|op| shell_op(op, paths)).collect()
}

/// The commands that do what one operation does.
pub fn shell_op(op: &Op, paths: &Paths) -> Vec<String> {
    let commands = match op {
        Op::Add { key, object } => add(key, object, paths),
        Op::Del { key, object } => del(key, object),
        Op::Set { key, owner, from, to } => {
            let object = |value: &Value| Object { owner: owner.clone(), value: value.clone() };
            set(key, (&object(from), &object(to)), paths)
        }
    };
    match op.key().sandbox() {
        // It is made from outside, in the sandbox.
        Some(_) if is_made_outside(op) => commands,
        Some(sandbox) => commands.into_iter().map(|c| format!("{}{c}", enter(sandbox, paths))).collect(),
        None => commands,
    }
}

fn is_made_outside(op: &Op) -> bool {
    match op {
        Op::Add { key: Key::Lent(..), .. } | Op::Set { key: Key::Lent(..), .. } => true,
        Op::Add { key: Key::Child(..), object } => matches!(object.value, Value::Child { inside: false, .. }),
        _ => false,
    }
}

/// What runs a command in a sandbox's namespace.
fn enter(sandbox: &SandboxName, paths: &Paths) -> String {
    format!("nsenter --net={} ", path(sandbox, paths))
}

fn path(sandbox: &SandboxName, paths: &Paths) -> String {
    paths.get(sandbox).cloned().unwrap_or_else(|| format!("/run/netns/{sandbox}"))
}

fn add(key: &Key, object: &Object, paths: &Paths) -> Vec<String> {
    match (key, &object.value) {
        (Key::Sysctl(sysctl), Value::Number(number)) => vec![format!("sysctl -w {sysctl}={number}")],
        (Key::Ruleset, _) => vec!["qiao info --ruleset | nft -f -".into()],
        (Key::Bridge(device), Value::Bridge { mac, mtu }) => bridge(device, (*mac, *mtu), &object.owner),
        (
            Key::BridgeAddress(device, net)
            | Key::VlanAddress(device, net)
            | Key::SandboxAddress(_, device, net),
            _,
        ) => {
            vec![address("add", device, *net)]
        }
        (Key::VlanFiltering(device), _) => {
            vec![format!("ip link set {device} type bridge vlan_filtering 1")]
        }
        (Key::BridgeVrf(device, vrf), _) => vec![format!("ip link set {device} master {vrf}")],
        (Key::BridgeVlan(device, id), _) => vec![format!("bridge vlan add vid {id} dev {device} self")],
        (Key::PortVlans(port), Value::Vlans(vlans)) => port_vlans(port, vlans),
        (Key::BridgeUp(link) | Key::HostUp(link) | Key::SandboxUp(_, link), _) => {
            vec![format!("ip link set {link} up")]
        }
        (Key::SandboxLoopback(_), _) => vec!["ip link set lo up".into()],
        (Key::Veth(host_if), Value::Veth { .. }) => veth(host_if, object, paths),
        (Key::Vlan(link), Value::Vlan { parent, id, .. }) => vlan(link, (parent, *id), &object.owner),
        (Key::Child(sandbox, link), Value::Child { .. }) => {
            vec![child((sandbox, link), &object.value, paths)]
        }
        (Key::Lone(_, link), value) => lone(link, value),
        (Key::Lent(sandbox, link), Value::Lent { lent, .. }) => lend(sandbox, (link, lent), &object.owner),
        (Key::NoAdvertisements(_, link), _) => vec![accept_ra(link, 0)],
        (Key::Port(host_if), Value::Port { isolated, hairpin, .. }) => {
            vec![port(host_if, *isolated, *hairpin)]
        }
        (Key::Port(host_if), Value::PointToPoint { .. }) => {
            vec![format!("ip link set {host_if} arp off nomaster")]
        }
        (Key::Switch(port, which), _) => vec![switch(port, *which, "on")],
        (Key::Setting(setting, link), Value::Number(number)) => vec![setting.command(link.as_str(), *number)],
        (Key::Ifb(_) | Key::Shape(_) | Key::Redirect(_), _) => shape::add(key, object),
        (Key::SandboxSysctl(_, path), Value::Text(text)) => {
            vec![format!("sysctl -w '{}={text}'", super::line::dotted(path))]
        }
        (Key::SandboxMac(_, link), Value::Mac(mac)) => vec![format!("ip link set {link} address {mac}")],
        (Key::Tuned(_, link, what), Value::Number(number)) => vec![tuned(link, what, *number)],
        (Key::Fdb(host_if, mac), _) => vec![format!("bridge fdb add {mac} dev {host_if} master static")],
        (Key::OwnFdb(bridge, mac), _) => {
            vec![format!("bridge fdb replace {mac} dev {bridge} self permanent")]
        }
        (Key::Neighbour(device, ip) | Key::SandboxNeighbour(_, device, ip), Value::Mac(mac)) => {
            vec![neighbour(device, *ip, *mac)]
        }
        (Key::Route(_, net) | Key::HostRoute(net), value) => vec![route("add", *net, value)],
        (Key::Way(_, id) | Key::Native(_, _, id), value) => vec![way("add", *id, value)],
        (Key::Vrf(_, link), Value::Vrf { table, .. }) => {
            vec![format!("ip link add {link} type vrf table {table}"), format!("ip link set {link} up")]
        }
        (Key::Master(_, link), Value::Master(Some(vrf))) => vec![format!("ip link set {link} master {vrf}")],
        (Key::Master(_, link), _) => vec![format!("ip link set {link} nomaster")],
        (Key::Rule(_, selector), _) => vec![rule("add", *selector)],
        (Key::Open(family, device), _) => open("-A", *family, device),
        (Key::Names(device, ip), _) => names("-A", device, *ip),
        (Key::Loopback(listen), Value::Backend(backend) | Value::Held(backend)) => {
            vec![format!("# clients of the loopback address: {listen} to {backend}")]
        }
        _ => element_command("add", key, object),
    }
}

fn set(key: &Key, (from, to): (&Object, &Object), paths: &Paths) -> Vec<String> {
    match (key, &to.value) {
        (Key::Veth(host_if), Value::Veth { peer, .. }) if !has_peer(&from.value, peer) => {
            [vec![format!("ip link del {host_if}")], veth(host_if, to, paths)].concat()
        }
        (Key::Veth(host_if), Value::Veth { mtu, bridge, .. }) => {
            let master = bridge.as_ref().map(|bridge| format!(" master {bridge}")).unwrap_or_default();
            vec![format!("ip link set {host_if} mtu {mtu}{master}")]
        }
        (Key::Vlan(link), Value::Vlan { .. }) => vec![format!("ip link set {link} up")],
        (Key::Vrf(_, link), _) => vec![format!("ip link set {link} up")],
        (Key::Ifb(_) | Key::Redirect(_), _) => shape::set(key, &to.value),
        (Key::Child(_, link), Value::Child { mode, mac, mtu, broadcasts, .. }) => {
            let mac = address_of(*mac);
            vec![format!("ip link set {link}{mac} mtu {mtu} type {mode}{}", broadcasts.words())]
        }
        (Key::Lone(_, link), Value::Dummy { mac, mtu } | Value::Tap { mac, mtu, .. }) => {
            vec![format!("ip link set {link} address {mac} mtu {mtu}")]
        }
        (Key::Bridge(device), Value::Bridge { mac, mtu }) => {
            vec![format!("ip link set {device}{} mtu {mtu}", address_of(*mac))]
        }
        (Key::Route(_, net) | Key::HostRoute(net), value) => vec![route("replace", *net, value)],
        (Key::Way(_, id), value) => vec![way("replace", *id, value)],
        _ if key.set().is_some() => {
            [element_command("delete", key, from), element_command("add", key, to)].concat()
        }
        _ => add(key, to, paths),
    }
}

fn del(key: &Key, object: &Object) -> Vec<String> {
    match key {
        Key::Sysctl(_) => Vec::new(),
        Key::Ruleset => vec!["nft delete table inet qiao".into(), "nft delete table bridge qiao".into()],
        Key::NoAdvertisements(_, link) => vec![accept_ra(link, 1)],
        Key::Bridge(link) | Key::Veth(link) | Key::Vlan(link) | Key::Child(_, link) | Key::Lone(_, link) => {
            vec![format!("ip link del {link}")]
        }
        Key::Lent(_, link) => match &object.value {
            Value::Lent { lent, .. } => take_home(link, lent),
            _ => Vec::new(),
        },
        Key::BridgeAddress(device, net)
        | Key::VlanAddress(device, net)
        | Key::SandboxAddress(_, device, net) => {
            vec![address("del", device, *net)]
        }
        Key::VlanFiltering(device) => vec![format!("ip link set {device} type bridge vlan_filtering 0")],
        Key::BridgeVrf(device, _) => vec![format!("ip link set {device} nomaster")],
        Key::BridgeVlan(device, id) => vec![format!("bridge vlan del vid {id} dev {device} self")],
        Key::PortVlans(_) => Vec::new(),
        Key::BridgeUp(link) | Key::HostUp(link) | Key::SandboxUp(_, link) => {
            vec![format!("ip link set {link} down")]
        }
        Key::Switch(port, which) => vec![switch(port, *which, "off")],
        Key::Setting(setting, link) => vec![setting.command(link.as_str(), setting.usual())],
        Key::Ifb(_) | Key::Shape(_) | Key::Redirect(_) => shape::del(key),
        Key::Open(family, device) => open("-D", *family, device),
        Key::Names(device, ip) => names("-D", device, *ip),
        Key::SandboxMac(..) | Key::Tuned(..) | Key::SandboxSysctl(..) => Vec::new(),
        Key::SandboxLoopback(_) => vec!["ip link set lo down".into()],
        Key::Port(_) => Vec::new(),
        Key::Fdb(host_if, mac) => vec![format!("bridge fdb del {mac} dev {host_if} master")],
        Key::OwnFdb(bridge, mac) => vec![format!("bridge fdb del {mac} dev {bridge} self")],
        Key::Neighbour(device, ip) => vec![
            format!("ip neigh del {ip} dev {device}"),
            format!("conntrack -D -s {ip}"),
            format!("conntrack -D -r {ip}"),
        ],
        Key::SandboxNeighbour(_, device, ip) => vec![format!("ip neigh del {ip} dev {device}")],
        Key::Route(_, net) => vec![format!("ip route del {}", destination(*net))],
        Key::Vrf(_, link) => vec![format!("ip link del {link}")],
        Key::Master(_, link) => vec![format!("ip link set {link} nomaster")],
        Key::Rule(_, selector) => vec![rule("del", *selector)],
        Key::Way(_, RouteId { net, table, priority })
        | Key::Native(_, _, RouteId { net, table, priority }) => {
            vec![format!("ip route del {} table {table} metric {priority}", destination(*net))]
        }
        Key::HostRoute(net) => vec![format!("ip route del {} proto 113", destination(*net))],
        Key::Loopback(listen) => vec![format!("# no more clients of the loopback address: {listen}")],
        Key::Member(_) | Key::Guard(_) | Key::Publish(_) => element_command("delete", key, object),
    }
}

fn element_command(verb: &str, key: &Key, object: &Object) -> Vec<String> {
    let (Some(set), Some(text)) = (key.set(), element(key, object)) else { return Vec::new() };
    vec![format!("nft {verb} element {} qiao {} '{{ {text} }}'", set.table.family(), set.name)]
}

fn address_of(mac: Option<Mac>) -> String {
    mac.map(|mac| format!(" address {mac}")).unwrap_or_default()
}

fn bridge(device: &IfName, (mac, mtu): (Option<Mac>, u32), owner: &Owner) -> Vec<String> {
    let address = address_of(mac);
    vec![
        format!("ip link add {device}{address} mtu {mtu} type bridge mcast_snooping 0"),
        format!("ip link set {device} addrgenmode none alias '{}'", owner.mark()),
    ]
}

fn veth(host_if: &IfName, object: &Object, paths: &Paths) -> Vec<String> {
    let Value::Veth { sandbox, peer, mac, mtu, bridge } = &object.value else {
        return Vec::new();
    };
    let queues = "numtxqueues 1 numrxqueues 1";
    let host = mac.other_end(bridge.is_some());
    let netns = path(sandbox, paths);
    let mut commands = vec![
        format!(
            "ip link add {host_if} address {host} mtu {mtu} {queues} type veth peer name {peer} address {mac} mtu {mtu} {queues} netns {netns}"
        ),
        format!("ip link set {host_if} addrgenmode none alias '{}'", object.owner.mark()),
    ];
    commands.extend(bridge.iter().map(|bridge| format!("ip link set {host_if} master {bridge}")));
    commands
}

fn route(verb: &str, net: IpNet, value: &Value) -> String {
    format!("ip route {verb} {} {} proto 113", destination(net), super::line::hop(value))
}

fn way(verb: &str, RouteId { net, table, priority }: RouteId, value: &Value) -> String {
    let hop = super::line::way(value);
    let protocol = match value {
        Value::Way { origin, .. } => origin.protocol.unwrap_or(113),
        _ => 113,
    };
    format!("ip route {verb} {} {hop} table {table} metric {priority} proto {protocol}", destination(net))
}

fn rule(verb: &str, Selector { from, table }: Selector) -> String {
    let family = if from.is_ipv4() { "" } else { "-6 " };
    format!("ip {family}rule {verb} from {from} lookup {table} protocol 113")
}

fn has_peer(value: &Value, name: &IfName) -> bool {
    matches!(value, Value::Veth { peer, .. } if peer == name)
}

fn vlan(link: &IfName, (parent, id): (&IfName, u16), owner: &Owner) -> Vec<String> {
    vec![
        format!("ip link add link {parent} name {link} type vlan id {id}"),
        format!("ip link set {link} addrgenmode none alias '{}'", owner.mark()),
        format!("ip link set {link} up"),
    ]
}

fn child((sandbox, link): (&SandboxName, &IfName), value: &Value, paths: &Paths) -> String {
    let Value::Child { parent, mode, mac, mtu, inside, broadcasts } = value else { return String::new() };
    let mac = mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
    let netns = if *inside { String::new() } else { format!(" netns {}", path(sandbox, paths)) };
    format!("ip link add link {parent} name {link}{mac} mtu {mtu}{netns} type {mode}{}", broadcasts.words())
}

fn lone(link: &IfName, value: &Value) -> Vec<String> {
    match value {
        Value::Dummy { mac, mtu } => vec![format!("ip link add {link} address {mac} mtu {mtu} type dummy")],
        Value::Tap { tap, mac, mtu } => {
            let on = tap.bridge.as_ref().map(|bridge| format!(" master {bridge}")).unwrap_or_default();
            vec![
                format!("ip tuntap add {link} mode tap vnet_hdr{}", super::line::tap_words(tap)),
                format!("ip link set {link} address {mac} mtu {mtu}{on}"),
            ]
        }
        _ => Vec::new(),
    }
}

/// It is done on the host: one message moves, renames and marks it.
fn lend(sandbox: &SandboxName, (link, lent): (&IfName, &Lent), owner: &Owner) -> Vec<String> {
    let device = &lent.device;
    vec![format!("ip link set {device} netns {sandbox} name {link} alias '{} {device}'", owner.mark())]
}

fn take_home(link: &IfName, lent: &Lent) -> Vec<String> {
    let (device, alias) = (&lent.device, lent.alias.as_deref().unwrap_or_default());
    let mut commands = vec![format!("ip link set {link} netns 1 name {device} alias '{alias}'")];
    commands.extend(lent.up.then(|| format!("nsenter --net=/proc/1/ns/net ip link set {device} up")));
    commands
}

fn accept_ra(link: &IfName, value: u8) -> String {
    format!("sysctl -w net.ipv6.conf.{}.accept_ra={value}", link.as_str().replace('.', "/"))
}

fn port(host_if: &IfName, isolated: bool, hairpin: bool) -> String {
    let word = |on| if on { "on" } else { "off" };
    format!(
        "ip link set {host_if} type bridge_slave learning off flood off isolated {} hairpin {} group_fwd_mask 0xfffd",
        word(isolated),
        word(hairpin)
    )
}

fn port_vlans(port: &IfName, vlans: &PortVlans) -> Vec<String> {
    let add = |(id, how): (u16, &str)| {
        let native = if vlans.native == Some(id) { " pvid" } else { "" };
        format!("bridge vlan add vid {id} dev {port}{native}{how}")
    };
    let untagged = vlans.untagged.iter().map(|id| (*id, " untagged"));
    let all = untagged.chain(vlans.tagged.iter().map(|id| (*id, "")));
    let mut commands: Vec<String> = all.map(add).collect();
    let is_first = |id: &u16| *id == 1;
    if !vlans.untagged.iter().chain(&vlans.tagged).any(is_first) {
        commands.push(format!("bridge vlan del vid 1 dev {port}"));
    }
    commands
}

/// The chain is made with its first rule, and goes with its last.
fn open(verb: &str, family: Family, device: &IfName) -> Vec<String> {
    let command = super::line::iptables(family);
    let states = "-m conntrack --ctstate RELATED,ESTABLISHED,DNAT";
    [format!("-o {device} {states}"), format!("-i {device}")]
        .map(|what| format!("{command} {verb} QIAO-FORWARD {what} -j ACCEPT"))
        .into()
}

fn names(verb: &str, device: &IfName, ip: IpAddr) -> Vec<String> {
    let command = super::line::iptables(Family::of(ip));
    ["udp", "tcp"]
        .map(|protocol| {
            format!("{command} {verb} QIAO-INPUT -i {device} -d {ip} -p {protocol} --dport 53 -j ACCEPT")
        })
        .into()
}

fn switch(port: &IfName, which: Switch, how: &str) -> String {
    format!("ip link set {port} type bridge_slave {} {how}", which.as_str())
}

fn tuned(link: &IfName, what: &Tunable, number: u32) -> String {
    let word = super::line::tunable(what);
    let value = match (what, number) {
        (Tunable::Promiscuous | Tunable::AllMulticast, 0) => "off".into(),
        (Tunable::Promiscuous | Tunable::AllMulticast, _) => "on".into(),
        (_, number) => number.to_string(),
    };
    format!("ip link set {link} {word} {value}")
}

fn neighbour(device: &IfName, ip: IpAddr, mac: Mac) -> String {
    format!("ip neigh replace {ip} lladdr {mac} dev {device} nud permanent protocol 113")
}

fn address(verb: &str, device: &IfName, net: IpNet) -> String {
    let how = match (verb, net) {
        ("add", IpNet::V4(net)) if net.prefix_len() < 31 => " brd +",
        ("add", IpNet::V6(_)) => " nodad",
        _ => "",
    };
    format!("ip addr {verb} {net} dev {device}{how}")
}

fn destination(net: IpNet) -> String {
    match net {
        IpNet::V4(net) if net.prefix_len() == 0 => "default".into(),
        IpNet::V6(net) if net.prefix_len() == 0 => "::/0".into(),
        net => net.to_string(),
    }
}
