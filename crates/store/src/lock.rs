//! The lock: one command at a time changes anything. It goes with the process that holds it, however that ends.
//!
//! The file holds the firewall's generation after our last change: whoever asks for it has the file open.

use crate::dir::Dir;
use crate::error::StoreError;
use crate::steps::{self, Needs};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::time::Duration;

/// A held lock. Closing the descriptor releases it.
#[derive(Debug)]
pub struct Lock(Option<OwnedFd>);

/// A 32-bit number and a line's end.
const NOTE_LEN: usize = 11;

/// The interval at which an interruptible wait tries the lock.
const STEP: Duration = Duration::from_millis(2);

/// Whether a wait for the lock shall end.
pub type Interrupted = dyn Fn() -> bool;

impl Lock {
    /// Waits for the lock, or until `interrupted` returns true.
    pub fn take(run: &Dir, interrupted: Option<&Interrupted>) -> Result<Self, StoreError> {
        Self::open(run, OFlags::CREATE, interrupted)
    }

    /// The same without creating a file: where there is no lock, no command has changed anything yet.
    pub fn take_existing(run: &Dir) -> Result<Self, StoreError> {
        match run.is_there() && run.has("lock")? {
            true => Self::open(run, OFlags::empty(), None),
            false => Ok(Self(None)),
        }
    }

    fn open(run: &Dir, more: OFlags, interrupted: Option<&Interrupted>) -> Result<Self, StoreError> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | more;
        let act = |act: &'static str| move || format!("{act} {}/lock", run.path());
        let fd = rustix::fs::openat(run, "lock", flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| StoreError::io(act("open"))(error))?;
        let operation = match interrupted {
            Some(_) => FlockOperation::NonBlockingLockExclusive,
            None => FlockOperation::LockExclusive,
        };
        loop {
            match rustix::fs::flock(&fd, operation) {
                Ok(()) => return Ok(Self(Some(fd))),
                Err(rustix::io::Errno::AGAIN) if interrupted.is_some_and(|interrupted| interrupted()) => {
                    return Err(StoreError::io(act("wait for"))(rustix::io::Errno::INTR));
                }
                Err(rustix::io::Errno::AGAIN) => std::thread::sleep(STEP),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(StoreError::io(act("lock"))(error)),
            }
        }
    }

    /// The firewall's generation after our last change; none if it is not known.
    pub fn generation(&self) -> Option<u32> {
        let mut note = [0; NOTE_LEN];
        let length = rustix::io::pread(self.0.as_ref()?, &mut note, 0).ok()?;
        std::str::from_utf8(&note[..length]).ok()?.trim_end().parse().ok()
    }

    /// Notes the firewall's generation. Losing it costs a look at the whole rule set, no more: so it may fail.
    pub fn set_generation(&self, generation: u32) {
        let note = format!("{generation:<10}\n");
        let Some(file) = &self.0 else { return };
        let _ = steps::pass(Needs::Room).and_then(|()| rustix::io::pwrite(file, note.as_bytes(), 0));
    }

    /// Forgets the generation: the next command looks at the whole rule set.
    pub fn forget_generation(&self) -> Result<(), StoreError> {
        let Some(file) = &self.0 else { return Ok(()) };
        steps::pass(Needs::Nothing)
            .and_then(|()| rustix::fs::ftruncate(file, 0))
            .map_err(StoreError::io(|| "empty the lock file"))
    }
}
