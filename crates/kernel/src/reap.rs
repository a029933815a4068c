//! Deleting links without waiting for what nobody needs to wait for.
//!
//! `RTM_DELLINK` takes 15 to 35 ms, nearly all of them in `rcu_barrier`, after the link is unlisted and carries
//! nothing any more. So a child of this process sends the message, and we go on as soon as the link is out of
//! sight. A link whose other end's namespace is being destroyed goes with it: nobody has to do anything.

use crate::error::KernelError;
use crate::kernel::FREED;
use crate::linux::{Linux, Sandbox};
use crate::mark;
use crate::netlink::Socket;
use crate::nft::Session;
use crate::rtnl::{ask_one, link};
use crate::sys::ioctl::Interfaces;
use crate::sys::process;
use qiao_core::IfName;
use rustix::fd::AsRawFd;
use std::time::{Duration, Instant};

/// What `IFLA_LINK_NETNSID` says of a namespace that is being destroyed (`NETNSA_NSID_NOT_ASSIGNED`).
const DYING: Option<i32> = Some(-1);
/// How long a link may take to get out of sight before it is deleted while we wait.
const PATIENCE: Duration = Duration::from_millis(500);

/// Deletes a link by its name. One that is gone already is deleted; one of the name that somebody else has made
/// since we looked is not.
pub fn delete(linux: &mut Linux, name: &IfName) -> Result<(), KernelError> {
    let found = match ask_one(&mut linux.rtnl, &link::get(name)) {
        Ok(messages) => link::read(&messages).into_iter().next(),
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(error),
    };
    let Some(found) = found else { return Ok(()) };
    if found.peer_netns == DYING || !mark::is_ours(&found, linux.engine) {
        return Ok(());
    }
    // The child ends with the firewall socket for us, too: one fork does for both.
    let firewall = linux.nft.has_deleted().then(|| linux.nft.as_raw_fd());
    let act = || {
        send(found.index);
        firewall.iter().for_each(|_| std::thread::sleep(FREED));
    };
    if process::is_single_threaded() && process::in_child(firewall, &act).is_ok() {
        linux.handed_over = firewall.map(|_| Instant::now());
        if is_gone(&linux.interfaces, name)? {
            return Ok(());
        }
    }
    match ask_one(&mut linux.rtnl, &link::delete(found.index)) {
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}

/// Whether the link of this index is gone, or a pair of ours whose other end's namespace is being destroyed.
pub fn is_leaving(linux: &mut Linux, index: u32) -> Result<bool, KernelError> {
    match ask_one(&mut linux.rtnl, &link::get_at(index)) {
        Ok(messages) => {
            let found = link::read(&messages).into_iter().next();
            Ok(found.is_none_or(|found| found.peer_netns == DYING && mark::is_ours(&found, linux.engine)))
        }
        Err(error) if error.is_absent() => Ok(true),
        Err(error) => Err(error),
    }
}

/// Deletes a child in its sandbox, by its name. One that is not ours is not deleted: it has our group, which the
/// root of the sandbox can take from it, or is a child of an interface of another namespace, which only the root
/// of that one can make.
pub fn delete_inside(sandbox: &mut Sandbox, name: &IfName) -> Result<(), KernelError> {
    let found = match ask_one(&mut sandbox.rtnl, &link::get(name)) {
        Ok(messages) => link::read(&messages).into_iter().next(),
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(error),
    };
    sandbox.indices.remove(name.as_str());
    let Some(found) = found.filter(|found| found.group == sandbox.engine.group() || found.is_child_of_host())
    else {
        return Ok(());
    };
    let handle = &sandbox.handle;
    let there = || {
        if handle.enter().is_ok() {
            send(found.index)
        }
    };
    if process::is_single_threaded()
        && process::in_child(Some(handle.as_raw_fd()), &there).is_ok()
        && is_gone(&sandbox.interfaces, name)?
    {
        return Ok(());
    }
    match ask_one(&mut sandbox.rtnl, &link::delete(found.index)) {
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}

fn send(index: u32) {
    if let Ok(mut socket) = Socket::open(netlink_sys::protocols::NETLINK_ROUTE) {
        let _ = ask_one(&mut socket, &link::delete(index));
    }
}

/// Ends with a firewall socket without waiting for what the kernel does then: closing one after elements were
/// deleted waits until they are freed (`nft_rcv_nl_event`, nf_tables_api.c), and holds the lock that everybody
/// else's transactions need. So a child has it last, and closes it when there is nothing to wait for any more.
///
/// `handed_over` is when a child got it that has it for long enough yet, if one did.
pub fn hand_over(session: &Session, handed_over: Option<Instant>) {
    let has_child = handed_over.is_some_and(|since| since.elapsed() < FREED / 2);
    if session.has_deleted() && !has_child && process::is_single_threaded() {
        // Should there be no child, we wait ourselves.
        let _ = process::in_child(Some(session.as_raw_fd()), &|| std::thread::sleep(FREED));
    }
}

/// Waits until the link is out of sight, in steps that begin at 20 µs.
fn is_gone(interfaces: &Interfaces, name: &IfName) -> Result<bool, KernelError> {
    let start = Instant::now();
    let mut step = Duration::from_micros(20);
    while interfaces.index(name)?.is_some() {
        if start.elapsed() > PATIENCE {
            return Ok(false);
        }
        std::thread::sleep(step);
        step = (step * 2).min(Duration::from_millis(1));
    }
    Ok(true)
}
