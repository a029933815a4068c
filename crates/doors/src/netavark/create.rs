//! `create`: completes the description of a network. What the host has is an argument.

mod bridge;
mod child;
mod subnets;

pub(super) use subnets::apart;

use super::failure::Failure;
use super::options::{Network, Route};
use ipnet::IpNet;
use serde::Deserialize;
use std::collections::BTreeMap;

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
    pub size: u32,
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
        super::options::read(text)
            .map_err(|error| Failure(format!("failed to load network create: IO error: {error}")))
    }

    /// Refuses what no driver takes.
    pub fn check(&self) -> Result<(), Failure> {
        let Network { name, id, network_interface, .. } = &self.network;
        check_name(name)?;
        if self.used.names.contains_key(name) {
            return Err(Failure(format!("network already exists {name}")));
        }
        check_id(id)?;
        if self.used.names.values().any(|other| other == id) {
            return Err(Failure(format!("network ID {id} already in use")));
        }
        network_interface.iter().try_for_each(|name| check_interface(name))?;
        check_ipam(&self.network)
    }

    /// The network, with all that was missing.
    pub fn complete(self, host: &Host) -> Result<Network, Failure> {
        self.check()?;
        let Create { mut network, used, options } = self;
        let is_exclusive = match network.driver.as_str() {
            "bridge" => bridge::complete(&mut network, (&used, &options), host)?,
            _ => child::complete(&mut network, host).map(|()| false)?,
        };
        let must_be_free = is_exclusive && options.check_used_subnets;
        finish(network, &subnets::taken(must_be_free, &used, host), host)
    }

    /// The network that a plugin made of it, with what all networks have. The plugin must leave alone what it is called.
    pub fn made_by_plugin(self, made: Network, host: &Host) -> Result<Network, Failure> {
        let own = self.network;
        let same = [
            ("name", made.name == own.name),
            ("ID", made.id == own.id),
            ("driver", made.driver == own.driver),
        ];
        match same.into_iter().find(|(_, is_same)| !is_same) {
            Some((what, _)) => {
                Err(Failure(format!("{} plugin invalid result: changed network {what}", own.driver)))
            }
            None => finish(made, &[], host),
        }
    }
}

/// What all networks have.
fn finish(mut network: Network, taken: &[IpNet], host: &Host) -> Result<Network, Failure> {
    if ipam(&network).as_deref() == Some("none") {
        network.dns_enabled = false;
    }
    if network.network_dns_servers.as_ref().is_some_and(|all| !all.is_empty()) && !network.dns_enabled {
        let what = "cannot set NetworkDNSServers if DNS is not enabled for the network";
        return Err(Failure(what.into()));
    }
    subnets::check(&mut network, taken)?;
    network.routes.iter().flatten().try_for_each(check_route)?;
    network.created = Some(host.now.clone());
    Ok(network)
}

fn is_name(text: &str) -> bool {
    let body = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(body)
}

fn check_name(name: &str) -> Result<(), Failure> {
    match name {
        "" => Err(Failure("Network name must be supplied".into())),
        name if is_name(name) => Ok(()),
        _ => Err(Failure(format!(
            "Invalid characters in network name {name:?}: must match [a-zA-Z0-9][a-zA-Z0-9_.-]*"
        ))),
    }
}

fn check_id(id: &str) -> Result<(), Failure> {
    match id {
        "" => Err(Failure("Network id must be supplied".into())),
        id if id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(()),
        _ => Err(Failure(format!("Network id must be a hexadecimal string {id:?}"))),
    }
}

/// The name of an interface, as the kernel takes it; an empty one is none.
fn check_interface(name: &str) -> Result<(), Failure> {
    let bad = name.chars().find(|c| matches!(c, '/' | ':') || c.is_whitespace());
    let why = match bad {
        _ if name.len() > 15 => {
            format!("Interface name is too long: interface names must be 15 characters or less: {name}")
        }
        _ if matches!(name, "." | "..") => "Interface name cannot be . or ..".into(),
        Some(bad) => format!("Interface name cannot contain\"{bad}\""),
        None => return Ok(()),
    };
    Err(Failure(why))
}

/// Who gives addresses must be known, and have what it needs.
fn check_ipam(network: &Network) -> Result<(), Failure> {
    match ipam(network).as_deref() {
        Some("none") if !network.subnets().is_empty() => {
            Err(Failure("None ipam driver is set but subnets are given".into()))
        }
        None | Some("host-local" | "none" | "dhcp") => Ok(()),
        Some(other) => Err(Failure(format!("Unsupported ipam driver: {other}"))),
    }
}

fn check_route(route: &Route) -> Result<(), Failure> {
    if route.destination != route.destination.trunc() {
        return Err(Failure("route destination invalid".into()));
    }
    route.kind().map(drop)
}

/// Takes an option out, and gives it another name.
fn rename(network: &mut Network, from: &str, to: &str) {
    if let Some(options) = &mut network.options {
        let value = options.remove(from);
        options.extend(value.map(|value| (to.to_owned(), value)));
    }
}

/// Checks every option by its name; what is sent for it is written down. `kind` is what netavark calls such networks.
fn options(
    network: &mut Network,
    kind: &str,
    check: impl Fn(&str, &str) -> Result<Option<String>, Failure>,
) -> Result<(), Failure> {
    for (name, value) in network.options.iter_mut().flatten() {
        match check(name, value)? {
            Some(normal) => *value = normal,
            None => return Err(Failure(format!("unsupported {kind} network option: {name}"))),
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
        _ => {
            let why = "provided string was not `true` or `false`";
            Err(Failure(format!("unable to parse {name:?}: {why}")))
        }
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
