//! bpf(2), which no crate wraps without bringing a compiler along. The structures are those of
//! `union bpf_attr` (linux/bpf.h), each as long as the kernel has known it since 5.14.

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::io;

/// What bpf(2) shall do (`enum bpf_cmd`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    ProgLoad = 5,
    ProgAttach = 8,
    ProgDetach = 9,
    ProgById = 13,
    MapById = 14,
    ObjectInfo = 15,
    ProgQuery = 16,
    MapLookupBatch = 24,
    MapUpdateBatch = 26,
    MapDeleteBatch = 27,
}

/// `BPF_OBJ_NAME_LEN`, with the NUL at its end.
pub const NAME_LEN: usize = 16;

/// A structure of `union bpf_attr`: plain numbers, without padding, some of them addresses.
///
/// # Safety
/// Implementers are `repr(C)`, consist of integers only and have no padding.
pub unsafe trait Attr {}

macro_rules! attrs {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        #[repr(C)]
        pub struct $name { $(pub $field: $kind),* }
        // SAFETY: `repr(C)`, integers only, and the fields are given with their padding.
        unsafe impl Attr for $name {}
    )*};
}

attrs! {
    /// `BPF_MAP_CREATE`.
    MapCreate {
        map_type: u32, key_size: u32, value_size: u32, max_entries: u32, map_flags: u32,
        inner_map_fd: u32, numa_node: u32, name: [u8; NAME_LEN],
    }
    /// `BPF_MAP_LOOKUP_ELEM` and its like.
    MapElem { map_fd: u32, pad: u32, key: u64, value: u64, flags: u64 }
    /// `BPF_MAP_LOOKUP_BATCH` and its like.
    MapBatch {
        in_batch: u64, out_batch: u64, keys: u64, values: u64, count: u32, map_fd: u32,
        elem_flags: u64, flags: u64,
    }
    /// `BPF_PROG_LOAD`.
    ProgLoad {
        prog_type: u32, insn_cnt: u32, insns: u64, license: u64, log_level: u32, log_size: u32,
        log_buf: u64, kern_version: u32, prog_flags: u32, name: [u8; NAME_LEN], ifindex: u32,
        attach_type: u32,
    }
    /// `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
    ProgAttach { target_fd: u32, prog_fd: u32, attach_type: u32, flags: u32 }
    /// `BPF_PROG_QUERY`.
    ProgQuery {
        target_fd: u32, attach_type: u32, query_flags: u32, attach_flags: u32, prog_ids: u64,
        prog_cnt: u32, pad: u32,
    }
    /// `BPF_PROG_GET_FD_BY_ID` and its like.
    ById { id: u32, next_id: u32, open_flags: u32, pad: u32 }
    /// `BPF_OBJ_GET_INFO_BY_FD`.
    InfoByFd { fd: u32, info_len: u32, info: u64 }
    /// The beginning of `struct bpf_prog_info`.
    ProgInfo {
        prog_type: u32, id: u32, tag: [u8; 8], jited_len: u32, xlated_len: u32, jited: u64,
        xlated: u64, load_time: u64, created_by: u32, map_count: u32, map_ids: u64,
        name: [u8; NAME_LEN],
    }
    /// The beginning of `struct bpf_map_info`.
    MapInfo {
        map_type: u32, id: u32, key_size: u32, value_size: u32, max_entries: u32, map_flags: u32,
        name: [u8; NAME_LEN],
    }
}

/// Calls bpf(2).
///
/// # Safety
/// Every address in `attr` must be that of memory which lives across the call and is as long as the command
/// reads or writes there.
pub unsafe fn call<A: Attr>(command: Command, attr: &mut A) -> io::Result<i32> {
    let size = size_of::<A>();
    // SAFETY: `attr` is a structure of the kernel's (see `Attr`) and its length is told; the memory it leads
    // to is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attr, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// Calls bpf(2) for a command that answers with a descriptor.
///
/// # Safety
/// As [`call`], and the command makes a descriptor.
pub unsafe fn call_fd<A: Attr>(command: Command, attr: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise, passed on.
    let fd = unsafe { call(command, attr) }?;
    // SAFETY: the descriptor is new, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor as bpf(2) takes it.
pub fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// An address as bpf(2) takes it.
pub fn address<T>(memory: &[T]) -> u64 {
    memory.as_ptr() as u64
}

/// An address to write to as bpf(2) takes it.
pub fn address_mut<T>(memory: &mut [T]) -> u64 {
    memory.as_mut_ptr() as u64
}

/// The cookie of the network namespace that a socket is in: a number no other namespace gets until the next
/// boot (`SO_NETNS_COOKIE`, since Linux 5.14).
pub fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the option is eight bytes, which `cookie` has, and `length` says so.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}
