//! Sending a frame as it is (packet(7)).

use crate::error::KernelError;
use rustix::fd::{AsRawFd, OwnedFd};
use std::io;

/// Sends frames out of an interface. They must begin with an Ethernet header.
pub fn send(index: u32, frames: &[Vec<u8>]) -> Result<(), KernelError> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(KernelError::io("open a packet socket"))?;
    for frame in frames {
        let to = address(index);
        // SAFETY: the frame and the address live across the call, and their lengths are theirs.
        let sent = unsafe {
            libc::sendto(
                socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                ADDRESS_LENGTH,
            )
        };
        if sent < 0 {
            return Err(KernelError::io("send a frame")(io::Error::last_os_error()));
        }
    }
    Ok(())
}

/// A packet socket that hears DHCP servers at one interface, and nothing else (packet(7), socket(7)).
pub fn listen_for_dhcp(index: u32) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Without a protocol nothing arrives before the filter is there.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
    let mut filter = TO_DHCP_CLIENTS;
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    set_option(&socket, (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER), &program)?;
    // What leaves by the interface is no server's: whoever is root in a sandbox sees what is asked there.
    let on: libc::c_int = 1;
    set_option(&socket, (libc::SOL_PACKET, PACKET_IGNORE_OUTGOING), &on)?;
    // Sockets for one protocol are not given what a macvlan child takes (its `rx_handler` comes before them in
    // `__netif_receive_skb_core`), and answers to a child are what is waited for at its parent.
    let mut at = address(index);
    at.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: the address lives across the call, and its length is its own.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const at).cast(), ADDRESS_LENGTH) };
    if bound < 0 {
        return Err(io::Error::last_os_error());
    }
    // Answers may be sent to a hardware address that the interface does not have yet.
    let all = libc::packet_mreq {
        mr_ifindex: index as i32,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set_option(&socket, (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP), &all)?;
    Ok(socket)
}

/// <linux/if_packet.h>, since 4.20; libc has it for glibc only.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// Whole UDP datagrams to port 68, in IPv4 (linux/filter.h; offsets from the Ethernet header).
const TO_DHCP_CLIENTS: [libc::sock_filter; 11] = {
    const fn op(code: u32, (jt, jf): (u8, u8), k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    use libc::{
        BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET,
    };
    [
        op(BPF_LD | BPF_H | BPF_ABS, (0, 0), 12),       // EtherType
        op(BPF_JMP | BPF_JEQ | BPF_K, (0, 7), 0x0800),  // IPv4
        op(BPF_LD | BPF_B | BPF_ABS, (0, 0), 23),       // protocol
        op(BPF_JMP | BPF_JEQ | BPF_K, (0, 5), 17),      // UDP
        op(BPF_LD | BPF_H | BPF_ABS, (0, 0), 20),       // fragment's offset
        op(BPF_JMP | BPF_JSET | BPF_K, (3, 0), 0x1fff), // none
        op(BPF_LDX | BPF_B | BPF_MSH, (0, 0), 14),      // X = length of the IPv4 header
        op(BPF_LD | BPF_H | BPF_IND, (0, 0), 16),       // destination port
        op(BPF_JMP | BPF_JEQ | BPF_K, (1, 0), 68),
        op(BPF_RET | BPF_K, (0, 0), 0),
        op(BPF_RET | BPF_K, (0, 0), u32::MAX),
    ]
};

const ADDRESS_LENGTH: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn address(index: u32) -> libc::sockaddr_ll {
    // SAFETY: `sockaddr_ll` is plain numbers, for which zeroes are a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index as i32;
    address
}

fn set_option<T>(socket: &OwnedFd, (level, name): (i32, i32), value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value lives across the call, and its length is its own; the callers above give each option the
    // type that it takes, and what a filter points to lives as long.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
