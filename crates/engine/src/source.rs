//! Routing by source: which tables, and which routes go there.

use crate::error::EngineError;
use crate::session::Session;
use qiao_core::plan::{Key, RouteId, State};
use qiao_core::source::{FIRST_TABLE, Sourced, Sources};
use qiao_core::{Code, Endpoint, Refusal};
use qiao_kernel::Kernel;
use std::collections::BTreeSet;

impl<K: Kernel> Session<'_, K> {
    /// Routes an endpoint's addresses by themselves, or no longer. What is so already stays as it is.
    pub fn source(&mut self, endpoint: &mut Endpoint, sources: &Sources) -> Result<(), EngineError> {
        let known = endpoint.wire.as_ref().and_then(|wire| wire.extras.sourced.clone());
        let sourced = match (known, sources.ips.is_empty()) {
            (_, true) => None,
            (Some(known), _) => Some(known),
            (None, _) => Some(self.sourced(endpoint, sources)?),
        };
        endpoint.wire.iter_mut().for_each(|wire| wire.extras.sourced.clone_from(&sourced));
        Ok(())
    }

    fn sourced(&mut self, endpoint: &Endpoint, sources: &Sources) -> Result<Sourced, EngineError> {
        let ifname = &endpoint.id.ifname;
        let Some(netns) = &endpoint.netns else {
            return Err(Refusal::new(Code::Unsupported, "the host's own routes are left alone").into());
        };
        let found = self.kernel.routing(netns, ifname)?;
        if !found.is_there {
            return Err(Refusal::not_found(format!("its namespace has no interface `{ifname}`")).into());
        }
        let tables = match sources.table {
            Some(table) => vec![table; sources.ips.len()],
            None => free(&found.tables).take(sources.ips.len()).collect(),
        };
        Ok(Sourced::new(sources, &found.routes, &tables))
    }

    /// The part of what was there before that can be again: routes need their interface, and that up.
    pub fn restorable(&mut self, endpoint: &Endpoint, before: &State) -> Result<State, EngineError> {
        let natives = before.part(|key, _| matches!(key, Key::Native(..)));
        let Some(netns) = endpoint.netns.as_ref().filter(|_| !natives.is_empty()) else {
            return Ok(State::default());
        };
        let link = self.kernel.link_in(netns, &endpoint.id.ifname)?;
        Ok(if link.is_some_and(|link| link.up) { natives } else { State::default() })
    }
}

/// Tables that nobody uses.
fn free(used: &BTreeSet<u32>) -> impl Iterator<Item = u32> {
    let special = [253, RouteId::MAIN, 255];
    (FIRST_TABLE..).filter(move |table| !used.contains(table) && !special.contains(table))
}
