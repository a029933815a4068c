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
use qiao_core::{Driver, Network, NetworkName, Refusal};
use qiao_kernel::{Kernel, Places};
use qiao_store::{Holder, Saved};
use std::collections::BTreeMap;

impl<K: Kernel> Session<'_, K> {
    /// A network as its door describes it now, and as it was described before. The second says whether it is new.
    pub fn given_network(&mut self, given: &Network) -> Result<(Network, bool), EngineError> {
        let Some(mut known) = self.txn.network(&given.name)? else { return Ok((given.clone(), true)) };
        if let (Driver::Bridge(bridge), Some(more)) = (&mut known.driver, given.bridge()) {
            if bridge.device != more.device {
                let what = format!("network `{}` is on bridge `{}`", known.name, bridge.device);
                let why = format!("while it has members, it cannot be on `{}`", more.device);
                return Err(Refusal::conflict(what).why(why).into());
            }
            bridge.widen(more);
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
            if let Value::Bridge { mac, mtu } = found.value {
                (activation.mac, activation.mtu) = (mac, mtu);
            }
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
        let lease = std::mem::replace(&mut wire.extras, given.extras.clone());
        wire.extras.routes.extend(lease.routes);
        wire.extras.leased = lease.leased;
        if given.extras.no_default {
            wire.gateways.clear();
        }
        if let Some(mtu) = given.network.bridge().and_then(|bridge| bridge.mtu) {
            wire.mtu = mtu;
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

    /// Ends a network of which nobody is a member any more.
    pub fn retire(&mut self, name: &NetworkName) -> Result<(), EngineError> {
        let network = self.txn.network(name)?;
        match network.filter(Network::is_inline) {
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
