//! `vrf`: an interface routes by a table of its own, for whatever it sends and receives.

use super::door::Door;
use super::{Done, chain};
use qiao_core::Endpoint;
use qiao_core::request::Amend;
use qiao_doors::cni::vrf::behind;
use qiao_doors::cni::{Failure, Verb};

/// Runs.
pub fn run(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => {
            let behind = behind(&door.config)?;
            let answer = door.pass_on()?;
            chain::change(door, &Amend { behind: Some(Some(behind)), ..chain::amend(door) })?;
            Ok(Some(answer))
        }
        Verb::Del => {
            let none = Amend { behind: Some(None), ..chain::amend(door) };
            chain::undo(door, &|endpoint| vrf(endpoint).is_some(), &none)
        }
        Verb::Check => {
            let wanted = behind(&door.config)?;
            let engine = door.engine()?;
            match door.endpoint(&engine)?.as_ref().and_then(vrf) {
                Some(found) if found.name == wanted.name => chain::inspect(door),
                _ => {
                    Err(Failure::new(110, format!("`{}` is not in VRF `{}`", door.call.ifname, wanted.name)))
                }
            }
        }
        Verb::Status => behind(&door.config).map(|_| None),
        Verb::Gc => chain::collect(door),
        Verb::Version => Ok(None),
    }
}

fn vrf(endpoint: &Endpoint) -> Option<&qiao_core::vrf::Vrf> {
    endpoint.wire.as_ref()?.extras.vrf.as_ref()
}
