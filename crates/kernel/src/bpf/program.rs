//! Programs of the kernel, and the places in a cgroup where they are attached.

use super::asm::Insn;
use super::map::name;
use crate::sys::bpf::{
    ById, Command, InfoByFd, NAME_LEN, ProgAttach, ProgInfo, ProgLoad, ProgQuery, address, address_mut, call,
    call_fd, number,
};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;

/// Where in the life of a socket a program runs (`enum bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// connect(2) on an `AF_INET` socket.
    Connect4 = 10,
    /// connect(2) on an `AF_INET6` socket.
    Connect6 = 11,
    /// A UDP datagram with a destination of its own.
    Send4 = 14,
    /// The same in IPv6.
    Send6 = 15,
    /// The source of a received UDP datagram.
    Receive4 = 19,
    /// The same on an `AF_INET6` socket.
    Receive6 = 20,
    /// getpeername(2) on an `AF_INET` socket.
    Peer4 = 29,
    /// getpeername(2) on an `AF_INET6` socket.
    Peer6 = 30,
}

/// A loaded program.
#[derive(Debug)]
pub struct Program(OwnedFd);

/// What the kernel tells of a program.
#[derive(Clone, Debug)]
pub struct About {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: [u8; NAME_LEN],
    /// The numbers of its maps, in the order in which it mentions them.
    pub maps: Vec<u32>,
}

/// `BPF_CGROUP_MAX_PROGS`: as many can be attached to one hook of one cgroup.
pub const MOST: usize = 64;

impl Program {
    /// Loads a program for one hook.
    pub fn load(hook: Hook, label: &str, code: &[Insn]) -> io::Result<Self> {
        const CGROUP_SOCK_ADDR: u32 = 18;
        let license = *b"MIT\0";
        let mut attr = ProgLoad {
            prog_type: CGROUP_SOCK_ADDR,
            insn_cnt: code.len() as u32,
            insns: address(code),
            license: address(&license),
            name: name(label),
            attach_type: hook as u32,
            ..ProgLoad::default()
        };
        // SAFETY: the code is `insn_cnt` instructions of eight bytes, the license ends with a NUL.
        unsafe { call_fd(Command::ProgLoad, &mut attr) }.map(Self)
    }

    /// Loads a program that the kernel does not take, for its reasons: what the verifier says.
    #[cfg(test)]
    pub fn reasons(hook: Hook, code: &[Insn]) -> String {
        let (license, mut log) = (*b"MIT\0", vec![0u8; 1 << 18]);
        let mut attr = ProgLoad {
            prog_type: 18,
            insn_cnt: code.len() as u32,
            insns: address(code),
            license: address(&license),
            log_level: 1,
            log_size: log.len() as u32,
            log_buf: address_mut(&mut log),
            attach_type: hook as u32,
            ..ProgLoad::default()
        };
        // SAFETY: as in `load`, and the log has the length that is told.
        let done = unsafe { call_fd(Command::ProgLoad, &mut attr) };
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(0);
        format!("{done:?}\n{}", String::from_utf8_lossy(&log[..end]))
    }

    /// Opens the program with this number.
    pub fn by_id(id: u32) -> io::Result<Self> {
        // SAFETY: the command reads no memory besides; it makes a descriptor.
        unsafe { call_fd(Command::ProgById, &mut ById { id, ..ById::default() }) }.map(Self)
    }

    /// What the kernel tells of it.
    pub fn about(&self) -> io::Result<About> {
        let mut ids = [0u32; 8];
        let mut info =
            [ProgInfo { map_count: ids.len() as u32, map_ids: address_mut(&mut ids), ..Default::default() }];
        let info_len = size_of::<ProgInfo>() as u32;
        let mut attr = InfoByFd { fd: number(self.0.as_fd()), info_len, info: address_mut(&mut info) };
        // SAFETY: `info` is as long as is told; `map_ids` has room for `map_count`, and all other addresses
        // in it are null with a length of zero.
        unsafe { call(Command::ObjectInfo, &mut attr) }?;
        let maps = ids.iter().copied().take(info[0].map_count as usize).collect();
        Ok(About { id: info[0].id, name: info[0].name, maps })
    }

    /// Attaches it to a cgroup, beside whatever is attached there.
    pub fn attach(&self, cgroup: BorrowedFd<'_>, hook: Hook) -> io::Result<()> {
        const BPF_F_ALLOW_MULTI: u32 = 2;
        let mut attr = ProgAttach { flags: BPF_F_ALLOW_MULTI, ..self.at(cgroup, hook) };
        // SAFETY: the command reads no memory besides.
        unsafe { call(Command::ProgAttach, &mut attr) }.map(|_| ())
    }

    /// Detaches it. A program that nothing holds any more is gone, and its maps with it.
    pub fn detach(&self, cgroup: BorrowedFd<'_>, hook: Hook) -> io::Result<()> {
        // SAFETY: the command reads no memory besides.
        unsafe { call(Command::ProgDetach, &mut self.at(cgroup, hook)) }.map(|_| ())
    }

    fn at(&self, cgroup: BorrowedFd<'_>, hook: Hook) -> ProgAttach {
        let prog_fd = number(self.0.as_fd());
        ProgAttach { target_fd: number(cgroup), prog_fd, attach_type: hook as u32, flags: 0 }
    }
}

/// The numbers of the programs that are attached to a hook of a cgroup.
pub fn attached(cgroup: BorrowedFd<'_>, hook: Hook) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; MOST];
    let mut attr = ProgQuery {
        target_fd: number(cgroup),
        attach_type: hook as u32,
        prog_ids: address_mut(&mut ids),
        prog_cnt: MOST as u32,
        ..ProgQuery::default()
    };
    // SAFETY: `ids` has room for `prog_cnt` numbers.
    unsafe { call(Command::ProgQuery, &mut attr) }?;
    Ok(ids.into_iter().take(attr.prog_cnt as usize).collect())
}
