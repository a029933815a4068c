//! Somebody who asks the daemon. Nobody can keep it waiting: what is not said in time is not heard.

use crate::protocol::{Answer, LONGEST, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// How long somebody may take to say what he wants, in milliseconds.
const PATIENCE: u64 = 2000;

/// A connection.
#[derive(Debug)]
pub struct Call {
    stream: UnixStream,
    said: Vec<u8>,
    deadline: u64,
}

impl Call {
    /// A connection that was made at this time; none if it is over already.
    pub fn new(stream: UnixStream, now: u64) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        Some(Self { stream, said: Vec::new(), deadline: now + PATIENCE })
    }

    /// When it is not listened to any more.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// What is asked; none while it is not all said.
    pub fn read(&mut self, now: u64) -> io::Result<Option<Request>> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.said.extend(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && now < self.deadline => {
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(serde_json::from_slice(&self.said[..end])?));
            }
            if self.said.len() > LONGEST {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
    }

    /// Whether the caller is gone. The caller sends nothing after the question: the end of both directions shows it.
    pub fn is_over(&self) -> bool {
        let mut polled = [PollFd::new(&self.stream, PollFlags::empty())];
        let over = PollFlags::HUP | PollFlags::ERR;
        poll(&mut polled, Some(&Timespec::default())).is_ok() && polled[0].revents().intersects(over)
    }

    /// Answers; whether somebody is there to hear it. An answer is smaller than a socket's buffer, or else it is
    /// a list, whose reader asks again.
    pub fn answer(mut self, answer: &Answer) -> bool {
        let text = serde_json::to_vec(answer).unwrap_or_default();
        let _ = self.stream.set_nonblocking(false);
        let _ = self.stream.set_write_timeout(Some(std::time::Duration::from_millis(500)));
        self.stream.write_all(&text).is_ok()
    }
}

impl AsFd for Call {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
