//! A child that does one thing and is gone.

use rustix::fd::RawFd;
use std::io;

/// Whether this process has one thread: only then may a child go on with the same program.
pub fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// Runs `act` in a child that has none of our descriptors but `kept`, and does not wait for it: a caller that
/// reads our output to its end must not wait either. The child closes `kept` when it ends.
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

/// Starts this program once more as a process of its own: in its own session, with none of our descriptors and
/// no terminal, and nothing of our surroundings. Nobody waits for it.
pub fn start_detached(arguments: &[&str]) -> io::Result<()> {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    let mut command = Command::new("/proc/self/exe");
    command.arg0("qiao").args(arguments).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: between fork and exec only the two system calls are made; they touch no memory and no lock.
    // The descriptors are closed by exec, since the one that tells of its failure is needed until then.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            Ok(())
        });
    }
    command.spawn().map(|_| ())
}

/// Closes every descriptor but the standard three when this process becomes another program, or what it starts
/// does. (musl has no wrapper.)
pub fn close_rest_on_exec() -> io::Result<()> {
    // SAFETY: the call sets a flag of descriptors; it closes none, and touches no memory.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn close_all_but(kept: Option<RawFd>) {
    let close = |first: libc::c_uint, last: libc::c_uint| {
        // SAFETY: nothing in the child uses these descriptors again. (musl has no wrapper.)
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    };
    match kept.and_then(|kept| libc::c_uint::try_from(kept).ok()) {
        Some(kept) => {
            if let Some(last) = kept.checked_sub(1) {
                close(0, last);
            }
            close(kept + 1, libc::c_uint::MAX);
        }
        None => close(0, libc::c_uint::MAX),
    }
}
