//! Taps (linux/if_tun.h): rtnetlink makes none (`tun_validate`).

use crate::error::KernelError;
use qiao_core::IfName;
use qiao_core::solo::Tap;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use std::io;

/// <linux/if_tun.h>: `_IOW('T', 202 … 206, int)`.
const TUNSETIFF: u32 = 0x4004_54ca;
const TUNSETPERSIST: u32 = 0x4004_54cb;
const TUNSETOWNER: u32 = 0x4004_54cc;
const TUNSETGROUP: u32 = 0x4004_54ce;

/// Makes a tap in the calling thread's namespace, down. It goes with the descriptor, until it is [kept](keep).
pub fn make(name: &IfName, tap: &Tap) -> Result<OwnedFd, KernelError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open("/dev/net/tun", flags, Mode::empty())
        .map_err(KernelError::io("open /dev/net/tun"))?;
    // SAFETY: `ifreq` is plain numbers, for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from as libc::c_char;
    }
    let queues = if tap.multi_queue { libc::IFF_MULTI_QUEUE } else { 0 };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL | queues;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: `request` is a whole `struct ifreq` that lives across the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, &mut request) };
    done(result, "make the tap", name)?;
    for (number, value) in [(TUNSETOWNER, tap.owner), (TUNSETGROUP, tap.group)] {
        value.map_or(Ok(()), |value| set(&file, (number, value), name))?;
    }
    Ok(file)
}

/// Lets a tap stay when its descriptor is closed.
pub fn keep(file: &OwnedFd, name: &IfName) -> Result<(), KernelError> {
    set(file, (TUNSETPERSIST, 1), name)
}

fn set(file: &OwnedFd, (number, value): (u32, u32), name: &IfName) -> Result<(), KernelError> {
    // SAFETY: these requests take a number, not a pointer.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), number as _, libc::c_ulong::from(value)) };
    done(result, "settle who may open the tap", name)
}

fn done(result: libc::c_int, act: &str, name: &IfName) -> Result<(), KernelError> {
    if result >= 0 {
        return Ok(());
    }
    Err(KernelError::io(format!("{act} `{name}`"))(io::Error::last_os_error()))
}
