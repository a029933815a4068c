//! What the reference's plugins made for a container that ours delete: a node may have switched meanwhile.

use super::door::{Door, failure};
use qiao_doors::cni::Failure;
use qiao_kernel::{KernelError, Leaving, Linux, Plugin};
use std::net::IpAddr;

/// Removes what is left of the container that is deleted.
pub fn of_one(door: &Door) -> Result<(), Failure> {
    let (network, id) = (door.config.name.as_str(), door.call.sandbox.as_str());
    let prev = door.config.prev.iter().flat_map(|prev| &prev.ips);
    let addresses: Vec<IpAddr> = prev.map(|ip| ip.net.addr()).collect();
    with(|linux| {
        linux.remove_leftovers(Plugin(door.plugin), (network, Leaving::One(id, &addresses)))?;
        if ["bandwidth", "qiao"].contains(&door.plugin) {
            linux.remove_leftover_device(network, id)
        } else {
            Ok(())
        }
    })
}

/// Removes what is left of containers that are not among those that live.
pub fn of_others(door: &Door, valid: &[(String, String)]) -> Result<(), Failure> {
    let valid: Vec<&str> = valid.iter().map(|(container, _)| container.as_str()).collect();
    let network = door.config.name.as_str();
    with(|linux| linux.remove_leftovers(Plugin(door.plugin), (network, Leaving::AllBut(&valid))))
}

fn with(act: impl FnOnce(&mut Linux) -> Result<(), KernelError>) -> Result<(), Failure> {
    Linux::open().and_then(|mut linux| act(&mut linux)).map_err(|error| failure(error.into()))
}
