//! Which ports are published where: every conflict is found before anything is touched.

use crate::engine::random;
use crate::error::EngineError;
use crate::session::Session;
use qiao_core::endpoint::Wire;
use qiao_core::name::quoted;
use qiao_core::owner::EndpointId;
use qiao_core::port::{Backend, HostAddr, Listen, PortRange, PublishSpec, joined};
use qiao_core::settings::LoopbackMethod;
use qiao_core::subnet::Family;
use qiao_core::{Bridge, Code, Protocol, Publish, Refusal};
use qiao_kernel::{InTheWay, Kernel};
use qiao_store::Binding;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// Where one `-p` leads: the addresses of the host, and the container's address behind each.
type Ways = Vec<(HostAddr, IpAddr)>;

/// What is not in the way of a request.
#[derive(Clone, Copy)]
struct Own<'a> {
    /// What the same request publishes. It must not do so twice.
    found: &'a [Publish],
    /// What the endpoint publishes already.
    had: &'a [Publish],
    /// The endpoint.
    id: &'a EndpointId,
    /// Whether its client holds the ports with sockets of its own.
    held: bool,
}

impl<K: Kernel> Session<'_, K> {
    /// Publishes the ports asked for. Where a client holds the ports of a sandbox itself (`held`), and asks for them
    /// again with each network, those that another of its endpoints has are waited for.
    pub fn publish(
        &mut self,
        bridge: Option<&Bridge>,
        (id, wire): (&EndpointId, &mut Wire),
        (specs, held): (&[PublishSpec], bool),
    ) -> Result<(), EngineError> {
        if bridge.is_some_and(|bridge| bridge.internal) && !specs.is_empty() {
            return Err(Refusal::invalid(format!("cannot publish {}: the network is internal", specs[0]))
                .why("nothing outside reaches an internal network")
                .into());
        }
        let (mut found, mut waiting, mut present) = (Vec::new(), Vec::new(), BTreeMap::new());
        for spec in specs {
            spec.check()?;
            let mut ways = self.ways(bridge, wire, spec)?;
            if spec.host_ip.is_none() && ways.len() > 1 {
                ways.retain(|(host, _)| {
                    let mut has = || *present.entry(host.ip()).or_insert_with(|| self.has(spec, *host));
                    !host.ip().is_loopback() || has()
                });
            }
            self.detach_gone_holders(spec, &ways)?;
            let own = Own { found: &found, had: &wire.publish, id, held };
            let others = if held { self.take_siblings(spec, &mut ways, id)? } else { Ways::new() };
            waiting
                .extend(others.iter().filter_map(|(host, ip)| Some(publish(spec, (*host, spec.host?), *ip))));
            let ports = self.host_ports(spec, &ways, own)?;
            found.extend(ways.iter().map(|(host, ip)| publish(spec, (*host, ports), *ip)));
        }
        (wire.publish, wire.extras.waiting) = (joined(found), joined(waiting));
        Ok(())
    }

    /// Where a port leads, without what nobody could be served at.
    fn ways(
        &mut self,
        bridge: Option<&Bridge>,
        wire: &Wire,
        spec: &PublishSpec,
    ) -> Result<Ways, EngineError> {
        let own = bridge.and_then(|bridge| bridge.publish_address);
        let mut ways = ways(spec, own.unwrap_or(self.settings.publish_address), wire)?;
        if let Some(why) = self.no_loopback(spec) {
            only_loopback(spec, &ways, why)?;
            ways.retain(|(host, _)| !host.ip().is_loopback());
        }
        Ok(ways)
    }

    /// Takes out the ways that another endpoint of the same sandbox has: runtimes publish a container's ports on each
    /// of its networks. They are had again when the other has them no more.
    fn take_siblings(
        &mut self,
        spec: &PublishSpec,
        ways: &mut Ways,
        id: &EndpointId,
    ) -> Result<Ways, EngineError> {
        let Some(ports) = spec.host.filter(|_| !spec.is_choice()) else { return Ok(Ways::new()) };
        let mut bindings = self.txn.claims().bindings(spec.protocol, ports)?;
        let (own, prefix) = (id.key(), format!("{}@", id.sandbox));
        bindings.retain(|binding| binding.owner.starts_with(&prefix) && binding.owner != own);
        let listen = |host: HostAddr| Listen { protocol: spec.protocol, host, ports };
        let has = |host: HostAddr| {
            let mut others = bindings.iter().map(|binding| binding.listen);
            others.any(|other| other.conflicts(listen(host)) && covers(other.host, host))
        };
        let (others, rest) = ways.iter().partition(|(host, _)| has(*host));
        *ways = rest;
        Ok(others)
    }

    /// Detaches containers that have ended and hold the ports that are asked for.
    fn detach_gone_holders(&mut self, spec: &PublishSpec, ways: &Ways) -> Result<(), EngineError> {
        let Some(ports) = spec.host.filter(|_| !spec.is_choice()) else { return Ok(()) };
        for binding in self.txn.claims().bindings(spec.protocol, ports)? {
            let is_held = |(host, _): &(HostAddr, IpAddr)| {
                binding.listen.conflicts(Listen { protocol: spec.protocol, host: *host, ports })
            };
            if ways.iter().any(is_held) {
                self.detach_if_gone(&binding.owner)?;
            }
        }
        Ok(())
    }

    /// Whether the host has an address: without IPv6 it has no ::1, which nobody asked for by name.
    fn has(&mut self, spec: &PublishSpec, host: HostAddr) -> bool {
        let ports = spec.host.filter(|_| !spec.is_choice()).unwrap_or(spec.container);
        let listen = Listen { protocol: spec.protocol, host, ports };
        let found = self.kernel.in_the_way(listen);
        self.asked = Some((listen, found));
        !matches!(found, Some(InTheWay::NoSuchAddress))
    }

    /// What is in the way of ports of the host. What was just asked is not asked again.
    fn in_the_way(&mut self, listen: Listen) -> Option<InTheWay> {
        let asked = self.asked.take_if(|(asked, _)| *asked == listen);
        asked.map_or_else(|| self.kernel.in_the_way(listen), |(_, found)| found)
    }

    /// Why clients of 127.0.0.1 and ::1 are not served, if they are not.
    fn no_loopback(&self, spec: &PublishSpec) -> Option<&'static str> {
        match spec.protocol {
            _ if self.settings.loopback == LoopbackMethod::Off => {
                Some("the setting `loopback` is \"off\": 127.0.0.1 and ::1 lead to no container")
            }
            Protocol::Sctp => Some("no connection of sctp leads from 127.0.0.1 or ::1 to a container"),
            Protocol::Tcp | Protocol::Udp => None,
        }
    }

    /// The ports of the host: those asked for, or the first free ones.
    fn host_ports(
        &mut self,
        spec: &PublishSpec,
        ways: &Ways,
        own: Own<'_>,
    ) -> Result<PortRange, EngineError> {
        if let Some(host) = spec.host.filter(|_| !spec.is_choice()) {
            self.check(spec, (ways, host), own)??;
            return Ok(host);
        }
        for first in self.candidates(spec) {
            let Some(last) = first.checked_add(spec.container.count() - 1) else { continue };
            let ports = PortRange::new(first, last)?;
            if self.check(spec, (ways, ports), own)?.is_ok() {
                return Ok(ports);
            }
        }
        Err(Refusal::new(Code::Exhausted, format!("cannot publish {spec}: no free port of the host")).into())
    }

    /// The ports to try: those of the range in order, or the ephemeral ones from a random one on.
    fn candidates(&mut self, spec: &PublishSpec) -> Vec<u16> {
        if let Some(host) = spec.host {
            return host.ports().collect();
        }
        let (first, last) = self.kernel.ephemeral_ports();
        let count = usize::from(last.saturating_sub(first)) + 1;
        let seed = random();
        let start = usize::from(u16::from_le_bytes([seed[0], seed[1]])) % count;
        (first..=last).cycle().skip(start).take(count).collect()
    }

    /// Whether the ports are free everywhere they shall be; the inner refusal says who has them.
    fn check(
        &mut self,
        spec: &PublishSpec,
        (ways, ports): (&Ways, PortRange),
        own: Own<'_>,
    ) -> Result<Result<(), Refusal>, EngineError> {
        let listen = |(host, _): &(HostAddr, IpAddr)| Listen { protocol: spec.protocol, host: *host, ports };
        let bindings = self.txn.claims().bindings(spec.protocol, ports)?;
        Ok(ways.iter().map(listen).try_for_each(|listen| self.check_listen(listen, own, &bindings)))
    }

    fn check_listen(&mut self, listen: Listen, own: Own<'_>, bindings: &[Binding]) -> Result<(), Refusal> {
        let taken = |why: String| Refusal::conflict(format!("the port {listen} is taken")).why(why);
        if let Some(other) = own.found.iter().find(|other| other.listen.conflicts(listen)) {
            return Err(taken(format!("the same request publishes {other}")));
        }
        if own.has(listen) {
            return Ok(());
        }
        let is_other = |binding: &&Binding| !own.is_held_by(binding) && binding.listen.conflicts(listen);
        if let Some(binding) = bindings.iter().find(is_other) {
            return Err(taken(format!("{} publishes {}", owner_words(&binding.owner), binding.listen)));
        }
        match self.in_the_way(listen) {
            None => Ok(()),
            // A client that could bind it itself has an address that is not here now (`ip_nonlocal_bind`).
            Some(InTheWay::Socket(_) | InTheWay::NoSuchAddress) if own.held => Ok(()),
            Some(InTheWay::Socket(port)) => {
                Err(taken(format!("a process of the host has {}/{}", port, listen.protocol))
                    .fix(format!("ss -lnp 'sport = :{port}'           (which process)")))
            }
            Some(InTheWay::NoSuchAddress) => Err(Refusal::invalid(format!("cannot publish on {listen}"))
                .why(format!("{} is not an address of this host", listen.host.ip()))),
            Some(InTheWay::NotPermitted(port)) => Err(Refusal::new(
                Code::NotPermitted,
                format!("cannot publish {listen}: port {port} needs privilege"),
            )),
        }
    }
}

impl Own<'_> {
    /// Whether the endpoint publishes ports already.
    fn has(&self, listen: Listen) -> bool {
        self.had.iter().any(|had| had.listen.covers(listen))
    }

    /// Whether a bound port belongs to the same client: a part of what the endpoint publishes, or of another endpoint
    /// of a client that holds the port itself.
    fn is_held_by(&self, binding: &Binding) -> bool {
        let of = binding.owner.split_once('@').map(|(sandbox, _)| sandbox);
        self.held && of == Some(self.id.sandbox.as_str())
            || self.has(binding.listen) && binding.owner == self.id.key()
    }
}

/// Whether whoever listens at the first address listens at the second.
fn covers(first: HostAddr, second: HostAddr) -> bool {
    first == second || matches!(first, HostAddr::Any(family) if family == second.family())
}

/// Refuses what would be published on loopback addresses only. On all addresses it is published on the others.
fn only_loopback(spec: &PublishSpec, ways: &Ways, why: &str) -> Result<(), Refusal> {
    if ways.iter().any(|(host, _)| !host.ip().is_loopback()) {
        return Ok(());
    }
    Err(Refusal::new(Code::Unsupported, format!("cannot publish {spec}"))
        .why(why)
        .fix("publish it on another address of the host, or on all: leave the address out"))
}

/// `web@eth0` as a person says it.
fn owner_words(key: &str) -> String {
    let (sandbox, ifname) = key.split_once('@').unwrap_or((key, ""));
    format!("container {} ({ifname})", quoted(sandbox))
}

fn publish(spec: &PublishSpec, (host, ports): (HostAddr, PortRange), ip: IpAddr) -> Publish {
    let backend = Backend { ip, port: spec.container.first() };
    Publish { listen: Listen { protocol: spec.protocol, host, ports }, backend }
}

/// Where a port leads. Without an address, or with `0.0.0.0` as the default, both families are meant; a
/// container without IPv6 is still published on `::1`, since `localhost` often is that first.
fn ways(spec: &PublishSpec, default: IpAddr, wire: &Wire) -> Result<Ways, Refusal> {
    let (v4, v6) = (wire.address(Family::V4), wire.address(Family::V6));
    match spec.host_ip.unwrap_or(default) {
        ip if spec.host_ip.is_none() && ip.is_unspecified() => {
            let any = |family, ip: Option<IpAddr>| ip.map(|ip| (HostAddr::Any(family), ip));
            let local = v4.filter(|_| v6.is_none()).map(|ip| (HostAddr::One(Ipv6Addr::LOCALHOST.into()), ip));
            Ok([any(Family::V4, v4), any(Family::V6, v6), local].into_iter().flatten().collect())
        }
        ip => one_way(spec, ip, (v4, v6)),
    }
}

fn one_way(
    spec: &PublishSpec,
    ip: IpAddr,
    (v4, v6): (Option<IpAddr>, Option<IpAddr>),
) -> Result<Ways, Refusal> {
    let mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
    if ip.is_multicast() || ip == IpAddr::from([255, 255, 255, 255]) || mapped {
        return Err(Refusal::invalid(format!("cannot publish {spec}: `{ip}` is not an address of a host")));
    }
    if matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()) {
        return Err(Refusal::invalid(format!("cannot publish {spec}: `{ip}` is a link-local address"))
            .why("it means another host on every link, and a published port names no link"));
    }
    let same = if ip.is_ipv4() { v4 } else { v6 };
    let backend = same.or_else(|| v4.filter(|_| ip.is_loopback()));
    let backend = backend.ok_or_else(|| {
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        Refusal::invalid(format!("cannot publish {spec}: the container has no {family} address"))
    })?;
    Ok(vec![(HostAddr::from_ip(ip), backend)])
}
