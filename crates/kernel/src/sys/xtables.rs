//! The tables of legacy `iptables` (x_tables), which are told in socket options (linux/netfilter_ipv4/ip_tables.h,
//! linux/netfilter_ipv6/ip6_tables.h): their rules, and what a chain does with what no rule of it decides.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use std::io;

/// `IPT_SO_GET_INFO`, `IPT_SO_GET_ENTRIES`, and those of IPv6.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// `XT_TABLE_MAXNAMELEN`.
const NAME: usize = 32;
/// `NF_INET_FORWARD` and `NF_INET_POST_ROUTING`.
pub const FORWARD: usize = 2;
/// As above.
pub const POSTROUTING: usize = 4;
/// `struct ipt_getinfo`: the name, the hooks that count, where each begins, where its policy is, how many entries.
const INFO: usize = NAME + 4 + 5 * 4 + 5 * 4 + 4 + 4;
const HOOKS: usize = NAME;
const BEGINNINGS: usize = NAME + 4;
const POLICIES: usize = NAME + 4 + 5 * 4;
const SIZE: usize = INFO - 4;
/// `struct ipt_get_entries` without its entries: the name, their size, and what aligns them.
const HEAD: usize = NAME + 8;
/// A `struct xt_entry_target`, behind which is the verdict of a standard target.
const TARGET: usize = 32;
/// `-NF_DROP - 1` and `-NF_ACCEPT - 1`.
const DROP: i32 = -1;
/// As above.
pub const ACCEPT: i32 = -2;
/// `XT_RETURN`.
pub const RETURN: i32 = -5;

/// Where in an entry is where its target is, and how the tables of a family are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    domain: AddressFamily,
    level: libc::c_int,
    target_offset: usize,
    /// How long an address is: source and destination come first, then their masks, the interfaces and their masks.
    address: usize,
    /// Where it is said what of it holds the other way round.
    inverted: usize,
}

/// Of IPv4: behind `struct ipt_ip` and `nfcache`.
pub const V4: Layout = Layout {
    domain: AddressFamily::INET,
    level: libc::SOL_IP,
    target_offset: 84 + 4,
    address: 4,
    inverted: 83,
};
/// Of IPv6: behind `struct ip6t_ip6` and `nfcache`.
pub const V6: Layout = Layout {
    domain: AddressFamily::INET6,
    level: libc::SOL_IPV6,
    target_offset: 136 + 4,
    address: 16,
    inverted: 132,
};

/// A table, as the kernel reports it.
#[derive(Debug)]
pub struct Table {
    layout: Layout,
    info: [u8; INFO],
    entries: Vec<u8>,
}

/// An entry of a table: a rule, or a policy.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'t> {
    layout: Layout,
    bytes: &'t [u8],
    /// Where it is, and where the next one is.
    pub at: usize,
    /// As above.
    pub next: usize,
}

impl Table {
    /// Reads a table. One that is not there is made by the question: the caller has looked.
    pub fn read(name: &str, layout: Layout) -> io::Result<Self> {
        let socket = socket_with(layout.domain, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))?;
        let mut info = [0; INFO];
        info.iter_mut().take(NAME - 1).zip(name.bytes()).for_each(|(to, from)| *to = from);
        get(&socket, (layout.level, GET_INFO), &mut info)?;
        let size = number(&info, SIZE).ok_or(io::ErrorKind::InvalidData)?;
        let mut entries = vec![0; HEAD + size];
        entries.iter_mut().take(NAME - 1).zip(name.bytes()).for_each(|(to, from)| *to = from);
        entries[NAME..NAME + 4].copy_from_slice(&(size as u32).to_ne_bytes());
        get(&socket, (layout.level, GET_ENTRIES), &mut entries)?;
        Ok(Self { layout, info, entries })
    }

    /// Where a hook's chain begins, and where its policy is.
    pub fn chain(&self, hook: usize) -> Option<(usize, usize)> {
        let is_there = number(&self.info, HOOKS)? & 1 << hook != 0;
        let at = |base| number(&self.info, base + 4 * hook);
        is_there.then_some((at(BEGINNINGS)?, at(POLICIES)?))
    }

    /// The entry at a place.
    pub fn entry(&self, at: usize) -> Option<Entry<'_>> {
        let bytes = self.entries.get(HEAD + at..)?;
        let length = usize::from(half(bytes, self.layout.target_offset + 2)?);
        let bytes = bytes.get(..length).filter(|bytes| bytes.len() > self.layout.target_offset)?;
        Some(Entry { layout: self.layout, bytes, at, next: at + length })
    }
}

/// What a rule does with what fulfils it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `ACCEPT`, `DROP`, `RETURN`: the verdict as the kernel has it.
    Verdict(i32),
    /// On at another entry.
    Jump(usize),
    /// Something else, by its name.
    Other(String),
}

impl<'t> Entry<'t> {
    /// Its target.
    pub fn target(self) -> Option<Target> {
        let at = usize::from(half(self.bytes, self.layout.target_offset)?);
        let name = text(self.bytes.get(at + 2..at + TARGET - 1)?);
        if !name.is_empty() {
            return Some(Target::Other(name));
        }
        let verdict = i32::from_ne_bytes(self.bytes.get(at + TARGET..at + TARGET + 4)?.try_into().ok()?);
        Some(usize::try_from(verdict).map_or(Target::Verdict(verdict), Target::Jump))
    }

    /// The names of the interfaces that it asks for, in and out, unless it asks for all others; with `*` behind them,
    /// all that begin so.
    pub fn interfaces(self) -> [Option<String>; 2] {
        let base = 4 * self.layout.address;
        let inverted = self.bytes.get(self.layout.inverted).copied().unwrap_or_default();
        [0, 1].map(|end| {
            let name = text(self.bytes.get(base + 16 * end..base + 16 * (end + 1))?);
            let mask = self.bytes.get(base + 32 + 16 * end..base + 48 + 16 * end)?;
            let compared = mask.iter().take_while(|byte| **byte != 0).count();
            let whole = compared > name.len();
            let is_named = !name.is_empty() && inverted & 1 << end == 0;
            is_named.then(|| format!("{name}{}", if whole { "" } else { "*" }))
        })
    }

    /// Whether it asks for addresses.
    pub fn is_addressed(self) -> bool {
        let (from, to) = (2 * self.layout.address, 4 * self.layout.address);
        self.bytes.get(from..to).is_some_and(|masks| masks.iter().any(|byte| *byte != 0))
    }

    /// Whether it asks for a protocol.
    pub fn has_protocol(self) -> bool {
        half(self.bytes, 4 * self.layout.address + 64).is_some_and(|protocol| protocol != 0)
    }

    /// Its matches: their names and what they ask for.
    pub fn matches(self) -> impl Iterator<Item = (String, &'t [u8])> {
        let end = half(self.bytes, self.layout.target_offset).map_or(0, usize::from);
        let mut at = self.layout.target_offset + 4 + 4 + 16; // the offsets, where it came from, the counters
        std::iter::from_fn(move || {
            let length = usize::from(half(self.bytes, at)?).max(TARGET);
            let one = self.bytes.get(at..at + length).filter(|_| at + length <= end)?;
            at += length;
            Some((text(&one[2..TARGET - 1]), &one[TARGET..]))
        })
    }
}

/// Whether the chain FORWARD of the table `filter` drops what no rule lets through.
pub fn drops_forwarded(layout: Layout) -> io::Result<bool> {
    let table = Table::read("filter", layout)?;
    let policy = table.chain(FORWARD).and_then(|(_, policy)| table.entry(policy));
    Ok(policy.and_then(Entry::target) == Some(Target::Verdict(DROP)))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn text(bytes: &[u8]) -> String {
    let bytes: Vec<u8> = bytes.iter().copied().take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
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
