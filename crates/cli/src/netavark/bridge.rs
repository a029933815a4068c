//! What of the host a bridge network needs: its VRF, a bridge of somebody else's, and where names are resolved.

use qiao_core::IfName;
use qiao_doors::netavark::{Failure, Network, setting};
use qiao_kernel::{HostLink, Kernel, KernelError, Linux};
use std::net::IpAddr;

/// What the kernel says of an interface that is not there, in netavark's words.
const GONE: &str = "Netlink error: No such device (os error 19)";

/// Refuses a network whose VRF is not there; in netavark's words, which are looked for.
pub fn need_vrf(network: &Network) -> Result<(), Failure> {
    let Some(vrf) = setting::vrf(network)? else { return Ok(()) };
    let wrong = |error: KernelError| Failure(error.to_string());
    match Linux::open().map_err(wrong)?.link(&vrf).map_err(wrong)? {
        Some(link) if link.is_vrf => Ok(()),
        Some(_) => Err(Failure(format!("vrf {vrf} already exists but is another interface"))),
        None => Err(Failure(format!("get vrf to set up bridge interface: {GONE}"))),
    }
}

pub fn is_unmanaged(network: &Network) -> bool {
    network.option("mode") == Some("unmanaged")
}

fn link(name: &str) -> Result<Option<HostLink>, Failure> {
    let wrong = |error: KernelError| Failure(error.to_string());
    Linux::open().map_err(wrong)?.link(&IfName::new(name)?).map_err(wrong)
}

/// Refuses a network on a bridge of somebody else's that is not there; in netavark's words, which are looked for.
pub fn need_bridge(network: &Network) -> Result<(), Failure> {
    if !is_unmanaged(network) {
        return Ok(());
    }
    let device = network.network_interface.as_deref().unwrap_or_default();
    if link(device)?.is_none() {
        return Err(Failure(format!("in unmanaged mode, the bridge must already exist on the host: {GONE}")));
    }
    match setting::vlan(network)?.filter(|_| network.ipam() == "dhcp") {
        Some(id) if link(&format!("{device}.{id}"))?.is_none() => Err(Failure(format!(
            "the DHCP server of VLAN {id} is asked at the interface {device}.{id}, which is not there; try: ip link add \
             link {device} name {device}.{id} up type vlan id {id}; try: bridge vlan add dev {device} vid {id} self"
        ))),
        _ => Ok(()),
    }
}

/// Where names are resolved: at the gateways, or at the addresses that somebody else's bridge has.
pub fn resolvers(network: &Network) -> Result<Vec<IpAddr>, Failure> {
    if !has_names(network) || !is_unmanaged(network) {
        return Ok(network.gateways());
    }
    let device = network.network_interface.as_deref().unwrap_or_default();
    let link = link(device)?;
    let addresses = link.iter().flat_map(|link| &link.addresses).map(|net| net.addr());
    let usable: Vec<IpAddr> = addresses.filter(|ip| !is_link_local(*ip)).collect();
    match usable.is_empty() {
        false => Ok(usable),
        true => Err(Failure(format!(
            "bridge '{device}' in unmanaged mode has no usable IP addresses. Aardvark-dns requires at least one address \
             (should not be an IPv6 link-local address) to bind to. Please add an IP address or disable DNS for this \
             network (--disable-dns)."
        ))),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Whether names are resolved on a network.
pub fn has_names(network: &Network) -> bool {
    network.dns_enabled && network.driver == "bridge"
}
