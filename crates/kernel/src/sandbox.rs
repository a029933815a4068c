//! What starting a container's first process needs of the kernel, and rustix has no safe call for.

use crate::sys::{namespace, process};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Result;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// A descriptor that this process was started with, by its number; none if there is no such descriptor, or if
/// it is one of our own.
pub fn inherited(number: i32) -> Option<OwnedFd> {
    namespace::adopt(number)
}

/// Keeps what this process starts from having more of its descriptors than the standard three: one that is a
/// directory of the host would lead out of a container (CVE-2024-21626).
pub fn close_rest_on_exec() -> std::io::Result<()> {
    process::close_rest_on_exec()
}

/// Goes on in a child that has all that this process has; the child's number in the parent, none in the child. An
/// error if this process has other threads.
pub fn go_on_in_child() -> std::io::Result<Option<u32>> {
    process::go_on_in_child()
}

/// Waits for this process's children that have ended already, until the one that somebody else waits for.
pub fn bury_all_but(kept: rustix::process::Pid) {
    process::bury_all_but(kept.as_raw_nonzero().get());
}

/// Lets a program that is about to be started end with the process that starts it.
pub fn die_with_parent(command: &mut std::process::Command) {
    process::die_with_parent(command);
}

/// Runs `start` such that the process it starts is the first of a new PID namespace; later ones are not.
pub fn in_new_pid_namespace<T>(start: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    let own = std::fs::File::open("/proc/self/ns/pid")?;
    namespace::unshare(UnshareFlags::NEWPID)?;
    let started = start();
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    started
}

/// Leaves the mount, host name, IPC and cgroup namespaces for new ones, and the network's if `network`.
pub fn leave_namespaces(network: bool) -> Result<()> {
    let parts = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC | UnshareFlags::NEWCGROUP;
    namespace::unshare(if network { parts | UnshareFlags::NEWNET } else { parts })
}

/// Leaves the user, network and mount namespaces for new ones: what a demonstration without root needs.
pub fn leave_for_demo(user: bool) -> Result<()> {
    let parts = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    namespace::unshare(if user { parts | UnshareFlags::NEWUSER } else { parts })
}
