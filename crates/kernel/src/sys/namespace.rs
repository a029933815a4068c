//! Namespaces, where rustix has no call for them.

use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rustix::thread::UnshareFlags;
use std::io;

/// The kind of namespace behind a descriptor of nsfs, as a `CLONE_NEW…` flag (ioctl_ns(2)).
pub fn kind(fd: &OwnedFd) -> rustix::io::Result<libc::c_int> {
    /// `NS_GET_NSTYPE`, `_IO(0xb7, 0x3)`.
    const NS_GET_NSTYPE: u32 = 0xb703;
    // SAFETY: the request takes no argument and returns a number.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) };
    if kind < 0 {
        let error = io::Error::last_os_error();
        return Err(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO));
    }
    Ok(kind)
}

/// The network namespace that a socket is in. It needs `CAP_NET_ADMIN` there.
pub fn of_socket(socket: &impl AsFd) -> io::Result<OwnedFd> {
    /// <linux/sockios.h>.
    const SIOCGSKNS: u32 = 0x894c;
    // SAFETY: the request takes no argument and returns a descriptor.
    let fd = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCGSKNS as _) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us (`open_related_ns`, with O_CLOEXEC).
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor that this process was started with.
pub fn adopt(number: i32) -> Option<OwnedFd> {
    // SAFETY: asking for the flags of a number that is no descriptor is an error, nothing more.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if number <= libc::STDERR_FILENO || flags < 0 || flags & libc::FD_CLOEXEC != 0 {
        return None;
    }
    // SAFETY: the descriptor is open, and whoever started us gave it to us to own: descriptors of our own
    // are closed on exec, which this one is not.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Leaves the caller's namespaces for new ones.
pub fn unshare(parts: UnshareFlags) -> rustix::io::Result<()> {
    let parts = parts & !(UnshareFlags::FILES | UnshareFlags::FS | UnshareFlags::SYSVSEM);
    // SAFETY: only CLONE_FILES makes this unsafe, since descriptors could then mean something else to another
    // thread; it is masked out.
    unsafe { rustix::thread::unshare_unsafe(parts) }
}
