//! Per-namespace settings by netlink (linux/netconf.h), which no crate knows: reading them there takes no time
//! in the number of namespaces, as `/proc/sys` does.

use crate::error::KernelError;
use crate::netlink::attribute::{attributes, number};
use crate::netlink::{Reply, Socket};
use qiao_core::subnet::Family;

const RTM_GETNETCONF: u16 = 82;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
/// `NETCONFA_IFINDEX_ALL`.
const ALL: i32 = -1;

/// Whether the namespace forwards packets of a family: 0 or 1; none where it lacks the family.
pub fn forwarding(socket: &mut Socket, family: Family) -> Result<Option<u32>, KernelError> {
    let numbers = socket.numbers(1);
    let message =
        message(numbers.start, if family == Family::V4 { libc::AF_INET } else { libc::AF_INET6 } as u8);
    match socket.exchange_for(&message, numbers, &[Reply::One])?.pop() {
        Some(Ok(messages)) => Ok(messages.iter().find_map(|(_, payload)| read(payload))),
        Some(Err(error)) if matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => Ok(None),
        Some(Err(error)) => Err(error),
        None => Ok(None),
    }
}

fn message(number: u32, family: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(28);
    bytes.extend(28u32.to_ne_bytes());
    bytes.extend(RTM_GETNETCONF.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([family, 0, 0, 0]);
    bytes.extend(8u16.to_ne_bytes());
    bytes.extend(NETCONFA_IFINDEX.to_ne_bytes());
    bytes.extend(ALL.to_ne_bytes());
    bytes
}

fn read(payload: &[u8]) -> Option<u32> {
    let (_, value) = attributes(payload.get(4..)?).find(|(kind, _)| *kind == NETCONFA_FORWARDING)?;
    number(value)
}
