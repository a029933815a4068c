//! A sandbox's side: one message into its namespace.

use super::failed;
use crate::error::KernelError;
use crate::kernel::{ApplyError, Places};
use crate::linux::{Linux, Sandbox};
use crate::rtnl::route::Hop;
use crate::rtnl::{Mode, Request, address, ask, link, neighbour, route};
use crate::sysctl::has_ipv6;
use qiao_core::plan::{Key, Op, Value};
use qiao_core::{IfName, SandboxName};

/// Carries out a group.
pub fn apply(
    linux: &mut Linux,
    group: &[Op],
    (name, places): (&SandboxName, &Places),
) -> Result<(), ApplyError> {
    let Some(first) = group.first() else { return Ok(()) };
    let sandbox = places
        .get(name)
        .map(|netns| linux.sandbox(netns))
        .transpose()
        .map_err(|e| failed(first, e))?
        .flatten();
    let Some(sandbox) = sandbox else {
        // What is in a namespace that is gone is gone with it.
        let gone =
            KernelError::Errno { errno: libc::ENOENT, text: Some("the network namespace is gone".into()) };
        return group
            .iter()
            .find(|op| !matches!(op, Op::Del { .. }))
            .map_or(Ok(()), |op| Err(failed(op, gone)));
    };
    let mut requests = Vec::new();
    for op in group {
        match requests_for(op, sandbox) {
            Ok(made) => requests.extend(made.into_iter().map(|request| (op, request))),
            // What hung on an interface that is gone, or that its container renamed, is gone with it.
            Err(error) if matches!(op, Op::Del { .. }) && error.is_absent() => {}
            Err(error) => return Err(failed(op, error)),
        }
    }
    let bare: Vec<Request> = requests.iter().map(|(_, request)| request.clone()).collect();
    let answers = ask(&mut sandbox.rtnl, &bare).map_err(|e| failed(first, e))?;
    for ((op, _), answer) in requests.iter().zip(answers) {
        match answer {
            Err(error) if matches!(op, Op::Del { .. }) && error.is_absent() => {}
            Err(error) => return Err(failed(op, error)),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Runs the pending link event of a sandbox's interface. Until then its queue throws away what is sent.
pub fn activate(
    linux: &mut Linux,
    (name, places): (&SandboxName, &Places),
    link: &IfName,
) -> Result<(), KernelError> {
    let sandbox = places.get(name).map(|netns| linux.sandbox(netns)).transpose()?.flatten();
    sandbox.map_or(Ok(()), |sandbox| sandbox.interfaces.force_link_event(link).map(drop))
}

fn requests_for(op: &Op, sandbox: &mut Sandbox) -> Result<Vec<Request>, KernelError> {
    let mut index = |link: &IfName| sandbox.index(link);
    Ok(match (op.key(), op.after().map(|object| object.value)) {
        (Key::SandboxLoopback(_), after) => {
            let lo = IfName::new("lo")
                .map_err(|_| KernelError::Malformed("no name for the loopback interface"))?;
            vec![link::up(&lo, after.is_some())]
        }
        (Key::SandboxUp(_, link), Some(_)) => {
            let quiet = has_ipv6().then(|| link::no_automatic_addresses(link));
            quiet.into_iter().chain([link::up(link, true)]).collect()
        }
        (Key::SandboxUp(_, link), None) => vec![link::up(link, false)],
        (Key::SandboxAddress(_, link, net), Some(_)) => vec![address::add(index(link)?, *net)],
        (Key::SandboxAddress(_, link, net), None) => vec![address::delete(index(link)?, *net)],
        (Key::SandboxNeighbour(_, link, ip), Some(Value::Mac(mac))) => {
            vec![neighbour::set(index(link)?, *ip, mac)]
        }
        (Key::SandboxNeighbour(_, link, ip), None) => vec![neighbour::delete(index(link)?, *ip)],
        (Key::Route(_, net), Some(Value::Route { dev, via, onlink, src })) => {
            let mode = if matches!(op, Op::Set { .. }) { Mode::Replace } else { Mode::Create };
            vec![route::set(*net, Hop { index: index(&dev)?, via, onlink, src }, mode)]
        }
        (Key::Route(_, net), None) => vec![route::delete(*net)],
        _ => Vec::new(),
    })
}
