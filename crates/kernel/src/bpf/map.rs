//! Maps of the kernel, by their descriptor.

use crate::sys::bpf::{
    ById, Command, InfoByFd, MapBatch, MapCreate, MapElem, MapInfo, NAME_LEN, address, address_mut, call,
    call_fd, number,
};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;

/// A map whose keys are `K` bytes long and whose values are `V`.
#[derive(Debug)]
pub struct Map<const K: usize, const V: usize>(OwnedFd);

/// A kind of map (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A hash table of fixed size that gives up what was not used for longest.
    LruHash = 9,
    /// A tree of prefixes, which begin with their length in bits, as a 32-bit number. An empty one takes no room, where
    /// a hash table has one for all that it may ever hold.
    Trie = 11,
    /// Network devices by their indexes in the namespace of who puts them in. A device that is unregistered leaves the
    /// map, whoever holds it (`dev_map_notification`).
    DevMap = 14,
}

/// How many entries go in one call.
const BATCH: usize = 4096;

/// A name as the kernel keeps it: cut off where it is too long.
pub fn name(text: &str) -> [u8; NAME_LEN] {
    let mut name = [0; NAME_LEN];
    name.iter_mut().zip(text.bytes().take(NAME_LEN - 1)).for_each(|(to, from)| *to = from);
    name
}

impl<const K: usize, const V: usize> Map<K, V> {
    /// Makes a map for at most `entries` entries.
    pub fn create(kind: Kind, label: &str, entries: u32) -> io::Result<Self> {
        const BPF_F_NO_PREALLOC: u32 = 1;
        let map_flags = if kind == Kind::Trie { BPF_F_NO_PREALLOC } else { 0 };
        let mut attr = MapCreate {
            map_type: kind as u32,
            key_size: K as u32,
            value_size: V as u32,
            max_entries: entries,
            map_flags,
            name: name(label),
            ..MapCreate::default()
        };
        // SAFETY: the command reads no memory besides; it makes a descriptor.
        unsafe { call_fd(Command::MapCreate, &mut attr) }.map(Self)
    }

    /// Opens the map with this id if it is of this kind and has this name and our shape.
    pub fn by_id(kind: Kind, id: u32, label: &str) -> io::Result<Option<Self>> {
        // SAFETY: the command reads no memory besides; it makes a descriptor.
        let fd = unsafe { call_fd(Command::MapById, &mut ById { id, ..ById::default() }) }?;
        let mut info = [MapInfo::default()];
        let info_len = size_of::<MapInfo>() as u32;
        let mut attr = InfoByFd { fd: number(fd.as_fd()), info_len, info: address_mut(&mut info) };
        // SAFETY: `info` is as long as is told, and the kernel writes no more than that.
        unsafe { call(Command::ObjectInfo, &mut attr) }?;
        let shape = (info[0].map_type, info[0].key_size, info[0].value_size);
        let ours = info[0].name == name(label) && shape == (kind as u32, K as u32, V as u32);
        Ok(ours.then_some(Self(fd)))
    }

    fn elem(&self, key: &[u8; K]) -> MapElem {
        MapElem { map_fd: number(self.0.as_fd()), key: address(key), ..MapElem::default() }
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8; K]) -> io::Result<Option<[u8; V]>> {
        let mut value = [0; V];
        let mut attr = MapElem { value: address_mut(&mut value), ..self.elem(key) };
        // SAFETY: key and value have the lengths that the map was made with.
        absent(unsafe { call(Command::MapLookup, &mut attr) }).map(|found| found.map(|_| value))
    }

    /// Puts an entry in, in place of one with the same key.
    pub fn put(&self, key: &[u8; K], value: &[u8; V]) -> io::Result<()> {
        let mut attr = MapElem { value: address(value), ..self.elem(key) };
        // SAFETY: key and value have the lengths that the map was made with.
        unsafe { call(Command::MapUpdate, &mut attr) }.map(|_| ())
    }

    /// Takes an entry out; one that is not there is out already.
    pub fn delete(&self, key: &[u8; K]) -> io::Result<()> {
        // SAFETY: the key has the length that the map was made with.
        absent(unsafe { call(Command::MapDelete, &mut self.elem(key)) }).map(|_| ())
    }

    /// Puts many entries in, in as few calls as possible.
    pub fn put_all(&self, entries: &[([u8; K], [u8; V])]) -> io::Result<()> {
        const FEW: usize = 8;
        if entries.len() <= FEW {
            return entries.iter().try_for_each(|(key, value)| self.put(key, value));
        }
        for part in entries.chunks(BATCH) {
            let keys: Vec<[u8; K]> = part.iter().map(|(key, _)| *key).collect();
            let values: Vec<[u8; V]> = part.iter().map(|(_, value)| *value).collect();
            let mut attr = MapBatch { values: address(&values), ..self.batch(address(&keys), part.len()) };
            // SAFETY: there are `count` keys and values, each as long as the map was made with.
            unsafe { call(Command::MapUpdateBatch, &mut attr) }?;
        }
        Ok(())
    }

    /// Takes many entries out. What is not there is out already.
    pub fn delete_all(&self, keys: &[[u8; K]]) -> io::Result<()> {
        const FEW: usize = 8;
        if keys.len() > FEW && self.delete_batch(keys).is_ok() {
            return Ok(());
        }
        keys.iter().try_for_each(|key| self.delete(key))
    }

    /// It stops at the first that is not there.
    fn delete_batch(&self, keys: &[[u8; K]]) -> io::Result<()> {
        let mut attr = self.batch(address(keys), keys.len());
        // SAFETY: there are `count` keys, each as long as the map was made with.
        unsafe { call(Command::MapDeleteBatch, &mut attr) }.map(|_| ())
    }

    fn batch(&self, keys: u64, count: usize) -> MapBatch {
        MapBatch { keys, count: count as u32, map_fd: number(self.0.as_fd()), ..MapBatch::default() }
    }

    /// Every entry. Nobody else must change the map meanwhile; the engine's lock sees to that.
    pub fn entries(&self) -> io::Result<Vec<([u8; K], [u8; V])>> {
        let (mut keys, mut values) = (vec![[0; K]; BATCH], vec![[0; V]; BATCH]);
        let (mut found, mut from, mut to) = (Vec::new(), [0u8; K], [0u8; K]);
        loop {
            let mut attr = MapBatch {
                in_batch: if found.is_empty() { 0 } else { address(&from) },
                out_batch: address_mut(&mut to),
                values: address_mut(&mut values),
                ..self.batch(address_mut(&mut keys), BATCH)
            };
            // SAFETY: there is room for `count` keys and values; the two positions are a key each, or four bytes (a
            // bucket's number), and a key of ours is longer.
            let done = unsafe { call(Command::MapLookupBatch, &mut attr) };
            let count = (attr.count as usize).min(BATCH);
            let last = match done {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                Err(error) => return Err(error),
            };
            found.extend(keys.iter().copied().zip(values.iter().copied()).take(count));
            if last {
                return Ok(found);
            }
            from = to;
        }
    }
}

impl<const K: usize, const V: usize> AsFd for Map<K, V> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
