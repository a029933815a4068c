//! What the reference's plugins made for a container that ours delete: a node may have switched meanwhile.

use super::door::{Door, failure};
use qiao_core::Mac;
use qiao_doors::cni::Failure;
use qiao_engine::Engine;
use qiao_kernel::{Kernel, KernelError, Leaving, Linux, Plugin, Tenant};
use std::net::IpAddr;

/// Removes what is left of the container that is deleted.
pub fn of_one(door: &Door) -> Result<(), Failure> {
    let (network, (id, ifname)) = (door.config.name.as_str(), door.tenant());
    let prev = door.config.prev.as_ref();
    let addresses: Vec<IpAddr> = prev.iter().flat_map(|prev| &prev.ips).map(|ip| ip.net.addr()).collect();
    let of_host = prev.iter().flat_map(|prev| &prev.interfaces).filter(|link| link.sandbox.is_none());
    let links: Vec<&str> = of_host.map(|link| link.name.as_str()).collect();
    let tenant = Tenant { id, ifname, addresses: &addresses, links: &links };
    with(|linux| {
        linux.remove_leftovers(Plugin(door.plugin), (network, Leaving::One(tenant)))?;
        if ["bandwidth", "qiao"].contains(&door.plugin) {
            linux.remove_leftover_device(network, id)
        } else {
            Ok(())
        }
    })
}

/// The hardware address of the container's interface, as the result has it.
pub fn mac(door: &Door) -> Option<Mac> {
    let inside = door.config.prev.iter().flat_map(|prev| &prev.interfaces);
    let mut inside = inside.filter(|link| link.sandbox.is_some() && link.name == door.call.ifname.as_str());
    inside.find_map(|link| link.mac.as_deref()?.parse().ok())
}

/// Removes the interface of a container that the reference's plugin of the same name made, where its namespace lives on:
/// the one that the result tells of, as the result tells it.
pub fn interface(door: &Door, engine: &mut Engine<Linux>) -> Result<(), Failure> {
    let (Some(mac), Some(path)) = (mac(door), &door.call.netns) else { return Ok(()) };
    // One that is gone, or that must not be used, has none of it.
    let Ok(netns) = engine.kernel().netns(path) else { return Ok(()) };
    let removed = engine.kernel().remove_leftover_link(&netns, (door.plugin, &door.call.ifname, mac));
    removed.map_err(|error| failure(error.into()))
}

/// Removes what is left of containers that are not among those that live.
pub fn of_others(door: &Door, valid: &[(String, String)]) -> Result<(), Failure> {
    let valid: Vec<(&str, &str)> = valid.iter().map(|(id, ifname)| (id.as_str(), ifname.as_str())).collect();
    let network = door.config.name.as_str();
    with(|linux| linux.remove_leftovers(Plugin(door.plugin), (network, Leaving::AllBut(&valid))))
}

fn with(act: impl FnOnce(&mut Linux) -> Result<(), KernelError>) -> Result<(), Failure> {
    Linux::open().and_then(|mut linux| act(&mut linux)).map_err(|error| failure(error.into()))
}
