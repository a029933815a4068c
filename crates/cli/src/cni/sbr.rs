//! `sbr`: answers leave by the interface that the question came in at.

use super::door::Door;
use super::{Done, chain};
use qiao_core::Endpoint;
use qiao_core::request::Amend;
use qiao_core::source::Sources;
use qiao_doors::cni::sbr::sources;
use qiao_doors::cni::{Failure, Verb};

/// Runs.
pub fn run(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => {
            let sources = sources(&door.config, &door.call)?;
            let answer = door.pass_on()?;
            if sources.ips.is_empty() {
                return Err(Failure::config(format!(
                    "`prevResult` has no address of `{}`",
                    door.call.ifname
                )));
            }
            chain::change(door, &Amend { sources: Some(sources), ..chain::amend(door) })?;
            Ok(Some(answer))
        }
        Verb::Del => {
            let none = Amend { sources: Some(Sources::default()), ..chain::amend(door) };
            chain::undo(door, &is_sourced, &none)
        }
        Verb::Check => {
            let engine = door.engine()?;
            match door.endpoint(&engine)?.filter(is_sourced) {
                Some(_) => chain::inspect(door),
                None => {
                    let what = format!("the addresses of `{}` have no tables of their own", door.call.ifname);
                    Err(Failure::new(110, what))
                }
            }
        }
        Verb::Status => sources(&door.config, &door.call).map(|_| None),
        Verb::Gc => chain::collect(door),
        Verb::Version => Ok(None),
    }
}

fn is_sourced(endpoint: &Endpoint) -> bool {
    endpoint.wire.as_ref().is_some_and(|wire| wire.extras.sourced.is_some())
}
