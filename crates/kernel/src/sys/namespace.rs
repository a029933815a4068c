//! Namespaces, where rustix has no call for them.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::thread::UnshareFlags;

/// The kind of namespace behind a descriptor of nsfs, as a `CLONE_NEW…` flag (ioctl_ns(2)).
pub fn kind(fd: &OwnedFd) -> Option<libc::c_int> {
    /// `NS_GET_NSTYPE`, `_IO(0xb7, 0x3)`.
    const NS_GET_NSTYPE: u32 = 0xb703;
    // SAFETY: the request takes no argument and returns a number.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) };
    (kind >= 0).then_some(kind)
}

/// A descriptor that this process was started with.
pub fn adopt(number: i32) -> Option<OwnedFd> {
    use rustix::fd::FromRawFd;
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
