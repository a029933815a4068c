//! Interfaces behind a `vrf` device: which one, and with which table.

use crate::error::EngineError;
use crate::session::Session;
use qiao_core::plan::{Key, RouteId, State};
use qiao_core::vrf::{Behind, Vrf};
use qiao_core::{Code, Endpoint, Refusal};
use qiao_kernel::{Kernel, Routing};

impl<K: Kernel> Session<'_, K> {
    /// Puts an endpoint's interface behind a device, or no longer. What is so already stays as it is.
    pub fn put_behind(
        &mut self,
        endpoint: &mut Endpoint,
        behind: Option<&Behind>,
    ) -> Result<(), EngineError> {
        let known = endpoint.wire.as_ref().and_then(|wire| wire.extras.vrf.clone());
        let vrf = match (known, behind) {
            (_, None) => None,
            (Some(known), Some(behind)) if known.name == behind.name => Some(known),
            (_, Some(behind)) => Some(self.vrf(endpoint, behind)?),
        };
        endpoint.wire.iter_mut().for_each(|wire| wire.extras.vrf.clone_from(&vrf));
        Ok(())
    }

    fn vrf(&mut self, endpoint: &Endpoint, behind: &Behind) -> Result<Vrf, EngineError> {
        self.needs_kind("vrf")?;
        let ifname = &endpoint.id.ifname;
        let taken = |by: &str| Refusal::conflict(format!("`{ifname}` {by}"));
        let extras = endpoint.wire.as_ref().map(|wire| &wire.extras);
        if extras.is_some_and(|extras| extras.vrf.is_some() || extras.sourced.is_some()) {
            return Err(taken("is behind another device, or routed by source").into());
        }
        let Some(netns) = &endpoint.netns else {
            return Err(Refusal::new(Code::Unsupported, "the host's own interfaces are left alone").into());
        };
        let found = self.kernel.routing(netns, ifname)?;
        if !found.is_there {
            return Err(Refusal::not_found(format!("its namespace has no interface `{ifname}`")).into());
        }
        if found.is_port {
            return Err(taken("is a port of another device already").into());
        }
        Ok(Vrf::new(behind.name.clone(), table(behind, &found)?, &found.routes))
    }

    /// Leaves out a device that other endpoints of the sandbox are behind.
    pub fn keep_shared_vrf(&self, endpoint: &Endpoint, had: &mut State) -> Result<(), EngineError> {
        let name =
            |endpoint: &Endpoint| endpoint.wire.as_ref()?.extras.vrf.as_ref().map(|vrf| vrf.name.clone());
        let Some(own) = name(endpoint) else { return Ok(()) };
        let others =
            self.txn.sandbox(endpoint.sandbox())?.into_iter().filter(|other| other.id != endpoint.id);
        if others.into_iter().any(|other| name(&other).as_ref() == Some(&own)) {
            had.remove(&Key::Vrf(endpoint.sandbox().clone(), own));
        }
        Ok(())
    }
}

fn table(behind: &Behind, found: &Routing) -> Result<u32, Refusal> {
    let Behind { name, table } = behind;
    match (found.vrfs.get(name), *table) {
        (Some(has), Some(wanted)) if *has != wanted => {
            Err(Refusal::conflict(format!("VRF `{name}` is there already, with the routing table {has}"))
                .why(format!("the table {wanted} is asked for")))
        }
        (Some(has), _) => Ok(*has),
        (None, Some(wanted)) => Ok(wanted),
        (None, None) => {
            let special = [253, RouteId::MAIN, 255];
            let free = (1..).find(|table| !found.tables.contains(table) && !special.contains(table));
            free.ok_or_else(|| Refusal::conflict("there is no routing table left"))
        }
    }
}
