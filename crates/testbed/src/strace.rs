//! Killing a command at each of its system calls, or making one of them fail, from outside, with `strace`.

use crate::qiao::{Outcome, Qiao};
use std::collections::BTreeMap;
use std::fs;

/// The system calls that change something outside the process, or send to the kernel; not `ioctl`, which only
/// looks, and looks again as often as it must wait. A kill before one of
/// them is a kill after the one before: nothing in between can be told apart from outside.
pub const CHANGING: &[&str] = &[
    "sendto",
    "sendmsg",
    "sendmmsg",
    "write",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "symlink",
    "symlinkat",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "setns",
    "flock",
    "fcntl",
    "fsync",
    "fdatasync",
    "ftruncate",
    "bpf",
    "bind",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "exit_group",
];

/// The system calls that say how something is: of files, of namespaces, of the kernel.
pub const READING: &[&str] = &[
    "openat",
    "read",
    "pread64",
    "readlink",
    "readlinkat",
    "getdents64",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "fstatfs",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "setns",
    "socket",
    "getsockopt",
    "ioctl",
    "bpf",
];

/// What a call fails with: a broken device, no descriptors, no permission.
pub const ERRORS: &[&str] = &["EIO", "EMFILE", "EACCES"];

/// A place to kill, or to fail: the n-th call of a system call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The system call.
    pub syscall: String,
    /// Which one, from 1.
    pub nth: usize,
}

/// Runs a command to its end, and says where it can be killed.
pub fn points(qiao: &Qiao, line: &str) -> (Outcome, Vec<Point>) {
    let (outcome, text) = traced(qiao, line, CHANGING);
    (outcome, calls(&text))
}

/// Runs a command to its end, and says which of its reads can fail: those from where it looks at its own files or at
/// the kernel. What starts a program comes before.
pub fn reads(qiao: &Qiao, line: &str) -> (Outcome, Vec<Point>) {
    let (outcome, text) = traced(qiao, line, READING);
    let own = qiao.directory();
    let begins = |call: &str| call.contains(own) || call.starts_with("socket(");
    let started = text.lines().position(begins).unwrap_or_default();
    (outcome, calls(&text).split_off(started))
}

/// Runs a command, and gives what `strace` wrote of some of its calls.
fn traced(qiao: &Qiao, line: &str, syscalls: &[&str]) -> (Outcome, String) {
    let log = "/run/points";
    let set = format!("trace={}", syscalls.join(","));
    let words = ["strace", "-o", log, "-e", &set, "-e", "signal=none"].map(str::to_owned);
    let output = qiao.under(&words).args(line.split_whitespace()).output().expect("start strace");
    (Outcome::of(output), fs::read_to_string(log).expect("what strace wrote"))
}

/// Runs a command with a call that fails; whether it did.
pub fn fail_at(qiao: &Qiao, line: &str, (point, error): (&Point, &str)) -> (Outcome, bool) {
    let Point { syscall, nth } = point;
    let (log, inject) = ("/run/failed", format!("inject={syscall}:error={error}:when={nth}"));
    let words = ["strace", "-o", log, "-e", &format!("trace={syscall}"), "-e", &inject].map(str::to_owned);
    let output = qiao.under(&words).args(line.split_whitespace()).output().expect("start strace");
    let text = fs::read_to_string(log).expect("what strace wrote");
    (Outcome::of(output), text.contains("(INJECTED)"))
}

/// The calls in what strace wrote. One that the kernel restarts is shown anew each time: writing `forwarding` is, dozens of
/// times, while anybody on the machine holds the lock of the routes (`rtnl_trylock`, `restart_syscall`).
fn calls(text: &str) -> Vec<Point> {
    let (mut counts, mut points) = (BTreeMap::<String, usize>::new(), Vec::new());
    let ended = text.lines().filter(|line| !line.contains(" = ? ERESTART"));
    for call in ended.filter_map(|line| line.split_once('(')).map(|(call, _)| call) {
        let nth = counts.entry(call.to_owned()).or_default();
        *nth += 1;
        points.push(Point { syscall: call.to_owned(), nth: *nth });
    }
    points
}

/// Runs a command and kills it at a point.
pub fn kill_at(qiao: &Qiao, line: &str, point: &Point) -> Outcome {
    let Point { syscall, nth } = point;
    let inject = format!("inject={syscall}:signal=KILL:when={nth}");
    let words =
        ["strace", "-o", "/dev/null", "-e", &format!("trace={syscall}"), "-e", &inject].map(str::to_owned);
    Outcome::of(qiao.under(&words).args(line.split_whitespace()).output().expect("start strace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_restarted_is_one() {
        let text = "sendto(3, \"x\", 1, 0, NULL, 0) = 1\n\
            write(9, \"1\\n\", 2)                      = ? ERESTARTNOINTR (To be restarted)\n\
            write(9, \"1\\n\", 2)                      = ? ERESTARTNOINTR (To be restarted)\n\
            write(9, \"1\\n\", 2)                      = 2\n\
            write(1, \"front\\n\", 6)                  = 6\n\
            exit_group(0)                           = ?\n\
            +++ exited with 0 +++\n";
        let point = |syscall: &str, nth| Point { syscall: syscall.into(), nth };
        let wanted = [point("sendto", 1), point("write", 1), point("write", 2), point("exit_group", 1)];
        assert_eq!(calls(text), wanted);
    }
}
