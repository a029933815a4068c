//! `bandwidth`: how fast a container may send and receive.

use super::door::{Door, failure};
use super::{Done, chain};
use qiao_core::request::Amend;
use qiao_core::shape::{Limits, Shaping};
use qiao_core::{Endpoint, IfName};
use qiao_doors::cni::bandwidth::limits;
use qiao_doors::cni::{Failure, Interface, Verb};
use qiao_kernel::Kernel;

/// Runs.
pub fn run(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => add(door),
        Verb::Del => {
            let none = Amend { limits: Some(Limits::default()), ..chain::amend(door) };
            chain::undo(door, &|endpoint| shaping(endpoint).is_some(), &none)
        }
        Verb::Check if limits(&door.config)?.is_none() => Ok(None),
        Verb::Check => check(door),
        Verb::Status => limits(&door.config).map(|_| None),
        Verb::Gc => chain::collect(door),
        Verb::Version => Ok(None),
    }
}

fn shaping(endpoint: &Endpoint) -> Option<&Shaping> {
    endpoint.wire.as_ref()?.extras.shaped.as_ref()
}

/// As the reference, it says in the result which device what the container sends goes through.
fn add(door: &mut Door) -> Done {
    let limits = limits(&door.config)?;
    let answer = door.pass_on()?;
    if limits.is_none() {
        return Ok(Some(answer));
    }
    chain::change(door, &Amend { limits: Some(limits), ..chain::amend(door) })?;
    let mut engine = door.engine()?;
    let endpoint = door.endpoint(&engine)?;
    let shaped = endpoint.as_ref().and_then(shaping).filter(|shaping| shaping.limits.egress.is_some());
    if let Some(name) = shaped.map(|shaping| shaping.ifb.clone()) {
        let found = engine.kernel().link(&name).map_err(|error| failure(error.into()))?;
        tell(door, &name, found.and_then(|link| link.mac).map(|mac| mac.to_string()));
    }
    door.pass_on().map(Some)
}

fn tell(door: &mut Door, name: &IfName, mac: Option<String>) {
    if let Some(prev) = &mut door.config.prev {
        prev.interfaces.retain(|interface| interface.name != name.as_str() || interface.sandbox.is_some());
        prev.interfaces.push(Interface { name: name.to_string(), mac, ..Interface::default() });
    }
}

/// The limits are those of the configuration, and the devices are as our record says.
fn check(door: &Door) -> Done {
    let engine = door.engine()?;
    let found = door.endpoint(&engine)?.as_ref().and_then(shaping).map(|shaping| shaping.limits);
    let wanted = limits(&door.config)?;
    match found {
        Some(found) if found != wanted => Err(Failure::new(110, "the attachment is not as it was made")
            .because(format!("its limits are {found:?}, the configuration's {wanted:?}"))),
        None => Err(Failure::new(110, format!("`{}` has no limits", door.call.sandbox))),
        Some(_) => chain::inspect(door),
    }
}
