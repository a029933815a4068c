//! IPv6 addresses are usable when they are told to be there.
//!
//! The kernel answers `RTM_NEWADDR` before the address has its local route: `addrconf_dad_work` (net/ipv6/addrconf.c)
//! installs that, also for an address without duplicate detection, in a worker that waits for the lock of all
//! links. Usually it is faster than we are; on a busy host it took 30 ms here.

use crate::error::KernelError;
use crate::kernel::Places;
use crate::linux::Linux;
use crate::netlink::Socket;
use crate::rtnl::{Request, ask, route};
use qiao_core::SandboxName;
use qiao_core::plan::{Key, Op};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long an address may take. Later it comes nevertheless.
const PATIENCE: Duration = Duration::from_millis(500);

/// Waits for the addresses that a plan added. With IPv4 alone nothing is asked.
pub fn wait(linux: &mut Linux, ops: &[Op], places: &Places) -> Result<(), KernelError> {
    let mut added: BTreeMap<Option<&SandboxName>, Vec<IpAddr>> = BTreeMap::new();
    for op in ops {
        let Op::Add { key: key @ (Key::SandboxAddress(.., net) | Key::BridgeAddress(_, net)), .. } = op
        else {
            continue;
        };
        if net.addr().is_ipv6() {
            added.entry(key.sandbox()).or_default().push(net.addr());
        }
    }
    for (sandbox, addresses) in added {
        let Some(sandbox) = sandbox else {
            until_local(&mut linux.rtnl, &addresses)?;
            continue;
        };
        if let Some(open) = places.get(sandbox).map(|netns| linux.sandbox(netns)).transpose()?.flatten() {
            until_local(&mut open.rtnl, &addresses)?;
        }
    }
    Ok(())
}

/// Asks, in steps that begin at 20 µs, until all addresses have their local routes.
fn until_local(socket: &mut Socket, addresses: &[IpAddr]) -> Result<(), KernelError> {
    let requests: Vec<Request> = addresses.iter().map(|ip| route::get(*ip)).collect();
    let (start, mut step) = (Instant::now(), Duration::from_micros(20));
    loop {
        let answers = ask(socket, &requests)?;
        let is_local = |messages: &Vec<_>| route::read(messages).iter().any(|route| route.local);
        if answers.iter().all(|answer| answer.as_ref().is_ok_and(is_local)) || start.elapsed() > PATIENCE {
            return Ok(());
        }
        std::thread::sleep(step);
        step = (step * 2).min(Duration::from_millis(1));
    }
}
