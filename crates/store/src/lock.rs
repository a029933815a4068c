//! The lock: one command at a time changes anything. It goes with the process that holds it, however that ends.

use crate::dir::Dir;
use crate::error::StoreError;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};

/// A held lock.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "closing the descriptor releases the lock")] OwnedFd);

impl Lock {
    /// Waits for the lock.
    pub fn take(run: &Dir) -> Result<Self, StoreError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let act = |act: &str| format!("{act} {}/lock", run.path());
        let fd = rustix::fs::openat(run, "lock", flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| StoreError::io(act("open"))(error))?;
        loop {
            match rustix::fs::flock(&fd, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self(fd)),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(StoreError::io(act("lock"))(error)),
            }
        }
    }
}
