//! Interfaces in sandboxes that other programs made: how the host reaches them.

use crate::error::KernelError;
use crate::kernel::Reached;
use crate::linux::Linux;
use crate::rtnl::link::{self, Link};
use crate::rtnl::{Request, ask, ask_one, route};
use crate::sysctl;
use ipnet::IpNet;
use qiao_core::endpoint::Netns;
use qiao_core::{IfName, Subnet};

/// An interface in a sandbox; none where there is none of the name.
pub fn reached(
    linux: &mut Linux,
    (netns, name): (&Netns, &IfName),
    addresses: &[IpNet],
) -> Result<Option<Reached>, KernelError> {
    let links = linux.sandbox(netns)?.map(|sandbox| sandbox.links()).transpose()?.unwrap_or_default();
    let Some(inside) = links.into_iter().find(|link| link.name == name.as_str()) else { return Ok(None) };
    let mut found = Reached { mac: inside.unicast(), mtu: inside.mtu, ..Reached::default() };
    ways(linux, addresses, &mut found)?;
    port(linux, &inside, &mut found)?;
    Ok(Some(found))
}

/// What the host's routes say: by which interface, and who else is on that link. Behind a router nobody is.
fn ways(linux: &mut Linux, addresses: &[IpNet], found: &mut Reached) -> Result<(), KernelError> {
    let requests: Vec<Request> = addresses.iter().map(|net| route::get_entry(net.addr())).collect();
    for answer in ask(&mut linux.rtnl, &requests)? {
        // Without any route the network is unreachable: there is none to this address either.
        let Ok(messages) = answer else { continue };
        for route in route::read(&messages).into_iter().filter(|route| route.forwards) {
            let Some(device) = route.index.map(|index| at(linux, index)).transpose()?.flatten() else {
                continue;
            };
            found.by_bridge |= device.kind.as_deref() == Some("bridge");
            found.device = found.device.take().or_else(|| IfName::new(&device.name).ok());
            if route.via.is_none() && route.destination.prefix_len() > 0 {
                found.link.push(Subnet::around(route.destination));
            }
        }
    }
    Ok(())
}

/// The host's end of a pair, and how it is as the port of a bridge.
fn port(linux: &mut Linux, inside: &Link, found: &mut Reached) -> Result<(), KernelError> {
    let pair = inside.kind.as_deref() == Some("veth") && inside.peer_netns.is_some();
    let end = inside.peer_index.filter(|_| pair).map(|index| at(linux, index)).transpose()?.flatten();
    // The number could be that of an interface in a third namespace: the other end says the same of this one.
    let Some(end) = end.filter(|end| end.peer_index == Some(inside.index)) else { return Ok(()) };
    found.peer = IfName::new(&end.name).ok();
    if let Some(port) = end.port {
        (found.port, found.isolated) = (IfName::new(&end.name).ok(), port.isolated);
        found.hairpins = !port.hairpin && sysctl::bridge_netfilter();
    }
    Ok(())
}

fn at(linux: &mut Linux, index: u32) -> Result<Option<Link>, KernelError> {
    match ask_one(&mut linux.rtnl, &link::get_at(index)) {
        Ok(messages) => Ok(link::read(&messages).into_iter().next()),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}
