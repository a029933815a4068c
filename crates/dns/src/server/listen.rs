//! Where the server is asked: two sockets for each gateway.

use crate::socket::{Transport, listen};
use crate::zone::Zone;
use rustix::fd::OwnedFd;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// A gateway that is asked.
#[derive(Debug)]
pub struct Listener {
    /// Its address.
    pub address: SocketAddr,
    /// Which network's it is: the place in the snapshot.
    pub zone: usize,
    /// For datagrams.
    pub udp: Rc<OwnedFd>,
    /// For streams.
    pub tcp: Rc<OwnedFd>,
    /// How many batches after one another were full.
    pub full: u32,
}

/// All of them, by numbers that are never used again.
#[derive(Debug, Default)]
pub struct Listeners {
    by_number: BTreeMap<u32, Listener>,
    next: u32,
}

/// What came of bringing the listeners to what the networks are.
#[derive(Debug, Default)]
pub struct Changed {
    /// The new ones.
    pub opened: Vec<u32>,
    /// Those that are closed.
    pub closed: Vec<u32>,
    /// Why a network's are not all there, by its place.
    pub failed: BTreeMap<usize, String>,
}

impl Listeners {
    /// One by its number.
    pub fn get(&self, number: u32) -> Option<&Listener> {
        self.by_number.get(&number)
    }

    /// The same, to note something.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Listener> {
        self.by_number.get_mut(&number)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Opens and closes by difference. What stays is not touched: no question in it is lost.
    pub fn bring_to(&mut self, zones: &[Rc<Zone>], port: u16) -> Changed {
        let mut changed = Changed::default();
        let wanted: BTreeMap<SocketAddr, usize> = zones
            .iter()
            .enumerate()
            .rev()
            .flat_map(|(at, zone)| zone.listen.iter().map(move |ip| (SocketAddr::new(*ip, port), at)))
            .collect();
        let gone = self.by_number.iter().filter(|(_, listener)| !wanted.contains_key(&listener.address));
        changed.closed = gone.map(|(number, _)| *number).collect();
        changed.closed.iter().for_each(|number| drop(self.by_number.remove(number)));
        for listener in self.by_number.values_mut() {
            listener.zone = wanted[&listener.address];
        }
        let there: BTreeSet<SocketAddr> = self.by_number.values().map(|listener| listener.address).collect();
        for (address, zone) in wanted.into_iter().filter(|(address, _)| !there.contains(address)) {
            match open(address, zone) {
                Ok(listener) => {
                    self.by_number.insert(self.next, listener);
                    changed.opened.push(self.next);
                    self.next += 1;
                }
                Err(error) => {
                    drop(changed.failed.insert(zone, format!("cannot listen on {address}: {error}")))
                }
            }
        }
        changed
    }
}

fn open(address: SocketAddr, zone: usize) -> io::Result<Listener> {
    let (udp, tcp) = (listen(Transport::Udp, address)?, listen(Transport::Tcp, address)?);
    Ok(Listener { address, zone, udp: Rc::new(udp), tcp: Rc::new(tcp), full: 0 })
}
