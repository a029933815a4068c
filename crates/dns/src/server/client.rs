//! A client by TCP (RFC 7766): any number of questions one after the other, each with its length before it.

use crate::epoll::Interest;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The longest question that is read: more than a name and EDNS is none.
const LONGEST: usize = 1500;
/// While so many octets of answers wait for a client who does not read them, no more of its questions are answered.
const MOST_WAITING: usize = 8 << 10;
/// The most questions of one client that wait for others' answers.
const MOST_ASKED: usize = 64;
/// How long a client may take for a whole question, or between two.
const PATIENCE: Duration = Duration::from_secs(8);

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Its connection.
    pub socket: OwnedFd,
    /// Where it is.
    pub source: IpAddr,
    /// The listener that it came by.
    pub listener: u32,
    /// What is waited for.
    pub interest: Interest,
    /// How many of its questions wait for others' answers.
    pub asked: usize,
    came: Vec<u8>,
    out: Vec<u8>,
    since: Instant,
    closed: bool,
}

impl Client {
    /// A client that has come.
    pub fn new(socket: OwnedFd, (source, listener): (IpAddr, u32), now: Instant) -> Self {
        let interest = Interest::Read;
        let (came, out) = (Vec::new(), Vec::new());
        Self { socket, source, listener, interest, asked: 0, came, out, since: now, closed: false }
    }

    /// Reads what has come; false if the client is gone, or sends what is no question.
    pub fn receive(&mut self) -> bool {
        let mut buffer = [0u8; 2048];
        match rustix::net::recv(&self.socket, &mut buffer, RecvFlags::empty()) {
            // Who says no more may still want the answers.
            Ok((_, 0)) => {
                self.closed = true;
                self.asked > 0 || !self.out.is_empty() || self.is_ready()
            }
            Ok((_, length)) => {
                self.came.extend(&buffer[..length.min(buffer.len())]);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }

    /// The next whole question. None if there is none yet; an error if there will never be one.
    pub fn next(&mut self, now: Instant) -> Result<Option<Vec<u8>>, ()> {
        let Some(length) = self.length().filter(|_| self.may_ask()) else { return Ok(None) };
        if !(12..=LONGEST).contains(&length) {
            return Err(());
        }
        let Some(message) = self.came.get(2..length + 2).map(<[u8]>::to_vec) else { return Ok(None) };
        self.came.drain(..length + 2);
        if self.came.is_empty() {
            self.came = Vec::new(); // those who ask nothing more take no room
        }
        self.since = now;
        Ok(Some(message))
    }

    /// Whether there is a question that could be answered now.
    pub fn is_ready(&self) -> bool {
        self.may_ask() && self.length().is_some_and(|length| self.came.len() >= length.min(LONGEST) + 2)
    }

    /// How long the next question is.
    fn length(&self) -> Option<usize> {
        self.came.first_chunk().map(|head| u16::from_be_bytes(*head).into())
    }

    fn may_ask(&self) -> bool {
        self.asked < MOST_ASKED && self.out.len() < MOST_WAITING
    }

    /// How many octets of answers wait for it.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Since when it has asked nothing.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Adds an answer.
    pub fn answer(&mut self, message: &[u8]) {
        self.out.extend((message.len() as u16).to_be_bytes());
        self.out.extend(message);
    }

    /// Sends what there is; false if the client is gone, or has all that it will get.
    pub fn send(&mut self) -> bool {
        while !self.out.is_empty() {
            match rustix::net::send(&self.socket, &self.out, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        self.out = Vec::new();
        !(self.closed && self.asked == 0 && !self.is_ready())
    }

    /// What is waited for now: room for answers first, then questions, unless too many are open.
    pub fn wanted(&self) -> Interest {
        match () {
            () if !self.out.is_empty() => Interest::Write,
            () if self.closed || self.asked >= MOST_ASKED => Interest::None,
            () => Interest::Read,
        }
    }

    /// Whether it has been silent for too long. One byte now and then is silence too.
    pub fn is_late(&self, now: Instant) -> bool {
        let patience = if self.asked > 0 { PATIENCE * 2 } else { PATIENCE };
        now.saturating_duration_since(self.since) > patience
    }
}
