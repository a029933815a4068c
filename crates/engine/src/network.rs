//! Networks: creating, removing, and the three that are always there.

use crate::activate::{Activating, host_state};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::outcome::{Created, Removed};
use crate::restore::keys;
use crate::session::Session;
use qiao_core::driver::{Activation, network_state};
use qiao_core::plan::{Ownership, State, diff, diff_all};
use qiao_core::request::{Attach, CreateNetwork};
use qiao_core::settings::{Settings, Toggle, default_subnet};
use qiao_core::{Bridge, Driver, IfName, Network, NetworkId, NetworkName, Owner, Plan, Pool, Refusal};
use qiao_kernel::{Facts, Kernel, Places};
use qiao_store::{Creation, Holder};
use std::collections::BTreeSet;

/// The default network.
pub(crate) const DEFAULT: &str = "bridge";
/// The default network's bridge.
const DEFAULT_DEVICE: &str = "qiao0";

/// The refusal for a network that does not exist.
pub(crate) fn no_such(name: &str) -> Refusal {
    Refusal::not_found(format!("there is no network {}", qiao_core::name::quoted(name)))
        .fix("qiao network ls")
}

/// The networks that are always there, as they are before they come into use for the first time.
pub(crate) fn predefined(settings: &Settings) -> Vec<Network> {
    let network = |name: &str, driver| {
        let id = NetworkId::from_bytes(std::array::from_fn(|i| qiao_core::owner::fnv(name, i as u64) as u8));
        let name = NetworkName::new(name).expect("the predefined names are names");
        Network { id, name, driver, labels: Default::default(), created: 0 }
    };
    let pool = settings.bip_pool().unwrap_or_else(|| Pool::new(default_subnet()));
    vec![
        network(DEFAULT, Driver::Bridge(default_bridge(settings, pool))),
        network("host", Driver::Host),
        network("none", Driver::None),
    ]
}

fn default_bridge(settings: &Settings, pool: Pool) -> Bridge {
    Bridge {
        device: IfName::new(DEFAULT_DEVICE).expect("the default device's name is an interface name"),
        pools: vec![pool],
        mtu: settings.fixed_mtu(),
        internal: false,
        host_access: true,
        icc: settings.icc,
        isolate: settings.isolate == Toggle::On,
        masquerade: true,
        guard: true,
        publish_address: None,
        dns: None,
        vrf: None,
        inline: None,
    }
}

impl<K: Kernel> Engine<K> {
    /// Creates a network and brings it into use.
    pub fn create_network(&mut self, request: &CreateNetwork) -> Result<Created, EngineError> {
        let done = self.create_untold(request);
        self.told(done)
    }

    fn create_untold(&mut self, request: &CreateNetwork) -> Result<Created, EngineError> {
        let mut session = self.begin()?;
        session.refuse_stuck_on(&request.name)?;
        let facts = session.kernel.facts()?;
        let network = session.design(request, &facts)?;
        let creation = session.twice(|session| {
            let (creation, activating, desired) = session.plan_creation(network.clone(), &facts)?;
            session.carry_out_creation(&creation, (&activating, &desired)).map(|()| creation)
        })?;
        Ok(Created { network: creation.network, plan: creation.plan })
    }

    /// What creating a network would do. Nothing is touched.
    pub fn plan_create_network(&mut self, request: &CreateNetwork) -> Result<Created, EngineError> {
        let mut session = self.look_only()?;
        let facts = session.kernel.facts()?;
        let network = session.design(request, &facts)?;
        let (creation, ..) = session.plan_creation(network, &facts)?;
        Ok(Created { network: creation.network, plan: creation.plan })
    }

    /// Removes a network that nobody is attached to.
    pub fn remove_network(&mut self, name: &NetworkName) -> Result<Removed, EngineError> {
        let done = self.remove_untold(name);
        self.told(done)
    }

    fn remove_untold(&mut self, name: &NetworkName) -> Result<Removed, EngineError> {
        let mut session = self.begin()?;
        let network = session.removable(name)?;
        session.txn.changes()?.remove(&network)?;
        let plan = session.finish_remove(&network)?;
        Ok(Removed { network, plan })
    }

    /// What removing a network would do. Nothing is touched.
    pub fn plan_remove_network(&mut self, name: &NetworkName) -> Result<Removed, EngineError> {
        let mut session = self.look_only()?;
        let network = session.removable(name)?;
        let plan = session.plan_remove(&network)?;
        Ok(Removed { network, plan })
    }
}

impl<K: Kernel> Session<'_, K> {
    /// The network of a request: the default one where none is named. The second says whether it is new.
    pub fn network_for(&mut self, request: &Attach) -> Result<(Network, bool), EngineError> {
        if let Some(given) = &request.given {
            return self.given_network(&given.network);
        }
        let name = request.network.as_ref().map_or(DEFAULT, NetworkName::as_str);
        if let Some(network) = self.txn.network(&NetworkName::new(name)?)? {
            self.refuse_moved_bip(&network)?;
            return if self.is_displaced(&network)? {
                Ok((self.first_use(network)?, true))
            } else {
                Ok((network, false))
            };
        }
        let network = predefined(self.settings).into_iter().find(|network| network.name.as_str() == name);
        match network.ok_or_else(|| no_such(name))? {
            network if network.bridge().is_some() => Ok((self.first_use(network)?, true)),
            network => Ok((network, false)),
        }
    }

    /// The default network as it comes into use for the first time: with a subnet that nothing is in the way of.
    fn first_use(&mut self, network: Network) -> Result<Network, EngineError> {
        let facts = self.kernel.facts()?;
        let bip = self.settings.bip_pool();
        let mut request = CreateNetwork::new(network.name.clone());
        request.options.device = network.bridge().map(|bridge| bridge.device.clone());
        match bip {
            Some(pool) => (request.subnets, request.gateways) = (vec![pool.subnet], vec![pool.gateway]),
            None if self.is_free(default_subnet(), &facts)? => request.subnets = vec![default_subnet()],
            None => {}
        }
        request.ranges.extend(self.settings.fixed_cidr);
        request.subnets.extend(self.settings.fixed_cidr_v6);
        let designed = self.design_unchecked(&request, &facts)?;
        Ok(Network { id: network.id, ..designed })
    }

    /// Whether the default network is out of use and something else of the host has taken the subnet since. Without
    /// `bip` the subnet was no administrator's choice, so the network takes another one.
    fn is_displaced(&mut self, network: &Network) -> Result<bool, EngineError> {
        let is_chosen = network.name.as_str() != DEFAULT || self.settings.bip_pool().is_some();
        if is_chosen || self.txn.active()?.contains_key(&network.name) {
            return Ok(false);
        }
        let facts = self.kernel.facts()?;
        Ok(self.refuse_taken(network, &facts).is_err())
    }

    /// The default network keeps its subnet until it is removed, also when `bip` says otherwise by now.
    fn refuse_moved_bip(&self, network: &Network) -> Result<(), Refusal> {
        let bip = self.settings.bip_pool().filter(|_| network.name.as_str() == DEFAULT);
        let Some(bip) = bip.map(|pool| pool.gateway_net()) else { return Ok(()) };
        let has: Vec<_> = network
            .bridge()
            .map(|bridge| bridge.pools.iter().map(Pool::gateway_net).collect())
            .unwrap_or_default();
        if has.contains(&bip) {
            return Ok(());
        }
        Err(Refusal::conflict(format!("the setting `bip` is {bip}, and network `{DEFAULT}` was made before"))
            .why(format!("it has {}", has.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
            .fix(format!("qiao network rm {DEFAULT}          (it is made anew at its next use)")))
    }

    fn plan_creation(
        &mut self,
        network: Network,
        facts: &Facts,
    ) -> Result<(Creation, Activating, State), EngineError> {
        let activating = self.activating((&network, None), facts)?;
        let mut desired = host_state(&activating.active, &activating.saved);
        if let Some(activation) = activating.active.get(&network.name) {
            desired.extend(network_state(&network, activation));
        }
        let plan = self.plan(&desired, &Places::new())?;
        Ok((Creation { network, plan }, activating, desired))
    }

    fn carry_out_creation(
        &mut self,
        creation: &Creation,
        wanted: (&Activating, &State),
    ) -> Result<(), EngineError> {
        let act = format!("create network `{}`", creation.network.name);
        self.txn.changes()?.create(creation)?;
        match self.try_creation(creation, wanted) {
            Ok(()) => Ok(self.txn.changes()?.created(&creation.network)?),
            Err(error) => match self.end_create(creation) {
                Ok(()) => Err(crate::recover::name(&act, error)),
                Err(_) => Err(self.residue(&creation.plan, &Places::new(), (&act, error))),
            },
        }
    }

    fn try_creation(
        &mut self,
        creation: &Creation,
        (activating, desired): (&Activating, &State),
    ) -> Result<(), EngineError> {
        self.txn.save(&activating.saved)?;
        self.txn.set_active(&activating.active)?;
        self.apply(&creation.plan, &Places::new())?;
        let missing = self.missing(desired, &Places::new())?;
        if let Some(op) = missing.ops().first() {
            let what = qiao_core::render::line(op);
            return Err(Refusal::conflict("the kernel is not as it was made")
                .why(format!("missing afterwards: {what}"))
                .into());
        }
        Ok(self.txn.save_network(&creation.network)?) // synced: from here on it exists
    }

    /// A network that may be removed: one that exists, is not always there, and has no members.
    fn removable(&mut self, name: &NetworkName) -> Result<Network, EngineError> {
        self.refuse_stuck_on(name)?;
        if let Some(network) = self.txn.network(name)? {
            let gone = self.collect_on(&network)?;
            self.refuse_members(&network, &gone)?;
            return Ok(network);
        }
        match predefined(self.settings).into_iter().find(|network| network.name == *name) {
            Some(network) if network.bridge().is_some() => Ok(network),
            Some(_) => {
                Err(Refusal::conflict(format!("cannot remove network `{name}`: it is always there")).into())
            }
            None => Err(no_such(name.as_str()).into()),
        }
    }

    fn refuse_members(&self, network: &Network, gone: &BTreeSet<String>) -> Result<(), EngineError> {
        let leases = self.txn.claims().leases(&network.name)?;
        let mut members = BTreeSet::new();
        for ip in leases.addresses()? {
            if let Some(Holder::Endpoint(key)) = leases.holder(ip)?.filter(|holder| !is_gone(holder, gone)) {
                members.insert(key);
            }
        }
        let members: Vec<String> = members.into_iter().collect();
        let Some(first) = members.first() else { return Ok(()) };
        let (sandbox, _) = first.split_once('@').unwrap_or((first, ""));
        Err(Refusal::conflict(format!("network `{}` has active endpoints", network.name))
            .why(members.join(", "))
            .fix(format!("qiao network disconnect {} {sandbox}", network.name))
            .into())
    }

    fn plan_remove(&mut self, network: &Network) -> Result<Plan, EngineError> {
        let mut active = self.txn.active()?;
        let saved = self.txn.saved()?;
        let mut had = host_state(&active, &saved);
        if let Some(activation) = active.remove(&network.name) {
            had.extend(network_state(network, &activation));
        }
        let shared =
            active.iter().flat_map(|(name, other)| other.essence(name).keys().cloned().collect::<Vec<_>>());
        for key in shared {
            had.remove(&key); // several networks may be on one VLAN
        }
        let left = self.left_on(&active, &saved)?;
        keys(&left).for_each(|key| drop(had.remove(&key)));
        let mut rest = self.rest(&had, &active, &saved)?;
        keys(&left).for_each(|key| drop(rest.remove(&key)));
        let plan = diff(&self.kernel.observe(&had, &Places::new())?, &rest)?;
        if self.mend_lost_rules(&plan)? {
            return Ok(diff(&self.kernel.observe(&had, &Places::new())?, &rest)?);
        }
        Ok(plan)
    }

    /// Networks in use whose record is gone and which nobody is attached to are no networks any more.
    pub fn remove_lost_networks(&mut self) -> Result<(), EngineError> {
        let mut used: BTreeSet<_> = self.txn.endpoints()?.iter().map(|e| e.network().clone()).collect();
        for key in self.unreadable_keys()? {
            used.extend(self.txn.claims().networks_of(&key)?);
        }
        for (name, activation) in self.txn.active()?.into_iter().filter(|(name, _)| !used.contains(name)) {
            if self.txn.network(&name)?.is_none() {
                self.remove_lost_network(&name, &activation)?;
            }
        }
        Ok(())
    }

    fn remove_lost_network(&mut self, name: &NetworkName, was: &Activation) -> Result<(), EngineError> {
        let (mut active, saved) = (self.txn.active()?, self.txn.saved()?);
        let mut had = host_state(&active, &saved);
        had.extend(was.essence(name));
        active.remove(name);
        let left = self.left_on(&active, &saved)?;
        keys(&left).for_each(|key| drop(had.remove(&key)));
        let mut rest = host_state(&active, &saved);
        keys(&left).for_each(|key| drop(rest.remove(&key)));
        self.twice(|session| {
            let mut observed = session.kernel.survey()?;
            let its = Ownership::Marked(Owner::Network(name.clone()));
            observed.retain(|_, found| found.owner == its);
            observed.extend(session.kernel.observe(&had, &Places::new())?);
            let (plan, _) = diff_all(&observed, &rest);
            session.apply(&plan, &Places::new())
        })?;
        self.deactivate(name)
    }

    /// Carries out a removal that has begun.
    pub fn finish_remove(&mut self, network: &Network) -> Result<Plan, EngineError> {
        let done = self.twice(|session| {
            let plan = session.plan_remove(network)?;
            session.apply(&plan, &Places::new()).map(|()| plan)
        });
        let plan = done.map_err(|error| {
            let act = format!("remove network `{}`", network.name);
            let rest = self.plan_remove(network).unwrap_or_default();
            self.residue(&rest.inverse(), &Places::new(), (&act, error))
        })?;
        self.deactivate(&network.name)?;
        self.txn.remove_network(network)?;
        self.txn.changes()?.removed(network)?;
        Ok(plan)
    }
}

fn is_gone(holder: &Holder, gone: &BTreeSet<String>) -> bool {
    matches!(holder, Holder::Endpoint(key) if gone.contains(key))
}
