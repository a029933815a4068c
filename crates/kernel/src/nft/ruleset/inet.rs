//! `inet qiao`: what is routed, translated and published.

use super::build::Builder;
use super::exprs::*;
use qiao_nft::{ChainType, Expr, Family, Hook};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const DNS: u16 = 53;
const VXLAN: u16 = 4789;
const TARGET: u32 = 2;
const LOOPBACK6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Priorities by name (linux/netfilter_ipv4.h).
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

/// The chains of the table.
pub fn chains(table: &mut Builder) {
    publish(table);
    closed_input(table);
    raw_prerouting(table);
    translations(table);
    table.base(
        "input",
        ChainType::Filter,
        (Hook::INPUT, FILTER),
        vec![goto(&[iif_in("closed")], "closed_input")],
    );
    forward(table);
}

fn iif_in(set: &str) -> Vec<Expr> {
    is_in(&[Load::IifName], set)
}

fn oif_in(set: &str) -> Vec<Expr> {
    is_in(&[Load::OifName], set)
}

fn target4_in(set: &str) -> Vec<Expr> {
    [family(Family::Ip), is_in(&[Load::Target4], set)].concat()
}

fn target6_in(set: &str) -> Vec<Expr> {
    [family(Family::Ip6), is_in(&[Load::Target6], set)].concat()
}

fn source4_in(set: &str) -> Vec<Expr> {
    [family(Family::Ip), is_in(&[Load::Source4], set)].concat()
}

fn source6_in(set: &str) -> Vec<Expr> {
    [family(Family::Ip6), is_in(&[Load::Source6], set)].concat()
}

/// The destination lies behind the bridge that the packet came from.
fn own4() -> Vec<Expr> {
    [family(Family::Ip), is_in(&[Load::Target4, Load::IifName], "own4")].concat()
}

fn own6() -> Vec<Expr> {
    [family(Family::Ip6), is_in(&[Load::Target6, Load::IifName], "own6")].concat()
}

/// Published ports: one address before all, single ports before ranges.
fn publish(table: &mut Builder) {
    let mut rules = Vec::new();
    for (name, with_port) in [("publish", true), ("ranges", false)] {
        for (family, suffix, target) in [(Family::Ip, "4", Load::Target4), (Family::Ip6, "6", Load::Target6)]
        {
            let map = format!("{name}{suffix}");
            rules.push((translate(family, &[Load::L4Proto, target, Load::Port], (&map, with_port)), ""));
        }
        for (family, suffix) in [(Family::Ip, "4"), (Family::Ip6, "6")] {
            let map = format!("{name}_any{suffix}");
            rules.push((translate(family, &[Load::L4Proto, Load::Port], (&map, with_port)), ""));
        }
    }
    table.regular("publish", rules);
}

/// What members of a closed network may ask of the host: names, and where its addresses are.
fn closed_input(table: &mut Builder) {
    let dns = |own: Vec<Expr>, protocol| accept(&[own, port(protocol, (TARGET, DNS))]);
    let nd = |kind| accept(&[family(Family::Ip6), icmp(ICMPV6, kind)]);
    table.regular(
        "closed_input",
        vec![
            accept(&[established()]),
            dns(own4(), UDP),
            dns(own4(), TCP),
            dns(own6(), UDP),
            dns(own6(), TCP),
            nd(NEIGHBOUR_SOLICITATION),
            nd(NEIGHBOUR_ADVERTISEMENT),
            drop_because(&[], "internal network to the host"),
        ],
    );
}

/// Before connections are tracked: nobody reaches a container's address but through its own bridge.
fn raw_prerouting(table: &mut Builder) {
    let v4 = || family(Family::Ip);
    let v6 = || family(Family::Ip6);
    let wire = "loopback address on the wire";
    let elsewhere = "a container's address from elsewhere";
    let not_own4 = [v4(), is_not_in(&[Load::Source4, Load::IifName], "own4")].concat();
    let not_own6 = [v6(), is_not_in(&[Load::Source6, Load::IifName], "own6")].concat();
    let straight = "straight to a container's address";
    let across = "from one network to another's gateway";
    let rules = vec![
        accept(&[iif("lo")]),
        drop_because(&[v4(), network(12, &[127])], wire),
        drop_because(&[v4(), network(16, &[127])], wire),
        drop_because(&[v6(), network(8, &LOOPBACK6)], wire),
        drop_because(&[v6(), network(24, &LOOPBACK6)], wire),
        drop_because(&[not_own4, is_in(&[Load::Source4], "subnets4")], elsewhere),
        drop_because(&[not_own6, is_in(&[Load::Source6], "subnets6")], elsewhere),
        drop_because(&[iif_in("bridges"), is_local(), port(UDP, (TARGET, VXLAN))], "VXLAN from a container"),
        accept(&[own4()]),
        accept(&[own6()]),
        accept(&[iif_in("friends"), target4_in("friends4")]),
        accept(&[iif_in("friends"), target6_in("friends6")]),
        drop_because(&[iif_in("bridges"), target4_in("subnets4"), is_local()], across),
        drop_because(&[iif_in("bridges"), target6_in("subnets6"), is_local()], across),
        // What goes from one network to another may be an answer: the forward chain knows.
        accept(&[iif_in("bridges")]),
        drop_because(&[target4_in("hidden4")], straight),
        drop_because(&[target6_in("hidden6")], straight),
    ];
    table.base("raw_prerouting", ChainType::Filter, (Hook::PREROUTING, RAW), rules);
}

fn translations(table: &mut Builder) {
    let to_local = || jump(&[is_local()], "publish");
    table.base("nat_prerouting", ChainType::Nat, (Hook::PREROUTING, DSTNAT), vec![to_local()]);
    let output = vec![
        accept(&[oif("lo"), family(Family::Ip), network(16, &[127])]),
        accept(&[oif("lo"), family(Family::Ip6), network(24, &LOOPBACK6)]),
        to_local(),
    ];
    table.base("nat_output", ChainType::Nat, (Hook::OUTPUT, DSTNAT), output);
    // The input interface would tell the same, but is not known here of frames that br_netfilter hands over.
    let own = |protocol, source, set| [family(protocol), is_in(&[source, Load::OifName], set)].concat();
    let again = |own| ([own, was_translated(), vec![masquerade()]].concat(), "");
    let mut rules = vec![
        again(own(Family::Ip, Load::Source4, "own4")),
        again(own(Family::Ip6, Load::Source6, "own6")),
        accept(&[oif_in("bridges")]),
    ];
    for source in [source4_in("masquerade4"), source6_in("masquerade6")] {
        rules.push(([source.clone(), l4(TCP), masquerade_high()].concat(), ""));
        rules.push(([source.clone(), l4(UDP), masquerade_high()].concat(), ""));
        rules.push(([source, vec![masquerade()]].concat(), ""));
    }
    table.base("nat_postrouting", ChainType::Nat, (Hook::POSTROUTING, SRCNAT), rules);
}

fn forward(table: &mut Builder) {
    let rules = vec![
        accept(&[established()]),
        accept(&[is_in(&[Load::IifName, Load::OifName], "pairs")]),
        drop_because(&[iif_in("internal")], "out of an internal network"),
        drop_because(&[oif_in("internal")], "into an internal network"),
        accept(&[iif_in("friends"), oif_in("friends")]),
        accept(&[oif_in("bridges"), was_translated()]),
        drop_because(&[oif_in("bridges")], "into a network, not published"),
        drop_because(&[iif_in("bridges"), port(UDP, (TARGET, VXLAN))], "VXLAN from a container"),
        accept(&[iif_in("bridges")]),
        accept(&[iif_kind("bridge")]),
        accept(&[oif_kind("bridge")]),
        accept(&[iif_kind("veth")]),
        accept(&[oif_kind("veth")]),
        (verdict_of(family_of_packet(), "no_transit"), ""),
    ];
    table.base("forward", ChainType::Filter, (Hook::FORWARD, FILTER), rules);
}
