//! Macvlan and ipvlan networks.

use super::{Host, ipam, number, options, rename, set_ipam, switch};
use crate::netavark::failure::Failure;
use crate::netavark::options::Network;

/// Completes such a network, but for what all networks have.
pub fn complete(network: &mut Network, host: &Host) -> Result<(), Failure> {
    let is_macvlan = network.driver == "macvlan";
    rename(network, "com.docker.network.driver.mtu", "mtu");
    if let Some(parent) = network.options.as_mut().and_then(|all| all.remove("parent")) {
        network.network_interface = Some(parent);
    }
    let parent = network.network_interface.as_ref().filter(|name| !name.is_empty());
    if let Some(parent) = parent.filter(|name| !host.links.contains(name)) {
        return Err(Failure(format!("parent interface {parent} does not exist")));
    }
    network.dns_enabled = false; // nobody listens in their neighbourhood
    choose_ipam(network, is_macvlan)?;
    options(network, "vlan", |name, value| check_option(is_macvlan, (name, value)))
}

fn check_option(is_macvlan: bool, (name, value): (&str, &str)) -> Result<Option<String>, Failure> {
    let modes: &[&str] = match is_macvlan {
        true => &["", "bridge", "private", "vepa", "passthru", "source"],
        false => &["", "l2", "l3", "l3s"],
    };
    match name {
        "mode" if modes.contains(&value) => Ok(Some(value.to_owned())),
        "mode" => {
            let driver = if is_macvlan { "macvlan" } else { "ipvlan" };
            Err(Failure(format!("invalid {driver} mode {value:?}")))
        }
        "mtu" | "metric" => number(name, value),
        "bclim" if is_macvlan => match value.parse::<i32>() {
            Ok(_) => Ok(Some(value.to_owned())),
            Err(error) => Err(Failure(format!("unable to parse {name:?}: {error}"))),
        },
        "bclim" => Err(Failure("unsupported ipvlan network option bclim".into())),
        "no_default_route" => switch(name, value),
        _ => Ok(None),
    }
}

fn choose_ipam(network: &mut Network, is_macvlan: bool) -> Result<(), Failure> {
    let has_subnets = !network.subnets().is_empty();
    let why = match (ipam(network).as_deref(), has_subnets) {
        (None | Some("host-local"), true) => {
            set_ipam(network, "host-local");
            return Ok(());
        }
        (None | Some("dhcp"), _) if !is_macvlan => "ipam driver dhcp is not supported with ipvlan",
        (Some("dhcp"), true) => "ipam driver dhcp set but subnets are set",
        (None | Some("dhcp"), _) => {
            set_ipam(network, "dhcp");
            return Ok(());
        }
        (Some("host-local"), false) => {
            let driver = &network.driver;
            &format!(
                "{driver} driver needs at least one subnet specified when the host-local ipam driver is set"
            )
        }
        (Some(_), _) => return Ok(()),
    };
    Err(Failure(why.into()))
}
