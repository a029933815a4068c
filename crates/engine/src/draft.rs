//! A draft: everything an attachment will be, decided before anything is touched.

use crate::activate::{Activating, host_state};
use crate::address::Given;
use crate::engine::now;
use crate::error::EngineError;
use crate::recover::places;
use crate::session::{Presumed, Session};
use qiao_core::driver::{Activation, Active, network_state};
use qiao_core::endpoint::{Extras, Join, Names, Netns, Wire, host_if};
use qiao_core::owner::EndpointId;
use qiao_core::plan::State;
use qiao_core::request::Attach;
use qiao_core::subnet::Family;
use qiao_core::{Driver, Endpoint, IfName, Mac, Network, Owner, Refusal};
use qiao_kernel::{Kernel, Places};
use qiao_store::{Saved, Txn};
use std::net::IpAddr;

/// A draft of an attachment.
pub(crate) struct Draft {
    pub endpoint: Endpoint,
    pub network: Network,
    /// What must exist afterwards: of the host, of the network, of the endpoint.
    pub desired: State,
    pub places: Places,
    /// Whether neighbours could know the address at another hardware address.
    pub announces: bool,
    /// The hardware address that is told to the neighbours of a child.
    pub announced: Option<Mac>,
    /// Whether the network is made for it.
    pub new: bool,
    pub activating: Option<Activating>,
    pub moved: Vec<IpAddr>,
}

impl Draft {
    /// Whether the network comes into use with it.
    pub fn activates(&self) -> bool {
        self.activating.is_some()
    }

    /// What is being done, for messages.
    pub fn act(&self) -> String {
        format!("attach `{}` to network `{}`", self.endpoint.sandbox(), self.network.name)
    }

    /// What need not be looked at: a new pair is not there, and its network is as it was.
    pub fn presumed(&self, txn: &Txn<'_>) -> Result<Presumed, EngineError> {
        let pair = self.endpoint.wire.as_ref().filter(|wire| wire.join.is_pair());
        let settled = !self.new && self.activating.is_none() && !self.is_widened(txn)?;
        Ok(Presumed { absent: pair.map(|wire| wire.host_if.clone()), settled })
    }

    /// Whether its door has described the network anew, with more than was known of it.
    fn is_widened(&self, txn: &Txn<'_>) -> Result<bool, EngineError> {
        Ok(self.network.is_inline()
            && txn.network(&self.network.name)?.is_some_and(|known| known != self.network))
    }

    /// Writes down what the endpoint takes, before the kernel is touched.
    pub fn remember(&self, txn: &Txn<'_>) -> Result<(), EngineError> {
        if self.new || self.is_widened(txn)? {
            txn.save_network(&self.network)?;
        }
        if let Some(activating) = &self.activating {
            txn.save(&activating.saved)?;
            txn.set_active(&activating.active)?;
        }
        if let Some(taken) = txn.claims().take(&self.endpoint)? {
            return Err(Refusal::conflict(format!("the {taken} is taken"))
                .fix("qiao gc      (gives back what belongs to nobody)")
                .into());
        }
        let leases = txn.claims().leases(&self.network.name)?;
        Ok(self.moved.iter().try_for_each(|ip| leases.set_last(*ip))?)
    }
}

impl<K: Kernel> Session<'_, K> {
    /// Decides what an attachment will be.
    pub fn draft(&mut self, request: &Attach) -> Result<Draft, EngineError> {
        let (network, new) = self.network_for(request)?;
        let act = format!("cannot attach `{}` to network `{}`", request.sandbox, network.name);
        self.refuse_stuck_sandbox(&request.sandbox)?;
        self.refuse_stuck_network(&network.name)?;
        self.draft_on(network, request).map(|draft| Draft { new, ..draft }).map_err(|error| match error {
            EngineError::Refused(refusal) => EngineError::Refused(refusal.context(act)),
            other => other,
        })
    }

    fn draft_on(&mut self, network: Network, request: &Attach) -> Result<Draft, EngineError> {
        let others = self.others(request)?;
        if let Some(other) =
            others.iter().find(|other| request.given.is_none() && *other.network() == network.name)
        {
            return Err(Refusal::conflict(format!("it is attached already, as `{}`", other.id.ifname)).into());
        }
        let netns = self.netns(request, &network, &others)?;
        let others = self.with_namesakes((&network, netns.as_ref()), others)?;
        self.detach_gone_beside(&network, request)?;
        match &network.driver {
            Driver::Bridge(_) | Driver::Routed(_) | Driver::Child(_) | Driver::Solo(_) => {
                self.draft_wired(network, request, (netns, &others))
            }
            Driver::Adopted(_) => self.draft_adopted(network, request, (netns, &others)),
            Driver::Host | Driver::None => self.draft_plain(network, request, netns),
        }
    }

    /// The sandbox's other endpoints. Those whose namespace is gone are of a container that is gone too.
    pub fn others(&mut self, request: &Attach) -> Result<Vec<Endpoint>, EngineError> {
        let (others, gone): (Vec<_>, Vec<_>) = self
            .txn
            .sandbox(&request.sandbox)?
            .into_iter()
            .partition(|other| other.netns.as_ref().is_none_or(|netns| self.kernel.is_alive(netns)));
        self.refuse_unreadable(&request.sandbox)?;
        self.detach_gone(&gone)?;
        Ok(others)
    }

    /// The same with those that have the same namespace under another name. On one network there is one endpoint
    /// a namespace, and the default routes are those of the first; nobody's records need be searched for that.
    fn with_namesakes(
        &mut self,
        (network, netns): (&Network, Option<&Netns>),
        mut others: Vec<Endpoint>,
    ) -> Result<Vec<Endpoint>, EngineError> {
        let Some(netns) = netns else { return Ok(others) };
        for mark in self.kernel.marks_in(netns)? {
            if others.iter().any(|other| other.owner().mark() == mark) {
                continue;
            }
            let refused = |whose: &str| {
                let refusal =
                    Refusal::conflict("its network namespace is attached already under another name");
                refusal.why(format!("the interface in it belongs to {whose}"))
            };
            match Owner::parse(&mark) {
                Some(Owner::Endpoint(id)) if id.network != network.name => {
                    others.extend(self.txn.endpoint(&id.sandbox, id.ifname.as_str())?);
                }
                Some(owner @ Owner::Endpoint(_)) => {
                    return Err(refused(&format!("{owner} on this network")).into());
                }
                Some(_) => {}
                None => return Err(refused("a container with a long name").into()),
            }
        }
        Ok(others)
    }

    fn netns(
        &mut self,
        request: &Attach,
        network: &Network,
        others: &[Endpoint],
    ) -> Result<Option<Netns>, EngineError> {
        let known = others.iter().find_map(|other| other.netns.clone());
        let Some(path) = &request.netns else {
            return match (known, &network.driver) {
                (Some(netns), _) => Ok(Some(netns)),
                (None, Driver::Host) => Ok(None),
                (None, _) => {
                    Err(Refusal::invalid("no network namespace").fix("give its path with --netns").into())
                }
            };
        };
        if network.driver == Driver::Host {
            return Err(Refusal::invalid("the host network takes no network namespace")
                .why("its containers are in the host's")
                .into());
        }
        let netns = self.kernel.netns(path)?;
        match known.filter(|known| !known.is_same(&netns)) {
            Some(known) => {
                Err(Refusal::conflict(format!("`{}` has another network namespace", request.sandbox))
                    .why(format!("it is attached with `{}`", known.path))
                    .into())
            }
            None => Ok(Some(netns)),
        }
    }

    fn draft_plain(
        &mut self,
        network: Network,
        request: &Attach,
        netns: Option<Netns>,
    ) -> Result<Draft, EngineError> {
        if let Some(spec) = request.publish.first() {
            let why = format!("the `{}` network publishes nothing", network.name);
            return Err(Refusal::invalid(format!("cannot publish {spec}")).why(why).into());
        }
        let ifname = if network.driver == Driver::Host { "host" } else { "lo" };
        let id = EndpointId {
            sandbox: request.sandbox.clone(),
            ifname: IfName::new(ifname)?,
            network: network.name.clone(),
        };
        let endpoint = Endpoint { id, netns, wire: None, attached: now() };
        let desired = qiao_core::driver::plain_state(&network, &endpoint);
        let places = places(&endpoint);
        Ok(Draft {
            endpoint,
            network,
            desired,
            places,
            announces: false,
            announced: None,
            new: false,
            activating: None,
            moved: Vec::new(),
        })
    }

    fn draft_wired(
        &mut self,
        network: Network,
        request: &Attach,
        (netns, others): (Option<Netns>, &[Endpoint]),
    ) -> Result<Draft, EngineError> {
        let activating = match self.txn.active()?.contains_key(&network.name) {
            true => None,
            false => {
                let facts = self.kernel.facts()?;
                Some(self.activating((&network, netns.as_ref()), &facts)?)
            }
        };
        let (active, saved) = self.in_use(activating.as_ref())?;
        let activation = &active[&network.name];
        let ifname = self.ifname(request, netns.as_ref(), others)?;
        let id = EndpointId { sandbox: request.sandbox.clone(), ifname, network: network.name.clone() };
        let host = self.hosts_addresses(&network, activation)?;
        let given = match &request.given {
            Some(known) if !network.is_dhcp() => self.given_addresses(&network, &known.addresses)?,
            _ if network.is_dhcp() => {
                let address = self.need_lease(&host)?.terms.net();
                self.given_addresses(&network, &[address])?
            }
            _ => self.addresses(&network, &request.wish, &host)?,
        };
        if request.given.is_some() || network.is_dhcp() {
            self.refuse_addresses((&network, activation), &given, &host)?;
        }
        let (mut wire, announced) = self.wire((&network, activation), request, (&id, &given, others))?;
        if let (Some(known), Some(netns)) = (&request.given, &netns) {
            self.add_extras(&mut wire, known, (&id, netns))?;
        }
        self.refuse_mtu((&network, activation), &wire, &host)?;
        let endpoint = Endpoint { id, netns, wire: Some(wire), attached: now() };
        self.refuse_names(&network, &endpoint)?;
        let mut desired = host_state(&active, &saved);
        desired.extend(network_state(&network, activation));
        desired.extend(self.wanted(&network, activation, &endpoint));
        let moved = given.iter().filter(|(_, moves)| *moves).map(|(net, _)| net.addr()).collect();
        let announces = request.wish.mac.is_some() || network.bridge().is_none();
        let places = places(&endpoint);
        Ok(Draft { endpoint, network, desired, places, announces, announced, new: false, activating, moved })
    }

    /// The networks in use, and how the host was before them, with one that comes into use.
    pub fn in_use(&self, activating: Option<&Activating>) -> Result<(Active, Saved), EngineError> {
        match activating {
            Some(activating) => Ok((activating.active.clone(), activating.saved.clone())),
            None => Ok((self.txn.active()?, self.txn.saved()?)),
        }
    }

    fn wire(
        &mut self,
        (network, activation): (&Network, &Activation),
        request: &Attach,
        (id, given, others): (&EndpointId, &[Given], &[Endpoint]),
    ) -> Result<(Wire, Option<Mac>), EngineError> {
        if let Driver::Solo(solo) = &network.driver {
            return self.solo_wire((network, activation, solo), request, (id, given));
        }
        let Some(bridge) = network.bridge() else {
            return self.child_wire((network, activation), request, (id, given, others));
        };
        let mut wire = Wire {
            join: Join::Pair,
            host_if: self.host_if(request, id)?,
            mac: self.mac((network, activation), (id, given), &self.leased_mac(&request.wish))?,
            addresses: given.iter().map(|(net, _)| *net).collect(),
            mtu: activation.mtu,
            gateways: if defaults(request) { gateways(network, others) } else { Vec::new() },
            publish: Vec::new(),
            guard: request.guard.unwrap_or(bridge.guard),
            allow: request.allow.clone(),
            extras: Extras::default(),
        };
        let held = request.given.as_ref().is_some_and(|given| given.held);
        self.publish(Some(bridge), (id, &mut wire), (&request.publish, held))?;
        wire.extras.names = names(network, request)?;
        self.on_lease(&mut wire, others, network);
        Ok((wire, None))
    }

    /// The name of the host's end: the one asked for, or the first that no interface has.
    fn host_if(&mut self, request: &Attach, id: &EndpointId) -> Result<IfName, EngineError> {
        if let Some(name) = request.given.as_ref().and_then(|given| given.host_if.clone()) {
            return match self.kernel.link_index(&name)? {
                None => Ok(name),
                Some(_) => {
                    Err(Refusal::conflict(format!("the host has an interface `{name}` already")).into())
                }
            };
        }
        for attempt in 0..16 {
            let name = host_if(&id.sandbox, &id.ifname, attempt);
            if self.kernel.link_index(&name)?.is_none() {
                return Ok(name);
            }
        }
        Err(Refusal::conflict("no free name for the host's end of the pair").into())
    }

    /// The interface inside: the one asked for, or the first `eth…` that there is not.
    fn ifname(
        &mut self,
        request: &Attach,
        netns: Option<&Netns>,
        others: &[Endpoint],
    ) -> Result<IfName, EngineError> {
        let mut taken: Vec<String> = others.iter().map(|other| other.id.ifname.to_string()).collect();
        if let Some(netns) = netns {
            taken.extend(self.kernel.links_in(netns)?);
        }
        if let Some(name) = &request.ifname {
            if taken.iter().any(|t| t == name.as_str()) {
                return Err(
                    Refusal::conflict(format!("its namespace has an interface `{name}` already")).into()
                );
            }
            return Ok(name.clone());
        }
        let free = (0..).map(|n| format!("eth{n}")).find(|name| !taken.contains(name));
        Ok(IfName::new(&free.unwrap_or_default())?)
    }
}

/// What it is called, where the network has names.
fn names(network: &Network, request: &Attach) -> Result<Option<Names>, Refusal> {
    let has = network.bridge().is_some_and(|bridge| bridge.dns.is_some());
    if !has && !request.names.aliases.is_empty() {
        return Err(no_names(network));
    }
    Ok(has.then(|| request.names.clone()))
}

/// The refusal of an alias on a network without names.
fn no_names(network: &Network) -> Refusal {
    Refusal::invalid(format!("network `{}` has no names, so it takes no alias", network.name))
        .fix("qiao network create NAME          (networks of your own have names)")
}

/// Whether an endpoint gets default routes at all.
pub(crate) fn defaults(request: &Attach) -> bool {
    request.given.as_ref().is_none_or(|given| given.default_routes)
}

/// The default routes that the endpoint gets: those of families in which no other endpoint has one. An
/// internal network leads nowhere.
pub(crate) fn gateways(network: &Network, others: &[Endpoint]) -> Vec<IpAddr> {
    let has = |family| {
        let mut gateways =
            others.iter().filter_map(|other| other.wire.as_ref()).flat_map(|wire| &wire.gateways);
        gateways.any(|gateway| Family::of(*gateway) == family)
    };
    let mut gateways: Vec<IpAddr> = Vec::new();
    for pool in network.pools().iter().filter(|_| !network.is_internal()) {
        let family = pool.subnet.family();
        if !has(family) && gateways.iter().all(|gateway| Family::of(*gateway) != family) {
            gateways.push(pool.gateway);
        }
    }
    gateways
}
