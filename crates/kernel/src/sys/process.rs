//! A child that does one thing and is gone.

use rustix::fd::RawFd;
use std::io;

/// Whether this process has one thread: only then may a child go on with the same program.
pub fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// Runs `act` in a child that has none of our descriptors but `kept`, and does not wait for it: a caller that
/// reads our output to its end must not wait either.
pub fn in_child(kept: Option<RawFd>, act: &dyn Fn()) -> io::Result<()> {
    // SAFETY: this process has one thread (the caller looked), so the child's memory is whole and no lock in
    // it is held by a thread that does not exist there.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            close_all_but(kept);
            // SAFETY: no arguments, no memory.
            unsafe { libc::setsid() };
            act();
            // SAFETY: ends the child without running what the parent registered for its own end.
            unsafe { libc::_exit(0) }
        }
        _ => Ok(()),
    }
}

fn close_all_but(kept: Option<RawFd>) {
    let close = |first: libc::c_uint, last: libc::c_uint| {
        // SAFETY: nothing in the child uses these descriptors again. (musl has no wrapper.)
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    };
    let kept = kept.and_then(|fd| libc::c_uint::try_from(fd).ok());
    let before = kept.and_then(|fd| fd.checked_sub(1));
    before.into_iter().for_each(|last| close(0, last));
    close(kept.map_or(0, |fd| fd + 1), libc::c_uint::MAX);
}
