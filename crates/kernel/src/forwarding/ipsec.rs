//! IPsec's policies for packets that are forwarded (linux/xfrm.h): a gateway needs no interface for them.

use crate::error::KernelError;
use crate::netlink::{Reply, Socket};
use qiao_core::subnet::Family;
use std::collections::BTreeSet;

/// `XFRM_MSG_NEWPOLICY` and `XFRM_MSG_GETPOLICY`.
const NEW: u16 = 0x13;
const GET: u16 = 0x15;
/// `struct nlmsghdr`, and `struct xfrm_userpolicy_id`, which a dump ignores.
const HEADER: usize = 16;
const ID: usize = 64;
/// In `struct xfrm_userpolicy_info`: the selector's family, and the direction; `XFRM_POLICY_FWD`.
const FAMILY: usize = 40;
const DIRECTION: usize = 160;
const FORWARD: u8 = 2;

/// The families in which there are any. A kernel without IPsec has none.
pub fn families() -> Result<BTreeSet<Family>, KernelError> {
    let Ok(mut socket) = Socket::open(netlink_sys::protocols::NETLINK_XFRM) else {
        return Ok(BTreeSet::new());
    };
    let numbers = socket.numbers(1);
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut bytes = Vec::with_capacity(HEADER + ID);
    bytes.extend(((HEADER + ID) as u32).to_ne_bytes());
    bytes.extend(GET.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(numbers.start.to_ne_bytes());
    bytes.resize(HEADER + ID, 0);
    let answers = socket.exchange_for(&bytes, numbers, &[Reply::End])?;
    let messages = answers.into_iter().next().unwrap_or(Ok(Vec::new()))?;
    Ok(messages.iter().filter(|(kind, _)| *kind == NEW).filter_map(|(_, policy)| family(policy)).collect())
}

fn family(policy: &[u8]) -> Option<Family> {
    if *policy.get(DIRECTION)? != FORWARD {
        return None;
    }
    match libc::c_int::from(u16::from_ne_bytes(policy.get(FAMILY..FAMILY + 2)?.try_into().ok()?)) {
        libc::AF_INET => Some(Family::V4),
        libc::AF_INET6 => Some(Family::V6),
        _ => None,
    }
}
