//! A stage to show things on: the cable of a host that was made for it.

use crate::error::KernelError;
use crate::netlink::Socket;
use crate::netns::NetnsHandle;
use crate::nft::{FAMILIES, Session, TABLE};
use crate::rtnl::route::Hop;
use crate::rtnl::{Mode, Request, address, ask, link, route};
use crate::sys::ioctl::Interfaces;
use ipnet::IpNet;
use qiao_core::IfName;
use qiao_nft::Change;
use rustix::fd::AsRawFd;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An end of a cable.
#[derive(Clone, Debug)]
pub struct End {
    /// The interface.
    pub name: IfName,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Where everything else goes; none where nothing does.
    pub gateways: Vec<IpAddr>,
}

/// Lays a cable from this namespace to another one. Neither end bears a mark of ours.
pub fn lay(own: &End, other: &End, netns: &NetnsHandle) -> Result<(), KernelError> {
    let mut socket = Socket::open(netlink_sys::protocols::NETLINK_ROUTE)?;
    all(&mut socket, &[link::plain_pair(&own.name, &other.name, netns.as_raw_fd())])?;
    prepare(own)?;
    netns.inside(|| prepare(other))
}

fn prepare(end: &End) -> Result<(), KernelError> {
    let mut socket = Socket::open(netlink_sys::protocols::NETLINK_ROUTE)?;
    let absent = || KernelError::Errno { errno: libc::ENODEV, text: None };
    let index = Interfaces::open()?.index(&end.name)?.ok_or_else(absent)?;
    let mut requests: Vec<Request> = end.addresses.iter().map(|net| address::add(index, *net)).collect();
    if let Ok(loopback) = IfName::new("lo") {
        requests.push(link::up(&loopback, true));
    }
    requests.push(link::up(&end.name, true));
    for gateway in &end.gateways {
        let everywhere: IpNet = match gateway {
            IpAddr::V4(_) => IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0),
            IpAddr::V6(_) => IpNet::new_assert(Ipv6Addr::UNSPECIFIED.into(), 0),
        };
        requests.push(route::set(
            everywhere,
            Hop { index, via: Some(*gateway), onlink: false, src: None, attributes: Default::default() },
            Mode::Create,
        ));
    }
    all(&mut socket, &requests)
}

fn all(socket: &mut Socket, requests: &[Request]) -> Result<(), KernelError> {
    ask(socket, requests)?.into_iter().try_for_each(|answer| answer.map(|_| ()))
}

/// Takes all firewall rules of ours away, as a firewall's reload does with everybody's.
pub fn flush() -> Result<(), KernelError> {
    let tables = FAMILIES.map(|family| Change::DelTable { family, name: TABLE.into() }.into());
    let mut session = Session::open()?;
    session.commit(&tables, None)
}
