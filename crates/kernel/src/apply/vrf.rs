//! `vrf` devices of sandboxes. An interface that is put behind one, or taken from there, goes down and up again in the
//! kernel (`cycle_netdev`, drivers/net/vrf.c), and loses its IPv6 addresses and its neighbours: they are given back.

use crate::error::KernelError;
use crate::linux::Sandbox;
use crate::rtnl::{Request, address, ask, ask_one, link, neighbour};
use crate::sysctl::has_ipv6;
use qiao_core::plan::Value;
use qiao_core::{IfName, Mac};

/// Makes a device, up.
pub(super) fn make(sandbox: &mut Sandbox, name: &IfName, value: &Value) -> Result<(), KernelError> {
    let Value::Vrf { table, .. } = value else { return Ok(()) };
    sandbox.indices.remove(name.as_str());
    ask_one(&mut sandbox.rtnl, &link::new_vrf(name, *table, sandbox.engine))?;
    let quiet = has_ipv6().then(|| link::no_automatic_addresses(name));
    let requests: Vec<Request> = quiet.into_iter().chain([link::up(name, true)]).collect();
    ask(&mut sandbox.rtnl, &requests)?.into_iter().try_for_each(|answer| answer.map(drop))
}

/// Puts an interface behind a device, or behind none.
pub(super) fn put_behind(sandbox: &mut Sandbox, name: &IfName, value: &Value) -> Result<(), KernelError> {
    let Value::Master(master) = value else { return Ok(()) };
    let index = sandbox.index(name)?;
    let master = master.as_ref().map_or(Ok(0), |master| sandbox.index(master))?;
    let addresses = address::read(&ask_one(&mut sandbox.rtnl, &address::get_all(index))?);
    let neighbours = neighbour::read(&ask_one(&mut sandbox.rtnl, &neighbour::get_all())?);
    ask_one(&mut sandbox.rtnl, &link::put_behind(name, master))?;
    let lost = addresses.iter().filter(|a| a.index == index && a.net.addr().is_ipv6());
    let known = neighbours.into_iter().filter(|n| n.index == index && n.ours && n.permanent);
    let known = known.filter_map(|n| Some(neighbour::set(index, n.ip?, Mac::new(n.mac?).ok()?)));
    let again: Vec<Request> = lost.map(|a| address::add(index, a.net)).chain(known).collect();
    for answer in ask(&mut sandbox.rtnl, &again)? {
        match answer {
            Err(error) if error.errno() != Some(libc::EEXIST) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
