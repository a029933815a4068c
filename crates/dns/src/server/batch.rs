//! Datagrams in batches: one system call takes what has come, another sends all answers (recvmmsg(2), sendmmsg(2)).

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg};
use rustix::fd::{AsRawFd, OwnedFd};
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

/// The most datagrams in a batch.
pub const BATCH: usize = 32;
/// The longest question that is read whole: what does not fit into an Ethernet frame is none.
const LONGEST: usize = 1500;

/// Room for a batch.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    v4: Headers<SockaddrIn>,
    v6: Headers<SockaddrIn6>,
    /// What came: how long each is, and from where.
    pub came: Vec<(usize, SocketAddr)>,
    /// What is sent: to whom each is, and where it begins; they stand one after the other.
    pub answers: Vec<(SocketAddr, usize)>,
    /// The octets of all answers.
    pub out: Vec<u8>,
}

#[derive(Debug)]
struct Headers<S> {
    receive: MultiHeaders<S>,
    send: MultiHeaders<S>,
}

impl<S: SockaddrLike + Copy> Headers<S> {
    fn new() -> Self {
        Self { receive: MultiHeaders::preallocate(BATCH, None), send: MultiHeaders::preallocate(BATCH, None) }
    }
}

impl Batch {
    /// Room for a batch.
    pub fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * LONGEST],
            v4: Headers::new(),
            v6: Headers::new(),
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
            true => receive(socket, &mut self.v4.receive, (bytes, came), |from| {
                SocketAddr::V4(SocketAddrV4::from(from))
            }),
            false => receive(socket, &mut self.v6.receive, (bytes, came), |from| {
                SocketAddr::V6(SocketAddrV6::from(from))
            }),
        }
    }

    /// The message and the room for its answer.
    pub fn parts(&mut self, number: usize) -> (&[u8], &mut Vec<u8>) {
        (&self.bytes[number * LONGEST..][..self.came[number].0.min(LONGEST)], &mut self.out)
    }

    /// Sends all answers by a socket. What the kernel has no room for is lost, as datagrams are.
    pub fn send(&mut self, socket: &OwnedFd, is_v4: bool) {
        let ends = self.answers.iter().skip(1).map(|answer| answer.1).chain([self.out.len()]);
        let slices: Vec<[IoSlice<'_>; 1]> = self
            .answers
            .iter()
            .zip(ends)
            .map(|((_, from), to)| [IoSlice::new(&self.out[*from..to])])
            .collect();
        if is_v4 {
            let to = self.answers.iter().filter_map(|(to, _)| match to {
                SocketAddr::V4(to) => Some(Some(SockaddrIn::from(*to))),
                SocketAddr::V6(_) => None,
            });
            send(socket, &mut self.v4.send, (&slices, &to.collect::<Vec<_>>()));
        } else {
            let to = self.answers.iter().filter_map(|(to, _)| match to {
                SocketAddr::V6(to) => Some(Some(SockaddrIn6::from(*to))),
                SocketAddr::V4(_) => None,
            });
            send(socket, &mut self.v6.send, (&slices, &to.collect::<Vec<_>>()));
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

fn send<S: SockaddrLike + Copy>(
    socket: &OwnedFd,
    headers: &mut MultiHeaders<S>,
    (slices, to): (&[[IoSlice<'_>; 1]], &[Option<S>]),
) {
    let mut done = 0;
    while done < to.len() {
        let rest = (&slices[done..], &to[done..]);
        match sendmmsg(socket.as_raw_fd(), headers, rest.0.iter(), rest.1, [], MsgFlags::MSG_DONTWAIT) {
            Ok(sent) => done += sent.count().max(1),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return,
            Err(_) => done += 1, // this one cannot be sent: the next is another matter
        }
    }
}
