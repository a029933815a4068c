//! Networks that their door describes anew with every request: they come with their first member and go with
//! their last one, and may share a bridge with one another and with somebody else.

use crate::activate::host_state;
use crate::address::Given as Address;
use crate::error::EngineError;
use crate::session::Session;
use ipnet::IpNet;
use qiao_core::driver::{Activation, Active, network_state};
use qiao_core::endpoint::{Netns, Wire};
use qiao_core::owner::EndpointId;
use qiao_core::plan::{Key, Ownership, State, Value};
use qiao_core::request::Given;
use qiao_core::route::Static;
use qiao_core::{Bridge, Child, Driver, IfName, Mac, Network, NetworkName, Refusal};
use qiao_kernel::{Kernel, Places};
use qiao_store::{Holder, Saved};
use std::collections::BTreeMap;
use std::net::IpAddr;

impl<K: Kernel> Session<'_, K> {
    /// A network as its door describes it now, and as it was described before. The second says whether it is new.
    pub fn given_network(&mut self, given: &Network) -> Result<(Network, bool), EngineError> {
        let Some(mut known) = self.txn.network(&given.name)? else { return Ok((given.clone(), true)) };
        let name = known.name.clone();
        let moved = |from: &dyn std::fmt::Display, to: &dyn std::fmt::Display| {
            let what = format!("network `{name}` is {from}");
            Refusal::conflict(what).why(format!("while it has members, it cannot be {to}"))
        };
        match (&mut known.driver, &given.driver) {
            (Driver::Bridge(bridge), Driver::Bridge(more))
            | (Driver::Routed(bridge), Driver::Routed(more)) => {
                let place =
                    |bridge: &Bridge| (bridge.device.clone(), bridge.inline.and_then(|inline| inline.vlan));
                if place(bridge) != place(more) {
                    let vlan = |bridge: &Bridge| bridge.inline.and_then(|inline| inline.vlan).unwrap_or(0);
                    let on =
                        |bridge: &Bridge| format!("on bridge `{}`, VLAN {}", bridge.device, vlan(bridge));
                    return Err(moved(&on(bridge), &on(more)).into());
                }
                bridge.widen(more);
            }
            (Driver::Child(child), Driver::Child(more)) => {
                let at = |child: &Child| format!("{} on `{}`", child.mode, child.parent);
                if (&child.parent, child.mode, child.inside) != (&more.parent, more.mode, more.inside) {
                    return Err(moved(&at(child), &at(more)).into());
                }
                child.clone_from(more);
            }
            (Driver::Solo(solo), Driver::Solo(more)) if solo.kind() == more.kind() => solo.clone_from(more),
            // What is kept apart of it is the amendments' to say.
            (Driver::Adopted(_), Driver::Adopted(_)) => {}
            (was, is) => {
                let kind = |driver: &Driver| format!("a {} network", driver.as_str());
                return Err(moved(&kind(was), &kind(is)).into());
            }
        }
        Ok((known, false))
    }

    /// The bridge may be there already: another network's of ours, or somebody else's.
    pub fn join_bridge(
        &mut self,
        activation: &mut Activation,
        (name, active): (&NetworkName, &Active),
    ) -> Result<(), EngineError> {
        let mut others = active.values().filter(|other| !other.is_adopted());
        if let Some(other) = others.find(|other| other.device == activation.device) {
            (activation.mac, activation.foreign) = (other.mac, other.foreign);
            activation.mtu = other.mtu;
            return Ok(());
        }
        let key = Key::Bridge(activation.device.clone());
        let observed = self.kernel.observe(&activation.essence(name), &Places::new())?;
        if let Some(found) = observed.get(&key).filter(|found| found.owner == Ownership::Foreign) {
            activation.foreign = true;
            let Value::Bridge { mac, mtu } = found.value else {
                let device = &activation.device;
                return Err(Refusal::conflict(format!(
                    "the interface `{device}` is there, and is no bridge"
                ))
                .why("it was not made by qiao, and is not changed")
                .fix(format!("ip -d link show {device}"))
                .into());
            };
            // One without any port gets that of ours.
            (activation.mac, activation.mtu) = (mac.unwrap_or(Mac::PORT), mtu);
        }
        Ok(())
    }

    /// A network with VLANs needs a bridge that tells them apart, which somebody else's must do already.
    pub fn join_vlan(
        &mut self,
        activation: &mut Activation,
        (network, bridge): (&Network, &Bridge),
    ) -> Result<(), EngineError> {
        self.refuse_no_filtering(bridge, activation.foreign)?;
        if !activation.foreign || bridge.gateway_if() == bridge.device {
            return Ok(());
        }
        let state = network_state(network, activation);
        let state = state.part(|key, _| matches!(key, Key::Vlan(_) | Key::BridgeVlan(..)));
        let observed = self.kernel.observe(&state, &Places::new())?;
        activation.in_vlan = observed
            .iter()
            .any(|(key, found)| matches!(key, Key::BridgeVlan(..)) && found.owner == Ownership::Foreign);
        Ok(())
    }

    /// The same as far as it is known before.
    pub fn refuse_no_filtering(&mut self, bridge: &Bridge, foreign: bool) -> Result<(), EngineError> {
        let Some(inline) = bridge.inline.filter(|inline| inline.filtering) else { return Ok(()) };
        self.needs_kind("bridge-vlan")?;
        if inline.routed && inline.vlan.is_some() {
            self.needs_kind("vlan")?;
        }
        if foreign && !self.kernel.link(&bridge.device)?.is_some_and(|link| link.filtering) {
            let what = format!("the bridge `{}` tells no VLANs apart", bridge.device);
            return Err(Refusal::conflict(what)
                .why("it was not made by qiao, and is not changed")
                .fix(format!("ip link set {} type bridge vlan_filtering 1", bridge.device))
                .into());
        }
        Ok(())
    }

    /// The addresses that the door was given. One whose last device is on its way out may be used: the door's own
    /// address management answers for it.
    pub fn given_addresses(
        &mut self,
        network: &Network,
        addresses: &[IpNet],
    ) -> Result<Vec<Address>, EngineError> {
        let leases = self.txn.claims().leases(&network.name)?;
        for net in addresses {
            match leases.holder(net.addr())? {
                Some(Holder::Endpoint(key)) if self.detach_if_gone(&key)? => leases.forget(net.addr())?,
                Some(Holder::Endpoint(key)) => {
                    let what = format!("the address `{}` is taken by {key}", net.addr());
                    return Err(Refusal::conflict(what).into());
                }
                Some(Holder::Leaving(_)) => leases.forget(net.addr())?,
                None => {}
            }
        }
        Ok(addresses.iter().map(|net| (*net, false)).collect())
    }

    /// What was asked for besides, without routes to where one leads already: the first one counts.
    pub fn add_extras(
        &mut self,
        wire: &mut Wire,
        given: &Given,
        (id, netns): (&EndpointId, &Netns),
    ) -> Result<(), EngineError> {
        let made = std::mem::replace(&mut wire.extras, given.extras.clone());
        wire.extras.routes.extend(made.routes);
        (wire.extras.leased, wire.extras.lent) = (made.leased, made.lent);
        if given.extras.no_default {
            wire.gateways.clear();
        }
        if let Some(mtu) = given.network.bridge().and_then(|bridge| bridge.mtu) {
            wire.mtu = mtu;
        }
        if given.held {
            self.place_routes(&mut wire.extras.statics, &given.addresses, netns)?;
        }
        let mut wanted = State::default();
        for (key, value) in wire.extras.all_routes().map(|route| route.object(id)) {
            wanted.insert(key, &qiao_core::Owner::Endpoint(id.clone()), value);
        }
        for (key, value) in wire.extras.ways.iter().map(|way| way.object(id)) {
            wanted.insert(key, &qiao_core::Owner::Endpoint(id.clone()), value);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let places = BTreeMap::from([(id.sandbox.clone(), netns.clone())]);
        let there = self.kernel.observe(&wanted, &places)?;
        let is_free = |net: &IpNet| there.get(&Key::Route(id.sandbox.clone(), *net)).is_none();
        wire.extras.routes.retain(|(net, _)| is_free(net));
        wire.extras.statics.retain(|route| is_free(&route.to));
        wire.extras.ways.retain(|way| there.get(&way.object(id).0).is_none());
        Ok(())
    }

    /// Finds the interfaces of routes whose gateways are not this network's: netavark leaves that to the kernel.
    fn place_routes(
        &mut self,
        routes: &mut [Static],
        own: &[IpNet],
        netns: &Netns,
    ) -> Result<(), EngineError> {
        let is_near = |via: &IpAddr| own.is_empty() || own.iter().any(|net| net.contains(via));
        let is_of_link = |via: &IpAddr| matches!(via, IpAddr::V6(ip) if ip.is_unicast_link_local());
        for route in routes {
            let Some(via) = route.via.filter(|via| !is_near(via) && !is_of_link(via)) else { continue };
            let unreachable = || {
                Refusal::invalid(format!("the route to {} cannot be made", route.to))
                    .why(format!("no interface of the container reaches its gateway {via}"))
            };
            route.dev = Some(self.towards(via, netns)?.ok_or_else(unreachable)?);
        }
        Ok(())
    }

    /// The interface in a sandbox that is on the link of an address.
    fn towards(&mut self, ip: IpAddr, netns: &Netns) -> Result<Option<IfName>, EngineError> {
        for name in self.kernel.links_in(netns)?.iter().filter_map(|name| IfName::new(name).ok()) {
            let link = self.kernel.link_in(netns, &name)?;
            if link.is_some_and(|link| link.addresses.iter().any(|net| net.contains(&ip))) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Ends a network of which nobody is a member any more.
    pub fn retire(&mut self, name: &NetworkName) -> Result<(), EngineError> {
        match self.txn.network(name)?.filter(Network::is_inline) {
            Some(network) if self.txn.is_unused(name)? => {
                self.seen = State::default(); // what the host needs is less from now on
                self.finish_remove(&network).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// What must remain of `had` without a network: the host's, and what others have on its bridge.
    pub fn rest(&self, had: &State, active: &Active, saved: &Saved) -> Result<State, EngineError> {
        let mut rest = host_state(active, saved);
        let sharers = active.iter().filter(|(_, activation)| activation.shared || activation.is_adopted());
        for (name, activation) in sharers {
            if let Some(network) = self.txn.network(name)? {
                rest.extend(network_state(&network, activation));
            }
        }
        Ok(rest.part(|key, _| had.get(key).is_some() || matches!(key, Key::Sysctl(_))))
    }
}
