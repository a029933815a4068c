//! Limits of rates: where they are, and on what.

use crate::error::EngineError;
use crate::session::Session;
use qiao_core::endpoint::Join;
use qiao_core::shape::{Limits, Shaping, ifb};
use qiao_core::{Code, Endpoint, IfName, Refusal};
use qiao_kernel::Kernel;

impl<K: Kernel> Session<'_, K> {
    /// Limits an endpoint, or no longer.
    pub fn shape(&mut self, endpoint: &mut Endpoint, limits: Limits) -> Result<(), EngineError> {
        let shaped = match limits.is_none() {
            true => None,
            false => Some(self.shaping(endpoint, limits)?),
        };
        endpoint.wire.iter_mut().for_each(|wire| wire.extras.shaped.clone_from(&shaped));
        Ok(())
    }

    fn shaping(&mut self, endpoint: &Endpoint, limits: Limits) -> Result<Shaping, EngineError> {
        let (sandbox, ifname) = (endpoint.sandbox(), &endpoint.id.ifname);
        if limits.egress.is_some() {
            self.needs_kind("ifb")?;
        }
        let link = self.host_end(endpoint)?.ok_or_else(|| {
            Refusal::new(Code::Unsupported, format!("`{ifname}` of `{sandbox}` has no end on the host"))
                .why("rates are limited at the host's end of a pair, where the container cannot take it off")
        })?;
        let mtu = endpoint.wire.as_ref().map(|wire| wire.mtu).unwrap_or_default();
        Ok(Shaping { link, ifb: ifb(sandbox, ifname), mtu, limits })
    }

    /// The host's end of an endpoint's pair, whoever made it.
    fn host_end(&mut self, endpoint: &Endpoint) -> Result<Option<IfName>, EngineError> {
        match (&endpoint.wire, &endpoint.netns) {
            (Some(wire), _) if wire.join.is_pair() => Ok(Some(wire.host_if.clone())),
            (Some(wire), Some(netns)) if wire.join == Join::Adopted => {
                let found = self.kernel.reached(netns, &endpoint.id.ifname, &wire.addresses)?;
                Ok(found.and_then(|found| found.peer))
            }
            _ => Ok(None),
        }
    }
}
