//! Settings that other tools look for: of the container's interface, and of a bridge that was made for it.

use qiao_core::IfName;
use qiao_core::plan::{Key, Op};
use qiao_doors::netavark::{Failure, Network};
use qiao_engine::Attached;
use qiao_kernel::sysctl::own_proc;
use qiao_kernel::{Kernel, KernelError, Linux, NetnsHandle};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Sets those of the container's interface.
pub fn inside(netns: &str, ifname: &str, network: &Network) -> Result<(), Failure> {
    let wrong = |error: &dyn std::fmt::Debug| Failure(format!("cannot enter {netns}: {error:?}"));
    let handle = NetnsHandle::open(netns).map_err(|error| wrong(&error))?;
    let mut settings = vec![
        (format!("ipv4/conf/{ifname}/arp_notify"), "1"),
        (format!("ipv4/conf/{ifname}/rp_filter"), "2"),
        (format!("ipv6/conf/{ifname}/autoconf"), "0"),
    ];
    settings.extend(network.ipv6_enabled.then(|| (format!("ipv6/conf/{ifname}/accept_dad"), "0")));
    let proc = own_proc().ok();
    let done = handle.inside(|| {
        let wrong = KernelError::io("write a setting");
        let set = |(path, value): &(String, &str)| set(proc.as_ref(), path, value);
        settings.iter().try_for_each(set).map_err(wrong)
    });
    done.map_err(|error| Failure(format!("cannot set what {ifname} in the container must have: {error}")))
}

/// What a bridge has. Its `route_localnet` lets nobody in: what comes from elsewhere for 127.0.0.0/8 is dropped first.
fn of_bridge(device: &str, network: &Network) -> Vec<(String, &'static str)> {
    let v4 = |name: &str| format!("ipv4/conf/{device}/{name}");
    let v6 = |name: &str| format!("ipv6/conf/{device}/{name}");
    let mut settings = vec![(v4("rp_filter"), "2")];
    settings.extend((!network.internal).then(|| (v4("route_localnet"), "1")));
    if network.ipv6_enabled {
        settings.extend([(v6("accept_dad"), "0"), (v6("accept_ra"), "0")]);
    }
    if network.internal {
        settings.push((v4("forwarding"), "0"));
        settings.extend(network.ipv6_enabled.then(|| (v6("forwarding"), "0")));
    }
    settings
}

/// Sets those of a bridge, and of the VLAN of it that has the gateways, if they were made just now.
pub fn bridge(made: &Attached, network: &Network) -> Result<(), Failure> {
    let mut new = made.plan.ops().iter().filter_map(|op| match (op, op.key()) {
        (Op::Add { .. }, Key::Bridge(device) | Key::Vlan(device)) => Some(device),
        _ => None,
    });
    new.try_for_each(|device| new_bridge(device, network))
}

fn new_bridge(device: &IfName, network: &Network) -> Result<(), Failure> {
    let wrong =
        |error: std::io::Error| Failure(format!("cannot set what bridge {device} must have: {error}"));
    let set = |(path, value): &(String, &str)| set(None, path, value);
    of_bridge(device.as_str(), network).iter().try_for_each(set).map_err(wrong)
}

/// The devices of a network that are made for it: its bridge, and the VLAN of that which has the gateways.
fn devices(network: &Network) -> impl Iterator<Item = String> {
    let bridge = network.network_interface.clone().filter(|name| !name.is_empty());
    let vlan = network.option("vlan").filter(|id| *id != "0");
    let vlan = vlan.zip(bridge.as_ref()).map(|(id, bridge)| format!("{bridge}.{id}"));
    bridge.into_iter().chain(vlan)
}

/// Tells systemd of a bridge that is about to be made: it would set its own values when it sees it, and reads what is there
/// then.
pub fn announce(network: &Network) -> Result<(), Failure> {
    if network.driver != "bridge" || !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    devices(network).filter(|device| !told(device).exists() && is_gone(device)).try_for_each(|device| {
        let lines =
            of_bridge(&device, network).into_iter().map(|(path, value)| format!("net/{path}={value}\n"));
        let text = lines.fold(NOTE.to_owned(), |text, line| text + &line);
        let file = told(&device);
        let _ = file.parent().map(std::fs::create_dir_all);
        let wrong = |error| Failure(format!("cannot write {}: {error}", file.display()));
        std::fs::write(&file, text).map_err(wrong)
    })
}

const NOTE: &str = "# The network of containers needs these values: see sysctl.d(5).\n";

fn told(device: &str) -> PathBuf {
    format!("/run/sysctl.d/10-netavark-{device}.conf").into()
}

/// Forgets a network's bridge, and the VLAN of it, that are gone.
pub fn forget(network: &Network) {
    devices(network).filter(|device| told(device).exists() && is_gone(device)).for_each(|device| {
        let _ = std::fs::remove_file(told(&device));
    });
}

/// Whether there is no such interface. (What is mounted at `/sys` may be of another network namespace.)
pub fn is_gone(device: &str) -> bool {
    let index = |name: IfName| Linux::open().ok()?.link_index(&name).ok();
    IfName::new(device).ok().and_then(index).is_some_and(|index| index.is_none())
}

/// Writes a setting. What a kernel without IPv6 has not is not missed; what is read-only (a container's own `/proc`) may be
/// so already, and nobody needs what keeps router advertisements out where nothing can be set.
fn set(proc: Option<&OwnedFd>, path: &str, value: &str) -> std::io::Result<()> {
    let file = format!("/proc/sys/net/{path}");
    let is_so = || std::fs::read_to_string(&file).is_ok_and(|now| now.trim() == value);
    let done = match proc {
        Some(proc) => write(proc, &file["/proc/".len()..], value),
        None => std::fs::write(&file, value),
    };
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound && path.starts_with("ipv6/") => Ok(()),
        Err(error)
            if error.kind() == ErrorKind::ReadOnlyFilesystem && (path.ends_with("/autoconf") || is_so()) =>
        {
            Ok(())
        }
        done => done.map_err(|error| {
            std::io::Error::new(error.kind(), format!("set sysctl net/{path}: IO error: {error}"))
        }),
    }
}

fn write(proc: &OwnedFd, path: &str, value: &str) -> std::io::Result<()> {
    let file = openat(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value.as_bytes())?;
    Ok(())
}
