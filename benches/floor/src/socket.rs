//! Netlink sockets, namespaces, and the link event: each one system call.

use crate::die;
use netlink_sys::Socket as Netlink;
use qiao_core::IfName;
use qiao_kernel::Interfaces;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};

/// A netlink socket.
pub struct Socket(Netlink);

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl Socket {
    /// Opens one in the namespace that the program is in.
    pub fn open(protocol: isize) -> Self {
        Self(Netlink::new(protocol).unwrap_or_else(|_| die("socket")))
    }

    /// Sends messages at once, and reads `answers` acknowledgements, all of which must be good.
    pub fn ask(&self, messages: &[Vec<u8>], answers: usize) {
        let bytes = messages.concat();
        self.0.send(&bytes, 0).unwrap_or_else(|_| die("send"));
        let mut buffer = Vec::with_capacity(16384);
        let mut read = 0;
        while read < answers {
            buffer.clear();
            self.0.recv(&mut buffer, 0).unwrap_or_else(|_| die("recv"));
            read += acknowledged(&buffer);
        }
    }
}

/// How many messages a datagram acknowledges.
fn acknowledged(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some(length) = bytes.first_chunk().map(|b| u32::from_ne_bytes(*b) as usize).filter(|l| *l >= 20)
    {
        let error = i32::from_ne_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
        if error != 0 {
            eprintln!("floor: the kernel answers {}", std::io::Error::from_raw_os_error(-error));
            std::process::exit(1);
        }
        count += 1;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    count
}

/// Opens a namespace.
pub fn namespace(path: &str) -> OwnedFd {
    match std::fs::File::open(path) {
        Ok(file) => file.into(),
        Err(_) => die(path),
    }
}

/// Moves the program into a network namespace.
pub fn enter(namespace: &impl AsFd) {
    if move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).is_err() {
        die("setns");
    }
}

/// Runs the pending link event of an interface (`ETHTOOL_GLINK`).
pub fn link_event(name: &str) {
    let (interfaces, name) = (interfaces(), checked(name));
    if interfaces.force_link_event(&name).is_err() {
        die("ETHTOOL_GLINK");
    }
}

/// The index of an interface; 0 if there is none.
pub fn index(name: &str) -> u32 {
    interfaces().index(&checked(name)).ok().flatten().unwrap_or(0)
}

fn interfaces() -> Interfaces {
    Interfaces::open().unwrap_or_else(|_| die("socket"))
}

fn checked(name: &str) -> IfName {
    IfName::new(name).unwrap_or_else(|_| die(name))
}
