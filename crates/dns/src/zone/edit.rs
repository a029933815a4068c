//! Members come and go. What belongs to one that left stays in the arrays until half of them are such; nothing finds it.

use super::{ContainerId, END, HASH, Member, MemberKey, Name, Place, Upstreams, Zone, letters_of};
use crate::reserved;
use crate::wire::name::{self, Key, labels, looks_public};
use std::hash::BuildHasher;
use std::net::IpAddr;

/// So many may have left before it is looked whether they are half of all.
const MOST_LEFT: usize = 64;

impl Zone {
    /// Adds a member; false if it is there already. A name that is none makes no record. Its own name, which nobody
    /// chose to be a domain's, is not served where it would hide one; aliases are as they were chosen.
    pub fn add(&mut self, key: MemberKey, member: &Member) -> bool {
        if self.place_of(key).is_some() {
            return false;
        }
        let names: Vec<Key> = member.names.iter().enumerate().filter_map(served).collect();
        let upstreams = (!member.upstreams.is_empty()).then(|| self.shared(&member.upstreams));
        let place = (key, ContainerId::new(&member.id), upstreams);
        self.put(place, (&member.addresses, &member.ports), names.iter().map(|name| &**name));
        true
    }

    /// Takes a member away; whether it was there.
    pub fn remove(&mut self, key: MemberKey) -> bool {
        let Some(number) = self.place_of(key) else { return false };
        let place = &mut self.members[number as usize];
        let (addresses, names, id) = (place.addresses, place.names, place.id);
        (place.addresses, place.names, place.ports, place.upstreams) = ((0, 0), (0, 0), (0, 0), None);
        for (table, hash) in [(&mut self.by_key, key.0), (&mut self.by_id, id.0)] {
            if let Ok(entry) = table.find_entry(hash, |member| *member == number) {
                entry.remove();
            }
        }
        for index in addresses.0..addresses.1 {
            let hash = HASH.hash_one(self.addresses[index as usize]);
            if let Ok(entry) = self.by_address.find_entry(hash, |entry| *entry == (index, number)) {
                entry.remove();
            }
        }
        (names.0..names.1).for_each(|index| self.unlink(index));
        self.left += 1;
        if self.left > MOST_LEFT && 2 * self.left > self.members.len() {
            *self = self.packed();
        }
        true
    }

    fn place_of(&self, key: MemberKey) -> Option<u32> {
        self.by_key.find(key.0, |member| self.members[*member as usize].key == key).copied()
    }

    /// Puts a member behind the others.
    fn put<'n>(
        &mut self,
        (key, id, upstreams): (MemberKey, ContainerId, Option<Upstreams>),
        (ips, offered): (&[IpAddr], &[(u16, String)]),
        keys: impl Iterator<Item = &'n [u8]>,
    ) {
        let number = self.members.len() as u32;
        let (addresses, names) = (self.addresses.len() as u32, self.names.len() as u32);
        let ports = self.ports.len() as u32;
        for ip in ips {
            let index = self.addresses.len() as u32;
            self.addresses.push(*ip);
            let all = &self.addresses;
            let hash = |entry: &(u32, u32)| HASH.hash_one(all[entry.0 as usize]);
            self.by_address.insert_unique(HASH.hash_one(ip), (index, number), hash);
        }
        keys.for_each(|key| self.add_name(key, number));
        self.ports.extend_from_slice(offered);
        let addresses = (addresses, self.addresses.len() as u32);
        let names = (names, self.names.len() as u32);
        let ports = (ports, self.ports.len() as u32);
        self.members.push(Place { key, id, addresses, names, ports, upstreams });
        let members = &self.members;
        self.by_key.insert_unique(key.0, number, |member| members[*member as usize].key.0);
        self.by_id.insert_unique(id.0, number, |member| members[*member as usize].id.0);
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

    /// Takes a name out of the row of those that are the same.
    fn unlink(&mut self, index: u32) {
        let own = self.names[index as usize];
        let key = letters_of(&self.letters, own);
        let (letters, names) = (&self.letters, &mut self.names);
        let is = |head: &u32| letters_of(letters, names[*head as usize]) == key;
        let Ok(mut entry) = self.by_name.find_entry(HASH.hash_one(key), is) else { return };
        let mut at = *entry.get();
        if at == index {
            match own.next {
                END => drop(entry.remove()),
                next => *entry.get_mut() = next,
            }
            return;
        }
        while at != END && names[at as usize].next != index {
            at = names[at as usize].next;
        }
        if let Some(before) = names.get_mut(at as usize) {
            before.next = own.next;
        }
    }

    /// The same without those who have left.
    fn packed(&self) -> Self {
        let own = (self.internal, &*self.upstreams);
        let mut zone = Self::new(&self.name, self.listen.clone(), own).with_subnets(self.subnets.clone());
        for (number, place) in self.members.iter().enumerate() {
            if self.place_of(place.key) != Some(number as u32) {
                continue;
            }
            let part = |(from, to): (u32, u32)| from as usize..to as usize;
            let parts = (&self.addresses[part(place.addresses)], &self.ports[part(place.ports)]);
            let keys = self.names[part(place.names)].iter().map(|name| letters_of(&self.letters, *name));
            zone.put((place.key, place.id, place.upstreams.clone()), parts, keys);
        }
        zone
    }

    /// Gives memory back that was only needed while it grew.
    pub fn shrink(&mut self) {
        self.members.shrink_to_fit();
        self.addresses.shrink_to_fit();
        self.letters.shrink_to_fit();
        self.names.shrink_to_fit();
    }
}

/// A member's name by its place as a key, if it is served. Whoever says `localhost` means himself.
fn served((place, text): (usize, &String)) -> Option<Key> {
    let key = name::key(text)?;
    let hides = place == 0 && labels(&key).count() > 1 && looks_public(&key);
    (!hides && !reserved::is_localhost(&key)).then_some(key)
}
