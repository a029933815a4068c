//! The tables of legacy `iptables` (x_tables), which are told in socket options (linux/netfilter_ipv4/ip_tables.h,
//! linux/netfilter_ipv6/ip6_tables.h): what a chain does with what no rule of it decides.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use std::io;

/// `IPT_SO_GET_INFO`, `IPT_SO_GET_ENTRIES`, and those of IPv6.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// `XT_TABLE_MAXNAMELEN`.
const NAME: usize = 32;
/// `NF_INET_FORWARD`.
const FORWARD: usize = 2;
/// `struct ipt_getinfo`: the name, the hooks that count, where each begins, where its policy is, how many entries.
const INFO: usize = NAME + 4 + 5 * 4 + 5 * 4 + 4 + 4;
const POLICIES: usize = NAME + 4 + 5 * 4;
const SIZE: usize = INFO - 4;
/// `struct ipt_get_entries` without its entries: the name, their size, and what aligns them.
const HEAD: usize = NAME + 8;
/// A `struct xt_entry_target`, behind which is the verdict of a standard target.
const TARGET: usize = 32;
/// `-NF_DROP - 1`.
const DROP: i32 = -1;

/// Where in an entry is where its target is, and how the tables of a family are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    domain: AddressFamily,
    level: libc::c_int,
    target_offset: usize,
}

/// Of IPv4: behind `struct ipt_ip` and `nfcache`.
pub const V4: Layout = Layout { domain: AddressFamily::INET, level: libc::SOL_IP, target_offset: 84 + 4 };
/// Of IPv6: behind `struct ip6t_ip6` and `nfcache`.
pub const V6: Layout = Layout { domain: AddressFamily::INET6, level: libc::SOL_IPV6, target_offset: 136 + 4 };

/// Whether the chain FORWARD of the table `filter` drops what no rule lets through. A table that is not there is made
/// by the question: the caller has looked.
pub fn drops_forwarded(layout: Layout) -> io::Result<bool> {
    let socket = socket_with(layout.domain, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))?;
    let mut info = [0; INFO];
    info[..6].copy_from_slice(b"filter");
    get(&socket, (layout.level, GET_INFO), &mut info)?;
    let size = number(&info, SIZE).ok_or(io::ErrorKind::InvalidData)?;
    let mut entries = vec![0; HEAD + size];
    entries[..6].copy_from_slice(b"filter");
    entries[NAME..NAME + 4].copy_from_slice(&(size as u32).to_ne_bytes());
    get(&socket, (layout.level, GET_ENTRIES), &mut entries)?;
    let policy = number(&info, POLICIES + 4 * FORWARD).and_then(|at| entries.get(HEAD + at..));
    Ok(policy.and_then(|entry| verdict(entry, layout)) == Some(DROP))
}

fn verdict(entry: &[u8], layout: Layout) -> Option<i32> {
    let at = entry.get(layout.target_offset..layout.target_offset + 2)?;
    let at = usize::from(u16::from_ne_bytes(at.try_into().ok()?)) + TARGET;
    Some(i32::from_ne_bytes(entry.get(at..at + 4)?.try_into().ok()?))
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
}

fn get(socket: &OwnedFd, (level, name): (libc::c_int, libc::c_int), buffer: &mut [u8]) -> io::Result<()> {
    let mut length = buffer.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which the buffer has; both live across the call.
    let done =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, buffer.as_mut_ptr().cast(), &mut length) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
