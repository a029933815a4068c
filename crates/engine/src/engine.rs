//! The engine: a kernel, a store, and the settings.

use crate::error::EngineError;
use crate::home::Home;
use crate::session::Session;
use qiao_core::dhcp::Keeper;
use qiao_core::plan::{Object, Op, Ownership};
use qiao_core::settings::Settings;
use qiao_core::zones::Zones;
use qiao_core::{Network, NetworkName, Owner, Refusal};
use qiao_kernel::Kernel;
use qiao_store::{Paths, Store};
use std::time::SystemTime;

/// An engine. Several may live on one machine, one for each network namespace that plays the host.
#[derive(Debug)]
pub struct Engine<K> {
    pub(crate) kernel: K,
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) keeper: Option<Box<dyn Keeper>>,
    pub(crate) zones: Option<Box<dyn Zones>>,
    /// Where the engine is: its network namespace, and whether its records are of that one.
    pub(crate) home: Home,
}

impl<K: Kernel> Engine<K> {
    /// An engine that keeps its files at `paths`.
    pub fn open(mut kernel: K, paths: &Paths, settings: Settings) -> Result<Self, EngineError> {
        settings.check()?;
        let store = Store::open(paths)?;
        let home = Home::find(&store, kernel.home())?;
        kernel.act_for(home.engine());
        Ok(Self { kernel, store, settings, keeper: None, zones: None, home })
    }

    /// With a check that ends a wait for the lock.
    #[must_use]
    pub fn interrupted_by(mut self, interrupted: Box<dyn Fn() -> bool>) -> Self {
        self.store.interrupted_by(interrupted);
        self
    }

    /// The store, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The kernel.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Takes the lock, ends what was begun, and mends what somebody broke: from here on nobody else changes
    /// anything, and everything is as it must be.
    pub(crate) fn begin(&mut self) -> Result<Session<'_, K>, EngineError> {
        Session::begin(self)
    }

    /// Takes the lock and touches nothing: for saying what a request would do.
    pub(crate) fn look_only(&mut self) -> Result<Session<'_, K>, EngineError> {
        Session::look_only(self)
    }

    /// Ends what a killed command began: for commands that look something up before they change it.
    pub fn settle(&mut self) -> Result<(), EngineError> {
        let done = self.begin().map(drop);
        self.told(done)
    }

    /// The same where a killed command left anything; else nothing is looked at.
    pub fn settle_begun(&mut self) -> Result<(), EngineError> {
        let begun = self.store.run().sub("pending")?.map_or(Ok(Vec::new()), |dir| dir.names())?;
        if begun.is_empty() { Ok(()) } else { self.settle() }
    }

    /// A network by its name, by its id or by the beginning of its id.
    pub fn find_network(&self, name: &str) -> Result<Network, EngineError> {
        let networks = self.networks()?;
        let by_name = networks.iter().find(|n| n.name.as_str() == name);
        let is_id = name.len() >= 3 && name.bytes().all(|b| b.is_ascii_hexdigit());
        let mut by_id = networks.iter().filter(|n| is_id && n.id.as_str().starts_with(name));
        match (by_name, by_id.next(), by_id.next()) {
            (Some(network), ..) | (None, Some(network), None) => Ok(network.clone()),
            (None, Some(_), Some(_)) => {
                Err(Refusal::conflict(format!("several networks have an id that begins with `{name}`"))
                    .into())
            }
            (None, None, _) => Err(crate::network::no_such(name).into()),
        }
    }

    /// All networks: those that were created, and the three that are always there.
    pub fn networks(&self) -> Result<Vec<Network>, EngineError> {
        let mut networks = self.store.networks()?;
        for network in crate::network::predefined(&self.settings) {
            if networks.iter().all(|n| n.name != network.name) {
                networks.push(network);
            }
        }
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    /// What there is in the kernel of a network and of its endpoints, as the lines that would make it.
    pub fn objects_of(&mut self, name: &NetworkName) -> Result<Vec<String>, EngineError> {
        let observed = self.kernel.survey()?;
        let belongs = |owner: &Owner| match owner {
            Owner::Host => false,
            Owner::Network(network) => network == name,
            Owner::Endpoint(id) => id.network == *name,
        };
        let ops = observed.iter().filter_map(|(key, found)| match &found.owner {
            Ownership::Marked(owner) if belongs(owner) => Some(Op::Add {
                key: key.clone(),
                object: Object { owner: owner.clone(), value: found.value.clone() },
            }),
            _ => None,
        });
        Ok(ops.map(|op| qiao_core::render::line(&op).trim_start_matches("+ ").to_owned()).collect())
    }
}

/// The time, in seconds since 1970 (UTC).
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Random bytes of the kernel.
pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // Without a source of randomness the clock must do: the bytes only keep names and ports apart.
            Err(_) => return clock_bytes(),
        }
    }
    bytes
}

fn clock_bytes() -> [u8; 32] {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&nanos.to_le_bytes());
    bytes
}
