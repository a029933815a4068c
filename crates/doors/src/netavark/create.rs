//! `create`: completes the description of a network. What the host has is an argument.

mod bridge;
mod child;
mod subnets;

use super::failure::Failure;
use super::options::{Network, Route};
use ipnet::IpNet;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What was sent.
#[derive(Clone, Debug, Deserialize)]
pub struct Create {
    /// The network, as far as it is described.
    pub network: Network,
    /// What networks there are.
    pub used: Used,
    /// How what is missing is chosen.
    pub options: Choice,
}

/// What the client's other networks have.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Used {
    /// Bridges and parents.
    pub interfaces: Vec<String>,
    /// Names, and the ids.
    pub names: BTreeMap<String, String>,
    /// Subnets.
    pub subnets: Vec<IpNet>,
}

/// How what is missing is chosen.
#[derive(Clone, Debug, Deserialize)]
pub struct Choice {
    /// Where subnets are taken from.
    #[serde(default)]
    pub subnet_pools: Vec<SubnetPool>,
    /// What bridges are called, with a number behind it.
    #[serde(default)]
    pub default_interface_name: Option<String>,
    /// Whether a subnet must be free.
    #[serde(default)]
    pub check_used_subnets: bool,
}

/// Subnets of one size.
#[derive(Clone, Debug, Deserialize)]
pub struct SubnetPool {
    /// All of them.
    pub base: IpNet,
    /// The length of each one's prefix.
    pub size: u8,
}

/// What the host has.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The names of its interfaces.
    pub links: Vec<String>,
    /// The prefixes that it has or routes, but for default routes.
    pub subnets: Vec<IpNet>,
    /// The time (RFC 3339).
    pub now: String,
    /// Random bytes, for a unique local prefix (RFC 4193).
    pub random: [u8; 32],
}

/// The drivers that are built in.
pub const BUILT_IN: [&str; 3] = ["bridge", "macvlan", "ipvlan"];

impl Create {
    /// Reads what was sent.
    pub fn parse(text: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(text)
            .and_then(|parsed| crate::json::read_any(text).map(|_| parsed))
            .map_err(|error| Failure(format!("failed to load network create config: IO error: {error}")))
    }

    /// Refuses what no driver takes.
    pub fn check(&self) -> Result<(), Failure> {
        let network = &self.network;
        check_name(&network.name)?;
        if self.used.names.contains_key(&network.name) {
            return Err(Failure(format!("network already exists {}", network.name)));
        }
        if network.id.len() != 64 || !network.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Failure(format!("invalid network ID {:?}", network.id)));
        }
        if self.used.names.values().any(|id| *id == network.id) {
            return Err(Failure(format!("network ID {} already in use", network.id)));
        }
        Ok(())
    }

    /// The network, with all that was missing.
    pub fn complete(self, host: &Host) -> Result<Network, Failure> {
        self.check()?;
        let Create { mut network, used, options } = self;
        let is_bridge = network.driver == "bridge";
        if is_bridge {
            bridge::complete(&mut network, (&used, &options), host)?;
        } else {
            child::complete(&mut network, host)?;
        }
        subnets::check(&mut network, &subnets::taken(is_bridge && options.check_used_subnets, &used, host))?;
        network.routes.iter().flatten().try_for_each(check_route)?;
        if network.network_dns_servers.as_ref().is_some_and(|all| !all.is_empty()) && !network.dns_enabled {
            let what = "cannot set NetworkDNSServers if DNS is not enabled for the network";
            return Err(Failure(what.into()));
        }
        network.options = network.options.filter(|options| !options.is_empty());
        network.created = Some(host.now.clone());
        Ok(network)
    }
}

/// The rule of names in the words that clients compare.
const RULE: &str = "must match [a-zA-Z0-9][a-zA-Z0-9_.-]*";

fn is_name(text: &str) -> bool {
    let body = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(body)
}

fn check_name(name: &str) -> Result<(), Failure> {
    match is_name(name) {
        true => Ok(()),
        false => Err(Failure(format!("Invalid characters in network name {name:?}: {RULE}"))),
    }
}

/// The name of an interface: as a network's, and as long as the kernel takes it.
fn check_interface(name: &str) -> Result<(), Failure> {
    if !is_name(name) {
        return Err(Failure(format!("Invalid characters in interface name {name:?}: {RULE}")));
    }
    match qiao_core::IfName::new(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure(format!("interface name {name:?} is too long: at most 15 characters"))),
    }
}

fn check_route(route: &Route) -> Result<(), Failure> {
    let to = route.destination;
    if to != to.trunc() {
        return Err(Failure(format!("route destination {to} is an address, not a network")));
    }
    let kind = route.route_type.as_deref().unwrap_or("unicast");
    let same = |ip: IpAddr| ip.is_ipv4() == to.addr().is_ipv4();
    match (kind, route.gateway) {
        ("unicast", None) => Err(Failure(format!("route to {to} needs a gateway"))),
        ("unicast", Some(gateway)) if !same(gateway) => {
            Err(Failure(format!("route to {to} has gateway {gateway}, which is of another family")))
        }
        ("unicast", Some(_)) | ("blackhole" | "unreachable" | "prohibit", None) => Ok(()),
        ("blackhole" | "unreachable" | "prohibit", Some(_)) => {
            Err(Failure(format!("route to {to} is of type {kind}, which takes no gateway")))
        }
        (other, _) => Err(Failure(format!("invalid route type {other}"))),
    }
}

/// Takes an option out, and gives it another name.
fn rename(network: &mut Network, from: &str, to: &str) {
    if let Some(options) = &mut network.options {
        let value = options.remove(from);
        options.extend(value.map(|value| (to.to_owned(), value)));
    }
}

/// Checks every option by its name; what is sent for it is written down.
fn options(
    network: &mut Network,
    check: impl Fn(&str, &str) -> Result<Option<String>, Failure>,
) -> Result<(), Failure> {
    let driver = network.driver.clone();
    for (name, value) in network.options.iter_mut().flatten() {
        match check(name, value)? {
            Some(normal) => *value = normal,
            None => return Err(Failure(format!("unsupported {driver} network option: {name}"))),
        }
    }
    Ok(())
}

/// A number, or what is wrong with it.
fn number(name: &str, value: &str) -> Result<Option<String>, Failure> {
    match value.parse::<u32>() {
        Ok(_) => Ok(Some(value.to_owned())),
        Err(error) => Err(Failure(format!("unable to parse {name:?}: {error}"))),
    }
}

/// Yes or no, also as Go's programs say it.
fn switch(name: &str, value: &str) -> Result<Option<String>, Failure> {
    match value {
        "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(Some("true".into())),
        "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(Some("false".into())),
        other => Err(Failure(format!("unable to parse {name:?}: {other:?} is neither true nor false"))),
    }
}

/// Writes down who gives addresses.
fn set_ipam(network: &mut Network, driver: &str) {
    network.ipam_options.get_or_insert_default().insert("driver".into(), driver.into());
}

/// Who gives addresses, if that was said.
fn ipam(network: &Network) -> Option<String> {
    let driver = network.ipam_options.as_ref()?.get("driver")?;
    Some(driver.clone()).filter(|driver| !driver.is_empty())
}
