//! Who is who on a link: no endpoint gets the address or the hardware address that the host has there, or another
//! endpoint, be it of another network on the same bridge.

use crate::address::Given;
use crate::error::EngineError;
use crate::session::Session;
use ipnet::IpNet;
use qiao_core::driver::Activation;
use qiao_core::endpoint::{Join, Wire};
use qiao_core::ipam::{gateways, refuse_address, refuse_mac};
use qiao_core::network::{MTU_MIN_V6, check_mtu};
use qiao_core::request::Attach;
use qiao_core::subnet::Family;
use qiao_core::{Bridge, Driver, Endpoint, Mac, Network, NetworkName, Refusal};
use qiao_kernel::Kernel;
use qiao_store::Holder;
use std::net::IpAddr;

impl<K: Kernel> Session<'_, K> {
    /// Refuses addresses that were not ours to choose: a door's, or a DHCP server's. `host` are those of the host on
    /// the link.
    pub fn refuse_addresses(
        &mut self,
        (network, activation): (&Network, &Activation),
        given: &[Given],
        host: &[IpAddr],
    ) -> Result<(), EngineError> {
        if matches!(network.driver, Driver::Solo(_)) {
            return Ok(()); // it is on no link of the host's
        }
        for (net, _) in given {
            refuse_address(network, *net)?;
            if host.contains(&net.addr()) {
                let what = format!("the address `{}` is that of `{}`", net.addr(), activation.device);
                return Err(Refusal::conflict(what).into());
            }
        }
        for other in self.beside(network)? {
            given.iter().try_for_each(|(net, _)| self.refuse_held(network, &other, net.addr()))?;
        }
        Ok(())
    }

    /// Refuses a hardware address that the host has on the link, or another endpoint than `own`.
    pub fn refuse_mac(
        &mut self,
        (network, activation): (&Network, &Activation),
        (own, mac): (Option<&Endpoint>, Mac),
    ) -> Result<(), EngineError> {
        refuse_mac(network, (&activation.device, activation.mac), mac)?;
        let bridged = matches!(network.driver, Driver::Bridge(_));
        let others = if bridged { self.beside(network)? } else { Vec::new() };
        for name in [network.name.clone()].iter().chain(&others) {
            let owner = self.txn.claims().mac_owner(name, mac)?;
            let owner = owner.filter(|owner| own.is_none_or(|own| *owner != own.id.key()));
            if let Some(owner) = owner {
                let what = format!("the hardware address `{mac}` is taken by {owner}");
                return Err(Refusal::conflict(what).into());
            }
        }
        Ok(())
    }

    /// The same for the hardware address that an endpoint's interface is changed to.
    pub fn refuse_new_mac(&mut self, endpoint: &Endpoint, mac: Mac) -> Result<(), EngineError> {
        let wire = endpoint.wire.as_ref();
        if let Some(place) = wire.filter(|w| w.join == Join::Adopted).and_then(|w| w.extras.adopted.as_ref())
        {
            let Some(bridge) = &place.bridge else { return Ok(()) };
            let link = self.kernel.link(bridge)?;
            return match link.is_some_and(|link| link.mac == Some(mac)) {
                true => {
                    Err(Refusal::conflict(format!("the hardware address `{mac}` is that of `{bridge}`"))
                        .into())
                }
                false => Ok(()),
            };
        }
        let network = self.txn.network(endpoint.network())?;
        let known = network.zip(self.txn.active()?.remove(endpoint.network()));
        match known.filter(|_| wire.is_some_and(|wire| wire.mac != mac)) {
            Some((network, activation)) => self.refuse_mac((&network, &activation), (Some(endpoint), mac)),
            None => Ok(()),
        }
    }

    /// Refuses an MTU that is too small for what is on the link: the container's own addresses, the gateways, and
    /// those of other networks on the bridge, which becomes as small as its smallest port.
    pub fn refuse_mtu(
        &mut self,
        (network, activation): (&Network, &Activation),
        wire: &Wire,
        host: &[IpAddr],
    ) -> Result<(), EngineError> {
        let driver = &network.driver;
        let lent = matches!(driver, Driver::Solo(solo) if solo.is_device());
        if lent || wire.mtu >= MTU_MIN_V6 && activation.mtu >= MTU_MIN_V6 {
            return Ok(());
        }
        let is_routed = network.bridge().is_some_and(Bridge::is_routed);
        let gateway = is_routed && network.pools().iter().any(|pool| pool.subnet.family() == Family::V6);
        check_mtu(wire.mtu, wire.address(Family::V6).is_some())?;
        if network.bridge().is_some() {
            let of_device = |refusal: Refusal| refusal.context(format!("`{}`", activation.device));
            check_mtu(activation.mtu, gateway).map_err(of_device)?;
        }
        if !matches!(driver, Driver::Bridge(_)) {
            return Ok(());
        }
        // Its own are those of the link, which it has anew whenever it comes up.
        let is_global = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if !ip.is_unicast_link_local());
        check_mtu(wire.mtu, activation.foreign && host.iter().any(is_global)).map_err(|refusal| {
            refusal.fix(format!("another bridge: `{}` has IPv6 addresses", activation.device))
        })?;
        for other in self.beside(network)? {
            let known = self.txn.network(&other)?;
            let has_v6 = known.is_some_and(|other| other.has(Family::V6));
            check_mtu(wire.mtu, has_v6).map_err(|refusal| {
                refusal.fix(format!("another bridge: network `{other}` on `{}` has IPv6", activation.device))
            })?;
        }
        Ok(())
    }

    /// Detaches endpoints beside a new one that have what it asks for, and whose namespaces are gone.
    pub fn detach_gone_beside(&mut self, network: &Network, request: &Attach) -> Result<(), EngineError> {
        let given = request.given.iter().flat_map(|given| &given.addresses);
        let wanted: Vec<IpAddr> = given.map(IpNet::addr).collect();
        for other in self.beside(network)? {
            let (claims, mut keys) = (self.txn.claims(), Vec::new());
            for ip in &wanted {
                if let Some(Holder::Endpoint(key)) = claims.leases(&other)?.holder(*ip)? {
                    keys.push(key);
                }
            }
            keys.extend(request.wish.mac.map_or(Ok(None), |mac| claims.mac_owner(&other, mac))?);
            keys.iter().try_for_each(|key| self.detach_if_gone(key).map(drop))?;
        }
        Ok(())
    }

    /// The other networks whose endpoints are met by the same device: on one bridge, or routed. Networks whose devices
    /// are our choice have devices of their own.
    fn beside(&self, network: &Network) -> Result<Vec<NetworkName>, EngineError> {
        let Some(bridge) = network.bridge().filter(|bridge| bridge.inline.is_some()) else {
            return Ok(Vec::new());
        };
        let all = matches!(network.driver, Driver::Routed(_)); // a route is the whole host's
        let active = self.txn.active()?;
        let others = active.iter().filter(|(name, other)| {
            let meets = all || other.device == bridge.device;
            **name != network.name && meets && other.needs_rules() && !other.is_adopted()
        });
        Ok(others.map(|(name, _)| name.clone()).collect())
    }

    /// Refuses an address that an endpoint has on another network of the same device.
    fn refuse_held(&self, network: &Network, other: &NetworkName, ip: IpAddr) -> Result<(), EngineError> {
        let taken = |by: String| {
            let why = format!("it is on network `{other}`");
            Err(Refusal::conflict(format!("the address `{ip}` is taken by {by}")).why(why).into())
        };
        let Driver::Bridge(bridge) = &network.driver else {
            return match self.txn.claims().leases(other)?.holder(ip)? {
                Some(Holder::Endpoint(key)) => taken(key),
                _ => Ok(()),
            };
        };
        let other_network = self.txn.network(other)?;
        let in_vlan = |network: &&Network| {
            network.bridge().is_some_and(|other| other.neighbour_if() == bridge.neighbour_if())
        };
        let Some(met) = other_network.as_ref().filter(in_vlan) else { return Ok(()) };
        if gateways(met).any(|pool| pool.gateway == ip) && network.pools().iter().all(|own| own.gateway != ip)
        {
            return taken(format!("the bridge `{}`", bridge.device));
        }
        match self.txn.claims().leases(other)?.holder(ip)? {
            Some(Holder::Endpoint(key)) => taken(key),
            _ => Ok(()),
        }
    }
}
