//! A copy of this program that nobody can change.
//!
//! A process inside a container can find the file that another process there was started from
//! (`/proc/PID/exe`). Were that file the host's `qiao`, root inside could write to it (CVE-2019-5736). So what
//! runs inside runs from memory that is sealed.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::fs::File;
use std::io;
use std::process::Command;

/// A command that runs this program from a sealed copy. The copy must live until the command was started.
pub fn command() -> io::Result<(Command, OwnedFd)> {
    let copy = memfd_create("qiao", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)?;
    let mut copy = File::from(copy);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    let copy = OwnedFd::from(copy);
    Ok((Command::new(format!("/proc/self/fd/{}", copy.as_raw_fd())), copy))
}
