//! Claims: who has which address, hardware address and port. Each has one owner, and only its owner can
//! give it back.

use crate::dir::Dir;
use crate::error::StoreError;
use crate::ports::{Holding, Ports};
use qiao_core::endpoint::{Join, Wire};
use qiao_core::port::{HostAddr, Listen, PortRange, Protocol, Publish};
use qiao_core::subnet::Family;
use qiao_core::{Endpoint, Mac, NetworkName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

/// A lease whose device is still on its way out is marked with this and the device's name.
const LEAVING: char = '~';

/// The claims of an engine.
#[derive(Debug)]
pub struct Claims<'a>(pub(crate) &'a Dir);

/// A published port that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The port.
    pub listen: Listen,
    /// Whose: `SANDBOX@IFNAME`.
    pub owner: String,
}

/// Whose a lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An endpoint: `SANDBOX@IFNAME`.
    Endpoint(String),
    /// Nobody any more, once this device is gone.
    Leaving(String),
}

impl Claims<'_> {
    /// The leases of a network.
    pub fn leases(&self, network: &NetworkName) -> Result<Leases, StoreError> {
        self.of("leases", network.as_str()).map(Leases)
    }

    /// How many addresses of a network are given out or on their way back.
    pub fn count(&self, network: &NetworkName) -> Result<usize, StoreError> {
        Ok(self.leases(network)?.addresses()?.len())
    }

    /// The directory of a kind of claims, if there are any. Looking and giving back need no room on the disk.
    fn of(&self, kind: &str, of: &str) -> Result<Option<Rc<Dir>>, StoreError> {
        self.0.keep(&below(kind, of))
    }

    /// The same, made where it is missing.
    fn ensure(&self, kind: &str, of: &str) -> Result<Rc<Dir>, StoreError> {
        if let Some(dir) = self.of(kind, of)? {
            return Ok(dir);
        }
        self.0.make(kind)?;
        self.0.keep_ensured(&below(kind, of))
    }

    /// Claims everything an endpoint has. The caller has looked that it is free; should something not be
    /// (a lost record's), it is told which.
    pub fn take(&self, endpoint: &Endpoint) -> Result<Option<String>, StoreError> {
        let Some(wire) = &endpoint.wire else { return Ok(None) };
        let (key, network) = (endpoint.id.key(), endpoint.network());
        let leases = self.ensure("leases", network.as_str())?;
        for net in &wire.addresses {
            if !leases.claim(&net.addr().to_string(), &key)? {
                return Ok(Some(format!("address {}", net.addr())));
            }
        }
        if !self.take_mac(endpoint)? {
            return Ok(Some(format!("hardware address {}", wire.mac)));
        }
        self.take_ports(endpoint, &wire.publish)
    }

    /// Gives back what an endpoint has, and nothing that is somebody else's. Its addresses go to nobody as
    /// long as `leaving`, the device they were on, exists.
    pub fn give_back(&self, endpoint: &Endpoint, leaving: Option<&str>) -> Result<(), StoreError> {
        let Some(wire) = &endpoint.wire else { return Ok(()) };
        let (key, network) = (endpoint.id.key(), endpoint.network());
        if let Some(leases) = self.of("leases", network.as_str())? {
            for net in &wire.addresses {
                give_address(&leases, net.addr(), (&key, leaving))?;
            }
        }
        self.give_mac(endpoint)?;
        self.give_ports(endpoint, &wire.publish)
    }

    /// Gives back every claim whose owner `known` does not know, and tells which they were.
    pub fn collect(&self, known: &dyn Fn(&str) -> bool) -> Result<Vec<String>, StoreError> {
        let mut collected = Vec::new();
        for (kind, depth) in [("leases", 1), ("macs", 1), ("ranges", 0)] {
            if let Some(dir) = self.0.sub(kind)? {
                collect(&dir, depth, &mut Collection { known, collected: &mut collected })?;
            }
        }
        for protocol in self.0.keep("ports")?.map_or(Ok(Vec::new()), |ports| ports.names())? {
            let ports = self.of("ports", &protocol)?.map(Ports);
            collected.extend(ports.map_or(Ok(Vec::new()), |ports| ports.collect(known))?);
        }
        Ok(collected)
    }

    /// What an owner has of networks' addresses.
    pub fn held_by(&self, owner: &str) -> Result<Vec<(NetworkName, IpAddr)>, StoreError> {
        let Some(dir) = self.0.keep("leases")? else { return Ok(Vec::new()) };
        let mut held = Vec::new();
        for network in dir.names()?.iter().filter_map(|name| NetworkName::new(name).ok()) {
            let leases = self.leases(&network)?;
            for ip in leases.addresses()? {
                if leases.claimant(&ip.to_string())?.as_deref() == Some(owner) {
                    held.push((network.clone(), ip));
                }
            }
        }
        Ok(held)
    }

    /// The networks in which an owner has a hardware address: those that it is a member of.
    pub fn networks_of(&self, owner: &str) -> Result<Vec<NetworkName>, StoreError> {
        let Some(dir) = self.0.keep("macs")? else { return Ok(Vec::new()) };
        let mut networks = Vec::new();
        for network in dir.names()?.iter().filter_map(|name| NetworkName::new(name).ok()) {
            let Some(macs) = self.of("macs", network.as_str())? else { continue };
            for mac in macs.names()? {
                if macs.claimant(&mac)?.as_deref() == Some(owner) {
                    networks.push(network.clone());
                    break;
                }
            }
        }
        Ok(networks)
    }

    /// Who has a hardware address.
    pub fn mac_owner(&self, network: &NetworkName, mac: Mac) -> Result<Option<String>, StoreError> {
        self.of("macs", network.as_str())?.map_or(Ok(None), |macs| macs.claimant(&mac.to_string()))
    }

    /// Claims the hardware address of an endpoint; false if somebody else has it.
    pub fn take_mac(&self, endpoint: &Endpoint) -> Result<bool, StoreError> {
        let Some(wire) = &endpoint.wire else { return Ok(true) };
        let macs = self.ensure("macs", endpoint.network().as_str())?;
        macs.claim(&mac_name(endpoint, wire), &endpoint.id.key())
    }

    /// Gives back the hardware address of an endpoint.
    pub fn give_mac(&self, endpoint: &Endpoint) -> Result<(), StoreError> {
        let Some(wire) = &endpoint.wire else { return Ok(()) };
        match self.of("macs", endpoint.network().as_str())? {
            Some(macs) => give(&macs, &mac_name(endpoint, wire), &endpoint.id.key()),
            None => Ok(()),
        }
    }

    /// Claims ports for an endpoint; the one that somebody else has, if there is one.
    pub fn take_ports(&self, endpoint: &Endpoint, publish: &[Publish]) -> Result<Option<String>, StoreError> {
        let key = endpoint.id.key();
        let (singles, ranges) = places(publish);
        for ((protocol, port), addresses) in singles {
            let ports = Ports(self.ensure("ports", protocol.as_str())?);
            if let Some(ip) = ports.claim(port, &Holding { owner: key.clone(), addresses })? {
                let host = HostAddr::from_ip(ip);
                return Ok(Some(format!("port {host}:{port}/{protocol}")));
            }
        }
        for listen in ranges {
            if !self.0.keep_ensured("ranges")?.claim(&range_name(listen), &key)? {
                return Ok(Some(format!("port {listen}")));
            }
        }
        Ok(None)
    }

    /// Gives back an endpoint's ports.
    pub fn give_ports(&self, endpoint: &Endpoint, publish: &[Publish]) -> Result<(), StoreError> {
        let key = endpoint.id.key();
        let (singles, ranges) = places(publish);
        for ((protocol, port), addresses) in singles {
            let Some(ports) = self.of("ports", protocol.as_str())?.map(Ports) else { continue };
            ports.give(port, &Holding { owner: key.clone(), addresses })?;
        }
        for listen in ranges {
            self.0.keep("ranges")?.map_or(Ok(()), |ranges| give(&ranges, &range_name(listen), &key))?;
        }
        Ok(())
    }

    /// What is published on any of these ports, on whatever address of the host; and every range. It looks at
    /// the ports asked about and at the few ranges, not at everything that is published.
    pub fn bindings(&self, protocol: Protocol, asked: PortRange) -> Result<Vec<Binding>, StoreError> {
        let mut found = self.ranges()?;
        let Some(ports) = self.of("ports", protocol.as_str())?.map(Ports) else { return Ok(found) };
        for port in candidates(&ports, asked)? {
            let Ok(ports_) = PortRange::one(port) else { continue };
            for Holding { owner, addresses } in ports.holdings(port)? {
                let listen = |ip| Listen { protocol, host: HostAddr::from_ip(ip), ports: ports_ };
                let bindings = addresses.into_iter().map(listen);
                found.extend(bindings.map(|listen| Binding { listen, owner: owner.clone() }));
            }
        }
        Ok(found)
    }

    fn ranges(&self) -> Result<Vec<Binding>, StoreError> {
        let Some(dir) = self.0.keep("ranges")? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for name in dir.names()? {
            let Some(listen) = parse_range(&name) else { continue };
            found.extend(dir.claimant(&name)?.map(|owner| Binding { listen, owner }));
        }
        Ok(found)
    }
}

/// The directory of a kind of claims: opened in one step, and known by this name.
pub(crate) fn below(kind: &str, of: &str) -> String {
    [kind, "/", of].concat()
}

/// The leases of one network; none where there never were any.
#[derive(Debug)]
pub struct Leases(Option<Rc<Dir>>);

impl Leases {
    /// Who has an address.
    pub fn holder(&self, ip: IpAddr) -> Result<Option<Holder>, StoreError> {
        Ok(self.claimant(&ip.to_string())?.map(holder))
    }

    /// Every address that somebody has.
    pub fn addresses(&self) -> Result<Vec<IpAddr>, StoreError> {
        let Some(dir) = &self.0 else { return Ok(Vec::new()) };
        Ok(dir.names()?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The address that was given out last.
    pub fn last(&self, family: Family) -> Result<Option<IpAddr>, StoreError> {
        let word = self.0.as_ref().map_or(Ok(None), |dir| dir.noted(last_name(family)))?;
        Ok(word.and_then(|ip| ip.parse().ok()))
    }

    /// Notes the address that was given out last.
    pub fn set_last(&self, ip: IpAddr) -> Result<(), StoreError> {
        self.0.as_ref().map_or(Ok(()), |dir| dir.note(last_name(Family::of(ip)), &ip.to_string()))
    }

    /// Gives back an address, whoever had it: for what no endpoint has any more.
    pub fn forget(&self, ip: IpAddr) -> Result<(), StoreError> {
        self.0.as_ref().map_or(Ok(()), |dir| dir.remove(&ip.to_string()).map(|_| ()))
    }

    fn claimant(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.0.as_ref().map_or(Ok(None), |dir| dir.claimant(name))
    }
}

/// Where the claim of a hardware address is. Those of adopted endpoints are not ours to share out; that an endpoint
/// has a claim tells that the network has members.
fn mac_name(endpoint: &Endpoint, wire: &Wire) -> String {
    match wire.join {
        Join::Adopted => endpoint.id.key(),
        _ => wire.mac.to_string(),
    }
}

/// Single ports with the addresses of the host, and ranges.
type Places = (BTreeMap<(Protocol, u16), BTreeSet<IpAddr>>, Vec<Listen>);

fn places(publish: &[Publish]) -> Places {
    let (mut singles, mut ranges) = Places::default();
    for listen in publish.iter().flat_map(|publish| publish.pieces()).map(|piece| piece.listen) {
        match listen.ports.count() {
            1 => {
                let at = singles.entry((listen.protocol, listen.ports.first())).or_insert_with(BTreeSet::new);
                at.insert(listen.host.ip());
            }
            _ => ranges.push(listen),
        }
    }
    (singles, ranges)
}

fn range_name(listen: Listen) -> String {
    format!("{}:{}-{}:{}", listen.protocol, listen.ports.first(), listen.ports.last(), listen.host.ip())
}

/// The single ports to look at: those of the range, or those that exist, whichever is less.
fn candidates(ports: &Ports, asked: PortRange) -> Result<Vec<u16>, StoreError> {
    const MANY: u16 = 256;
    if asked.count() <= MANY {
        return Ok(asked.ports().collect());
    }
    let (first, last) = (asked.first(), asked.last());
    Ok(ports.all()?.into_iter().filter(|port| (first..=last).contains(port)).collect())
}

/// What is collected: the claims of owners that are not known.
struct Collection<'a> {
    known: &'a dyn Fn(&str) -> bool,
    collected: &'a mut Vec<String>,
}

/// Collects in a directory, `depth` levels above its claims.
fn collect(dir: &Dir, depth: u32, into: &mut Collection<'_>) -> Result<(), StoreError> {
    for name in dir.names()? {
        if depth > 0 {
            if let Some(sub) = dir.sub(&name)? {
                collect(&sub, depth - 1, into)?;
            }
            continue;
        }
        let owner = dir.claimant(&name)?.unwrap_or_default();
        if !name.starts_with("last") && !owner.starts_with(LEAVING) && !(into.known)(&owner) {
            dir.remove(&name)?;
            into.collected.push(format!("{}/{name} of {owner}", dir.path()));
        }
    }
    Ok(())
}

fn holder(text: String) -> Holder {
    match text.strip_prefix(LEAVING) {
        Some(device) => Holder::Leaving(device.to_owned()),
        None => Holder::Endpoint(text),
    }
}

fn last_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "last4",
        Family::V6 => "last6",
    }
}

/// Gives an address back if it is `key`'s: to nobody, or to the device that is on its way out.
fn give_address(leases: &Dir, ip: IpAddr, (key, leaving): (&str, Option<&str>)) -> Result<(), StoreError> {
    let name = ip.to_string();
    match (leases.claimant(&name)?.as_deref() == Some(key), leaving) {
        (true, Some(device)) => leases.reclaim(&name, &format!("{LEAVING}{device}")),
        (true, None) => leases.remove(&name).map(|_| ()),
        (false, _) => Ok(()),
    }
}

/// Removes a claim if it is `key`'s.
fn give(dir: &Dir, name: &str, key: &str) -> Result<(), StoreError> {
    if dir.claimant(name)?.as_deref() == Some(key) {
        dir.remove(name)?;
    }
    Ok(())
}

fn parse_range(name: &str) -> Option<Listen> {
    let mut parts = name.splitn(3, ':');
    let protocol = parts.next()?.parse().ok()?;
    let ports = parts.next()?.parse().ok()?;
    let host = HostAddr::from_ip(parts.next()?.parse().ok()?);
    Some(Listen { protocol, host, ports })
}
