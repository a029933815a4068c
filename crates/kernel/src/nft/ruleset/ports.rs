//! `bridge qiao`: what a container's port may send, and what it gets.

use super::build::Builder;
use super::exprs::*;
use qiao_nft::{ChainType, Hook};

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const REDIRECT4: u8 = 5;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT6: u8 = 137;
const SOURCE: u32 = 0;
const LOOPBACK6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// The chains of the table.
pub fn chains(table: &mut Builder) {
    from_arp(table);
    from_icmp4(table);
    from_ip4(table);
    from_icmp6(table);
    from_ip6(table);
    from_port(table);
    to_port(table);
    // Before everything else of this family, and after nothing: the guard decides first.
    table.base(
        "prerouting",
        ChainType::Filter,
        (Hook::PREROUTING, -300),
        vec![goto(&[is_in(&[Load::IifName], "ports")], "from_port")],
    );
    table.base(
        "postrouting",
        ChainType::Filter,
        (Hook::POSTROUTING, 0),
        vec![goto(&[is_in(&[Load::OifName], "ports")], "to_port")],
    );
}

/// ARP may say where the port's own addresses are, and may ask on behalf of no address (RFC 5227 probes).
fn from_arp(table: &mut Builder) {
    let ethernet_ipv4 = [network(0, &[0, 1, 8, 0]), network(4, &[6, 4])].concat();
    let request = network(6, &[0, 1]);
    let from_none = network(14, &[0, 0, 0, 0]);
    table.regular(
        "from_arp",
        vec![
            accept(&[
                ether_type(ARP),
                ethernet_ipv4,
                is_in(&[Load::IifName, Load::ArpMac, Load::ArpIp], "arps"),
            ]),
            accept(&[ether_type(ARP), request, from_none, is_in(&[Load::IifName, Load::ArpMac], "macs")]),
            drop_because(&[], "ARP for an address that is not the port's"),
        ],
    );
}

fn from_ip4(table: &mut Builder) {
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    table.regular(
        "from_ip4",
        vec![
            drop_because(&[protocol(IPV4), network(16, &[127])], "loopback address on the wire"),
            drop_because(&[ether_type(IPV4), option4(LOOSE_SOURCE_ROUTE)], "source route"),
            drop_because(&[ether_type(IPV4), option4(STRICT_SOURCE_ROUTE)], "source route"),
            drop_because(&[port(UDP, (SOURCE, 67))], "DHCP server"),
            goto(&[l4(ICMP)], "from_icmp4"),
            accept(&[protocol(IPV4), is_in(&[Load::IifName, Load::Source4], "ip4s")]),
            drop_because(&[], FOREIGN_SOURCE4),
        ],
    );
}

const FOREIGN_SOURCE4: &str = "IPv4 source that is not the port's";
const FOREIGN_SOURCE6: &str = "IPv6 source that is not the port's";
const FOREIGN_ERROR: &str = "ICMP error about a packet that was not for the port";

/// An error may quote only what was sent to the port's own addresses. Where the quoted destination stands in a second
/// fragment it is not seen, and the error goes no further.
fn from_icmp4(table: &mut Builder) {
    let own = is_in(&[Load::IifName, Load::Quoted4], "ip4s");
    table.regular("quoting4", vec![accept(&[own]), drop_because(&[], FOREIGN_ERROR)]);
    let foreign = [protocol(IPV4), is_not_in(&[Load::IifName, Load::Source4], "ip4s")].concat();
    let mut rules = vec![
        drop_because(&[ether_type(IPV4), icmp(ICMP, REDIRECT4)], "ICMP redirect"),
        drop_because(&[foreign], FOREIGN_SOURCE4),
    ];
    rules.extend(ERRORS4.map(|kind| goto(&[ether_type(IPV4), icmp(ICMP, kind)], "quoting4")));
    rules.push(accept(&[]));
    table.regular("from_icmp4", rules);
}

fn from_ip6(table: &mut Builder) {
    table.regular(
        "from_ip6",
        vec![
            drop_because(&[protocol(IPV6), network(24, &LOOPBACK6)], "loopback address on the wire"),
            drop_because(&[port(UDP, (SOURCE, 547))], "DHCPv6 server"),
            goto(&[l4(ICMPV6)], "from_icmp6"),
            accept(&[protocol(IPV6), is_in(&[Load::IifName, Load::Source6], "ip6s")]),
            drop_because(&[], FOREIGN_SOURCE6),
        ],
    );
}

fn from_icmp6(table: &mut Builder) {
    let quoted = is_in(&[Load::IifName, Load::Quoted6], "ip6s");
    table.regular("quoting6", vec![accept(&[quoted]), drop_because(&[], FOREIGN_ERROR)]);
    let nd_target = [Load::IifName, Load::NdTarget];
    let own = is_in(&[Load::IifName, Load::Source6], "ip6s");
    let foreign = [protocol(IPV6), is_not_in(&[Load::IifName, Load::Source6], "ip6s")].concat();
    // The target must be seen: where it stands in a second fragment, br_netfilter would put it together again
    // behind the guard.
    let advertisement = [ether_type(IPV6), icmp(ICMPV6, NEIGHBOUR_ADVERTISEMENT)].concat();
    let unspecified = [protocol(IPV6), network(8, &[0; 16])].concat();
    table.regular(
        "from_icmp6",
        vec![
            drop_because(&[ether_type(IPV6), icmp(ICMPV6, ROUTER_ADVERTISEMENT)], "router advertisement"),
            drop_because(&[ether_type(IPV6), icmp(ICMPV6, REDIRECT6)], "ICMPv6 redirect"),
            accept(&[advertisement.clone(), is_in(&nd_target, "ip6s"), own]),
            drop_because(&[advertisement], "neighbour advertisement for an address that is not the port's"),
            accept(&[unspecified, icmp(ICMPV6, NEIGHBOUR_SOLICITATION), is_in(&nd_target, "ip6s")]),
            drop_because(&[foreign], FOREIGN_SOURCE6),
            goto(&[ether_type(IPV6), error6()], "quoting6"),
            accept(&[]),
        ],
    );
}

/// The type is read where it stands in the frame, not where the kernel took it from: a frame in an empty tag
/// has another type there, and goes no further.
fn from_port(table: &mut Builder) {
    table.regular(
        "from_port",
        vec![
            drop_because(
                &[is_not_in(&[Load::IifName, Load::EtherSource], "macs")],
                "hardware address that is not the port's",
            ),
            goto(&[ether_type(IPV4)], "from_ip4"),
            goto(&[ether_type(IPV6)], "from_ip6"),
            goto(&[ether_type(ARP)], "from_arp"),
            drop_because(&[], "neither IP nor ARP, or tagged"),
        ],
    );
}

/// Nobody tells a container where to route, the host included.
fn to_port(table: &mut Builder) {
    table.regular(
        "to_port",
        vec![
            drop_because(&[ether_type(IPV4), icmp(ICMP, REDIRECT4)], "ICMP redirect"),
            drop_because(&[ether_type(IPV6), icmp(ICMPV6, ROUTER_ADVERTISEMENT)], "router advertisement"),
            drop_because(&[ether_type(IPV6), icmp(ICMPV6, REDIRECT6)], "ICMPv6 redirect"),
        ],
    );
}
