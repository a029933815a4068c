//! Addresses: from our own managements by a call, from others' by a process.

use super::door::Door;
use super::{Done, delegate, dhcp, host_local};
use qiao_core::Mac;
use qiao_doors::cni::{Answer, Failure, Verb, ipam};
use std::net::IpAddr;

/// Addresses that were given, and what takes them back if nothing comes of it.
#[derive(Debug, Default)]
pub struct Lease {
    pub answer: Answer,
    taken: Vec<IpAddr>,
}

/// The plugins `host-local`, `static` and `dhcp`, where another plugin delegates to them.
pub fn run(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => lease(door, &|_| false)?.answer.to_json(door.config.version).map(Some),
        _ => other(door, Some(door.plugin), &[]).map(|()| None),
    }
}

/// The kind of a network's address management.
pub fn kind(door: &Door) -> Result<Option<String>, Failure> {
    Ok(door.config.ipam()?.map_or(Ok(None), |ipam| ipam.text("type"))?.map(str::to_owned))
}

/// The hardware address that an attachment must have before it has an address; none where that need not be.
pub fn fixed_mac(door: &Door) -> Result<Option<Mac>, Failure> {
    Ok((kind(door)?.as_deref() == Some("dhcp")).then(|| dhcp::tenant(door).mac()))
}

/// Gives addresses. `busy` are those that are free but cannot be used yet.
pub fn lease(door: &Door, busy: &dyn Fn(IpAddr) -> bool) -> Result<Lease, Failure> {
    match kind(door)?.as_deref() {
        None => Ok(Lease::default()),
        Some("host-local") => {
            let (answer, taken) = host_local::add(door, busy)?;
            Ok(Lease { answer, taken })
        }
        Some("static") => {
            Ok(Lease { answer: ipam::fixed(&door.config, &door.call.args)?, taken: Vec::new() })
        }
        Some("dhcp") => Ok(Lease { answer: dhcp::add(door)?, taken: Vec::new() }),
        Some(kind) => {
            // Whatever it had given before it failed goes back.
            let asked = delegate::ask(door, kind).and_then(some_address);
            let answer = asked.inspect_err(|_| drop(delegate::undo(door, kind)))?;
            Ok(Lease { answer, taken: Vec::new() })
        }
    }
}

fn some_address(answer: Option<Answer>) -> Result<Answer, Failure> {
    let answer = answer.unwrap_or_default();
    if answer.ips.is_empty() { Err(Failure::new(999, "the IPAM plugin gave no address")) } else { Ok(answer) }
}

/// Takes back what was given for an attachment that failed.
pub fn take_back(door: &mut Door, lease: &Lease) {
    let done = match kind(door) {
        Ok(Some(kind)) if kind == "host-local" => host_local::give_back(door, &lease.taken),
        Ok(Some(kind)) if kind == "dhcp" => dhcp::release(door),
        Ok(Some(kind)) if kind != "static" => delegate::undo(door, &kind),
        _ => Ok(()),
    };
    if let Err(failure) = done {
        crate::output::note(format!("cannot give the addresses back: {failure}"));
    }
}

/// DEL, CHECK, STATUS and GC. `known` are the addresses that our own records have of the attachment.
pub fn other(door: &Door, kind: Option<&str>, known: &[IpAddr]) -> Result<(), Failure> {
    match (kind, door.call.verb) {
        (None, _) => Ok(()),
        (Some("static"), Verb::Status) => ipam::fixed(&door.config, &door.call.args).map(drop),
        (Some("static"), _) => Ok(()),
        (Some("host-local"), Verb::Del) => host_local::give_back(door, known),
        (Some("host-local"), Verb::Check) => host_local::check(door),
        (Some("host-local"), Verb::Status) => host_local::status(door),
        (Some("host-local"), Verb::Gc) => host_local::collect(door),
        (Some("host-local"), _) => Ok(()),
        (Some("dhcp"), _) => dhcp::other(door),
        (Some(kind), _) => delegate::ask(door, kind).map(drop),
    }
}
