//! A zone: the names of one network. One that is served never changes; another one takes its place.
//!
//! Everything lies in a few arrays, so that 10,000 names take one megabyte, and the next zone is a copy of the one
//! before, in which a member was changed (`edit.rs`).

mod edit;

use crate::wire::name::{self, Key, looks_public};
use hashbrown::HashTable;
use ipnet::IpNet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::LazyLock;

/// Whom a question goes to that nobody here can answer.
pub type Upstreams = Rc<[IpAddr]>;

/// No name follows.
const END: u32 = u32::MAX;

static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What a container is known by in all its networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(u64);

impl ContainerId {
    /// Of its id's text.
    pub fn new(text: &str) -> Self {
        Self(HASH.hash_one(text))
    }
}

/// What tells a member of a network from its others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey(u64);

impl MemberKey {
    /// Of a text that no other member has.
    pub fn new(text: &str) -> Self {
        Self(HASH.hash_one(text))
    }
}

/// A member of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The container's id.
    pub id: String,
    /// Its addresses on the network.
    pub addresses: Vec<IpAddr>,
    /// Its own name, then its aliases.
    pub names: Vec<String>,
    /// Whom its questions go to; nobody for the network's.
    pub upstreams: Vec<IpAddr>,
    /// What it offers, for SRV: port and protocol.
    pub ports: Vec<(u16, String)>,
}

/// The names of a network.
#[derive(Clone, Debug)]
pub struct Zone {
    /// The network's name.
    pub name: String,
    /// The same as the end of a name; none where it would hide a domain of the public.
    suffix: Option<Key>,
    /// Where it is asked: the gateways.
    pub listen: Vec<IpAddr>,
    /// Its subnets, as far as they are known: the gateways with their prefix lengths.
    pub subnets: Vec<IpNet>,
    /// Whether nothing leaves the network.
    pub internal: bool,
    upstreams: Upstreams,
    members: Vec<Place>,
    /// How many of the members have left.
    left: usize,
    by_key: HashTable<u32>,
    by_id: HashTable<u32>,
    addresses: Vec<IpAddr>,
    by_address: HashTable<(u32, u32)>,
    letters: Vec<u8>,
    names: Vec<Name>,
    by_name: HashTable<u32>,
    ports: Vec<(u16, String)>,
}

/// A member's part of the arrays. One that has left has none.
#[derive(Clone, Debug)]
struct Place {
    key: MemberKey,
    id: ContainerId,
    addresses: (u32, u32),
    names: (u32, u32),
    ports: (u32, u32),
    upstreams: Option<Upstreams>,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    at: u32,
    length: u8,
    member: u32,
    /// The next one that is called the same.
    next: u32,
}

impl Zone {
    /// A network without members.
    pub fn new(name: &str, listen: Vec<IpAddr>, (internal, upstreams): (bool, &[IpAddr])) -> Self {
        let suffix = name::key(name).filter(|key| !looks_public(key));
        Self {
            name: name.to_owned(),
            suffix,
            listen,
            subnets: Vec::new(),
            internal,
            upstreams: upstreams.into(),
            members: Vec::new(),
            left: 0,
            by_key: HashTable::new(),
            by_id: HashTable::new(),
            addresses: Vec::new(),
            by_address: HashTable::new(),
            letters: Vec::new(),
            names: Vec::new(),
            by_name: HashTable::new(),
            ports: Vec::new(),
        }
    }

    /// The same, and who has an address of these subnets is known here or nowhere.
    #[must_use]
    pub fn with_subnets(self, subnets: Vec<IpNet>) -> Self {
        Self { subnets, ..self }
    }

    /// The member that has an address.
    pub fn member(&self, ip: IpAddr) -> Option<u32> {
        let is = |entry: &(u32, u32)| self.addresses[entry.0 as usize] == ip;
        self.by_address.find(HASH.hash_one(ip), is).map(|entry| entry.1)
    }

    /// Which container a member is.
    pub fn id(&self, member: u32) -> ContainerId {
        self.members[member as usize].id
    }

    /// A container's place among the members; none if it is none of them.
    pub fn member_of(&self, id: ContainerId) -> Option<u32> {
        self.by_id.find(id.0, |member| self.members[*member as usize].id == id).copied()
    }

    /// Whom a member's questions go to; nobody for the host's own resolvers.
    pub fn upstreams(&self, member: Option<u32>) -> &Upstreams {
        let own = member.and_then(|member| self.members[member as usize].upstreams.as_ref());
        own.unwrap_or(&self.upstreams)
    }

    /// Collects the addresses of everybody who is called so; whether anybody is.
    pub fn find(&self, key: &[u8], found: &mut Vec<IpAddr>) -> bool {
        let Some(mut at) = self.head(key) else { return false };
        while at != END {
            let name = self.names[at as usize];
            found.extend(self.addresses_of(name.member));
            at = name.next;
        }
        true
    }

    fn head(&self, key: &[u8]) -> Option<u32> {
        let is = |head: &u32| letters_of(&self.letters, self.names[*head as usize]) == key;
        self.by_name.find(HASH.hash_one(key), is).copied()
    }

    /// What stands before the network's own name.
    pub fn before_own<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        name::before(key, self.suffix.as_deref()?)
    }

    /// The addresses of a member.
    fn addresses_of(&self, member: u32) -> &[IpAddr] {
        let (from, to) = self.members[member as usize].addresses;
        &self.addresses[from as usize..to as usize]
    }

    /// The names of whoever has an address.
    pub fn names_of(&self, ip: IpAddr) -> impl Iterator<Item = &[u8]> {
        let (from, to) = self.member(ip).map_or((0, 0), |member| self.members[member as usize].names);
        self.names[from as usize..to as usize].iter().map(|name| letters_of(&self.letters, *name))
    }

    /// Whether anybody who is called so offers a port.
    pub fn offers(&self, key: &[u8], (port, protocol): (u16, &str)) -> bool {
        let Some(mut at) = self.head(key) else { return false };
        while at != END {
            let name = self.names[at as usize];
            let (from, to) = self.members[name.member as usize].ports;
            let offered = &self.ports[from as usize..to as usize];
            if offered.iter().any(|(p, of)| (*p, &**of) == (port, protocol)) {
                return true;
            }
            at = name.next;
        }
        false
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.members.len() == self.left
    }
}

fn letters_of(letters: &[u8], name: Name) -> &[u8] {
    &letters[name.at as usize..][..name.length.into()]
}
