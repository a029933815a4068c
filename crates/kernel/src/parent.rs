//! The host's interfaces that others are children of.

use crate::error::KernelError;
use crate::kernel::HostLink;
use crate::mark;
use crate::netlink::Socket;
use crate::rtnl::{address, ask_one, child, link, vlan};
use qiao_core::{EngineId, IfName};

/// An interface of the host; none where there is none of the name.
pub fn link(socket: &mut Socket, name: &IfName, engine: EngineId) -> Result<Option<HostLink>, KernelError> {
    let found = match ask_one(socket, &link::get(name)) {
        Ok(messages) => link::read(&messages).into_iter().next(),
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(error),
    };
    let Some(found) = found else { return Ok(None) };
    let addresses = address::read(&ask_one(socket, &address::get_all(found.index))?);
    let addresses = addresses.into_iter().filter(|address| address.index == found.index);
    Ok(Some(HostLink {
        mac: found.unicast(),
        mtu: found.mtu,
        up: found.up,
        ours: mark::is_ours(&found, engine),
        enslaved: found.master.is_some(),
        wireless: std::path::Path::new(&format!("/sys/class/net/{name}/phy80211")).exists(),
        addresses: addresses.map(|address| address.net).collect(),
        is_bridge: found.kind.as_deref() == Some("bridge"),
        filtering: found.filtering,
        is_vrf: found.kind.as_deref() == Some("vrf"),
        alias: found.alias,
    }))
}

/// Whether the kernel knows a kind of link.
pub fn has_kind(socket: &mut Socket, kind: &str) -> Result<bool, KernelError> {
    if kind == "tun" {
        // rtnetlink makes none. Opening it loads the module.
        return Ok(std::fs::File::open("/dev/net/tun").is_ok());
    }
    if kind == "bridge-vlan" {
        let answer = ask_one(socket, &vlan::probe());
        return Ok(answer.is_err_and(|error| error.errno() == Some(libc::EPROTONOSUPPORT)));
    }
    match ask_one(socket, &child::probe(kind)) {
        Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => Ok(false),
        Err(KernelError::Errno { errno, .. }) if errno != libc::EPERM => Ok(true),
        Err(error) => Err(error),
        Ok(_) => Err(KernelError::Malformed("a link that cannot be")),
    }
}
