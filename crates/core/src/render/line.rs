//! One line an operation: the form of `--dry-run`, of the log, and of the golden plans.

use crate::condition::Except;
use crate::endpoint::{PortVlans, Tunable};
use crate::name::IfName;
use crate::plan::{Guard, Key, Member, Op, Plan, RouteId, Value};
use crate::route::Kind;
use crate::shape::Bucket;
use crate::solo::Tap;
use crate::source::Selector;
use crate::subnet::Family;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The plan, one line an operation, in order.
pub fn plan(plan: &Plan) -> String {
    plan.ops().iter().fold(String::new(), |mut text, op| {
        let _ = writeln!(text, "{}", line(op));
        text
    })
}

/// One operation: its sign, its kind, what it is about, and whose it is.
pub fn line(op: &Op) -> String {
    let (kind, what) = words(op.key());
    let (sign, how) = match op {
        Op::Add { object, .. } => ('+', value(&object.value)),
        Op::Del { object, .. } => ('-', value(&object.value)),
        Op::Set { from, to, .. } => ('~', format!("{} -> {}", value(from), value(to))),
    };
    let about = format!("{what} {how}");
    format!("{sign} {kind:<9} {:<58} {}", about.trim_end(), op.owner())
}

/// The object in words: `bridge br-blue`, `published port 0.0.0.0:8080/tcp`.
pub fn noun(key: &Key) -> String {
    let (kind, what) = words(key);
    format!("{kind} `{what}`")
}

/// The kind of an object, and which one of its kind.
fn words(key: &Key) -> (&'static str, String) {
    match key {
        Key::Sysctl(sysctl) => ("sysctl", sysctl.to_string()),
        Key::Ruleset => ("ruleset", "qiao".into()),
        Key::Member(member) => ("member", member_words(member)),
        Key::Bridge(device) => ("bridge", device.to_string()),
        Key::VlanFiltering(device) => ("filtering", format!("of VLANs on {device}")),
        Key::BridgeVrf(device, vrf) => ("vrf", format!("{vrf} of {device}")),
        Key::BridgeVlan(device, id) => ("vlan", format!("{id} at {device}")),
        Key::PortVlans(port) => ("vlans", port.to_string()),
        Key::BridgeAddress(device, net) | Key::VlanAddress(device, net) => {
            ("address", format!("{net} on {device}"))
        }
        Key::BridgeUp(link) | Key::HostUp(link) => ("up", link.to_string()),
        Key::Guard(guard) => ("guard", guard_words(guard)),
        Key::Veth(host_if) => ("veth", host_if.to_string()),
        Key::Port(host_if) => ("port", host_if.to_string()),
        Key::Switch(port, which) => ("port", format!("{} of {port}", which.as_str())),
        Key::Setting(setting, link) => ("setting", format!("{} of {link}", setting.as_str())),
        Key::Fdb(host_if, mac) | Key::OwnFdb(host_if, mac) => ("fdb", format!("{mac} at {host_if}")),
        Key::Neighbour(device, ip) => ("neighbour", format!("{ip} on {device}")),
        Key::Ifb(link) => ("ifb", link.to_string()),
        Key::Shape(link) => ("shape", link.to_string()),
        Key::Redirect(link) => ("redirect", link.to_string()),
        Key::Vlan(link) => ("vlan", link.to_string()),
        Key::Child(sandbox, link) => ("child", inside(sandbox, link)),
        Key::Lone(sandbox, link) => ("link", inside(sandbox, link)),
        Key::Lent(sandbox, link) => ("device", inside(sandbox, link)),
        Key::NoAdvertisements(sandbox, link) => ("sysctl", format!("accept_ra of {}", inside(sandbox, link))),
        Key::SandboxLoopback(sandbox) => ("up", format!("lo in {sandbox}")),
        Key::SandboxAddress(sandbox, link, net) => ("address", format!("{net} on {}", inside(sandbox, link))),
        Key::SandboxSysctl(sandbox, path) => ("sysctl", format!("{} in {sandbox}", dotted(path))),
        Key::SandboxMac(sandbox, link) => ("mac", inside(sandbox, link)),
        Key::Tuned(sandbox, link, what) => (tunable(what), inside(sandbox, link)),
        Key::SandboxUp(sandbox, link) => ("up", inside(sandbox, link)),
        Key::SandboxNeighbour(sandbox, link, ip) => {
            ("neighbour", format!("{ip} on {}", inside(sandbox, link)))
        }
        Key::HostRoute(net) => ("route", net.to_string()),
        Key::Way(sandbox, RouteId { net, table, priority }) => {
            ("way", format!("{net} table {table} metric {priority} in {sandbox}"))
        }
        Key::Native(sandbox, _, RouteId { net, .. }) => ("native", format!("{net} in {sandbox}")),
        Key::Vrf(sandbox, link) => ("vrf", inside(sandbox, link)),
        Key::Master(sandbox, link) => ("master", inside(sandbox, link)),
        Key::Rule(sandbox, Selector { from, table }) => {
            ("rule", format!("from {from} table {table} in {sandbox}"))
        }
        Key::Route(sandbox, net) => ("route", format!("{net} in {sandbox}")),
        Key::Open(family, device) => ("open", format!("{device} in FORWARD of {}", iptables(*family))),
        Key::Names(device, ip) => {
            let chain = iptables(Family::of(*ip));
            ("open", format!("names at {ip} for {device} in INPUT of {chain}"))
        }
        Key::Publish(listen) => ("publish", listen.to_string()),
        Key::Loopback(listen) => ("loopback", listen.to_string()),
    }
}

/// The command whose rules are those of a family.
pub(super) fn iptables(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

/// The word for a setting of an interface: `ip link set` has the same.
pub(super) fn tunable(what: &Tunable) -> &'static str {
    match what {
        Tunable::Mac => "address",
        Tunable::Mtu => "mtu",
        Tunable::QueueLength => "txqueuelen",
        Tunable::Promiscuous => "promisc",
        Tunable::AllMulticast => "allmulti",
        Tunable::Sysctl(_) => "sysctl",
    }
}

/// The path of a setting as sysctl(8) writes it.
pub(super) fn dotted(path: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    path.chars().map(swap).collect()
}

fn inside(sandbox: &crate::name::SandboxName, link: &IfName) -> String {
    format!("{link} in {sandbox}")
}

fn member_words(member: &Member) -> String {
    match member {
        Member::Downlink(device) => format!("{device} leads to containers"),
        Member::Subnet(net) => format!("{net} is a subnet of ours"),
        Member::Own(net, device) => format!("{net} is reached by {device}"),
        Member::Home(ip, port) => format!("{ip} is behind {port}"),
        Member::Peers(from, to) => format!("{from} reaches {to}"),
        Member::Gateway(net, ip) => format!("{net} has the gateway {ip}"),
        Member::Outbound(net, ip) => format!("{net} goes out as {ip}"),
        Member::Hidden(net) => format!("{net} is not reached from outside"),
        Member::Pair(a, b) if a == b => format!("{a} reaches itself"),
        Member::Pair(a, b) => format!("{a} reaches {b}"),
        Member::Masquerade(net) => format!("{net} goes out as the host"),
        Member::Internal(device) => format!("{device} is internal"),
        Member::Closed(device) => format!("{device} does not reach the host"),
        Member::Friend(device) => format!("{device} reaches other friends"),
        Member::Apart(device) => format!("{device} is kept apart from others like it"),
        Member::FriendSubnet(net) => format!("{net} is reached by friends"),
        Member::Near(ip, net) => format!("{net} is the host to {ip}"),
        Member::Except(except) => {
            let Except { protocol, to, ports, from } = &**except;
            format!("{from} gets nothing published at {to}:{ports}/{protocol}")
        }
        Member::Plain(ip) => format!("nobody is the host to {ip}"),
        Member::NoTransit(family) => format!("no transit of {family:?} traffic"),
        Member::Transit(family, from, to) => format!("{family:?} traffic passes from {from} to {to}"),
    }
}

fn guard_words(guard: &Guard) -> String {
    match guard {
        Guard::Port(port) | Guard::Routed(port) => format!("{port} is guarded"),
        Guard::Mac(port, mac) | Guard::Sender(port, mac) => format!("{port} sends from {mac}"),
        Guard::Arp(port, mac, ip) => format!("{port} says {ip} is at {mac}"),
        Guard::Ip4(port, ip) => format!("{port} sends from {ip}"),
        Guard::Ip6(port, ip) => format!("{port} sends from {ip}"),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Present => String::new(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Ruleset(digest) => format!("{digest:08x}"),
        Value::Bridge { mac, mtu } => {
            let mac = mac.map_or_else(|| "no address".into(), |mac| mac.to_string());
            format!("{mac} mtu {mtu}")
        }
        Value::Veth { sandbox, peer, mac, mtu, bridge } => {
            let on = bridge.as_ref().map_or("no bridge", IfName::as_str);
            format!("{peer} in {sandbox} {mac} mtu {mtu} on {on}")
        }
        Value::Port { fixed, isolated, hairpin } => {
            let learning = if *fixed { "" } else { "learning on " };
            format!("{learning}isolated {} hairpin {}", on_off(*isolated), on_off(*hairpin))
        }
        Value::Vlan { parent, id, up } => {
            let down = if *up { "" } else { " down" };
            format!("{id} on {parent}{down}")
        }
        Value::Child { parent, mode, mac, mtu, inside, broadcasts } => {
            let mac = mac.map(|mac| format!("{mac} ")).unwrap_or_default();
            let casts = broadcasts.words();
            let there = if *inside { " there" } else { "" };
            format!("{mac}mtu {mtu} {mode}{casts} on {parent}{there}")
        }
        Value::Vlans(vlans) => vlan_words(vlans),
        Value::Dummy { mac, mtu } => format!("{mac} mtu {mtu} dummy"),
        Value::Tap { tap, mac, mtu } => format!("{mac} mtu {mtu} tap{}", tap_words(tap)),
        Value::Lent { lent, astray } => {
            let astray = if *astray { " astray" } else { "" };
            format!("the host's {}{astray}", lent.device)
        }
        Value::PointToPoint { arp, enslaved } => {
            let enslaved = if *enslaved { " on a bridge" } else { "" };
            format!("arp {}{enslaved}", on_off(*arp))
        }
        Value::Mac(mac) => format!("is at {mac}"),
        Value::Route { .. } => hop(value),
        Value::Way { .. } => way(value),
        Value::Vrf { table, up } => format!("table {table}{}", if *up { "" } else { " down" }),
        Value::Master(master) => master.as_ref().map_or_else(|| "nothing".into(), ToString::to_string),
        Value::Bucket(bucket) => tbf(*bucket),
        Value::Ifb { mtu, up } => format!("mtu {mtu}{}", if *up { "" } else { " down" }),
        Value::Redirect { to } => format!("to {to}"),
        Value::Backend(backend) | Value::Held(backend) => format!("to {backend}"),
    }
}

fn vlan_words(vlans: &PortVlans) -> String {
    let ids = |ids: &BTreeSet<u16>| ids.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let mut words =
        vec![format!("untagged {}", ids(&vlans.untagged)), format!("tagged {}", ids(&vlans.tagged))];
    words.retain(|words| !words.ends_with(' '));
    words.extend(vlans.native.map(|id| format!("pvid {id}")));
    words.join(" ")
}

/// How a tap is, in `ip`'s words.
pub(super) fn tap_words(tap: &Tap) -> String {
    let mut words = String::new();
    let _ = tap.owner.map(|owner| write!(words, " user {owner}"));
    let _ = tap.group.map(|group| write!(words, " group {group}"));
    words += if tap.multi_queue { " multi_queue" } else { "" };
    words
}

/// A route's next hop, in `ip`'s words.
pub(super) fn hop(value: &Value) -> String {
    let Value::Route { dev, via, onlink, src, attributes } = value else { return String::new() };
    let via = via.map(|via| format!("via {via} ")).unwrap_or_default();
    let onlink = if *onlink { " onlink" } else { "" };
    let src = src.map(|src| format!(" src {src}")).unwrap_or_default();
    let metric = attributes.metric.map(|metric| format!(" metric {metric}")).unwrap_or_default();
    match attributes.kind {
        Kind::Unicast => format!("{via}dev {dev}{onlink}{src}{metric}"),
        kind => format!("{}{metric}", kind.as_str()),
    }
}

/// The same of a route with more.
pub(super) fn way(value: &Value) -> String {
    let Value::Way { dev, via, mtu, advmss, scope, origin } = value else { return String::new() };
    let via = via.map(|via| format!("via {via} ")).unwrap_or_default();
    let with = |word, number: u32| if number == 0 { String::new() } else { format!(" {word} {number}") };
    let (scope, mtu, advmss) = (with("scope", (*scope).into()), with("mtu", *mtu), with("advmss", *advmss));
    let src = origin.src.map(|src| format!(" src {src}")).unwrap_or_default();
    let onlink = if origin.onlink { " onlink" } else { "" };
    format!("{via}dev {dev}{onlink}{scope}{src}{mtu}{advmss}")
}

/// A token bucket, in `tc`'s words.
pub(super) fn tbf(bucket: Bucket) -> String {
    format!("rate {}bit burst {}b latency {}ms", u128::from(bucket.rate) * 8, bucket.burst, Bucket::LATENCY)
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
