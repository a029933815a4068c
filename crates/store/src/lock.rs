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
        let path = format!("{}/lock", run.path());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(&*path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(StoreError::io(format!("open {path}")))?;
        loop {
            match rustix::fs::flock(&fd, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self(fd)),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(StoreError::io(format!("lock {path}"))(error)),
            }
        }
    }
}
