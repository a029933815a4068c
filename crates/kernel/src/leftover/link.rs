//! Interfaces that the reference's plugins made.

use crate::error::KernelError;
use crate::linux::Linux;
use crate::netlink::Socket;
use crate::rtnl::link::Link;
use crate::rtnl::{ask_one, link};
use qiao_core::endpoint::Netns;
use qiao_core::{IfName, Mac};

/// Deletes a link, if there is one of this name of which `is_it` holds.
pub fn delete(socket: &mut Socket, name: &IfName, is_it: &dyn Fn(&Link) -> bool) -> Result<(), KernelError> {
    let found = match ask_one(socket, &link::get(name)) {
        Ok(messages) => link::read(&messages).into_iter().find(is_it),
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(error),
    };
    match found.map(|found| ask_one(socket, &link::delete(found.index))) {
        Some(Err(error)) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}

impl Linux {
    /// Deletes the interface of a container that a plugin of this name made, as far as its kind and its hardware address
    /// tell; of a pair both ends. One of ours whose record was lost is such too: a macvlan, which only its namespace knows.
    pub fn remove_leftover_link(
        &mut self,
        netns: &Netns,
        (plugin, name, mac): (&str, &IfName, Mac),
    ) -> Result<(), KernelError> {
        let kind = match plugin {
            "bridge" | "ptp" | "qiao" => "veth",
            "macvlan" | "ipvlan" | "vlan" | "dummy" => plugin,
            _ => return Ok(()),
        };
        let Some(sandbox) = self.sandbox(netns)? else { return Ok(()) };
        delete(&mut sandbox.rtnl, name, &|link| {
            link.kind.as_deref() == Some(kind) && link.mac == Some(mac.octets())
        })
    }
}
