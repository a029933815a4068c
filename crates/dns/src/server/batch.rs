//! Datagrams in batches: one system call takes what has come, another sends all answers (recvmmsg(2), sendmmsg(2)).

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

/// The most datagrams in a batch: a full one is more than honest clients have on their way at one time.
pub const BATCH: usize = 128;
/// The longest question that is read whole: what does not fit into an Ethernet frame is none.
const LONGEST: usize = 1500;

/// Room for a batch.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
    /// What came: how long each is, and from where.
    pub came: Vec<(usize, SocketAddr)>,
    /// What is sent: to whom each is, and where it begins; they stand one after the other.
    pub answers: Vec<(SocketAddr, usize)>,
    /// The octets of all answers.
    pub out: Vec<u8>,
}

impl Batch {
    /// Room for a batch.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * LONGEST],
            v4: MultiHeaders::preallocate(BATCH, None),
            v6: MultiHeaders::preallocate(BATCH, None),
            came: Vec::with_capacity(BATCH),
            answers: Vec::with_capacity(BATCH),
            out: Vec::with_capacity(BATCH * 128),
        }
    }

    /// Takes what has come by a socket. Errors are of single datagrams.
    pub fn receive(&mut self, socket: &OwnedFd, is_v4: bool) {
        self.came.clear();
        self.answers.clear();
        self.out.clear();
        let (bytes, came) = (&mut self.bytes, &mut self.came);
        match is_v4 {
            true => {
                receive(socket, &mut self.v4, (bytes, came), |from| SocketAddr::V4(SocketAddrV4::from(from)))
            }
            false => {
                receive(socket, &mut self.v6, (bytes, came), |from| SocketAddr::V6(SocketAddrV6::from(from)))
            }
        }
    }

    /// The message and the room for its answer.
    pub fn parts(&mut self, number: usize) -> (&[u8], &mut Vec<u8>) {
        (&self.bytes[number * LONGEST..][..self.came[number].0.min(LONGEST)], &mut self.out)
    }

    /// Sends all answers by a socket. What the kernel has no room for is lost, as datagrams are. (Not by way of the C
    /// library: musl makes a call of each.)
    pub fn send(&mut self, socket: &OwnedFd) {
        let ends = self.answers.iter().skip(1).map(|answer| answer.1).chain([self.out.len()]);
        let slices: Vec<_> = self
            .answers
            .iter()
            .zip(ends)
            .map(|((_, from), to)| [IoSlice::new(&self.out[*from..to])])
            .collect();
        let to: Vec<SocketAddrAny> = self.answers.iter().map(|(to, _)| (*to).into()).collect();
        let mut nothing: Vec<_> = to.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let parts = to.iter().zip(&slices).zip(&mut nothing);
        let mut messages: Vec<_> =
            parts.map(|((to, slice), nothing)| MMsgHdr::new_with_addr(to, slice, nothing)).collect();
        let mut done = 0;
        while done < messages.len() {
            match sendmmsg(socket, &mut messages[done..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => done += sent.max(1),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => done += 1, // this one cannot be sent: the next is another matter
            }
        }
    }
}

fn receive<S: SockaddrLike + Copy>(
    socket: &OwnedFd,
    headers: &mut MultiHeaders<S>,
    (bytes, came): (&mut [u8], &mut Vec<(usize, SocketAddr)>),
    address: impl Fn(S) -> SocketAddr,
) {
    let mut slices: Vec<[IoSliceMut<'_>; 1]> =
        bytes.chunks_exact_mut(LONGEST).map(|chunk| [IoSliceMut::new(chunk)]).collect();
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    let Ok(results) = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), flags, None) else { return };
    // One without a sender cannot be answered; it keeps its place.
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    came.extend(results.map(|message| (message.bytes, message.address.map_or(nobody, &address))));
}
