//! Claims: who has which address, hardware address and port. Each has one owner, and only its owner can
//! give it back.

use crate::dir::Dir;
use crate::error::StoreError;
use qiao_core::port::{HostAddr, Listen, PortRange, Protocol, Publish};
use qiao_core::subnet::Family;
use qiao_core::{Endpoint, Mac, NetworkName};
use std::net::IpAddr;

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
        self.0.ensure("leases")?.ensure(network.as_str()).map(Leases)
    }

    /// How many addresses of a network are given out or on their way back.
    pub fn count(&self, network: &NetworkName) -> Result<usize, StoreError> {
        let Some(leases) = self.0.sub("leases")?.map(|dir| dir.sub(network.as_str())).transpose()?.flatten()
        else {
            return Ok(0);
        };
        Ok(Leases(leases).addresses()?.len())
    }

    /// Claims everything an endpoint has. The caller has looked that it is free; should something not be
    /// (a lost record's), it is told which.
    pub fn take(&self, endpoint: &Endpoint) -> Result<Option<String>, StoreError> {
        let Some(wire) = &endpoint.wire else { return Ok(None) };
        let (key, network) = (endpoint.id.key(), endpoint.network());
        let leases = self.leases(network)?;
        for net in &wire.addresses {
            if !leases.0.claim(&net.addr().to_string(), &key)? {
                return Ok(Some(format!("address {}", net.addr())));
            }
        }
        if !self.macs(network)?.claim(&wire.mac.to_string(), &key)? {
            return Ok(Some(format!("hardware address {}", wire.mac)));
        }
        for publish in &wire.publish {
            if !self.take_port(publish, &key)? {
                return Ok(Some(format!("port {}", publish.listen)));
            }
        }
        Ok(None)
    }

    /// Gives back what an endpoint has, and nothing that is somebody else's. Its addresses go to nobody as
    /// long as `leaving`, the device they were on, exists.
    pub fn give_back(&self, endpoint: &Endpoint, leaving: Option<&str>) -> Result<(), StoreError> {
        let Some(wire) = &endpoint.wire else { return Ok(()) };
        let (key, network) = (endpoint.id.key(), endpoint.network());
        let leases = self.leases(network)?;
        for net in &wire.addresses {
            let name = net.addr().to_string();
            match (leases.0.claimant(&name)?.as_deref() == Some(&*key), leaving) {
                (true, Some(device)) => leases.0.reclaim(&name, &format!("{LEAVING}{device}"))?,
                (true, None) => drop(leases.0.remove(&name)?),
                (false, _) => {}
            }
        }
        give(&self.macs(network)?, &wire.mac.to_string(), &key)?;
        wire.publish.iter().try_for_each(|publish| self.give_port(publish, &key))
    }

    /// Gives back every claim whose owner `known` does not know, and tells which they were.
    pub fn collect(&self, known: Known<'_>) -> Result<Vec<String>, StoreError> {
        let mut collected = Vec::new();
        for (kind, depth) in [("leases", 1), ("macs", 1), ("ports", 2), ("ranges", 0)] {
            if let Some(dir) = self.0.sub(kind)? {
                collect(&dir, depth, (known, &mut collected))?;
            }
        }
        Ok(collected)
    }

    fn macs(&self, network: &NetworkName) -> Result<Dir, StoreError> {
        self.0.ensure("macs")?.ensure(network.as_str())
    }

    /// Who has a hardware address.
    pub fn mac_owner(&self, network: &NetworkName, mac: Mac) -> Result<Option<String>, StoreError> {
        self.macs(network)?.claimant(&mac.to_string())
    }

    fn take_port(&self, publish: &Publish, key: &str) -> Result<bool, StoreError> {
        for piece in publish.pieces() {
            let (dir, name) = self.port_claim(piece.listen)?;
            if !dir.claim(&name, key)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn give_port(&self, publish: &Publish, key: &str) -> Result<(), StoreError> {
        for listen in publish.pieces().into_iter().map(|piece| piece.listen) {
            let (dir, name) = self.port_claim(listen)?;
            give(&dir, &name, key)?;
            if listen.ports.count() == 1 {
                self.ports(listen.protocol)?.remove_dir(&listen.ports.first().to_string())?;
            }
        }
        Ok(())
    }

    fn ports(&self, protocol: Protocol) -> Result<Dir, StoreError> {
        self.0.ensure("ports")?.ensure(protocol.as_str())
    }

    /// Where the claim of a port or of a range is.
    fn port_claim(&self, listen: Listen) -> Result<(Dir, String), StoreError> {
        let (ip, ports) = (listen.host.ip(), listen.ports);
        if ports.count() == 1 {
            return Ok((self.ports(listen.protocol)?.ensure(&ports.first().to_string())?, ip.to_string()));
        }
        Ok((self.0.ensure("ranges")?, format!("{}:{}-{}:{ip}", listen.protocol, ports.first(), ports.last())))
    }

    /// What is published in the way of `listen`. It looks at the ports asked about and at the few ranges,
    /// not at everything that is published.
    pub fn bindings(&self, listen: Listen) -> Result<Vec<Binding>, StoreError> {
        let mut found = self.ranges()?;
        let Some(ports) =
            self.0.sub("ports")?.map(|dir| dir.sub(listen.protocol.as_str())).transpose()?.flatten()
        else {
            return Ok(conflicting(found, listen));
        };
        for port in self.candidates(&ports, listen)? {
            let Some(dir) = ports.sub(&port.to_string())? else { continue };
            for name in dir.names()? {
                found.extend(single(&dir, (listen.protocol, port), &name)?);
            }
        }
        Ok(conflicting(found, listen))
    }

    /// The single ports to look at: those of the range, or those that exist, whichever is less.
    fn candidates(&self, ports: &Dir, listen: Listen) -> Result<Vec<u16>, StoreError> {
        const MANY: u16 = 256;
        if listen.ports.count() <= MANY {
            return Ok(listen.ports.ports().collect());
        }
        let existing = ports.names()?.into_iter().filter_map(|name| name.parse().ok());
        let (first, last) = (listen.ports.first(), listen.ports.last());
        Ok(existing.filter(|port| (first..=last).contains(port)).collect())
    }

    fn ranges(&self) -> Result<Vec<Binding>, StoreError> {
        let Some(dir) = self.0.sub("ranges")? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for name in dir.names()? {
            let Some(listen) = parse_range(&name) else { continue };
            found.extend(dir.claimant(&name)?.map(|owner| Binding { listen, owner }));
        }
        Ok(found)
    }
}

/// The leases of one network.
#[derive(Debug)]
pub struct Leases(Dir);

impl Leases {
    /// Who has an address.
    pub fn holder(&self, ip: IpAddr) -> Result<Option<Holder>, StoreError> {
        Ok(self.0.claimant(&ip.to_string())?.map(holder))
    }

    /// Every address that somebody has.
    pub fn addresses(&self) -> Result<Vec<IpAddr>, StoreError> {
        Ok(self.0.names()?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The address that was given out last.
    pub fn last(&self, family: Family) -> Result<Option<IpAddr>, StoreError> {
        Ok(self.0.claimant(last_name(family))?.and_then(|ip| ip.parse().ok()))
    }

    /// Notes the address that was given out last.
    pub fn set_last(&self, ip: IpAddr) -> Result<(), StoreError> {
        self.0.reclaim(last_name(Family::of(ip)), &ip.to_string())
    }

    /// Gives back an address, whoever had it: for what no endpoint has any more.
    pub fn forget(&self, ip: IpAddr) -> Result<(), StoreError> {
        self.0.remove(&ip.to_string()).map(|_| ())
    }
}

/// Whether an owner exists.
type Known<'a> = &'a dyn Fn(&str) -> bool;

/// Collects in a directory, `depth` levels above its claims.
fn collect(
    dir: &Dir,
    depth: u32,
    (known, collected): (Known<'_>, &mut Vec<String>),
) -> Result<(), StoreError> {
    for name in dir.names()? {
        if depth > 0 {
            if let Some(sub) = dir.sub(&name)? {
                collect(&sub, depth - 1, (known, collected))?;
            }
            // Only the directories of ports come and go with their claims.
            if depth == 1 && name.parse::<u16>().is_ok() {
                dir.remove_dir(&name)?;
            }
            continue;
        }
        let owner = dir.claimant(&name)?.unwrap_or_default();
        if !name.starts_with("last") && !owner.starts_with(LEAVING) && !known(&owner) {
            dir.remove(&name)?;
            collected.push(format!("{}/{name} of {owner}", dir.path()));
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

/// Removes a claim if it is `key`'s.
fn give(dir: &Dir, name: &str, key: &str) -> Result<(), StoreError> {
    if dir.claimant(name)?.as_deref() == Some(key) {
        dir.remove(name)?;
    }
    Ok(())
}

fn single(dir: &Dir, (protocol, port): (Protocol, u16), name: &str) -> Result<Option<Binding>, StoreError> {
    let (Ok(ip), Ok(ports)) = (name.parse(), PortRange::one(port)) else { return Ok(None) };
    let listen = Listen { protocol, host: HostAddr::from_ip(ip), ports };
    Ok(dir.claimant(name)?.map(|owner| Binding { listen, owner }))
}

fn parse_range(name: &str) -> Option<Listen> {
    let mut parts = name.splitn(3, ':');
    let protocol = parts.next()?.parse().ok()?;
    let ports = parts.next()?.parse().ok()?;
    let host = HostAddr::from_ip(parts.next()?.parse().ok()?);
    Some(Listen { protocol, host, ports })
}

fn conflicting(found: Vec<Binding>, listen: Listen) -> Vec<Binding> {
    found.into_iter().filter(|binding| binding.listen.conflicts(listen)).collect()
}
