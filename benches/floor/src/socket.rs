//! Netlink sockets, namespaces, and the link event, as bare system calls.

use crate::die;
use qiao_core::IfName;
use qiao_kernel::Interfaces;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// rtnetlink.
pub const ROUTE: Option<Protocol> = None;
/// nf_tables.
pub const NETFILTER: Option<Protocol> = Some(netlink::NETFILTER);

/// A netlink socket.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Opens one in the namespace that the program is in.
    pub fn open(protocol: Option<Protocol>) -> Self {
        let opened = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol);
        Self(opened.unwrap_or_else(|_| die("socket")))
    }

    /// Sends messages at once, and reads `answers` acknowledgements, all of which must be good.
    pub fn ask(&self, messages: &[Vec<u8>], answers: usize) {
        if send(&self.0, &messages.concat(), SendFlags::empty()).is_err() {
            die("send");
        }
        let mut buffer = [0u8; 16384];
        let mut read = 0;
        while read < answers {
            let Ok((got, _)) = recv(&self.0, &mut buffer[..], RecvFlags::empty()) else { die("recv") };
            read += acknowledged(&buffer[..got]);
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
pub fn enter(namespace: &OwnedFd) {
    if move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).is_err() {
        die("setns");
    }
}

/// Runs the pending link event of an interface (`ETHTOOL_GLINK`).
pub fn link_event(name: &str) {
    let event = Interfaces::open().map(|interfaces| interfaces.force_link_event(&interface(name)));
    if !matches!(event, Ok(Ok(_))) {
        die("ETHTOOL_GLINK");
    }
}

/// The index of an interface.
pub fn index(name: &str) -> u32 {
    let index = Interfaces::open().map(|interfaces| interfaces.index(&interface(name)));
    index.ok().and_then(Result::ok).flatten().unwrap_or_else(|| die(name))
}

fn interface(name: &str) -> IfName {
    IfName::new(name).unwrap_or_else(|_| die(name))
}
