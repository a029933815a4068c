//! Signals as something to wait for together with everything else.

use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;

/// The signals that are handed on to a container's command.
pub const HANDED_ON: [Signal; 6] =
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Where caught signals arrive: one pair of sockets each.
#[derive(Debug)]
pub struct Inbox(Vec<(Signal, UnixStream)>);

impl Inbox {
    /// Catches `signals` from now on.
    pub fn open(signals: &[Signal]) -> io::Result<Self> {
        let mut inbox = Vec::with_capacity(signals.len());
        for signal in signals {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal.as_raw(), write)?;
            inbox.push((*signal, read));
        }
        Ok(Inbox(inbox))
    }

    /// What to poll for.
    pub fn polled(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.0.iter().map(|(_, end)| PollFd::new(end, PollFlags::IN))
    }

    /// What has arrived, each once.
    pub fn take(&self) -> Vec<Signal> {
        let mut bytes = [0; 16];
        self.0
            .iter()
            .filter(|(_, end)| matches!((&*end).read(&mut bytes), Ok(1..)))
            .map(|(s, _)| *s)
            .collect()
    }
}

/// Whether a key of the terminal sends it: then the command has got it already.
pub fn is_key(signal: Signal) -> bool {
    matches!(signal, Signal::INT | Signal::QUIT)
}
