//! A conversation with nf_tables: questions, and transactions that notice when somebody else was faster.

use crate::error::KernelError;
use crate::netlink::{Socket, until_whole};
use qiao_nft::{Batch, Change, Query, Reply, parse};
use rustix::fd::{AsRawFd, RawFd};

/// A change to be made.
#[derive(Clone, Debug)]
pub enum Write {
    /// One that need not be new, or is none.
    Any(Change),
    /// One that makes what must not be there (`EEXIST`).
    New(Change),
    /// Many that only make something, as messages.
    Encoded(&'static [u8]),
}

impl Write {
    /// Whether it deletes anything.
    fn deletes(&self) -> bool {
        matches!(self, Self::Any(change) if change.deletes())
    }
}

impl From<Change> for Write {
    fn from(change: Change) -> Self {
        Self::Any(change)
    }
}

/// A session.
#[derive(Debug)]
pub struct Session {
    socket: Socket,
    deleted: bool,
}

impl Session {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self { socket: socket()?, deleted: false })
    }

    /// The socket, for other kinds of netfilter messages.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Whether anything was deleted over this socket: closing it waits until that is freed.
    pub fn has_deleted(&self) -> bool {
        self.deleted
    }

    /// Says that something deleted before may not be freed yet.
    pub fn expect_freeing(&mut self) {
        self.deleted = true;
    }

    /// The rule set's generation: every transaction of anybody increments it.
    pub fn generation(&mut self) -> Result<u32, KernelError> {
        match self.ask(&[Query::Generation])?.pop() {
            Some(Ok(Reply::Generation(generation))) => Ok(generation),
            Some(Err(error)) => Err(error),
            _ => Err(KernelError::Malformed("no generation")),
        }
    }

    /// Asks several questions at once; each has one reply. They must not be dumps.
    pub fn ask(&mut self, queries: &[Query]) -> Result<Vec<Result<Reply, KernelError>>, KernelError> {
        const AT_ONCE: usize = 64;
        let mut replies = Vec::with_capacity(queries.len());
        for chunk in queries.chunks(AT_ONCE) {
            let numbers = self.socket.numbers(chunk.len() as u32);
            let mut bytes = Vec::new();
            for (number, query) in numbers.clone().zip(chunk) {
                bytes.extend(query.encode(number)?);
            }
            self.socket.send(&bytes)?;
            let mut found: Vec<Option<Result<Reply, KernelError>>> = chunk.iter().map(|_| None).collect();
            while found.iter().any(Option::is_none) {
                self.collect(&mut |number, reply| {
                    let at = number.wrapping_sub(numbers.start) as usize;
                    if let Some(slot) = found.get_mut(at).filter(|slot| slot.is_none()) {
                        *slot = Some(reply);
                    }
                })?;
            }
            replies.extend(found.into_iter().flatten());
        }
        Ok(replies)
    }

    /// Everything that a dump gives. A dump that something changed under is begun anew.
    pub fn dump(&mut self, query: &Query) -> Result<Vec<Reply>, KernelError> {
        until_whole(self.socket.patience(), || self.dump_once(query))
    }

    /// A dump up to its end: while one is running, the kernel refuses to begin another (`EBUSY`). The rest of one that
    /// makes no sense goes with its socket.
    fn dump_once(&mut self, query: &Query) -> Result<Vec<Reply>, KernelError> {
        let number = self.socket.numbers(1).start;
        self.socket.send(&query.encode(number)?)?;
        let (mut replies, mut interrupted, mut end) = (Vec::new(), false, None);
        while end.is_none() {
            let received = self.collect(&mut |n, reply| match reply {
                _ if n != number || end.is_some() => {}
                Ok(Reply::Done | Reply::Ack) => end = Some(Ok(())),
                Ok(Reply::Interrupted) => interrupted = true,
                Ok(reply) => replies.push(reply),
                Err(error) => end = Some(Err(error)),
            });
            if received.is_err() {
                self.socket = socket()?;
            }
            received?;
        }
        match end.unwrap_or(Ok(())) {
            Ok(()) if interrupted => Err(KernelError::Interrupted),
            end => end.map(|()| replies),
        }
    }

    /// Makes all changes or none. With a generation, the kernel refuses (`ERESTART`) if anybody has changed
    /// the rule set since.
    pub fn commit(&mut self, changes: &[Write], generation: Option<u32>) -> Result<(), KernelError> {
        let numbers = self.socket.numbers(changes.len() as u32 + 2);
        self.deleted |= changes.iter().any(Write::deletes);
        let mut batch = Batch::new(numbers.start).acknowledge_last();
        if let Some(generation) = generation {
            batch = batch.generation(generation);
        }
        for write in changes {
            match write {
                Write::Any(change) => batch.push(change)?,
                Write::New(change) => batch.push_exclusive(change)?,
                Write::Encoded(messages) => batch.push_encoded(messages)?,
            };
        }
        if batch.messages() == 0 {
            return Ok(());
        }
        self.socket.send(&batch.finish())?;
        let mut outcome = None;
        while outcome.is_none() {
            self.collect(&mut |number, reply| match reply {
                _ if !numbers.contains(&number) || outcome.is_some() => {}
                Ok(Reply::Ack) => outcome = Some(Ok(())),
                Err(error) => outcome = Some(Err(error)),
                Ok(_) => {}
            })?;
        }
        outcome.unwrap_or(Ok(()))
    }

    /// Receives one datagram and hands out its replies; errors of the kernel's come as errors.
    fn collect(&mut self, take: &mut dyn FnMut(u32, Result<Reply, KernelError>)) -> Result<(), KernelError> {
        self.socket.receive(|datagram| {
            for reply in parse(datagram) {
                match reply? {
                    (number, Reply::Error { errno, text, .. }) => {
                        take(number, Err(KernelError::Errno { errno, text }))
                    }
                    (number, reply) => take(number, Ok(reply)),
                }
            }
            Ok(())
        })?
    }
}

fn socket() -> Result<Socket, KernelError> {
    Socket::open(netlink_sys::protocols::NETLINK_NETFILTER)
}

impl AsRawFd for Session {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
