//! What has begun and not ended. The next command finds it and ends it, one way or the other.

use crate::dir::{Dir, Durability};
use crate::error::StoreError;
use crate::record::{self, Read};
use qiao_core::plan::{Key, Observed, Op, State, diff_all};
use qiao_core::{Endpoint, IfName, Network, Plan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::rc::Rc;

/// An endpoint's record: the endpoint, and the plan that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// What was made for it.
    #[serde(rename = "plan")]
    pub made: Made,
    /// Whether the plan brought the network into use too.
    pub activates: bool,
    /// Whether the network was made for it (the default network, at its first use).
    pub creates: bool,
}

/// What is made for an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Made {
    /// All that the endpoint must have, and nothing else: the endpoint says what that is, in a third of the words.
    All {
        /// What of it was there before.
        but: Vec<Key>,
    },
    /// A plan, with the values it replaced.
    Plan(Plan),
}

impl Made {
    /// The shortest record of a plan, for an endpoint that must have what of `desired` is its own.
    pub fn of(plan: &Plan, endpoint: &Endpoint, desired: &State) -> Self {
        let owner = endpoint.owner();
        let is_own = |op: &Op| match op {
            Op::Add { key, object } => object.owner == owner && desired.get(key) == Some(object),
            Op::Set { .. } | Op::Del { .. } => false,
        };
        // Of a network without wires nothing is kept that could say it.
        if endpoint.wire.is_none() || !plan.ops().iter().all(is_own) {
            return Made::Plan(plan.clone());
        }
        let added: BTreeSet<&Key> = plan.keys().collect();
        let own = desired.iter().filter(|(_, object)| object.owner == owner).map(|(key, _)| key);
        Made::All { but: own.filter(|key| !added.contains(key)).cloned().collect() }
    }

    /// The plan, where the endpoint must have `own`.
    pub fn plan(&self, own: &State) -> Plan {
        match self {
            Made::Plan(plan) => plan.clone(),
            Made::All { but } => {
                let made = own.part(|key, _| !but.contains(key));
                diff_all(&Observed::default(), &made).0
            }
        }
    }
}

/// A network's record while it is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Creation {
    /// The network.
    pub network: Network,
    /// The plan.
    pub plan: Plan,
}

/// A change of what is attached, while it is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amendment {
    /// The record as it was.
    pub before: Journal,
    /// The endpoint as it shall be.
    pub after: Endpoint,
    /// The network as it was, where it changes too.
    pub network: Option<Network>,
    /// The plan.
    pub plan: Plan,
}

/// A change that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// An attachment: to be taken back.
    Attach(Box<Journal>),
    /// A detachment: to be finished.
    Detach(Box<Journal>),
    /// A change of an endpoint: to be taken back unless its record has it.
    Amend(Box<Amendment>),
    /// The creation of a network: to be taken back unless the network is on the disk.
    Create(Box<Creation>),
    /// The removal of a network: to be finished.
    Remove(Box<Network>),
}

/// What was found of changes that have begun.
#[derive(Debug, Default)]
pub struct Begun {
    /// Those that can be ended.
    pub changes: Vec<Pending>,
    /// The names of files that make no sense, also of those that were never finished.
    pub bad: Vec<String>,
    /// The names of files that cannot be read, or that a newer version wrote, and why.
    pub unreadable: Vec<(String, StoreError)>,
}

impl Begun {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.bad.is_empty() && self.unreadable.is_empty()
    }
}

/// What the name of a change's file says it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// An endpoint, by its key.
    Endpoint(String),
    /// A network, by its name.
    Network(String),
}

impl About {
    /// Reads a file's name.
    pub fn parse(file: &str) -> Option<Self> {
        let (kind, key) = file.strip_suffix(".json")?.split_once(':')?;
        match kind {
            ATTACH | DETACH | AMEND => Some(About::Endpoint(key.to_owned())),
            CREATE | REMOVE => Some(About::Network(key.to_owned())),
            _ => None,
        }
    }
}

impl Pending {
    /// The name of its file.
    pub fn file(&self) -> String {
        match self {
            Pending::Attach(journal) => file(ATTACH, &journal.endpoint.id.key()),
            Pending::Detach(journal) => file(DETACH, &journal.endpoint.id.key()),
            Pending::Amend(amendment) => file(AMEND, &amendment.after.id.key()),
            Pending::Create(creation) => file(CREATE, creation.network.name.as_str()),
            Pending::Remove(network) => file(REMOVE, network.name.as_str()),
        }
    }
}

/// The files of changes that have begun.
#[derive(Debug)]
pub struct Changes(pub(crate) Rc<Dir>);

const ATTACH: &str = "attach";
const DETACH: &str = "detach";
const AMEND: &str = "amend";
const CREATE: &str = "create";
const REMOVE: &str = "remove";

impl Changes {
    /// Everything that has begun.
    pub fn read(&self) -> Result<Begun, StoreError> {
        let mut begun = Begun::default();
        for name in self.0.all_names()? {
            match self.read_one(&name) {
                Ok(Some(change)) => begun.changes.push(change),
                Ok(None) => begun.bad.push(name),
                Err(error) => begun.unreadable.push((name, error)),
            }
        }
        Ok(begun)
    }

    /// Out of line: it has room for any change on its stack, and mostly there is none to read.
    #[inline(never)]
    fn read_one(&self, name: &str) -> Result<Option<Pending>, StoreError> {
        let change = match name.split_once(':').map(|(kind, _)| kind) {
            Some(ATTACH) => self.body(name)?.map(|j| Pending::Attach(Box::new(j))),
            Some(DETACH) => self.body(name)?.map(|j| Pending::Detach(Box::new(j))),
            Some(AMEND) => self.body(name)?.map(|a| Pending::Amend(Box::new(a))),
            Some(CREATE) => self.body(name)?.map(|c| Pending::Create(Box::new(c))),
            Some(REMOVE) => self.body(name)?.map(|n| Pending::Remove(Box::new(n))),
            _ => None,
        };
        Ok(change.filter(|change| change.file() == name))
    }

    fn body<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        Ok(match record::read(&self.0, name)? {
            Read::Good(body) => Some(body),
            Read::Absent | Read::Bad(_) => None,
        })
    }

    /// An attachment begins.
    pub fn attach(&self, journal: &Journal) -> Result<(), StoreError> {
        record::write(&self.0, &file(ATTACH, &journal.endpoint.id.key()), journal, Durability::Boot)
    }

    /// An attachment has been carried out: from here on it is an endpoint.
    pub fn attached(&self, endpoint: &Endpoint, endpoints: &Dir) -> Result<(), StoreError> {
        let sandbox = endpoint.sandbox().as_str();
        endpoints.make(sandbox)?;
        let record = format!("{sandbox}/{}", endpoint_file(endpoint));
        self.0.rename(&file(ATTACH, &endpoint.id.key()), endpoints, &record)
    }

    /// An attachment has been taken back.
    pub fn not_attached(&self, endpoint: &Endpoint) -> Result<(), StoreError> {
        self.0.remove(&file(ATTACH, &endpoint.id.key())).map(|_| ())
    }

    /// A detachment begins. It needs no room: a full disk stops nobody from leaving.
    pub fn detach(&self, endpoint: &Endpoint, endpoints: &Dir) -> Result<(), StoreError> {
        let Some(sandbox) = endpoints.sub(endpoint.sandbox().as_str())? else { return Ok(()) };
        sandbox.rename(&endpoint_file(endpoint), &self.0, &file(DETACH, &endpoint.id.key()))?;
        endpoints.remove_dir(endpoint.sandbox().as_str()).map(|_| ())
    }

    /// A detachment has been carried out.
    pub fn detached(&self, endpoint: &Endpoint) -> Result<(), StoreError> {
        self.0.remove(&file(DETACH, &endpoint.id.key())).map(|_| ())
    }

    /// A change of an endpoint begins.
    pub fn amend(&self, amendment: &Amendment) -> Result<(), StoreError> {
        record::write(&self.0, &file(AMEND, &amendment.after.id.key()), amendment, Durability::Boot)
    }

    /// An endpoint has been changed, or its change taken back.
    pub fn amended(&self, endpoint: &Endpoint) -> Result<(), StoreError> {
        self.0.remove(&file(AMEND, &endpoint.id.key())).map(|_| ())
    }

    /// The creation of a network begins.
    pub fn create(&self, creation: &Creation) -> Result<(), StoreError> {
        record::write(&self.0, &file(CREATE, creation.network.name.as_str()), creation, Durability::Boot)
    }

    /// A network has been created, or its creation taken back.
    pub fn created(&self, network: &Network) -> Result<(), StoreError> {
        self.0.remove(&file(CREATE, network.name.as_str())).map(|_| ())
    }

    /// The removal of a network begins.
    pub fn remove(&self, network: &Network) -> Result<(), StoreError> {
        record::write(&self.0, &file(REMOVE, network.name.as_str()), network, Durability::Boot)
    }

    /// A network has been removed.
    pub fn removed(&self, network: &Network) -> Result<(), StoreError> {
        self.0.remove(&file(REMOVE, network.name.as_str())).map(|_| ())
    }
}

fn file(kind: &str, key: &str) -> String {
    format!("{kind}:{key}.json")
}

/// The name of an endpoint's record in its sandbox's directory.
pub fn endpoint_file(endpoint: &Endpoint) -> String {
    record_file(endpoint.id.ifname.as_str())
}

/// The same by the interface's name. Files that begin with a dot are ours while they are written; no interface's name
/// has a `%`.
pub fn record_file(ifname: &str) -> String {
    let mark = if ifname.starts_with('.') { "%" } else { "" };
    [mark, ifname, ".json"].concat()
}

/// The interface that a record is of, by the file's name; none where no record is named so.
pub fn recorded_interface(file: &str) -> Option<IfName> {
    let name = file.strip_suffix(".json")?;
    IfName::new(name.strip_prefix('%').unwrap_or(name)).ok()
}
