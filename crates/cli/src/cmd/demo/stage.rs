//! The host that the demonstration builds: a namespace with an uplink to one neighbour.

use super::Host;
use super::cast::Cast;
use ipnet::IpNet;
use qiao_core::IfName;
use qiao_core::settings::Settings;
use qiao_engine::{Engine, EngineError};
use qiao_kernel::stage::{End, lay};
use qiao_kernel::{Linux, sandbox};
use qiao_store::Paths;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::io;
use std::net::IpAddr;

/// The network.
pub const NETWORK: &str = "demo";
/// Its subnet, as in most tutorials.
pub const SUBNET: &str = "172.30.0.0/24";
/// The host's address on its uplink, of a net that documentation may use (RFC 5737).
const HOST: [u8; 4] = [192, 0, 2, 1];
/// Its neighbour's.
const LAN: [u8; 4] = [192, 0, 2, 77];
const UPLINK: &str = "uplink";
/// Where the engine keeps its files: a tmpfs that nobody else sees.
const FILES: &str = "/tmp";

/// The host's address.
pub fn host_ip() -> IpAddr {
    HOST.into()
}

/// Its neighbour's.
pub fn lan_ip() -> IpAddr {
    LAN.into()
}

/// Leaves the machine for namespaces of its own. Without root, a user namespace gives the rights inside it.
pub fn enter() -> Result<(), EngineError> {
    let failed = |act: &'static str| move |error: io::Error| EngineError::failed(act, error);
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let without_root = !user.is_root();
    sandbox::leave_for_demo(without_root).map_err(|error| no_namespaces(error, without_root))?;
    if without_root {
        let map = |id: u32| format!("0 {id} 1");
        std::fs::write("/proc/self/setgroups", "deny")
            .and_then(|()| std::fs::write("/proc/self/gid_map", map(group.as_raw())))
            .and_then(|()| std::fs::write("/proc/self/uid_map", map(user.as_raw())))
            .map_err(failed("become root of a user namespace"))?;
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .and_then(|()| mount("tmpfs", FILES, "tmpfs", MountFlags::NODEV | MountFlags::NOSUID, None))
        .map_err(|error| failed("mount a tmpfs that nobody else sees")(error.into()))
}

fn no_namespaces(error: rustix::io::Errno, without_root: bool) -> EngineError {
    let act = "make namespaces for the demonstration";
    if !without_root {
        return EngineError::failed(act, io::Error::from(error));
    }
    qiao_core::Refusal::new(qiao_core::Code::NotPermitted, format!("cannot {act}"))
        .why("this kernel does not let users make them (kernel.unprivileged_userns_clone, AppArmor)")
        .fix("sudo qiao demo")
        .into()
}

/// Lays the cable to the neighbour, who is the way to everywhere.
pub fn lay_uplink(cast: &Cast) -> Result<(), EngineError> {
    let net = |ip: [u8; 4]| IpNet::new_assert(ip.into(), 24);
    let name = IfName::new(UPLINK)?;
    let own = End { name: name.clone(), addresses: vec![net(HOST)], gateways: vec![lan_ip()] };
    // The neighbour routes to the containers through the host: what keeps it out is the firewall alone.
    let other = End { name, addresses: vec![net(LAN)], gateways: vec![host_ip()] };
    Ok(lay(&own, &other, &cast.lan.handle)?)
}

/// The host's engine.
pub fn engine() -> Result<Host, EngineError> {
    let paths = Paths { state: format!("{FILES}/state"), run: format!("{FILES}/run") };
    Engine::open(Linux::open()?, &paths, Settings::default())
}

/// Whether only the loopback and the uplink are left; says what else is.
pub fn leftovers() -> io::Result<String> {
    let lines = std::fs::read_to_string("/proc/self/net/dev")?;
    let names = lines.lines().skip(2).filter_map(|line| line.split(':').next());
    let more: Vec<&str> = names.map(str::trim).filter(|name| !["lo", UPLINK].contains(name)).collect();
    if more.is_empty() { Ok(String::new()) } else { Err(io::Error::other(more.join(" "))) }
}
