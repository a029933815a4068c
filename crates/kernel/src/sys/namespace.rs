//! Namespaces, where rustix has no call for them.

use rustix::fd::{AsRawFd, OwnedFd};

/// The kind of namespace behind a descriptor of nsfs, as a `CLONE_NEW…` flag (ioctl_ns(2)).
pub fn kind(fd: &OwnedFd) -> Option<libc::c_int> {
    /// `NS_GET_NSTYPE`, `_IO(0xb7, 0x3)`.
    const NS_GET_NSTYPE: u32 = 0xb703;
    // SAFETY: the request takes no argument and returns a number.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) };
    (kind >= 0).then_some(kind)
}
