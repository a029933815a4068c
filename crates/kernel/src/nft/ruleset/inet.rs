//! `inet qiao`: what is routed, translated and published.

use super::build::Builder;
use super::exprs::*;
use qiao_nft::{ChainType, CtDirection, Expr, Family, Hook};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const DNS: u16 = 53;
const VXLAN: u16 = 4789;
const TARGET: u32 = 2;
const ICMP: u8 = 1;
const REDIRECT4: u8 = 5;
const ROUTER_ADVERTISEMENT: u8 = 134;
const REDIRECT6: u8 = 137;
const SOURCE: u32 = 0;
const LOOPBACK6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Priorities by name (linux/netfilter_ipv4.h).
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

/// The chains of the table.
pub fn chains(table: &mut Builder) {
    publish(table);
    quoted(table);
    closed_input(table);
    routed_icmp(table);
    from_routed(table);
    raw_prerouting(table);
    masqueraded(table);
    translations(table);
    table.base(
        "input",
        ChainType::Filter,
        (Hook::INPUT, FILTER),
        vec![goto(&[iif_in("closed")], "closed_input"), jump(&[related()], "quoted")],
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

/// The destination is in the routed subnet that the source is in, as far as that is allowed.
fn peers4() -> Vec<Expr> {
    [family(Family::Ip), is_in(&[Load::Source4, Load::Target4], "peers4")].concat()
}

fn peers6() -> Vec<Expr> {
    [family(Family::Ip6), is_in(&[Load::Source6, Load::Target6], "peers6")].concat()
}

/// Published ports: first what is not translated, one address before all, single ports before ranges.
fn publish(table: &mut Builder) {
    let except = |of, (target, source), set| {
        let fields = [Load::L4Proto, target, Load::Port, source];
        ([family(of), is_in(&fields, set), vec![back()]].concat(), "")
    };
    let mut rules = vec![
        except(Family::Ip, (Load::Target4, Load::Source4), "except4"),
        except(Family::Ip6, (Load::Target6, Load::Source6), "except6"),
    ];
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

/// What is related to a connection is let through from a network of ours only if that end of the connection which it
/// comes from is behind the link that it came in by: connection tracking marks an error of any sender as related.
/// Which container of the network it is, the guard asks. What comes from elsewhere is none of this chain's business,
/// since tracking sees to it that it goes to an end of the connection (`nf_conntrack_inet_error`).
fn quoted(table: &mut Builder) {
    let ends = |load: fn(CtDirection) -> Load, set| {
        [CtDirection::Original, CtDirection::Reply].map(|direction| {
            let end = is_in(&[load(direction), Load::IifName], set);
            ([goes(direction), end, vec![back()]].concat(), "")
        })
    };
    let mut rules = Vec::new();
    rules.extend(ends(Load::CtSource4, "own4"));
    rules.extend(ends(Load::CtSource6, "own6"));
    rules.extend(ends(Load::CtSource4, "homes4"));
    rules.extend(ends(Load::CtSource6, "homes6"));
    let others = "ICMP error about a connection of others";
    let own = |of, source, set| [family(of), is_in(&[source, Load::IifName], set)].concat();
    rules.extend([
        drop_because(&[iif_in("downlinks")], others),
        drop_because(&[iif_in("apart")], others),
        // An open network: as far as the source address shows.
        drop_because(&[own(Family::Ip, Load::Source4, "own4")], others),
        drop_because(&[own(Family::Ip6, Load::Source6, "own6")], others),
    ]);
    table.regular("quoted", rules);
}

/// What members of a closed network may ask of the host: names, and where its addresses are.
fn closed_input(table: &mut Builder) {
    let at_gateways = [own4(), own6(), peers4(), peers6()].map(|own| accept(&[own]));
    table.regular("at_gateways", at_gateways.to_vec());
    let names = |protocol| jump(&[port(protocol, (TARGET, DNS))], "at_gateways");
    let nd = |kind| accept(&[family(Family::Ip6), icmp(ICMPV6, kind)]);
    table.regular(
        "closed_input",
        vec![
            accept(&[established()]),
            jump(&[related()], "quoted"),
            accept(&[related()]),
            names(UDP),
            names(TCP),
            nd(NEIGHBOUR_SOLICITATION),
            nd(NEIGHBOUR_ADVERTISEMENT),
            drop_because(&[], "internal network to the host"),
        ],
    );
}

/// What a port of a routed network may send of ICMP: no redirects, no routers' messages, and errors only about packets
/// that were for it.
fn routed_icmp(table: &mut Builder) {
    let icmp4 = |kind| [family(Family::Ip), icmp(ICMP, kind)].concat();
    let icmp6 = |kind| [family(Family::Ip6), icmp(ICMPV6, kind)].concat();
    let quoting = |quoted, set| {
        let own = [is_in(&[quoted, Load::IifName], set), vec![back()]].concat();
        vec![(own, ""), drop_because(&[], "ICMP error about a packet that was not for the port")]
    };
    table.regular("routed_quoting4", quoting(Load::Quoted4, "homes4"));
    table.regular("routed_quoting6", quoting(Load::Quoted6, "homes6"));
    let mut rules = vec![drop_because(&[icmp4(REDIRECT4)], "ICMP redirect")];
    rules.extend(ERRORS4.map(|kind| goto(&[icmp4(kind)], "routed_quoting4")));
    table.regular("routed_icmp4", rules);
    let rules = vec![
        drop_because(&[icmp6(ROUTER_ADVERTISEMENT)], "router advertisement"),
        drop_because(&[icmp6(NEIGHBOUR_ADVERTISEMENT)], "neighbour advertisement"),
        drop_because(&[icmp6(REDIRECT6)], "ICMPv6 redirect"),
        goto(&[family(Family::Ip6), error6()], "routed_quoting6"),
    ];
    table.regular("routed_icmp6", rules);
}

/// What a port of a routed network may send. Neither ARP nor frames of other protocols get here: the port heeds
/// none, and the host has no use for them.
fn from_routed(table: &mut Builder) {
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    let home = |of, source, set| [family(of), is_in(&[source, Load::IifName], set), vec![back()]].concat();
    let foreign_mac = [ethernet(), is_not_in(&[Load::IifName, Load::EtherSource], "senders")].concat();
    let rules = vec![
        drop_because(&[foreign_mac], "hardware address that is not the port's"),
        drop_because(&[family(Family::Ip), option4(LOOSE_SOURCE_ROUTE)], "source route"),
        drop_because(&[family(Family::Ip), option4(STRICT_SOURCE_ROUTE)], "source route"),
        drop_because(&[port(UDP, (SOURCE, 67))], "DHCP server"),
        drop_because(&[port(UDP, (SOURCE, 547))], "DHCPv6 server"),
        jump(&[family(Family::Ip), l4(ICMP)], "routed_icmp4"),
        jump(&[family(Family::Ip6), l4(ICMPV6)], "routed_icmp6"),
        (home(Family::Ip, Load::Source4, "homes4"), ""),
        (home(Family::Ip6, Load::Source6, "homes6"), ""),
        drop_because(&[], "source that is not the port's"),
    ];
    table.regular("from_routed", rules);
}

/// Before connections are tracked: nobody reaches a container's address but through its own bridge.
fn raw_prerouting(table: &mut Builder) {
    let v4 = || family(Family::Ip);
    let v6 = || family(Family::Ip6);
    let wire = "loopback address on the wire";
    let elsewhere = "a container's address from elsewhere";
    let not_in = |source, set| is_not_in(&[source, Load::IifName], set);
    let not_own4 = [v4(), not_in(Load::Source4, "own4"), not_in(Load::Source4, "homes4")].concat();
    let not_own6 = [v6(), not_in(Load::Source6, "own6"), not_in(Load::Source6, "homes6")].concat();
    let straight = "straight to a container's address";
    let across = "from one network to another's gateway";
    let rules = vec![
        accept(&[iif("lo")]),
        drop_because(&[v4(), network(12, &[127])], wire),
        drop_because(&[v4(), network(16, &[127])], wire),
        drop_because(&[v6(), network(8, &LOOPBACK6)], wire),
        drop_because(&[v6(), network(24, &LOOPBACK6)], wire),
        jump(&[iif_in("routed")], "from_routed"),
        drop_because(&[not_own4, is_in(&[Load::Source4], "subnets4")], elsewhere),
        drop_because(&[not_own6, is_in(&[Load::Source6], "subnets6")], elsewhere),
        drop_because(
            &[iif_in("downlinks"), is_local(), port(UDP, (TARGET, VXLAN))],
            "VXLAN from a container",
        ),
        accept(&[own4()]),
        accept(&[own6()]),
        accept(&[peers4()]),
        accept(&[peers6()]),
        accept(&[iif_in("friends"), target4_in("friends4")]),
        accept(&[iif_in("friends"), target6_in("friends6")]),
        drop_because(&[iif_in("downlinks"), target4_in("subnets4"), is_local()], across),
        drop_because(&[iif_in("downlinks"), target6_in("subnets6"), is_local()], across),
        // What goes from one network to another may be an answer: the forward chain knows.
        accept(&[iif_in("downlinks")]),
        drop_because(&[target4_in("hidden4")], straight),
        drop_because(&[target6_in("hidden6")], straight),
    ];
    table.base("raw_prerouting", ChainType::Filter, (Hook::PREROUTING, RAW), rules);
}

/// How packets go out under the host's address.
fn masqueraded(table: &mut Builder) {
    let high = |protocol| ([l4(protocol), masquerade_high()].concat(), "");
    table.regular("masqueraded", vec![high(TCP), high(UDP), (vec![masquerade()], "")]);
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
    let itself = |of, source, (set, map)| {
        ([own(of, source, set), was_translated(), translate_source(of, source, map)].concat(), "")
    };
    let near =
        |of, [target, source]: [Load; 2], set| again([family(of), is_in(&[target, source], set)].concat());
    let plain = |of, target, set| accept(&[[family(of), is_in(&[target], set)].concat(), was_translated()]);
    let outbound = |of, source, map| ([vec![], family(of), translate_source(of, source, map)].concat(), "");
    let rules = vec![
        plain(Family::Ip, Load::Target4, "plain4"),
        plain(Family::Ip6, Load::Target6, "plain6"),
        near(Family::Ip, [Load::Target4, Load::Source4], "near4"),
        near(Family::Ip6, [Load::Target6, Load::Source6], "near6"),
        again(own(Family::Ip, Load::Source4, "own4")),
        again(own(Family::Ip6, Load::Source6, "own6")),
        itself(Family::Ip, Load::Source4, ("homes4", "gateways4")),
        itself(Family::Ip6, Load::Source6, ("homes6", "gateways6")),
        // The host speaks to its own gateways as itself: the name server knows it by that.
        accept(&[oif("lo")]),
        accept(&[oif_in("downlinks")]),
        // Ports of routed networks reach one another as themselves.
        accept(&[own(Family::Ip, Load::Target4, "homes4")]),
        accept(&[own(Family::Ip6, Load::Target6, "homes6")]),
        accept(&[own(Family::Ip, Load::Source4, "own4")]),
        accept(&[own(Family::Ip6, Load::Source6, "own6")]),
        outbound(Family::Ip, Load::Source4, "outbound4"),
        outbound(Family::Ip6, Load::Source6, "outbound6"),
        goto(&[source4_in("masquerade4")], "masqueraded"),
        goto(&[source6_in("masquerade6")], "masqueraded"),
    ];
    table.base("nat_postrouting", ChainType::Nat, (Hook::POSTROUTING, SRCNAT), rules);
}

fn forward(table: &mut Builder) {
    let own = |protocol, (ip, link), set| [family(protocol), is_in(&[ip, link], set)].concat();
    let rules = vec![
        accept(&[established()]),
        accept(&[is_in(&[Load::IifName, Load::OifName], "pairs")]),
        accept(&[peers4()]),
        accept(&[peers6()]),
        jump(&[related()], "quoted"),
        drop_because(&[iif_in("internal")], "out of an internal network"),
        drop_because(&[oif_in("internal")], "into an internal network"),
        accept(&[oif_in("downlinks"), was_translated()]),
        accept(&[oif_in("apart"), was_translated()]),
        drop_because(&[iif_in("apart"), oif_in("apart")], "from one network to another"),
        // From a network of ours it is let through like what begins a connection.
        accept(&[related(), is_not_in(&[Load::IifName], "downlinks")]),
        accept(&[iif_in("friends"), oif_in("friends")]),
        drop_because(&[oif_in("downlinks")], "into a network, not published"),
        drop_because(&[iif_in("downlinks"), port(UDP, (TARGET, VXLAN))], "VXLAN from a container"),
        accept(&[iif_in("downlinks")]),
        accept(&[iif_kind("bridge")]),
        accept(&[oif_kind("bridge")]),
        accept(&[iif_kind("veth")]),
        accept(&[oif_kind("veth")]),
        // The gateway may be an interface of another kind: a VLAN of a bridge.
        accept(&[own(Family::Ip, (Load::Source4, Load::IifName), "own4")]),
        accept(&[own(Family::Ip6, (Load::Source6, Load::IifName), "own6")]),
        accept(&[own(Family::Ip, (Load::Target4, Load::OifName), "own4")]),
        accept(&[own(Family::Ip6, (Load::Target6, Load::OifName), "own6")]),
        accept(&[is_in(&[Load::NfProto, Load::IifName, Load::OifName], "transit")]),
        (verdict_of(family_of_packet(), "no_transit"), ""),
    ];
    table.base("forward", ChainType::Filter, (Hook::FORWARD, FILTER), rules);
}
