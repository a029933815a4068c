//! How a sandbox routes: what its interface's routes are, and which tables are in use.

use crate::error::KernelError;
use crate::kernel::Routing;
use crate::linux::Linux;
use crate::netlink::{Message, Socket};
use crate::rtnl::{PROTOCOL, Request, ask_one, route, rule};
use qiao_core::IfName;
use qiao_core::endpoint::{Netns, Way};
use qiao_core::plan::RouteId;
use qiao_core::source::Origin;
use qiao_core::subnet::Family;

/// What there is; nothing where the namespace or the interface is gone.
pub fn routing(linux: &mut Linux, netns: &Netns, name: &IfName) -> Result<Routing, KernelError> {
    let mut found = Routing::default();
    let Some(sandbox) = linux.sandbox(netns)? else { return Ok(found) };
    let links = sandbox.links()?;
    let own = links.iter().find(|link| link.name == name.as_str());
    let index = own.map(|link| link.index);
    (found.is_there, found.is_port) = (own.is_some(), own.is_some_and(|link| link.master.is_some()));
    let vrfs = links.iter().filter_map(|link| Some((IfName::new(&link.name).ok()?, link.table?)));
    found.vrfs = vrfs.collect();
    found.tables.extend(found.vrfs.values());
    for family in [Family::V4, Family::V6] {
        for route in route::read(&all(&mut sandbox.rtnl, &route::get_all(family), family)?) {
            found.tables.insert(route.table);
            let is_its = index.is_some() && route.index == index && route.table == RouteId::MAIN;
            if is_its && route.forwards {
                found.routes.push(way(&route));
            }
        }
        let rules = rule::read(&all(&mut sandbox.rtnl, &rule::get_all(family), family)?);
        found.tables.extend(rules.iter().map(|rule| rule.table));
    }
    Ok(found)
}

/// The answer to a question about a family; none where the kernel lacks it.
fn all(socket: &mut Socket, request: &Request, family: Family) -> Result<Vec<Message>, KernelError> {
    match ask_one(socket, request) {
        Err(KernelError::Errno { .. }) if family == Family::V6 => Ok(Vec::new()),
        answer => answer,
    }
}

fn way(route: &route::Route) -> Way {
    let protocol = (route.protocol != PROTOCOL).then_some(route.protocol);
    Way {
        id: RouteId { net: route.destination, table: route.table, priority: route.priority },
        via: route.via,
        mtu: route.mtu,
        advmss: route.advmss,
        scope: Some(route.scope),
        origin: Origin { src: route.src, onlink: route.onlink, protocol },
    }
}
