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

/// Goes on in a child that has all that this process has; its number in the parent, none in the child.
pub fn go_on_in_child() -> io::Result<Option<u32>> {
    if !is_single_threaded() {
        return Err(io::Error::other("this process has several threads"));
    }
    // SAFETY: this process has one thread, so the child's memory is whole and no lock in it is held by a thread that
    // does not exist there.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => Ok(Some(child.unsigned_abs())),
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
    // SAFETY: between fork and exec only system calls are made; they touch no memory and no lock. The descriptors
    // are closed by exec, since the one that tells of its failure is needed until then. The child of the child
    // goes on, so that it is nobody's zombie when it ends before its caller.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            match libc::fork() {
                -1 => Err(io::Error::last_os_error()),
                0 => close_rest_on_exec(),
                _ => libc::_exit(0),
            }
        });
    }
    command.spawn()?.wait().map(|_| ())
}

/// Waits for the children that have ended already, until the one that somebody else waits for.
pub fn bury_all_but(kept: libc::pid_t) {
    loop {
        // SAFETY: the call writes into `ended`, which outlives it and may be all zero.
        let (result, ended) = unsafe {
            let mut ended: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            (libc::waitid(libc::P_ALL, 0, &mut ended, options), ended.si_pid())
        };
        if result != 0 || ended == 0 || ended == kept {
            return;
        }
        // SAFETY: no memory; the child has ended, and nobody else waits for it.
        unsafe { libc::waitpid(ended, std::ptr::null_mut(), libc::WNOHANG) };
    }
}

/// Lets a program that is about to be started end with the process that starts it.
pub fn die_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec only one system call is made; it touches no memory and no lock. It comes
    // after the change of the user, which would undo it (commit_creds, kernel/cred.c).
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
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
