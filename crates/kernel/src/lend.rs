//! Devices of the host's that are lent to sandboxes. One message moves, renames and marks a device; it is never
//! deleted. Its mark is its alias: the owner's, the name that the device has on the host, and the engine's number, so that
//! the device is found wherever the kernel puts it when its sandbox ends (`default_device_exit_net`: a real device comes back to the first
//! namespace, under the name that it had, or another one).

use crate::error::KernelError;
use crate::kernel::Places;
use crate::linux::Linux;
use crate::netlink::Socket;
use crate::rtnl::link::Link;
use crate::rtnl::{ask_one, link, links};
use qiao_core::plan::{Key, Observed, Ownership, State, Value};
use qiao_core::solo::{Lent, Select};
use qiao_core::{EngineId, IfName, Mac, Owner, SandboxName};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::path::{Path, PathBuf};

/// A device's place: whose it is, in which sandbox, and its name there.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub owner: &'a Owner,
    pub sandbox: &'a SandboxName,
    pub ifname: &'a IfName,
}

fn mark(owner: &Owner, lent: &Lent, engine: EngineId) -> String {
    format!("{} {} {engine}", owner.mark(), lent.device)
}

/// Whose a device is that this engine has lent, and its name on the host, as its alias says.
pub fn read_mark(alias: &str, engine: EngineId) -> Option<(Owner, IfName)> {
    let mut parts = alias.split(' ');
    let (owner, device) = (Owner::parse(parts.next()?)?, IfName::new(parts.next()?).ok()?);
    let its_engine = EngineId::parse(parts.next()?)?;
    (its_engine == engine && parts.next().is_none()).then_some((owner, device))
}

/// Whether an alias is that of a device that this engine has lent, whomever.
pub fn is_mark(alias: &str, engine: EngineId) -> bool {
    read_mark(alias, engine).is_some()
}

fn all(socket: &mut Socket) -> Result<Vec<Link>, KernelError> {
    links::all(socket)
}

/// The device among the links of its sandbox: by its mark, or by its name and hardware address, since whoever is root
/// there can take the mark away.
fn among<'a>(links: &'a [Link], (place, engine): (Place<'_>, EngineId), lent: &Lent) -> Option<&'a Link> {
    let mark = mark(place.owner, lent, engine);
    let marked = links.iter().find(|link| link.alias.as_deref() == Some(&*mark));
    let is_it = |link: &&Link| {
        link.name == place.ifname.as_str()
            && link.mac.and_then(|mac| Mac::new(mac).ok()) == lent.mac
            && lent.mac.is_some()
    };
    marked.or_else(|| links.iter().find(is_it))
}

fn there(linux: &mut Linux, places: &Places, place: Place<'_>) -> Result<Option<Vec<Link>>, KernelError> {
    let sandbox = places.get(place.sandbox).map(|netns| linux.sandbox(netns)).transpose()?.flatten();
    sandbox.map(|sandbox| all(&mut sandbox.rtnl)).transpose()
}

fn on_the_host(linux: &mut Linux, place: Place<'_>, lent: &Lent) -> Result<Option<Link>, KernelError> {
    let mark = mark(place.owner, lent, linux.engine);
    Ok(all(&mut linux.rtnl)?.into_iter().find(|link| link.alias.as_deref() == Some(&*mark)))
}

/// What there is of the devices that are wanted.
pub fn observe(
    linux: &mut Linux,
    wanted: &State,
    places: &Places,
    observed: &mut Observed,
) -> Result<(), KernelError> {
    for (key, object) in wanted.iter() {
        let (Key::Lent(sandbox, ifname), Value::Lent { lent, .. }) = (key, &object.value) else { continue };
        let place = Place { owner: &object.owner, sandbox, ifname };
        let links = there(linux, places, place)?;
        let inside = links.as_ref().and_then(|links| among(links, (place, linux.engine), lent));
        let has = |name: &IfName| links.iter().flatten().any(|link| link.name == name.as_str());
        let astray = match inside {
            Some(link) => Some(link.name != ifname.as_str()),
            None => on_the_host(linux, place, lent)?.map(|_| true),
        };
        match astray {
            Some(astray) => {
                let owner = Ownership::Marked(object.owner.clone());
                observed.insert(key.clone(), owner, Value::Lent { lent: lent.clone(), astray });
            }
            None if has(ifname) => observed.insert(key.clone(), Ownership::Foreign, Value::Present),
            None => {}
        }
    }
    Ok(())
}

/// Lends a device, or brings one that went astray to where it shall be.
pub fn lend(linux: &mut Linux, place: Place<'_>, lent: &Lent, places: &Places) -> Result<(), KernelError> {
    let absent = || KernelError::Errno { errno: libc::ENODEV, text: None };
    let alias = mark(place.owner, lent, linux.engine);
    let links = there(linux, places, place)?.ok_or_else(absent)?;
    if let Some(inside) = among(&links, (place, linux.engine), lent) {
        let sandbox = places.get(place.sandbox).map(|netns| linux.sandbox(netns)).transpose()?.flatten();
        let sandbox = sandbox.ok_or_else(absent)?;
        sandbox.indices.clear();
        return rename(&mut sandbox.rtnl, inside.index, (place.ifname.as_str(), &alias));
    }
    let found = match on_the_host(linux, place, lent)? {
        Some(link) => link,
        None => all(&mut linux.rtnl)?
            .into_iter()
            .find(|link| link.name == lent.device.as_str())
            .ok_or_else(absent)?,
    };
    let sandbox = places.get(place.sandbox).map(|netns| linux.sandbox(netns)).transpose()?.flatten();
    let sandbox = sandbox.ok_or_else(absent)?;
    sandbox.indices.remove(place.ifname.as_str());
    let netns = sandbox.handle.as_raw_fd();
    let to = link::Moved { name: Some(place.ifname.as_str()), alias: &alias, netns: Some(netns) };
    ask_one(&mut linux.rtnl, &link::set_moved(found.index, to)).map(drop)
}

/// Gives a device back: its name, its alias, its hardware address, its MTU, and whether it is up. It may be in its sandbox, or
/// on the host, where the kernel put it.
pub fn take_home(
    linux: &mut Linux,
    place: Place<'_>,
    lent: &Lent,
    places: &Places,
) -> Result<(), KernelError> {
    if let Some(links) = there(linux, places, place)?
        && let Some(inside) = among(&links, (place, linux.engine), lent)
    {
        let (home, alias) = (open_own()?, mark(place.owner, lent, linux.engine));
        let sandbox = places.get(place.sandbox).map(|netns| linux.sandbox(netns)).transpose()?.flatten();
        if let Some(sandbox) = sandbox {
            // The device keeps its mark on the way: the command after a killed one finds it on the host.
            let name = Some(lent.device.as_str());
            let to = link::Moved { name, alias: &alias, netns: Some(home.as_raw_fd()) };
            let moved = ask_one(&mut sandbox.rtnl, &link::set_moved(inside.index, to));
            sandbox.indices.clear();
            match moved {
                // Its name is another's by now: it is on the host nevertheless.
                Err(error) if error.errno() != Some(libc::EEXIST) => return Err(error),
                _ => {}
            }
        }
    }
    let Some(home) = on_the_host(linux, place, lent)? else { return Ok(()) };
    restore(&mut linux.rtnl, &home, lent)
}

fn open_own() -> Result<OwnedFd, KernelError> {
    rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(KernelError::io("open the own namespace"))
}

/// Its name first: what bears the mark to the end is found again.
fn restore(socket: &mut Socket, found: &Link, lent: &Lent) -> Result<(), KernelError> {
    let mark = found.alias.clone().unwrap_or_default();
    if found.name != lent.device.as_str() {
        match rename(socket, found.index, (lent.device.as_str(), &mark)) {
            Err(error) if error.errno() == Some(libc::EEXIST) => {
                rename(socket, found.index, ("dev%d", &mark))?;
            }
            done => done?,
        }
    }
    let now = all(socket)?.into_iter().find(|link| link.index == found.index);
    let Some(name) = now.and_then(|link| IfName::new(&link.name).ok()) else { return Ok(()) };
    let changed = lent.mac.filter(|mac| found.mac != Some(mac.octets()));
    if let Some(mac) = changed {
        ask_one(socket, &link::set_mac(&name, mac))?;
    }
    if found.mtu != lent.mtu {
        ask_one(socket, &link::set_mtu(&name, lent.mtu))?;
    }
    // The mark goes last: a command that was killed is ended by who finds it.
    ask_one(socket, &link::up(&name, lent.up))?;
    let alias = lent.alias.as_deref().unwrap_or_default();
    ask_one(socket, &link::set_moved(found.index, link::Moved { name: None, alias, netns: None })).map(drop)
}

/// Gives a link another name, which it must be down for.
fn rename(socket: &mut Socket, index: u32, (name, alias): (&str, &str)) -> Result<(), KernelError> {
    let to = link::Moved { name: Some(name), alias, netns: None };
    ask_one(socket, &link::down_at(index))?;
    ask_one(socket, &link::set_moved(index, to)).map(drop)
}

/// The name of the host's device that is meant; none where there is none.
pub fn find(socket: &mut Socket, which: &Select) -> Result<Option<IfName>, KernelError> {
    let name = |link: Link| IfName::new(&link.name).ok();
    match which {
        Select::Name(name) => Ok(Some(name.clone())),
        Select::Mac(mac) => {
            let is_it = |link: &Link| link.mac == Some(mac.octets());
            // What hangs on a device has its address, too; what has no kind is the device itself.
            let found: Vec<Link> = all(socket)?.into_iter().filter(is_it).collect();
            let own = found.iter().find(|link| link.kind.is_none()).or(found.first()).cloned();
            Ok(own.and_then(name))
        }
        Select::Path(path) => Ok(below(Path::new(path))),
        Select::Pci(id) => Ok(below(&Path::new("/sys/bus/pci/devices").join(id))),
        Select::Auxiliary(id) => Ok(below(&Path::new("/sys/bus/auxiliary/devices").join(id))),
    }
}

/// The first interface below a device: its own, or that of a device on it (virtio).
fn below(device: &Path) -> Option<IfName> {
    let mut dirs: Vec<PathBuf> = vec![device.join("net")];
    let entries = std::fs::read_dir(device).into_iter().flatten().flatten();
    dirs.extend(entries.map(|entry| entry.path().join("net")));
    let names = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
    let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names.iter().find_map(|name| IfName::new(name).ok())
}

/// The driver that a PCI device is given to, where that is none of the kernel's networks but a program's.
pub fn program_driver(which: &Select) -> Option<String> {
    let Select::Pci(id) = which else { return None };
    let driver = std::fs::read_link(Path::new("/sys/bus/pci/devices").join(id).join("driver")).ok()?;
    let driver = driver.file_name()?.to_str()?.to_owned();
    ["vfio-pci", "uio_pci_generic", "igb_uio"].contains(&&*driver).then_some(driver)
}
