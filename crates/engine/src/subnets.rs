//! Designing a network: its subnets, its device, and what is in the way of them.

use crate::engine::{now, random};
use crate::error::EngineError;
use crate::network::predefined;
use crate::session::Session;
use ipnet::{IpNet, Ipv6Net};
use qiao_core::ipam::{Busy, BusyMap, choose_subnet};
use qiao_core::network::{Dns, MTU_MIN_V6};
use qiao_core::request::{CreateNetwork, Kind};
use qiao_core::settings::{AutoToggle, Toggle};
use qiao_core::subnet::Family;
use qiao_core::{
    Bridge, Code, Driver, IfName, Key, Network, NetworkId, NetworkName, Op, Plan, Pool, Refusal, Subnet,
};
use qiao_kernel::{Facts, Kernel};
use std::net::Ipv6Addr;

impl<K: Kernel> Session<'_, K> {
    /// Decides what a network will be.
    pub fn design(&mut self, request: &CreateNetwork, facts: &Facts) -> Result<Network, EngineError> {
        let act = format!("cannot create network `{}`", request.name);
        if predefined(self.settings).iter().any(|network| network.name == request.name) {
            return Err(Refusal::conflict(format!("{act}: a network of this name is always there")).into());
        }
        if self.txn.network(&request.name)?.is_some() {
            return Err(Refusal::conflict(format!("{act}: it exists already"))
                .fix(format!("qiao network inspect {}", request.name))
                .into());
        }
        self.design_unchecked(request, facts).map_err(|error| match error {
            EngineError::Refused(refusal) => EngineError::Refused(refusal.context(act)),
            other => other,
        })
    }

    /// The same for a name that may exist.
    pub fn design_unchecked(
        &mut self,
        request: &CreateNetwork,
        facts: &Facts,
    ) -> Result<Network, EngineError> {
        if request.dhcp && !request.kind.is_child() {
            return Err(Refusal::invalid(format!(
                "a {} network has no addresses by DHCP",
                request.kind.as_str()
            ))
            .why("its addresses are its own: no DHCP server is on it")
            .fix("-d macvlan")
            .into());
        }
        let id = NetworkId::from_bytes(random());
        let driver = match request.kind {
            Kind::Bridge => Driver::Bridge(self.design_bridge(request, &id, facts)?),
            Kind::Routed => Driver::Routed(self.design_bridge(request, &id, facts)?),
            Kind::Macvlan | Kind::Ipvlan => Driver::Child(self.design_child(request, facts)?),
        };
        let (name, labels) = (request.name.clone(), request.labels.clone());
        Ok(Network { id, name, driver, labels, created: now() })
    }

    fn design_bridge(
        &mut self,
        request: &CreateNetwork,
        id: &NetworkId,
        facts: &Facts,
    ) -> Result<Bridge, EngineError> {
        refuse_parent(request)?;
        let mut pools = Vec::new();
        for family in [Family::V4, Family::V6] {
            if self.wants(family, request, facts)? {
                pools.push(self.pool(family, request, facts)?);
            }
        }
        all_used(request, &pools)?;
        let device = device(request, id, facts)?;
        let bridge = self.bridge(request, device, pools);
        bridge.check()?;
        Ok(bridge)
    }

    fn bridge(&self, request: &CreateNetwork, device: IfName, pools: Vec<Pool>) -> Bridge {
        let options = &request.options;
        Bridge {
            device,
            pools,
            mtu: options.mtu.or(self.settings.fixed_mtu()),
            internal: options.internal,
            host_access: options.host_access.unwrap_or(!options.internal),
            icc: options.icc.unwrap_or(self.settings.icc),
            isolate: options.isolate.unwrap_or(self.settings.isolate == Toggle::On),
            masquerade: options.masquerade.unwrap_or(true),
            guard: options.guard.unwrap_or(true),
            publish_address: options.publish_address,
            dns: options
                .dns
                .unwrap_or(!is_default(request))
                .then(|| Dns { upstreams: options.dns_upstreams.clone() }),
            vrf: None,
            inline: None,
        }
    }

    /// Whether the network shall have the family. A subnet that is given says so too.
    fn wants(&self, family: Family, request: &CreateNetwork, facts: &Facts) -> Result<bool, Refusal> {
        let given = request.subnets.iter().any(|subnet| subnet.family() == family);
        if family == Family::V4 {
            return match request.ipv4 {
                Some(false) if given => Err(Refusal::invalid("an IPv4 subnet, and no IPv4")),
                wish => Ok(wish.unwrap_or(true)),
            };
        }
        let auto = match self.settings.ipv6 {
            AutoToggle::On => true,
            AutoToggle::Off => false,
            AutoToggle::Auto => facts.ipv6_default,
        };
        match (request.ipv6, given) {
            (Some(false), true) => Err(Refusal::invalid("an IPv6 subnet, and no IPv6")),
            (Some(true), _) | (None, true) if !facts.ipv6 => {
                Err(Refusal::new(Code::Unsupported, "this kernel has no IPv6"))
            }
            // The MTU was not requested, but neither was IPv6: then IPv6 is left out.
            (wish, given) => {
                let mtu = request.options.mtu.or(self.settings.fixed_mtu());
                let fits = mtu.is_none_or(|mtu| mtu >= MTU_MIN_V6);
                Ok(wish.unwrap_or(given || (auto && fits && facts.ipv6)))
            }
        }
    }

    pub fn pool(
        &mut self,
        family: Family,
        request: &CreateNetwork,
        facts: &Facts,
    ) -> Result<Pool, EngineError> {
        let given = request.subnets.iter().find(|subnet| subnet.family() == family);
        let subnet = match given {
            Some(subnet) => *subnet,
            None => self.free_subnet(family, &request.name, facts)?,
        };
        let mut pool = Pool { forced: request.force && given.is_some(), ..Pool::new(subnet) };
        if let Some(router) = self.router(subnet, request, facts) {
            pool.gateway = router;
        }
        if let Some(gateway) = request.gateways.iter().find(|ip| subnet.contains(**ip)) {
            pool.gateway = *gateway;
        }
        pool.range = request.ranges.iter().find(|range| range.family() == family).copied();
        pool.aux = request
            .aux
            .iter()
            .filter(|(_, ip)| subnet.contains(**ip))
            .map(|(name, ip)| (name.clone(), *ip))
            .collect();
        pool.check()?;
        if given.is_some() {
            self.refuse_overlap(subnet, request, facts)?;
        }
        Ok(pool)
    }

    /// A subnet that nothing of the host uses: from the pools, or a random unique local /64 (RFC 4193).
    /// What the default network will have is left to it, although it may not be in use yet.
    fn free_subnet(
        &mut self,
        family: Family,
        name: &NetworkName,
        facts: &Facts,
    ) -> Result<Subnet, EngineError> {
        let others = predefined(self.settings).into_iter().filter(|network| network.name != *name);
        let pools = others.flat_map(|network| network.pools().to_vec());
        let why = "the default network has it";
        let reserved = pools.map(|pool| Busy::new(pool.subnet.net(), why)).collect();
        let busy = self.busy(facts, reserved)?;
        if family == Family::V4 || self.settings.pools(family).next().is_some() {
            return Ok(choose_subnet(family, self.settings.pools(family), &busy)?);
        }
        let mut tries =
            (0..8).map(|_| unique_local(random())).filter(|subnet| busy.overlap(*subnet).is_none());
        Ok(tries.next().ok_or_else(|| Refusal::new(Code::Exhausted, "no free IPv6 subnet"))?)
    }

    /// Whether nothing of the host uses a subnet.
    pub fn is_free(&mut self, subnet: Subnet, facts: &Facts) -> Result<bool, EngineError> {
        Ok(self.busy(facts, Vec::new())?.overlap(subnet).is_none())
    }

    fn busy(&self, facts: &Facts, more: Vec<Busy>) -> Result<BusyMap, EngineError> {
        let avoided = self
            .settings
            .avoid_subnets
            .iter()
            .map(|subnet| Busy::new(subnet.net(), format!("{subnet} is in `avoid-subnets`")));
        Ok(BusyMap::new(facts.busy.iter().cloned().chain(self.taken(None)?).chain(avoided).chain(more)))
    }

    /// The subnets of our networks, but for one of them.
    fn taken(&self, except: Option<&NetworkName>) -> Result<Vec<Busy>, EngineError> {
        let networks = self.txn.networks()?.into_iter().filter(|network| Some(&network.name) != except);
        let busy = |network: &Network, pool: &Pool| {
            Busy::new(pool.subnet.net(), format!("network `{}` has {}", network.name, pool.subnet))
        };
        let all = networks
            .flat_map(|network| network.pools().iter().map(|pool| busy(&network, pool)).collect::<Vec<_>>());
        Ok(all.collect())
    }

    /// Refuses a subnet that was asked for and that something uses. Another network of ours is in the way even
    /// with `--force`: which of the two a packet belongs to could not be told.
    fn refuse_overlap(
        &self,
        subnet: Subnet,
        request: &CreateNetwork,
        facts: &Facts,
    ) -> Result<(), EngineError> {
        let ours = BusyMap::new(self.taken(Some(&request.name))?);
        let refuse = |busy: &Busy| {
            Refusal::conflict(format!("subnet {subnet} overlaps {}", busy.net)).why(busy.why.clone())
        };
        if let Some(busy) = ours.overlap(subnet) {
            return Err(refuse(busy).fix("qiao network ls").into());
        }
        let host = BusyMap::new(facts.busy.iter().cloned());
        match host.overlap(subnet).filter(|_| !request.force && !request.kind.is_child()) {
            Some(busy) => Err(refuse(busy)
                .fix(format!("qiao network create {}                    (takes a free subnet)", request.name))
                .fix("--force creates it anyway: containers then hide those addresses")
                .into()),
            None => Ok(()),
        }
    }
}

impl<K: Kernel> Session<'_, K> {
    /// Refuses to bring a network into use on a subnet that something else of the host has taken since the network was
    /// created: both would be cut off.
    pub fn refuse_taken(&self, network: &Network, facts: &Facts) -> Result<(), Refusal> {
        let Some(Taken { subnet, busy }) = taken_of(network, facts) else { return Ok(()) };
        let name = &network.name;
        Err(Refusal::conflict(format!("the subnet {subnet} of network `{name}` overlaps {}", busy.net))
            .why(format!("{}, since the network was created", busy.why))
            .fix(format!("qiao network rm {name}; qiao network create {name}      (takes a free subnet)"))
            .fix(format!("qiao network rm {name}; qiao network create {name} --subnet {subnet} --force")))
    }

    /// The same for a plan that creates the device of a network that is in use: another program deleted the device,
    /// and the subnet may be another's by now.
    pub fn refuse_taken_by(&mut self, plan: &Plan) -> Result<(), EngineError> {
        let created: Vec<&IfName> = plan.ops().iter().filter_map(created_device).collect();
        if created.is_empty() {
            return Ok(());
        }
        let mut facts = None;
        for (name, _) in self.txn.active()?.iter().filter(|(_, active)| created.contains(&&active.device)) {
            let Some(network) = self.txn.network(name)? else { continue };
            let facts = match &facts {
                Some(facts) => facts,
                None => facts.insert(self.kernel.facts()?),
            };
            self.refuse_taken(&network, facts)?;
        }
        Ok(())
    }

    /// Which networks in use share addresses with something else of the host, in words.
    pub fn overlaps(&mut self) -> Result<Vec<String>, EngineError> {
        let (active, mut found) = (self.txn.active()?, Vec::new());
        if active.is_empty() {
            return Ok(found);
        }
        let facts = self.kernel.facts()?;
        for name in active.keys() {
            let Some(network) = self.txn.network(name)? else { continue };
            let taken = taken_of(&network, &facts);
            found.extend(taken.map(|Taken { subnet, busy }| {
                format!("the subnet {subnet} of network `{name}` overlaps {}: {}", busy.net, busy.why)
            }));
        }
        Ok(found)
    }
}

/// A subnet of a network, and what uses some of it.
struct Taken {
    subnet: Subnet,
    busy: Busy,
}

/// The first subnet of a network of our own that something else of the host uses. Where a network of another door lies
/// is for that door to say; `--force` was a decision.
fn taken_of(network: &Network, facts: &Facts) -> Option<Taken> {
    let bridge = network.bridge().filter(|bridge| bridge.inline.is_none())?;
    let others = facts.busy.iter().filter(|busy| busy.device.as_ref() != Some(&bridge.device)).cloned();
    let host = BusyMap::new(others);
    let mut asked = bridge.pools.iter().filter(|pool| !pool.forced).map(|pool| pool.subnet);
    asked.find_map(|subnet| Some(Taken { subnet, busy: host.overlap(subnet)?.clone() }))
}

fn created_device(op: &Op) -> Option<&IfName> {
    match op {
        Op::Add { key: Key::Bridge(device), .. } => Some(device),
        _ => None,
    }
}

/// The default network has no names: Docker's has none either.
fn is_default(request: &CreateNetwork) -> bool {
    request.name.as_str() == crate::network::DEFAULT
}

fn refuse_parent(request: &CreateNetwork) -> Result<(), Refusal> {
    match request.parent.is_some() || request.mode.is_some() {
        true => {
            Err(Refusal::invalid(format!("a {} network has no parent and no mode", request.kind.as_str()))
                .why("macvlan and ipvlan networks have"))
        }
        false => Ok(()),
    }
}

/// Refuses gateways, ranges and auxiliary addresses that belong to none of the subnets.
pub(crate) fn all_used(request: &CreateNetwork, pools: &[Pool]) -> Result<(), Refusal> {
    let inside = |ip| pools.iter().any(|pool| pool.subnet.contains(ip));
    if let Some(ip) = request.gateways.iter().find(|ip| !inside(**ip)) {
        return Err(Refusal::invalid(format!("the gateway `{ip}` is in none of the network's subnets")));
    }
    if let Some(range) = request.ranges.iter().find(|range| !inside(range.first())) {
        return Err(Refusal::invalid(format!("the range {range} is in none of the network's subnets")));
    }
    if let Some((name, ip)) = request.aux.iter().find(|(_, ip)| !inside(**ip)) {
        let what = format!(
            "the auxiliary address {} (`{ip}`) is in none of the network's subnets",
            qiao_core::name::quoted(name)
        );
        return Err(Refusal::invalid(what));
    }
    let families: Vec<_> = request.subnets.iter().map(|subnet| subnet.family()).collect();
    match families.iter().filter(|family| **family == Family::V4).count() > 1
        || families.iter().filter(|family| **family == Family::V6).count() > 1
    {
        true => {
            Err(Refusal::invalid("a network takes one subnet of each family").fix("create a second network"))
        }
        false => Ok(()),
    }
}

/// The device's name: the one asked for, `br-` and the network's name, or `br-` and its id; `rt-` where it has no
/// ports.
fn device(request: &CreateNetwork, id: &NetworkId, facts: &Facts) -> Result<IfName, Refusal> {
    let taken = |name: &IfName| facts.links.iter().any(|link| link == name.as_str());
    if let Some(name) = &request.options.device {
        if taken(name) {
            return Err(Refusal::conflict(format!("the host has an interface `{name}` already")));
        }
        return Ok(name.clone());
    }
    let prefix = if request.kind == Kind::Routed { "rt" } else { "br" };
    let plain = IfName::new(&format!("{prefix}-{}", request.name)).ok().filter(|name| !taken(name));
    plain.map_or_else(|| IfName::new(&format!("{prefix}-{}", id.short())), Ok)
}

fn unique_local(random: [u8; 32]) -> Subnet {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..8].copy_from_slice(&random[..7]);
    Subnet::around(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(octets), 64)))
}
