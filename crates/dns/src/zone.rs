//! A zone: the names of one network. It never changes; another one takes its place.
//!
//! Everything lies in a few arrays, so that 10,000 names take one megabyte, and are made in a few milliseconds.

use crate::wire::name::{self, Key, labels, looks_public};
use hashbrown::HashTable;
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
#[derive(Debug)]
pub struct Zone {
    /// The network's name.
    pub name: String,
    /// The same as the end of a name; none where it would hide a domain of the public.
    suffix: Option<Key>,
    /// Where it is asked: the gateways.
    pub listen: Vec<IpAddr>,
    /// Whether nothing leaves the network.
    pub internal: bool,
    upstreams: Upstreams,
    members: Vec<Place>,
    addresses: Vec<IpAddr>,
    by_address: HashTable<(u32, u32)>,
    letters: Vec<u8>,
    names: Vec<Name>,
    by_name: HashTable<u32>,
    ports: Vec<(u16, String, u32)>,
}

/// A member's part of the arrays.
#[derive(Debug)]
struct Place {
    id: ContainerId,
    addresses: (u32, u32),
    names: (u32, u32),
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
            internal,
            upstreams: upstreams.into(),
            members: Vec::new(),
            addresses: Vec::new(),
            by_address: HashTable::new(),
            letters: Vec::new(),
            names: Vec::new(),
            by_name: HashTable::new(),
            ports: Vec::new(),
        }
    }

    /// Adds a member. A name that is none makes no record. Its own name, which nobody chose to be a domain's, is
    /// not served where it would hide one; aliases are as they were chosen.
    pub fn add(&mut self, member: &Member) {
        let number = self.members.len() as u32;
        let addresses = self.addresses.len() as u32;
        for ip in &member.addresses {
            let index = self.addresses.len() as u32;
            self.addresses.push(*ip);
            let all = &self.addresses;
            let hash = |entry: &(u32, u32)| HASH.hash_one(all[entry.0 as usize]);
            self.by_address.insert_unique(HASH.hash_one(ip), (index, number), hash);
        }
        let names = self.names.len() as u32;
        for (place, text) in member.names.iter().enumerate() {
            let Some(key) = name::key(text) else { continue };
            let hides = place == 0 && labels(&key).count() > 1 && looks_public(&key);
            if !hides {
                self.add_name(&key, number);
            }
        }
        self.ports.extend(member.ports.iter().map(|(port, protocol)| (*port, protocol.clone(), number)));
        let upstreams = (!member.upstreams.is_empty()).then(|| self.shared(&member.upstreams));
        self.members.push(Place {
            id: ContainerId::new(&member.id),
            addresses: (addresses, self.addresses.len() as u32),
            names: (names, self.names.len() as u32),
            upstreams,
        });
    }

    /// Most members have the same ones.
    fn shared(&self, wanted: &[IpAddr]) -> Upstreams {
        let last = self.members.last().and_then(|place| place.upstreams.clone());
        last.filter(|last| **last == *wanted).unwrap_or_else(|| wanted.into())
    }

    fn add_name(&mut self, key: &[u8], member: u32) {
        let index = self.names.len() as u32;
        let (at, length) = (self.letters.len() as u32, key.len() as u8);
        let hash = HASH.hash_one(key);
        let (letters, names) = (&self.letters, &self.names);
        let known = self.by_name.find_mut(hash, |head| letters_of(letters, names[*head as usize]) == key);
        let next = match known {
            Some(head) => {
                let next = std::mem::replace(head, index);
                // Once more by the same member changes nothing.
                if self.names[next as usize].member == member {
                    *head = next;
                    return;
                }
                next
            }
            None => END,
        };
        self.letters.extend(key);
        self.names.push(Name { at, length, member, next });
        if next == END {
            let (letters, names) = (&self.letters, &self.names);
            let rehash = |head: &u32| HASH.hash_one(letters_of(letters, names[*head as usize]));
            self.by_name.insert_unique(hash, index, rehash);
        }
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

    /// All its containers.
    pub fn ids(&self) -> impl Iterator<Item = ContainerId> {
        self.members.iter().map(|place| place.id)
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
            let is =
                |(p, of, member): &(u16, String, u32)| (*p, &**of, *member) == (port, protocol, name.member);
            if self.ports.iter().any(is) {
                return true;
            }
            at = name.next;
        }
        false
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Gives memory back that was only needed while it grew.
    pub fn shrink(&mut self) {
        self.members.shrink_to_fit();
        self.addresses.shrink_to_fit();
        self.letters.shrink_to_fit();
        self.names.shrink_to_fit();
    }
}

fn letters_of(letters: &[u8], name: Name) -> &[u8] {
    &letters[name.at as usize..][..name.length.into()]
}
