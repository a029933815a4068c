//! Interface requests by name (netdevice(7)): the quick way to an index, flags, and a link event.

use crate::error::KernelError;
use qiao_core::IfName;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::io;

/// <linux/sockios.h>; libc gives them a type per C library.
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCETHTOOL: u32 = 0x8946;

/// A datagram socket to put requests to.
#[derive(Debug)]
pub struct Interfaces(OwnedFd);

impl Interfaces {
    /// Opens the socket in the calling thread's namespace.
    pub fn open() -> Result<Self, KernelError> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
        socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .map(Self)
            .map_err(KernelError::io("open a socket"))
    }

    /// The index of an interface; none if there is no such interface. It takes no lock in the kernel.
    pub fn index(&self, name: &IfName) -> Result<Option<u32>, KernelError> {
        let mut request = Request::new(name);
        match self.ask(SIOCGIFINDEX, &mut request) {
            // SAFETY: SIOCGIFINDEX fills the index, which any bit pattern is.
            Ok(()) => Ok(Some(unsafe { request.0.ifr_ifru.ifru_ifindex } as u32)),
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(e) => Err(KernelError::io(format!("look up `{name}`"))(e)),
        }
    }

    /// Runs the pending link event of an interface and tells whether it has a carrier. Without it, a bridge
    /// port that came up drops what arrives until a worker gets round to it: up to 14 % of containers that
    /// speak at once lost their first packet, and waited a second for the next.
    pub fn force_link_event(&self, name: &IfName) -> Result<bool, KernelError> {
        const ETHTOOL_GLINK: u32 = 0x0a;
        let mut value: [u32; 2] = [ETHTOOL_GLINK, 0];
        let mut request = Request::new(name);
        request.0.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
        match self.ask(SIOCETHTOOL, &mut request) {
            Ok(()) => Ok(value[1] != 0),
            // A device without a carrier to tell of (dummy) always has one.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(true),
            Err(error) => Err(KernelError::io(format!("read the carrier of `{name}`"))(error)),
        }
    }

    fn ask(&self, number: u32, request: &mut Request) -> io::Result<()> {
        // SAFETY: `request` is a whole `struct ifreq` that lives across the call, and what it points to, for
        // SIOCETHTOOL, is a `struct ethtool_value` of its caller's.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), number as _, &mut request.0) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// It tells which namespace it is in.
impl AsFd for Interfaces {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

struct Request(libc::ifreq);

impl Request {
    fn new(name: &IfName) -> Self {
        // SAFETY: `ifreq` is plain numbers, for which zeroes are a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
            *to = from as libc::c_char;
        }
        Self(request)
    }
}
