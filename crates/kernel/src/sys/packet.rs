//! Sending a frame as it is (packet(7)).

use crate::error::KernelError;
use rustix::fd::AsRawFd;
use std::io;

/// Sends frames out of an interface. They must begin with an Ethernet header.
pub fn send(index: u32, frames: &[Vec<u8>]) -> Result<(), KernelError> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(KernelError::io("open a packet socket"))?;
    for frame in frames {
        // SAFETY: `sockaddr_ll` is plain numbers, for which zeroes are a value.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = index as i32;
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the frame and the address live across the call, and their lengths are theirs.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                length,
            )
        };
        if sent < 0 {
            return Err(KernelError::io("send a frame")(io::Error::last_os_error()));
        }
    }
    Ok(())
}
