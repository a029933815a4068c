//! Interfaces by themselves, and devices of the host that are lent: what must be known of them before they are.

use crate::address::Given;
use crate::error::EngineError;
use crate::session::Session;
use qiao_core::driver::{Activation, ETHERNET_MTU};
use qiao_core::endpoint::{Extras, Join, Netns, Wire};
use qiao_core::owner::EndpointId;
use qiao_core::request::Attach;
use qiao_core::solo::{Lent, Select, Tap};
use qiao_core::{Code, IfName, Mac, Network, Refusal, Solo};
use qiao_kernel::{HostLink, Kernel};

impl<K: Kernel> Session<'_, K> {
    /// What an endpoint of such a network has.
    pub fn solo_wire(
        &mut self,
        (network, activation, solo): (&Network, &Activation, &Solo),
        request: &Attach,
        (id, given): (&EndpointId, &[Given]),
    ) -> Result<(Wire, Option<Mac>), EngineError> {
        refuse_rules(solo, request)?;
        let mut wire = Wire {
            join: Join::Nothing,
            host_if: activation.device.clone(),
            mac: self.mac((network, activation), (id, given), &request.wish)?,
            addresses: given.iter().map(|(net, _)| *net).collect(),
            mtu: ETHERNET_MTU,
            gateways: Vec::new(),
            publish: Vec::new(),
            guard: false,
            allow: Vec::new(),
            extras: Extras::default(),
        };
        match solo {
            Solo::Dummy => self.needs_kind("dummy")?,
            Solo::Tap(tap) => {
                wire.mtu = tap.mtu.unwrap_or(ETHERNET_MTU);
                self.refuse_no_bridge(tap, request)?;
            }
            Solo::Device(which) => {
                let (name, link) = self.lendable(which)?;
                (wire.mac, wire.mtu) = (link.mac.unwrap_or(wire.mac), link.mtu);
                wire.host_if = name.clone();
                let HostLink { mac, mtu, alias, up, .. } = link;
                wire.extras.lent = Some(Lent { device: name, mac, mtu, alias, up });
            }
        }
        let announced = Some(wire.mac);
        Ok((wire, announced))
    }

    /// Whether the host has what such a network needs, as far as it is known before.
    pub fn can_serve_solo(&mut self, solo: &Solo) -> Result<(), EngineError> {
        match solo {
            Solo::Dummy => self.needs_kind("dummy"),
            Solo::Tap(_) => self.needs_kind("tun"),
            Solo::Device(_) => Ok(()), // it may be lent already, and come back
        }
    }

    fn refuse_no_bridge(&mut self, tap: &Tap, request: &Attach) -> Result<(), EngineError> {
        self.needs_kind("tun")?;
        let (Some(bridge), Some(path)) = (&tap.bridge, &request.netns) else { return Ok(()) };
        let netns: Netns = self.kernel.netns(path)?;
        match self.kernel.link_in(&netns, bridge)? {
            Some(link) if link.is_bridge => Ok(()),
            Some(_) => Err(Refusal::invalid(format!("the interface `{bridge}` is no bridge")).into()),
            None => Err(Refusal::not_found(format!("there is no bridge `{bridge}`"))
                .why("it is looked for in the container's network namespace")
                .into()),
        }
    }

    /// A device that can be lent.
    fn lendable(&mut self, which: &Select) -> Result<(IfName, HostLink), EngineError> {
        if let Some(driver) = self.kernel.program_driver(which) {
            let what = format!("the device {which} has no interface");
            return Err(Refusal::new(Code::Unsupported, what)
                .why(format!("its driver is {driver}: a program has it (DPDK)"))
                .into());
        }
        let absent = || Refusal::not_found(format!("there is no interface {which}")).fix("ip -d link");
        let name = self.kernel.device(which)?.ok_or_else(absent)?;
        let link = self.kernel.link(&name)?.ok_or_else(absent)?;
        let refused =
            |why: &str| Refusal::conflict(format!("the interface `{name}` cannot be lent")).why(why);
        if name.as_str() == "lo" {
            return Err(refused("every namespace has a loopback interface of its own").into());
        }
        if link.ours {
            let whose = link.alias.as_deref().unwrap_or("qiao's");
            return Err(refused(&format!("it is {whose}")).into());
        }
        if link.enslaved {
            return Err(refused("it is a port of a bridge or a bond").into());
        }
        Ok((name, link))
    }
}

/// Refuses what only the host's rules could do, and another address for what has one.
fn refuse_rules(solo: &Solo, request: &Attach) -> Result<(), Refusal> {
    if request.guard == Some(true) || !request.publish.is_empty() || !request.allow.is_empty() {
        return Err(Refusal::invalid(format!("a {} network has no guard and no ports", solo.kind()))
            .why("its packets do not pass the host's rules"));
    }
    match solo.is_device() && request.wish.mac.is_some() {
        true => Err(Refusal::invalid("the hardware address is the device's")),
        false => Ok(()),
    }
}
