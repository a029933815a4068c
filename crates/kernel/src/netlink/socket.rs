//! A netlink socket.

use super::frame::{Frame, Meaning, frames};
use super::patience;
use crate::error::KernelError;
use netlink_sys::{Socket as RawSocket, SocketAddr};
use rustix::net::sockopt;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Mutex;
use std::time::Duration;

/// A message of an answer: its type, and what follows its header.
pub type Message = (u16, Vec<u8>);

/// The answer to one request: the messages, or why it failed.
pub type Answer = Result<Vec<Message>, KernelError>;

/// Everything that a dump gave.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// The messages.
    pub messages: Vec<Message>,
    /// Whether nothing changed meanwhile. Else what was there all the time may be missing, and what is gone may be
    /// there.
    pub whole: bool,
}

/// A datagram of the kernel is never larger than this: it fills 32 KiB where a receiver shows room
/// (`netlink_recvmsg`, af_netlink.c), and a single larger message is sent alone.
const RECEIVE: usize = 1 << 17;

/// Every send buffer has room for this: what most messages are smaller than is not asked about.
const SMALLEST_BUFFER: usize = 1 << 16;

/// What the kernel says to a request that it carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing; only a failure is told. A later request of the same datagram must be answered.
    None,
    /// One message.
    One,
    /// An acknowledgement, or the end of a dump, behind any number of messages.
    End,
}

/// A netlink socket. It belongs to the network namespace in which it was opened, wherever its owner goes.
pub struct Socket {
    raw: RawSocket,
    sequence: u32,
    patience: Duration,
}

/// What a datagram is received into: one for all sockets, for each is waited for by itself.
/// Of a static only the pages are there that are used, and no heap grows by it.
static BUFFER: Mutex<[u8; RECEIVE]> = Mutex::new([0; RECEIVE]);

/// Calls `act` with room for a datagram.
fn with_room<T>(act: impl FnOnce(&mut [u8]) -> T) -> T {
    match BUFFER.try_lock() {
        Ok(mut room) => act(&mut *room),
        Err(_) => act(&mut vec![0; RECEIVE]), // another thread waits for its datagram
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Socket {
    /// Opens a socket in the calling thread's namespace. `protocol` is `NETLINK_ROUTE` or `NETLINK_NETFILTER`.
    pub fn open(protocol: isize) -> Result<Self, KernelError> {
        let raw = open(protocol).map_err(KernelError::io("open a netlink socket"))?;
        Ok(Self { raw, sequence: 0, patience: patience::LONG })
    }

    /// Makes the kernel take a dump request's header as a filter (`NETLINK_GET_STRICT_CHK`, since 4.20).
    pub fn strict(self) -> Result<Self, KernelError> {
        self.raw.set_netlink_get_strict_chk(true).map_err(KernelError::io("set strict checking"))?;
        Ok(self)
    }

    /// Asks for a dump for so long that others interrupt.
    #[must_use]
    pub fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a dump is asked for that others interrupt.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Reserves the numbers of `count` requests.
    pub fn numbers(&mut self, count: u32) -> Range<u32> {
        let first = self.sequence + 1;
        self.sequence += count;
        first..first + count
    }

    /// Sends a datagram and collects the answers of the requests numbered `numbers`, in their order. Each of
    /// them must be acknowledged or dumped. The kernel carries all of them out, whether or not one fails.
    pub fn exchange(&mut self, datagram: &[u8], numbers: Range<u32>) -> Result<Vec<Answer>, KernelError> {
        let replies = vec![Reply::End; numbers.len()];
        self.exchange_for(datagram, numbers, &replies)
    }

    /// The same where each request has a reply of its own kind. Fewer replies are fewer system calls: every
    /// acknowledgement is a datagram.
    pub fn exchange_for(
        &mut self,
        datagram: &[u8],
        numbers: Range<u32>,
        replies: &[Reply],
    ) -> Result<Vec<Answer>, KernelError> {
        Ok(self.complete(datagram, numbers, replies)?.into_iter().map(Pending::answer).collect())
    }

    /// Sends a request for a dump, the only one of its datagram, and collects what it gives up to its end: while one is
    /// running, the kernel refuses to begin another (`EBUSY`).
    pub fn dump(&mut self, datagram: &[u8], number: u32) -> Result<Dump, KernelError> {
        let dumped = self.complete(datagram, number..number + 1, &[Reply::End])?.pop();
        let Some(Pending { messages, outcome, interrupted, .. }) = dumped else { return Ok(Dump::default()) };
        outcome.unwrap_or(Ok(())).map(|()| Dump { messages, whole: !interrupted })
    }

    fn complete(
        &mut self,
        datagram: &[u8],
        numbers: Range<u32>,
        replies: &[Reply],
    ) -> Result<Vec<Pending>, KernelError> {
        self.send(datagram)?;
        let mut pending: Vec<Pending> = replies.iter().map(|reply| Pending::of(*reply)).collect();
        let mut open = replies.iter().filter(|reply| **reply != Reply::None).count();
        while open > 0 {
            self.receive(|datagram| {
                for frame in frames(datagram) {
                    let at = frame.sequence.wrapping_sub(numbers.start) as usize;
                    open -= pending.get_mut(at).map_or(0, |p| usize::from(p.take(&frame)));
                }
            })?;
        }
        Ok(pending)
    }

    /// Sends a datagram without waiting for what comes of it.
    pub fn send(&mut self, datagram: &[u8]) -> Result<(), KernelError> {
        self.make_room(datagram.len()).map_err(KernelError::io("make room for a large message"))?;
        self.raw.send(datagram, 0).map(|_| ()).map_err(KernelError::io("send to the kernel"))
    }

    /// A datagram is refused (`EMSGSIZE`) that is larger than the send buffer less 32 bytes (`netlink_sendmsg`):
    /// 208 KiB unless somebody raised `net.core.wmem_default`. A thousand published ports are more.
    fn make_room(&self, length: usize) -> rustix::io::Result<()> {
        const SLACK: usize = 4096;
        if length < SMALLEST_BUFFER - SLACK || sockopt::socket_send_buffer_size(&self.raw)? >= length + SLACK
        {
            return Ok(());
        }
        // Only with CAP_NET_ADMIN may it be larger than net.core.wmem_max.
        sockopt::set_socket_send_buffer_size_force(&self.raw, length + SLACK)
            .or_else(|_| sockopt::set_socket_send_buffer_size(&self.raw, length + SLACK))
    }

    /// Receives a datagram, for `act`.
    pub fn receive<T>(&mut self, act: impl FnOnce(&[u8]) -> T) -> Result<T, KernelError> {
        with_room(|room| {
            let length = loop {
                match self.raw.recv(&mut &mut *room, 0) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    received => break received.map_err(KernelError::io("receive from the kernel"))?,
                }
            };
            Ok(act(&room[..length.min(RECEIVE)]))
        })
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.raw.as_raw_fd()
    }
}

fn open(protocol: isize) -> std::io::Result<RawSocket> {
    let raw = RawSocket::new(protocol)?;
    raw.set_ext_ack(true)?;
    raw.set_cap_ack(true)?;
    raw.connect(&SocketAddr::new(0, 0))?;
    Ok(raw)
}

/// A request whose answer is not complete.
struct Pending {
    reply: Reply,
    messages: Vec<Message>,
    outcome: Option<Result<(), KernelError>>,
    interrupted: bool,
}

impl Pending {
    fn of(reply: Reply) -> Self {
        Self { reply, messages: Vec::new(), outcome: None, interrupted: false }
    }

    /// The answer; that to a dump that was interrupted is none.
    fn answer(self) -> Answer {
        match self.outcome.unwrap_or(Ok(())) {
            Ok(()) if self.interrupted => Err(KernelError::Interrupted),
            outcome => outcome.map(|()| self.messages),
        }
    }

    /// Takes a frame of the answer; true if it completes one that is waited for.
    fn take(&mut self, frame: &Frame<'_>) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        self.interrupted |= frame.is_interrupted();
        self.outcome = match frame.meaning() {
            Meaning::Message => {
                self.messages.push((frame.kind, frame.payload.to_vec()));
                (self.reply == Reply::One).then_some(Ok(()))
            }
            Meaning::Done => Some(Ok(())),
            Meaning::Failed(error) => Some(Err(error)),
        };
        self.outcome.is_some() && self.reply != Reply::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERRUPTED: u16 = 0x10;
    const LINK: u16 = libc::RTM_NEWLINK;
    const DONE: u16 = 3;

    fn taken(frames: &[(u16, u16)]) -> (Vec<bool>, Pending) {
        let mut pending = Pending::of(Reply::End);
        let frame = |(kind, flags)| Frame { kind, flags, sequence: 1, payload: &[0; 4] };
        let ended = frames.iter().map(|told| pending.take(&frame(*told))).collect();
        (ended, pending)
    }

    #[test]
    fn g2_an_interrupted_dump_is_received_to_its_end() {
        let (ended, pending) = taken(&[(LINK, 0), (LINK, INTERRUPTED), (LINK, 0), (DONE, 0)]);
        assert_eq!((ended, pending.messages.len()), (vec![false, false, false, true], 3));
        assert!(matches!(pending.answer(), Err(KernelError::Interrupted)));
    }

    #[test]
    fn g2_the_end_of_a_dump_may_say_that_it_was_interrupted() {
        assert!(matches!(taken(&[(LINK, 0), (DONE, INTERRUPTED)]).1.answer(), Err(KernelError::Interrupted)));
        assert_eq!(taken(&[(LINK, 0), (DONE, 0)]).1.answer().unwrap().len(), 1);
    }
}
