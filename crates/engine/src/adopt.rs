//! Adopting: what another program has attached, and more is asked for. The endpoint gets a record, so that all that
//! was made for it is known and goes with it; its interface, its addresses and its routes are never ours.

use crate::activate::{Activating, host_state};
use crate::draft::Draft;
use crate::engine::now;
use crate::error::EngineError;
use crate::recover::places;
use crate::session::Session;
use qiao_core::driver::{Activation, network_state};
use qiao_core::endpoint::{Extras, Join, Netns, Place, Wire};
use qiao_core::network::Adopted;
use qiao_core::owner::EndpointId;
use qiao_core::plan::Key;
use qiao_core::request::{Attach, Ingress};
use qiao_core::subnet::Family;
use qiao_core::{Bridge, Code, Driver, Endpoint, IfName, Mac, Network, NetworkName, Refusal};
use qiao_kernel::{Kernel, Places, Reached};
use std::collections::BTreeSet;

impl<K: Kernel> Session<'_, K> {
    /// Decides what adopting an endpoint will be.
    pub fn draft_adopted(
        &mut self,
        network: Network,
        request: &Attach,
        (netns, others): (Option<Netns>, &[Endpoint]),
    ) -> Result<Draft, EngineError> {
        let (Some(given), Some(ifname), Some(netns)) = (&request.given, &request.ifname, netns) else {
            return Err(Refusal::invalid("it is not said what is to be adopted").into());
        };
        if others.iter().any(|other| other.id.ifname == *ifname) {
            return Err(Refusal::conflict(format!("its `{ifname}` is attached already")).into());
        }
        let found = self.kernel.reached(&netns, ifname, &given.addresses)?;
        let absent = || Refusal::not_found(format!("its namespace has no interface `{ifname}`"));
        let found = found.ok_or_else(absent)?;
        self.given_addresses(&network, &given.addresses)?;
        let id = EndpointId {
            sandbox: request.sandbox.clone(),
            ifname: ifname.clone(),
            network: network.name.clone(),
        };
        let extras = Extras { adopted: Some(place(&found)), ..given.extras.clone() };
        let mut wire = wire(&found, request, extras)?;
        self.publish(None, (&id, &mut wire), (&request.publish, given.held))?;
        let endpoint = Endpoint { id, netns: Some(netns), wire: Some(wire), attached: now() };
        self.draft_of(network, endpoint)
    }

    fn draft_of(&mut self, network: Network, endpoint: Endpoint) -> Result<Draft, EngineError> {
        let activating = match self.txn.active()?.contains_key(&network.name) {
            true => self.route_more(&network.name, &endpoint).map(|()| None)?,
            false => Some(self.activating_adopted(&network.name, &endpoint)?),
        };
        let (active, saved) = self.in_use(activating.as_ref())?;
        let activation = &active[&network.name];
        let mut desired = host_state(&active, &saved);
        desired.extend(network_state(&network, activation));
        desired.extend(self.wanted(&network, activation, &endpoint));
        let places: Places = places(&endpoint);
        Ok(Draft {
            endpoint,
            network,
            desired,
            places,
            announces: false,
            announced: None,
            new: false,
            activating,
            moved: Vec::new(),
        })
    }

    /// How the network comes into use, or what more of the host it needs than before.
    fn activating_adopted(
        &mut self,
        network: &NetworkName,
        endpoint: &Endpoint,
    ) -> Result<Activating, EngineError> {
        let mut active = self.txn.active()?;
        let mut routes: BTreeSet<Family> =
            endpoint.publish().iter().map(|p| Family::of(p.backend.ip)).collect();
        routes.extend(active.get(network).iter().flat_map(|known| known.routes.iter().copied()));
        if let Some(wire) = &endpoint.wire {
            let routes = routes.into_iter().collect();
            active.insert(network.clone(), Activation::of_adopted(wire.host_if.clone(), wire.mac, routes));
        }
        let facts = self.kernel.facts()?;
        let saved = self.saved_for(&active, &facts)?;
        Ok(Activating { active, saved })
    }

    /// Lets the host route what an adopted endpoint publishes. It is done at once: should it fail or be killed, the
    /// next command finds in the record that the network needs it.
    pub fn route_more(&mut self, network: &NetworkName, endpoint: &Endpoint) -> Result<(), EngineError> {
        let known = self.txn.active()?.remove(network);
        let routes = known.filter(Activation::is_adopted).map(|known| known.routes);
        let lacks = |routes: &Vec<Family>| {
            endpoint.publish().iter().any(|publish| !routes.contains(&Family::of(publish.backend.ip)))
        };
        if self.looks_only || !routes.as_ref().is_some_and(lacks) {
            return Ok(());
        }
        let Activating { active, saved } = self.activating_adopted(network, endpoint)?;
        self.txn.save(&saved)?;
        self.txn.set_active(&active)?;
        let plan = self.plan(&host_state(&active, &saved), &Places::new())?;
        self.apply(&plan, &Places::new())
    }

    /// Lets a network's bridge through where `iptables` drops what is forwarded. As with routes it is done at once, and
    /// looked after from then on.
    pub fn open_more(&mut self, network: &Network, endpoint: &Endpoint) -> Result<(), EngineError> {
        let Some(wire) = endpoint.wire.as_ref().filter(|wire| !wire.extras.opened.is_empty()) else {
            return Ok(());
        };
        let mut active = self.txn.active()?;
        let Some(activation) = active.get_mut(&network.name) else { return Ok(()) };
        let has_ports = matches!(network.driver, Driver::Bridge(_)); // the ports of a routed network are opened one by one
        let own = network.bridge().filter(|_| has_ports).map(Bridge::gateway_if);
        let bridge = own.or_else(|| wire.extras.adopted.as_ref()?.bridge.clone());
        let Some(bridge) = bridge else { return Ok(()) };
        let before = activation.open.len();
        activation.open.extend(wire.extras.opened.iter().map(|family| (*family, bridge.clone())));
        if activation.open.len() == before {
            return Ok(());
        }
        let state = activation.essence(&network.name).part(|key, _| matches!(key, Key::Open(..)));
        self.txn.forget_generation(); // should it be killed, the next command looks although nothing moved
        self.txn.set_active(&active)?;
        let plan = self.plan(&state, &Places::new())?;
        self.apply(&plan, &Places::new())
    }

    /// Keeps others out of an adopted endpoint, or no longer; what of its network changes for that.
    pub fn keep_apart(
        &mut self,
        adopted: &mut Adopted,
        endpoint: &mut Endpoint,
        ingress: Ingress,
    ) -> Result<(), EngineError> {
        let Some(place) = endpoint.wire.as_ref().and_then(|wire| wire.extras.adopted.clone()) else {
            return Ok(());
        };
        let isolated = ingress == Ingress::Isolated;
        let mut isolates = place.isolates && isolated;
        match &place.bridge {
            Some(bridge) if ingress != Ingress::Open => {
                adopted.apart.insert(bridge.clone());
                isolates |= isolated && !self.is_isolated(endpoint, bridge)?;
            }
            None if ingress == Ingress::SameBridge => {
                return Err(Refusal::new(
                    Code::Unsupported,
                    format!("`{}` is behind no bridge", endpoint.id.ifname),
                )
                .why("only a bridge tells who is of the same network")
                .into());
            }
            _ => {}
        }
        if let Some(wire) = &mut endpoint.wire {
            (wire.extras.isolated, wire.extras.apart) = (isolated, ingress != Ingress::Open);
            wire.extras.adopted.iter_mut().for_each(|place| place.isolates = isolates);
        }
        Ok(())
    }

    /// Whether an adopted endpoint's port is kept apart from others already.
    fn is_isolated(&mut self, endpoint: &Endpoint, bridge: &IfName) -> Result<bool, EngineError> {
        let ifname = &endpoint.id.ifname;
        let netns = endpoint.netns.as_ref();
        let found =
            netns.map(|netns| self.kernel.reached(netns, ifname, endpoint.addresses())).transpose()?;
        let found = found.flatten().filter(|found| found.port.is_some());
        let absent = || {
            Refusal::new(Code::Unsupported, format!("`{ifname}` is no pair with a port of `{bridge}`"))
                .why("a bridge keeps only its ports apart")
        };
        Ok(found.ok_or_else(absent)?.isolated)
    }
}

fn place(found: &Reached) -> Place {
    let bridge = found.device.clone().filter(|_| found.by_bridge);
    let (link, port) = (found.link.clone(), found.port.clone());
    Place { link, bridge, port, isolates: false, hairpins: found.hairpins }
}

fn wire(found: &Reached, request: &Attach, extras: Extras) -> Result<Wire, Refusal> {
    let addresses = request.given.iter().flat_map(|given| &given.addresses).copied().collect();
    let nowhere = IfName::new("lo")?;
    Ok(Wire {
        join: Join::Adopted,
        host_if: found.device.clone().unwrap_or(nowhere),
        mac: found.mac.map_or_else(|| Mac::new([2, 0, 0, 0, 0, 0]), Ok)?,
        addresses,
        mtu: found.mtu,
        gateways: Vec::new(),
        publish: Vec::new(),
        guard: false,
        allow: Vec::new(),
        extras,
    })
}
