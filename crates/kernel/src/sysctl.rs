//! Settings of the host's network namespace, under `/proc/sys`. They are read and written per host, never
//! per container: each look-up there takes time in the number of namespaces, unless it is in a `/proc` of its own.

use crate::error::KernelError;
use qiao_core::plan::Sysctl;
use rustix::fd::OwnedFd;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::fs;
use std::io;
use std::sync::OnceLock;

/// Reads a setting; none where the kernel has no such setting.
pub fn read(sysctl: &Sysctl) -> Result<Option<u32>, KernelError> {
    let path = format!("/proc/sys/{}", sysctl.path());
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KernelError::io(format!("read {path}"))(error)),
    }
}

/// Writes a setting.
pub fn write(sysctl: &Sysctl, value: u32) -> Result<(), KernelError> {
    let path = format!("/proc/sys/{}", sysctl.path());
    fs::write(&path, format!("{value}\n")).map_err(KernelError::io(format!("write {value} to {path}")))
}

/// A `/proc` that nobody else has, and that goes with its descriptor. In the one that all have, looking for a setting of a
/// container's interface takes time in the number of namespaces in which somebody has looked for the same (they have one
/// name in one directory: fs/proc/proc_sysctl.c, `proc_sys_compare`): 0.5 ms each at 300.
///
/// # Errors
/// `EPERM` where a user namespace sees `/proc` in part only, `ENOSYS` before Linux 5.2.
pub fn own_proc() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

/// Whether bridged frames pass the routing hooks (`br_netfilter` with the switch of either family on).
pub fn bridge_netfilter() -> bool {
    let is_on = |name| {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{name}");
        fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
    };
    is_on("iptables") || is_on("ip6tables")
}

/// The ports that the kernel gives to sockets which ask for none: also what `-p 80` takes one from.
pub fn ephemeral_ports() -> (u16, u16) {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().filter_map(|n| n.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) if first > 0 && first <= last => (first, last),
        _ => (49153, 65535),
    }
}

/// Whether the kernel has IPv6 at all (`ipv6.disable=1` takes it away, and its sockets). It cannot come or go while we run.
pub fn has_ipv6() -> bool {
    static HAS_IPV6: OnceLock<bool> = OnceLock::new();
    let socket = || socket_with(AddressFamily::INET6, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    *HAS_IPV6.get_or_init(|| socket().err() != Some(rustix::io::Errno::AFNOSUPPORT))
}
