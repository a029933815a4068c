//! A device on its way out, as a lease's claim has it: `NAME:INDEX`. The name alone would not do: it is made
//! from the sandbox's, so that one which comes back has it again, and old leases would wait for its new device.

use crate::engine::Engine;
use crate::error::EngineError;
use qiao_core::{IfName, NetworkName};
use qiao_kernel::{Kernel, KernelError};
use qiao_store::Holder;
use std::net::IpAddr;

impl<K: Kernel> Engine<K> {
    /// Whether an address cannot be given yet: an endpoint has it, or the device that it was on is still there.
    pub fn is_held(&mut self, network: &NetworkName, ip: IpAddr) -> Result<bool, EngineError> {
        match self.store.claims().leases(network)?.holder(ip)? {
            None => Ok(false),
            Some(Holder::Endpoint(_)) => Ok(true),
            Some(Holder::Leaving(device)) => Ok(is_there(&mut self.kernel, &device)?),
        }
    }
}

/// The host's end of a pair, if it is still there after its endpoint left.
pub(crate) fn of<K: Kernel>(kernel: &mut K, name: &IfName) -> Result<Option<String>, KernelError> {
    Ok(kernel.link_index(name)?.map(|index| format!("{name}:{index}")))
}

/// Whether a device that was on its way out is still there.
pub(crate) fn is_there<K: Kernel>(kernel: &mut K, device: &str) -> Result<bool, KernelError> {
    let Some((name, index)) = device.split_once(':') else { return Ok(false) };
    match (IfName::new(name), index.parse::<u32>()) {
        (Ok(name), Ok(index)) => Ok(kernel.link_index(&name)? == Some(index)),
        _ => Ok(false),
    }
}
