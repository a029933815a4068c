//! Addresses that a DHCP server of the neighbourhood gives. The lease is taken before the lock is: a server takes its
//! time, and nobody else has to wait. What comes of the attachment decides under the lock whether it is kept.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::session::Session;
use qiao_core::dhcp::{Ask, Keeper, Leased, Over, Tenant};
use qiao_core::endpoint::Wire;
use qiao_core::ipam::refuse_mac;
use qiao_core::network::Bridge;
use qiao_core::request::{Attach, Detach, Wish};
use qiao_core::{Endpoint, Network, NetworkName, Refusal, SandboxName};
use qiao_kernel::Kernel;
use qiao_store::Store;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Subnet's mask, routers, name servers, domain, MTU, classless routes (RFC 2132, RFC 3442).
const REQUEST: [u8; 6] = [1, 3, 6, 15, 26, 121];
/// The client's name (option 12).
const HOST_NAME: u8 = 12;
/// A lease without an endpoint may be of somebody who is attaching just now, for so many seconds.
const ATTACHING: u64 = 300;

impl<K: Kernel> Engine<K> {
    /// With somebody who keeps leases of DHCP servers.
    #[must_use]
    pub fn with_keeper(mut self, keeper: Box<dyn Keeper>) -> Self {
        self.keeper = Some(keeper);
        self
    }

    /// Takes the lease that a request needs; none where its network gives the addresses itself. For a plan it is
    /// only asked what the server would give.
    pub(crate) fn take_lease(
        &mut self,
        request: &Attach,
        only_offer: bool,
    ) -> Result<Option<Leased>, EngineError> {
        let Some(network) = self.dhcp_network(request)? else { return Ok(None) };
        let act = format!("cannot attach `{}` to network `{}`", request.sandbox, network.name);
        self.ask(request, &network, only_offer).map(Some).map_err(|error| match error {
            EngineError::Refused(refusal) => EngineError::Refused(refusal.context(act)),
            other => other,
        })
    }

    /// Takes the lease that a request needs, and begins. What comes to nothing gives it back.
    pub(crate) fn with_lease<T>(
        &mut self,
        request: &Attach,
        act: impl FnOnce(&mut Session<'_, K>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let leased = self.take_lease(request, false)?;
        let (has_lease, mut begun) = (leased.is_some(), false);
        let done = self.begin().and_then(|mut session| {
            begun = true;
            session.leased = leased;
            let done = session.refuse_lost_lease(request).and_then(|()| act(&mut session));
            if done.is_err() {
                session.give_lease_back(request);
            }
            done
        });
        if has_lease && !begun {
            self.return_lease(request);
        }
        done
    }

    /// Gives a lease back with which nothing could be begun, unless somebody has it.
    fn return_lease(&mut self, request: &Attach) {
        let (Some(network), Some(keeper)) = (&request.network, &mut self.keeper) else { return };
        if is_free_of(&self.store, &request.sandbox, network) {
            let _ = keeper.release(&tenant(&request.sandbox, network)); // else it ends with its namespace
        }
    }

    fn dhcp_network(&self, request: &Attach) -> Result<Option<Network>, EngineError> {
        if let Some(given) = &request.given {
            return Ok(Some(given.network.clone()).filter(Network::is_dhcp));
        }
        let Some(name) = &request.network else { return Ok(None) };
        Ok(self.store.network(name)?.filter(Network::is_dhcp))
    }

    fn ask(&mut self, request: &Attach, network: &Network, only_offer: bool) -> Result<Leased, EngineError> {
        let ask = self.question(request, network, only_offer)?;
        let Some(keeper) = &mut self.keeper else {
            return Err(Refusal::invalid("nobody here keeps DHCP leases").into());
        };
        keeper.acquire(&ask).map_err(|trouble| {
            EngineError::failed(
                format!("attach `{}` to network `{}`", request.sandbox, network.name),
                trouble,
            )
        })
    }

    /// What is asked for. What can be seen to make no sense is refused before anybody is asked.
    fn question(
        &mut self,
        request: &Attach,
        network: &Network,
        only_offer: bool,
    ) -> Result<Ask, EngineError> {
        let over = over(request, network)?;
        let others = self.store.sandbox(&request.sandbox)?;
        let alive = |e: &&Endpoint| e.netns.as_ref().is_some_and(|netns| self.kernel.is_alive(netns));
        let others: Vec<&Endpoint> = others.iter().filter(alive).collect();
        if let Some(other) = others.iter().find(|other| *other.network() == network.name) {
            return Err(Refusal::conflict(format!("it is attached already, as `{}`", other.id.ifname)).into());
        }
        if request.wish.ip6.is_some() {
            return Err(
                Refusal::invalid("the network has no IPv6: its addresses are a DHCPv4 server's").into()
            );
        }
        let known = others.iter().find_map(|other| other.netns.clone());
        let sandbox = match (&request.netns, known) {
            (Some(path), _) => self.kernel.netns(path)?,
            (None, Some(known)) => known,
            (None, None) => {
                return Err(Refusal::invalid("no network namespace")
                    .fix("give its path with --netns")
                    .into());
            }
        };
        let tenant = tenant(&request.sandbox, &network.name);
        let passthru = network.child().filter(|child| child.mode.is_passthru());
        let parent = passthru.map(|child| self.kernel.link(&child.parent)).transpose()?.flatten();
        let parents = parent.and_then(|link| link.mac);
        let mac = parents.or(request.wish.mac).unwrap_or_else(|| tenant.mac());
        let link = if passthru.is_none() { self.kernel.link(over.first())? } else { None };
        if let Some(of_device) = link.and_then(|link| link.mac) {
            refuse_mac(network, (over.first(), of_device), mac)?;
        }
        Ok(Ask {
            provide: host_name(request).map(|name| (HOST_NAME, name)).into_iter().collect(),
            request: REQUEST.to_vec(),
            wish: request.wish.ip,
            over,
            mac: Some(mac),
            tenant,
            sandbox,
            only_offer,
        })
    }
}

impl<K: Kernel> Session<'_, K> {
    /// Whether a DHCP server gives the addresses of the network that a request is about.
    pub fn needs_lease(&self, request: &Attach) -> Result<bool, EngineError> {
        if let Some(given) = &request.given {
            return Ok(given.network.is_dhcp());
        }
        let Some(name) = &request.network else { return Ok(false) };
        Ok(self.txn.network(name)?.as_ref().is_some_and(Network::is_dhcp))
    }

    /// A wish with the hardware address that has the lease.
    pub fn leased_mac(&self, wish: &Wish) -> Wish {
        Wish { mac: self.leased.as_ref().map(|leased| leased.mac).or(wish.mac), ..wish.clone() }
    }

    /// What a lease gives, put into a wire.
    pub fn on_lease(&self, wire: &mut Wire, others: &[Endpoint], network: &Network) {
        let Some(Leased { terms, .. }) = &self.leased else { return };
        let mut gateways = others.iter().filter_map(|o| o.wire.as_ref()).flat_map(|wire| &wire.gateways);
        let has_default = network.is_internal() || gateways.any(IpAddr::is_ipv4);
        wire.gateways = routers(&terms.routers).filter(|_| !has_default).collect();
        wire.mtu = terms.mtu.map_or(wire.mtu, |mtu| mtu.min(wire.mtu));
        let routes = terms.routes.iter().filter(|_| !network.is_internal());
        wire.extras.routes = routes.map(|(to, via)| ((*to).into(), via.map(IpAddr::V4))).collect();
        wire.extras.leased = Some(Box::new(terms.clone()));
    }

    /// The lease of this request, which its network needs.
    pub fn need_lease(&self, host: &[IpAddr]) -> Result<&Leased, EngineError> {
        let moved = || Refusal::conflict("the network was changed meanwhile").fix("try again");
        let leased = self.leased.as_ref().ok_or_else(moved)?;
        let ip = IpAddr::V4(leased.terms.address.addr());
        if host.contains(&ip) {
            return Err(Refusal::conflict(format!("the DHCP server gives {ip}, which the host has"))
                .why(format!("it is the server {}", leased.terms.server))
                .into());
        }
        Ok(leased)
    }

    /// Between the lease and the lock another command of the same sandbox may have given it back: one that failed, or
    /// a detachment. The server gives the address to somebody else then.
    fn refuse_lost_lease(&mut self, request: &Attach) -> Result<(), EngineError> {
        let Some(network) = request.network.as_ref().filter(|_| self.leased.is_some()) else { return Ok(()) };
        let own = tenant(&request.sandbox, network);
        let Some(Ok(tenants)) = self.keeper.as_mut().map(|keeper| keeper.tenants()) else { return Ok(()) };
        if tenants.iter().any(|(tenant, _)| *tenant == own) {
            return Ok(());
        }
        let what = format!("the DHCP lease of `{}` was given back meanwhile", request.sandbox);
        Err(Refusal::conflict(what).why("another command about it came between").fix("try again").into())
    }

    /// Gives back the lease of an attachment that came to nothing, unless somebody else's did meanwhile.
    fn give_lease_back(&mut self, request: &Attach) {
        let Some(network) = request.network.as_ref().filter(|_| self.leased.take().is_some()) else { return };
        if is_free_of(&self.txn, &request.sandbox, network) {
            self.release_lease(&tenant(&request.sandbox, network));
        }
    }

    /// Gives an endpoint's lease back, where it has one. Nobody is kept from leaving.
    pub fn end_lease(&mut self, endpoint: &Endpoint) {
        if endpoint.wire.as_ref().is_some_and(|wire| wire.extras.leased.is_some()) {
            self.release_lease(&tenant(endpoint.sandbox(), endpoint.network()));
        }
    }

    fn release_lease(&mut self, tenant: &Tenant) {
        let Some(Err(trouble)) = self.keeper.as_mut().map(|keeper| keeper.release(tenant)) else { return };
        self.txn.note(format!(
            "the DHCP lease of `{}` is kept until its namespace is gone: {trouble}",
            tenant.sandbox
        ));
    }

    /// Sees to it that leases are kept, whoever was killed.
    pub fn revive_leases(&mut self) {
        let Some(Err(trouble)) = self.keeper.as_mut().map(|keeper| keeper.revive()) else { return };
        self.txn.note(format!("DHCP leases are not renewed: {trouble}"));
    }

    /// Releases the leases of a sandbox that has no endpoint: its attachment was killed before there was one. The
    /// number of leases.
    pub fn release_lost(&mut self, request: &Detach) -> usize {
        let Some(Ok(tenants)) = self.keeper.as_mut().map(|keeper| keeper.tenants()) else { return 0 };
        let is_on = |network: &str| request.network.as_ref().is_none_or(|wanted| wanted.as_str() == network);
        let lost = tenants.into_iter().map(|(tenant, _)| tenant);
        let lost: Vec<Tenant> = lost
            .filter(|tenant| tenant.sandbox == request.sandbox.as_str() && is_on(&tenant.network))
            .collect();
        lost.iter().for_each(|tenant| self.release_lease(tenant));
        lost.len()
    }

    /// Gives back the leases of attachments that were never completed.
    pub fn collect_leases(&mut self) -> Result<Vec<String>, EngineError> {
        let Some(Ok(tenants)) = self.keeper.as_mut().map(|keeper| keeper.tenants()) else {
            return Ok(Vec::new());
        };
        let endpoints = self.txn.endpoints()?;
        let known: BTreeSet<_> = endpoints.iter().map(|e| tenant(e.sandbox(), e.network())).collect();
        let unreadable = self.txn.unreadable()?;
        let is_kept = |tenant: &Tenant| {
            known.contains(tenant) || unreadable.keys().any(|name| name.sandbox.as_str() == tenant.sandbox)
        };
        let lost = tenants.into_iter().filter(|(tenant, age)| *age > ATTACHING && !is_kept(tenant));
        let lost: Vec<Tenant> = lost.map(|(tenant, _)| tenant).collect();
        lost.iter().for_each(|tenant| self.release_lease(tenant));
        Ok(lost.iter().map(|tenant| format!("DHCP lease {tenant}")).collect())
    }
}

/// The routers of a lease, the best one only: a family has one default route.
pub(crate) fn routers(routers: &[Ipv4Addr]) -> impl Iterator<Item = IpAddr> {
    routers.first().map(|ip| IpAddr::V4(*ip)).into_iter()
}

/// The gateways of a network's endpoint: the network's own, or those that its lease named.
pub(crate) fn gateways_of(network: &Network, wire: &Wire) -> Vec<IpAddr> {
    match &wire.extras.leased {
        Some(terms) => routers(&terms.routers).collect(),
        None => network.pools().iter().map(|pool| pool.gateway).collect(),
    }
}

/// Where its server is asked.
fn over(request: &Attach, network: &Network) -> Result<Over, Refusal> {
    if let Some(child) = network.child() {
        return Ok(Over::Host(child.parent.clone()));
    }
    let bridge = network.bridge().map(Bridge::neighbour_if);
    let over = bridge.zip(request.ifname.clone()).map(|(bridge, ifname)| Over::Port { bridge, ifname });
    over.ok_or_else(|| {
        Refusal::invalid("it has neither a parent nor a bridge where a DHCP server could be asked")
    })
}

/// Whether a sandbox is known to have no endpoint on a network: one whose record cannot be read may be on it.
fn is_free_of(store: &Store, sandbox: &SandboxName, network: &NetworkName) -> bool {
    let endpoints = store.sandbox(sandbox);
    endpoints.is_ok_and(|endpoints| endpoints.iter().all(|endpoint| endpoint.network() != network))
        && store.unreadable_of(sandbox).is_empty()
}

fn tenant(sandbox: &SandboxName, network: &NetworkName) -> Tenant {
    Tenant { sandbox: sandbox.to_string(), network: network.to_string(), ifname: String::new() }
}

/// The container's name, as far as it is a host's (RFC 1123 section 2.1): what its client calls it, or the sandbox's.
fn host_name(request: &Attach) -> Option<Vec<u8>> {
    let said = request.given.as_ref().and_then(|given| given.hostname.as_deref());
    let name: String = said
        .unwrap_or(request.sandbox.as_str())
        .chars()
        .map(|c| if c == '_' { '-' } else { c })
        .take(63)
        .collect();
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'));
    (is_name && !name.is_empty()).then(|| name.into_bytes())
}
