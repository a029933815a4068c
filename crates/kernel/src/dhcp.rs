//! What a DHCP client needs of the kernel: a socket that hears servers before there is an address, and the address
//! of a sandbox that must not be used any more.

use crate::bpf::cgroup;
use crate::error::KernelError;
use crate::netlink::Socket;
use crate::netns::{self, NetnsHandle, OpenError};
use crate::parent;
use crate::rtnl::route::{self, Hop};
use crate::rtnl::{Mode, address, ask, ask_one, link};
use crate::sys::ioctl::Interfaces;
use crate::sys::{packet, process};
use ipnet::{IpNet, Ipv4Net};
use qiao_core::route::Attributes;
use qiao_core::subnet::Family;
use qiao_core::{EngineId, IfName, Mac};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::net::Ipv4Addr;

/// A socket at one interface: it sends frames as they are, and hears datagrams to DHCP clients.
#[derive(Debug)]
pub struct Packets {
    socket: OwnedFd,
    mac: Option<Mac>,
}

impl Packets {
    /// Opens it in the calling thread's namespace. An interface that is down is brought up, where `bring_up` says
    /// so.
    pub fn open(name: &IfName, bring_up: bool) -> Result<Self, KernelError> {
        let absent = || KernelError::Errno { errno: libc::ENODEV, text: Some(format!("`{name}`")) };
        let mut rtnl = route_socket()?;
        let found = parent::link(&mut rtnl, name, EngineId::default())?.ok_or_else(absent)?;
        if bring_up && !found.up {
            ask_one(&mut rtnl, &link::up(name, true))?;
        }
        let index = Interfaces::open()?.index(name)?.ok_or_else(absent)?;
        let socket = packet::listen_for_dhcp(index)
            .map_err(KernelError::io(format!("listen for DHCP servers at `{name}`")))?;
        Ok(Self { socket, mac: found.mac })
    }

    /// The interface's hardware address; none of a bridge without ports.
    pub fn mac(&self) -> Option<Mac> {
        self.mac
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        Ok(rustix::io::write(&self.socket, frame).map(drop)?)
    }

    /// Takes the next frame; none where there is none now.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        match rustix::io::read(&self.socket, &mut *buffer) {
            Ok(length) => Ok(Some(&buffer[..length])),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl NetnsHandle {
    /// Opens the namespace at `path`, and learns by what it can be told from all others of this boot.
    pub fn identify(path: &str) -> Result<Self, OpenError> {
        let mut handle = Self::open(path)?;
        let socket = handle.inside(Interfaces::open).map_err(OpenError::Failed)?;
        handle.know(netns::cookie(&socket));
        Ok(handle)
    }

    /// A socket at one of the namespace's interfaces, which is brought up.
    pub fn packets(&self, name: &IfName) -> Result<Packets, KernelError> {
        self.inside(|| Packets::open(name, true))
    }

    /// Takes an address away from whichever interface has it; none has it where nothing is told.
    pub fn take_address(&self, net: IpNet) -> Result<Option<Taken>, KernelError> {
        self.inside(|| {
            let mut rtnl = route_socket()?;
            let all = address::read(&ask_one(&mut rtnl, &address::get_all(0))?);
            let Some(found) = all.into_iter().find(|found| found.net == net) else { return Ok(None) };
            let routes = ask_one(&mut rtnl, &route::get_all(Family::of(net.addr())))?;
            ask_one(&mut rtnl, &address::delete(found.index, net))?;
            Ok(Some(Taken { index: found.index, routes: route::told_of(found.index, routes) }))
        })
    }

    /// Gives an interface an address, and a default route by a gateway. What is there already stays.
    pub fn furnish(&self, name: &IfName, net: Ipv4Net, via: Option<Ipv4Addr>) -> Result<(), KernelError> {
        let absent = || KernelError::Errno { errno: libc::ENODEV, text: Some(format!("`{name}`")) };
        self.inside(|| {
            let index = Interfaces::open()?.index(name)?.ok_or_else(absent)?;
            let hop = |via: Ipv4Addr| Hop {
                index,
                via: Some(via.into()),
                onlink: false,
                src: None,
                attributes: Attributes::default(),
            };
            let address = address::add(index, net.into());
            let route = via.map(|via| route::set(Family::V4.default_route(), hop(via), Mode::Create));
            let mut socket = route_socket()?;
            for request in std::iter::once(address).chain(route) {
                match ask_one(&mut socket, &request) {
                    Err(error) if error.errno() == Some(libc::EEXIST) => {}
                    done => drop(done?),
                }
            }
            Ok(())
        })
    }

    /// Gives an interface an address, and the routes that it had with it, as far as there are none by now.
    pub fn give_address(&self, taken: &Taken, net: IpNet) -> Result<(), KernelError> {
        self.inside(|| {
            let mut rtnl = route_socket()?;
            ask_one(&mut rtnl, &address::add(taken.index, net))?;
            let routes: Vec<_> = taken.routes.iter().filter_map(|told| route::again(told)).collect();
            let is_bad = |error: &KernelError| error.errno() != Some(libc::EEXIST);
            let failed = ask(&mut rtnl, &routes)?.into_iter().filter_map(Result::err).find(is_bad);
            failed.map_or(Ok(()), Err)
        })
    }
}

/// Where an address was, and what the kernel took away with it: with an interface's last address go all of its
/// routes (`fib_disable_ip`, net/ipv4/fib_frontend.c).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The index of the interface.
    pub index: u32,
    /// The interface's routes, as the kernel told of them (`struct rtmsg` and its attributes).
    pub routes: Vec<Vec<u8>>,
}

fn route_socket() -> Result<Socket, KernelError> {
    Socket::open(netlink_sys::protocols::NETLINK_ROUTE)?.strict()
}

/// Starts this program once more as a process of its own, with these arguments; see there.
pub fn start_detached(arguments: &[&str]) -> io::Result<()> {
    process::start_detached(arguments)
}

/// Leaves the cgroup of whoever started this process, as far as it lets us: what serves all containers must not
/// end, starve or be frozen with one.
pub fn leave_cgroup() {
    let moved = cgroup::root().and_then(|(root, _)| {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
        let procs = rustix::fs::openat(&root, "cgroup.procs", flags, rustix::fs::Mode::empty())?;
        Ok(rustix::io::write(&procs, b"0").map(drop)?)
    });
    let _ = moved;
}
