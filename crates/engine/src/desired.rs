//! What must exist, in parts: whatever the root of one container does to its interfaces, the others' are mended.

use crate::activate::host_state;
use crate::error::EngineError;
use crate::recover::places;
use crate::session::Session;
use qiao_core::driver::{Activation, Active, implied_state, network_state};
use qiao_core::plan::{Found, Key, Ownership, State};
use qiao_core::{Endpoint, NetworkName, Owner};
use qiao_kernel::{Kernel, Places};
use qiao_store::{EndpointName, Saved};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What must exist of one network, or of one endpoint, besides its part of the rules.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Whose, for messages.
    pub what: String,
    pub state: State,
    pub places: Places,
}

/// Everything that must exist.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desired {
    pub all: State,
    /// The networks in use, then the endpoints that live.
    pub parts: Vec<Part>,
    pub spared: Spared,
}

impl Desired {
    /// The rules and settings, whosever they are: one transaction, so that they are never in force without what
    /// is in them.
    pub fn rules(&self) -> State {
        self.all.part(|key, _| key.is_firewall())
    }

    /// What serves clients of 127.0.0.1 is a part by itself: a socket of the host's may be in its way.
    fn add(&mut self, what: String, state: State, places: Places) {
        let is_loopback = |key: &Key| matches!(key, Key::Loopback(_));
        let loopback = state.part(|key, _| is_loopback(key));
        let rest = state.part(|key, _| !key.is_firewall() && !is_loopback(key));
        if !loopback.is_empty() {
            let what = format!("{what}, for clients of 127.0.0.1 and ::1");
            self.parts.push(Part { what, state: loopback, places: Places::new() });
        }
        self.parts.push(Part { what, state: rest, places });
        self.all.extend(state);
    }
}

/// What is left alone, since nobody knows any more how it must be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spared {
    owners: BTreeSet<Owner>,
    /// Endpoints whose network is not known.
    unreadable: BTreeSet<EndpointName>,
    addresses: BTreeSet<IpAddr>,
    /// What, and why.
    pub notes: Vec<String>,
}

impl Spared {
    /// Whether an object is left alone. One whose mark does not tell whose it is may be of somebody who is.
    pub fn has(&self, key: &Key, found: &Found) -> bool {
        match (&found.owner, key) {
            (Ownership::Marked(owner), _) => self.owners.contains(owner) || self.is_unreadable(owner),
            (Ownership::Ours, Key::Neighbour(_, ip)) => self.addresses.contains(ip),
            (Ownership::Ours, Key::HostRoute(net)) => self.addresses.contains(&net.addr()),
            (Ownership::Ours, _) => !self.owners.is_empty() || !self.unreadable.is_empty(),
            (Ownership::Foreign, _) => true,
        }
    }

    fn is_unreadable(&self, owner: &Owner) -> bool {
        let Owner::Endpoint(id) = owner else { return false };
        self.unreadable.iter().any(|name| (&name.sandbox, &name.ifname) == (&id.sandbox, &id.ifname))
    }

    /// An endpoint whose record makes no sense, and its addresses.
    pub fn unreadable(&mut self, name: EndpointName, addresses: impl Iterator<Item = IpAddr>) {
        self.unreadable.insert(name);
        self.addresses.extend(addresses);
    }

    /// Whether nothing is left alone.
    pub fn is_nobody(&self) -> bool {
        self.owners.is_empty() && self.unreadable.is_empty()
    }

    /// Everything of an owner.
    pub fn owner(&mut self, owner: Owner) {
        self.owners.insert(owner);
    }

    /// A network that is in use and whose record is lost: the host's part of the rules may be needed for it.
    pub fn network(&mut self, name: &NetworkName) {
        self.owner(Owner::Network(name.clone()));
        self.owner(Owner::Host);
    }

    /// An endpoint.
    pub fn endpoint(&mut self, endpoint: &Endpoint) {
        self.owner(endpoint.owner());
        self.addresses.extend(endpoint.addresses().iter().map(|net| net.addr()));
    }
}

impl<K: Kernel> Session<'_, K> {
    /// Everything that must exist: of the host, of these networks in use, of the endpoints that live.
    pub fn desired(&mut self, active: &Active, saved: &Saved) -> Result<Desired, EngineError> {
        let mut desired = Desired::default();
        self.spare_stuck(&mut desired.spared);
        self.spare_unreadable(active, &mut desired.spared)?;
        if !active.is_empty() {
            desired.all = host_state(active, saved);
            if self.txn.saved_is_unreadable() {
                desired.spared.owner(Owner::Host); // some of it depends on how the host was
            }
        }
        let (present, orphans) = self.present(active)?;
        desired.spared.notes.extend(orphans);
        for (name, activation) in &present {
            let state = self.network_desired(name, activation)?;
            desired.add(format!("network `{name}`"), state, Places::new());
        }
        for endpoint in self.txn.endpoints()? {
            let is_orphan =
                active.contains_key(endpoint.network()) && !present.contains_key(endpoint.network());
            if !is_orphan && self.lives(&endpoint) {
                self.endpoint_desired(active, &endpoint, &mut desired)?;
            }
        }
        Ok(desired)
    }

    fn network_desired(&self, name: &NetworkName, activation: &Activation) -> Result<State, EngineError> {
        let network = self.txn.network(name)?;
        let Some(network) = network else { return Ok(activation.essence(name)) };
        let mut state = network_state(&network, activation);
        state.extend(implied_state(&network, activation));
        Ok(state)
    }

    fn endpoint_desired(
        &self,
        active: &Active,
        endpoint: &Endpoint,
        desired: &mut Desired,
    ) -> Result<(), EngineError> {
        let (network, activation) = (self.txn.network(endpoint.network())?, active.get(endpoint.network()));
        match (network, activation) {
            (Some(network), Some(activation)) => {
                let state = self.wanted(&network, activation, endpoint);
                desired.add(format!("endpoint {}", endpoint.id), state, places(endpoint));
            }
            // The networks that are always there and never in use have no record.
            _ if endpoint.wire.is_none() => {}
            _ => {
                desired.spared.endpoint(endpoint);
                desired.spared.network(endpoint.network());
                let why = "the record of its network is gone; it is left as it is";
                desired.spared.notes.push(format!("endpoint {}: {why}", endpoint.id));
            }
        }
        Ok(())
    }
}
