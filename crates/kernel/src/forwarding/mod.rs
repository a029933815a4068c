//! What others have on the host that forwards packets. It is asked for when the last network goes that needs
//! forwarding, and when the rule set has changed: never in an ordinary attachment.

mod configured;
mod ipsec;
mod legacy;
mod rules;

use crate::error::KernelError;
use crate::linux::Linux;
use crate::mark;
use crate::rtnl::{ask_of, link, links, route};
use qiao_core::forwarding::{Forwarding, OtherLink};
use qiao_core::subnet::Family;
use std::collections::BTreeSet;

/// Kinds of interface that packets are forwarded between.
const KINDS: [&str; 14] = [
    "bridge",
    "veth",
    "tun",
    "wireguard",
    "vxlan",
    "geneve",
    "xfrm",
    "ppp",
    "macvlan",
    "macvtap",
    "ipvlan",
    "vrf",
    "ovpn",
    "bareudp",
];
/// Kinds of which the kernel makes one by itself, down, when its module is loaded.
const FALLBACK: [&str; 10] =
    ["ipip", "gre", "gretap", "erspan", "sit", "ip6tnl", "ip6gre", "ip6gretap", "vti", "vti6"];

/// What there is.
pub fn forwarding(linux: &mut Linux) -> Result<Forwarding, KernelError> {
    let (engine, links) = (linux.engine, links::all(&mut linux.rtnl)?);
    let names = links.iter().map(|link| (link.index, link.name.clone())).collect();
    let mut rules = rules::rules(&mut linux.nft, &names)?;
    rules.extend(legacy::rules());
    let (ipsec, configured) = (ipsec::families()?, configured::families());
    let interfaces = links.iter().filter(|link| !mark::is_ours(link, engine) && link.name != "lo");
    let interfaces = interfaces.map(other).collect();
    Ok(Forwarding { links: others(linux, &links)?, interfaces, rules, ipsec, configured })
}

/// Interfaces that lead to others' networks. The port of a bridge leads nowhere by itself, and the host's own way out
/// is no network that it forwards from.
fn others(linux: &mut Linux, links: &[link::Link]) -> Result<Vec<OtherLink>, KernelError> {
    let (socket, engine) = (&mut linux.rtnl, linux.engine);
    let mut routes = Vec::new();
    for family in [Family::V4, Family::V6] {
        routes.extend(route::read(&ask_of(socket, &route::get_all(family), family)?));
    }
    let ways = routes.iter().filter(|route| route.forwards && route.destination.prefix_len() == 0);
    let ways: BTreeSet<u32> = ways.filter_map(|route| route.index).collect();
    let forwards = |link: &&link::Link| {
        let kind = link.kind.as_deref().unwrap_or_default();
        let is_one = KINDS.contains(&kind) || link.up && FALLBACK.contains(&kind);
        is_one && !mark::is_ours(link, engine) && link.master.is_none() && !ways.contains(&link.index)
    };
    Ok(links.iter().filter(forwards).map(other).collect())
}

fn other(link: &link::Link) -> OtherLink {
    OtherLink { name: link.name.clone(), kind: link.kind.clone().unwrap_or_default() }
}
