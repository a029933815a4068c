//! The loopback interface of a namespace, for those who want nothing else in it.

use crate::error::KernelError;
use crate::netlink::Socket;
use crate::netns::NetnsHandle;
use crate::rtnl::{ask_one, link};
use qiao_core::IfName;

impl NetnsHandle {
    /// Brings the namespace's loopback interface up.
    pub fn bring_up_loopback(&self) -> Result<(), KernelError> {
        self.with_loopback(|socket, lo| ask_one(socket, &link::up(lo, true)).map(drop))
    }

    /// Whether the namespace's loopback interface is up.
    pub fn is_loopback_up(&self) -> Result<bool, KernelError> {
        self.with_loopback(|socket, lo| {
            let links = link::read(&ask_one(socket, &link::get(lo))?);
            Ok(links.first().is_some_and(|link| link.up))
        })
    }

    /// Writes a setting of the namespace: a path below `/proc/sys`, which shows the namespace of whoever looks.
    pub fn set_sysctl(&self, path: &str, value: &str) -> Result<(), KernelError> {
        self.inside(|| {
            std::fs::write(format!("/proc/sys/{path}"), value).map_err(KernelError::io("write a setting"))
        })
    }

    /// Reads a setting of the namespace.
    pub fn read_sysctl(&self, path: &str) -> Result<String, KernelError> {
        self.inside(|| {
            std::fs::read_to_string(format!("/proc/sys/{path}")).map_err(KernelError::io("read a setting"))
        })
    }

    fn with_loopback<T>(
        &self,
        act: impl FnOnce(&mut Socket, &IfName) -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        let lo =
            IfName::new("lo").map_err(|_| KernelError::Malformed("no name for the loopback interface"))?;
        self.inside(|| act(&mut Socket::open(netlink_sys::protocols::NETLINK_ROUTE)?, &lo))
    }
}
