//! Netlink sockets, namespaces, and the link event, as bare system calls.

use crate::die;
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A netlink socket.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Opens one in the namespace that the program is in.
    pub fn open(protocol: i32) -> Self {
        // SAFETY: a system call without pointers; a descriptor it returns is ours alone.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        if fd < 0 {
            die("socket");
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Self(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Sends messages at once, and reads `answers` acknowledgements, all of which must be good.
    pub fn ask(&self, messages: &[Vec<u8>], answers: usize) {
        let bytes = messages.concat();
        // SAFETY: the pointer and the length are of one slice.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            die("send");
        }
        let mut buffer = [0u8; 16384];
        let mut read = 0;
        while read < answers {
            // SAFETY: the pointer and the length are of one array.
            let got = unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            let Ok(got) = usize::try_from(got) else { die("recv") };
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
pub fn enter(namespace: RawFd) {
    // SAFETY: a system call without pointers.
    if unsafe { libc::setns(namespace, libc::CLONE_NEWNET) } != 0 {
        die("setns");
    }
}

/// Runs the pending link event of an interface (`ETHTOOL_GLINK`).
pub fn link_event(name: &str) {
    const SIOCETHTOOL: u32 = 0x8946;
    const GLINK: u32 = 0x0a;
    let mut value: [u32; 2] = [GLINK, 0];
    // SAFETY: `ifreq` is plain numbers, for which zeroes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    // SAFETY: system calls; the request and what it points to live across them.
    let result = unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        libc::ioctl(socket, SIOCETHTOOL as _, &mut request)
    };
    if result < 0 {
        die("ETHTOOL_GLINK");
    }
}

/// The index of an interface.
pub fn index(name: &str) -> u32 {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: the pointer is to a string with a zero at its end.
    unsafe { libc::if_nametoindex(name.as_ptr()) }
}
