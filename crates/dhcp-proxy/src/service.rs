//! The service's calls. Each is one question to the keeper, and a container's interface that gets what was given.

use crate::cache::Cache;
use crate::message::{Lease, NetworkConfig, OperationResponse};
use prost::Message;
use qiao_core::dhcp::{Ask, Leased, Over, Tenant, Trouble};
use qiao_core::{IfName, Mac};
use qiao_dhcp::{Answer, Place, Request};
use qiao_kernel::dhcp::Packets;
use qiao_kernel::{KernelError, NetnsHandle};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

/// Subnet's mask, routers, name servers, domain, MTU (RFC 2132).
const REQUEST: [u8; 5] = [1, 3, 6, 15, 26];
const HOST_NAME: u8 = 12;
const CLIENT_IDENTIFIER: u8 = 61;
/// How long the keeper may take for what it need not ask anybody for.
const SHORT: Duration = Duration::from_secs(5);

/// Why a call failed: a code (gRPC, "Status codes and their use"), and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: u8,
    /// The text.
    pub message: String,
}

/// Codes of gRPC.
pub const INVALID_ARGUMENT: u8 = 3;
/// Nobody gave a lease.
pub const NOT_FOUND: u8 = 5;
/// There is no such call.
pub const UNIMPLEMENTED: u8 = 12;
/// It went wrong here.
pub const INTERNAL: u8 = 13;

fn status(code: u8, message: impl Display) -> Status {
    Status { code, message: message.to_string() }
}

/// What the calls need.
#[derive(Debug)]
pub struct Service {
    place: Place,
    patience: Duration,
    cache: Cache,
}

impl Service {
    /// With the keeper at this place, which waits for servers so long.
    pub fn new(place: Place, patience: Duration, cache: Cache) -> Self {
        Self { place, patience, cache }
    }

    /// Carries out a call.
    pub fn call(&self, path: &str, message: &[u8]) -> Result<Vec<u8>, Status> {
        let config = || NetworkConfig::decode(message).map_err(|error| status(INVALID_ARGUMENT, error));
        match path {
            "/netavark_proxy.NetavarkProxy/Setup" => {
                self.setup(&config()?).map(|lease| lease.encode_to_vec())
            }
            "/netavark_proxy.NetavarkProxy/Teardown" => {
                self.teardown(&config()?).map(|lease| lease.encode_to_vec())
            }
            "/netavark_proxy.NetavarkProxy/Clean" => self.clean().map(|done| done.encode_to_vec()),
            other => Err(status(UNIMPLEMENTED, format!("there is no method {other}"))),
        }
    }

    /// Takes back what a call did whose answer nobody heard.
    pub fn undo(&self, path: &str, message: &[u8]) {
        let Some(config) = NetworkConfig::decode(message).ok().filter(|_| path.ends_with("/Setup")) else {
            return;
        };
        let Ok(Answer::Leased(leased)) =
            mac(&config).and_then(|mac| self.ask(&Request::Look(tenant(mac)), SHORT))
        else {
            return;
        };
        let _ = self.teardown(&config);
        let _ = NetnsHandle::open(&config.ns_path).map(|netns| netns.take_address(leased.terms.net()));
    }

    fn setup(&self, config: &NetworkConfig) -> Result<Lease, Status> {
        if config.version != 0 {
            return Err(status(INVALID_ARGUMENT, "ipv6 not yet supported"));
        }
        let mac = mac(config)?;
        let ifname = IfName::new(&config.container_iface).map_err(|error| status(INVALID_ARGUMENT, error))?;
        let bridge = IfName::new(&config.host_iface).map_err(|error| status(INVALID_ARGUMENT, error))?;
        let namespace = NetnsHandle::open(&config.ns_path)
            .map_err(|error| status(INVALID_ARGUMENT, format!("namespace {}: {error:?}", config.ns_path)))?;
        is_its(mac, namespace.packets(&ifname))?;
        let ask = Ask {
            tenant: tenant(mac),
            sandbox: namespace.identity().clone(),
            over: Over::Port { bridge, ifname: ifname.clone() },
            mac: Some(mac),
            wish: None,
            provide: provide(config),
            request: REQUEST.to_vec(),
            only_offer: false,
        };
        let leased = self.acquire(ask)?;
        self.furnish(&namespace, &ifname, &leased).inspect_err(|_| drop(self.teardown(config)))?;
        let lease = Lease::new(&leased, &config.domain_name);
        self.note(|all| drop(all.insert(lease.mac_address.clone(), [lease.clone()])));
        Ok(lease)
    }

    fn acquire(&self, ask: Ask) -> Result<Leased, Status> {
        match self.ask(&Request::Acquire(ask), self.patience + SHORT)? {
            Answer::Leased(leased) => Ok(leased),
            other => Err(status(INTERNAL, format!("the keeper of leases answers {other:?}"))),
        }
    }

    /// The address, and the default route. An interface that has them already keeps them.
    fn furnish(&self, namespace: &NetnsHandle, ifname: &IfName, leased: &Leased) -> Result<(), Status> {
        let terms = &leased.terms;
        let via = terms.routers.first().copied();
        let done = namespace.furnish(ifname, terms.address, via);
        done.map_err(|error| status(INTERNAL, format!("cannot give {ifname} {}: {error}", terms.address)))
    }

    /// Gives the lease back; an empty one is told where there was none.
    fn teardown(&self, config: &NetworkConfig) -> Result<Lease, Status> {
        let tenant = tenant(mac(config)?);
        let had = match self.ask(&Request::Look(tenant.clone()), SHORT)? {
            Answer::Leased(leased) => Lease::new(&leased, &config.domain_name),
            _ => Lease::default(),
        };
        self.ask(&Request::Release(tenant.clone()), SHORT)?;
        self.note(|all| drop(all.remove(&tenant.sandbox)));
        Ok(had)
    }

    fn clean(&self) -> Result<OperationResponse, Status> {
        for tenant in self.tenants()? {
            self.ask(&Request::Release(tenant), SHORT)?;
        }
        self.note(BTreeMap::clear);
        Ok(OperationResponse { success: true })
    }

    /// Writes down who has what, for those who look: the leases themselves are in the keeper's records. Where it cannot
    /// be written nobody is hindered from coming or leaving.
    fn note(&self, change: impl FnOnce(&mut BTreeMap<String, [Lease; 1]>)) {
        if let Err(error) = self.cache.change(change) {
            eprintln!("the file of leases cannot be written: {error}");
        }
    }

    fn tenants(&self) -> Result<Vec<Tenant>, Status> {
        match self.ask(&Request::List, SHORT)? {
            Answer::Tenants(tenants) => Ok(tenants.into_iter().map(|(tenant, _)| tenant).collect()),
            _ => Ok(Vec::new()),
        }
    }

    /// Whether nobody has a lease.
    pub fn is_idle(&self) -> bool {
        self.tenants().is_ok_and(|tenants| tenants.is_empty())
    }

    /// Writes down what the keeper had from before.
    pub fn remember(&self) {
        let mut known = Vec::new();
        for tenant in self.tenants().unwrap_or_default() {
            if let Ok(Answer::Leased(leased)) = self.ask(&Request::Look(tenant.clone()), SHORT) {
                known.push((tenant.sandbox, [Lease::new(&leased, "")]));
            }
        }
        self.note(|all| all.extend(known));
    }

    fn ask(&self, request: &Request, patience: Duration) -> Result<Answer, Status> {
        qiao_dhcp::ask(&self.place.socket, request, patience).map_err(|trouble| {
            let code = match trouble {
                Trouble::Nothing { .. } => NOT_FOUND,
                Trouble::Refused(_) => INVALID_ARGUMENT,
                Trouble::Silent { .. } => INTERNAL,
            };
            status(code, trouble)
        })
    }
}

/// Who has a lease: whoever tears down knows no more than the hardware address.
fn tenant(mac: Mac) -> Tenant {
    Tenant { sandbox: mac.to_string(), network: String::new(), ifname: String::new() }
}

fn mac(config: &NetworkConfig) -> Result<Mac, Status> {
    let text = &config.container_mac_addr;
    text.parse().map_err(|error| status(INVALID_ARGUMENT, format!("hardware address {text:?}: {error}")))
}

/// Whether the container's interface is there, and has the hardware address that shall get a lease.
fn is_its(mac: Mac, found: Result<Packets, KernelError>) -> Result<(), Status> {
    match found.map(|packets| packets.mac()) {
        Ok(own) if own == Some(mac) => Ok(()),
        Ok(own) => {
            let own = own.map_or_else(
                || "no hardware address".to_owned(),
                |own| format!("the hardware address {own}"),
            );
            Err(status(INVALID_ARGUMENT, format!("the interface has {own}, not {mac}")))
        }
        Err(error) => Err(status(INVALID_ARGUMENT, error)),
    }
}

/// The container's name, and its id: so it gets the same address again, whatever its hardware address is.
fn provide(config: &NetworkConfig) -> Vec<(u8, Vec<u8>)> {
    let name = Some(config.host_name.as_bytes()).filter(|name| !name.is_empty() && name.len() < 256);
    let id = Some(config.container_id.as_bytes()).filter(|id| !id.is_empty() && id.len() < 255);
    // Type 0: no hardware address (RFC 2132 section 9.14).
    let id = id.map(|id| (CLIENT_IDENTIFIER, [&[0], id].concat()));
    name.map(|name| (HOST_NAME, name.to_vec())).into_iter().chain(id).collect()
}
