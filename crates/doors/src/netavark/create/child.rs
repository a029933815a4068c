//! Macvlan and ipvlan networks.

use super::{Host, check_interface, ipam, number, options, rename, set_ipam, switch};
use crate::netavark::failure::Failure;
use crate::netavark::options::Network;

/// Completes such a network, but for what all networks have.
pub fn complete(network: &mut Network, host: &Host) -> Result<(), Failure> {
    let is_macvlan = network.driver == "macvlan";
    rename(network, "com.docker.network.driver.mtu", "mtu");
    if let Some(parent) = network.options.as_mut().and_then(|all| all.remove("parent")) {
        network.network_interface = Some(parent);
    }
    options(network, |name, value| check_option(is_macvlan, (name, value)))?;
    if let Some(parent) = network.network_interface.as_ref().filter(|name| !name.is_empty()) {
        check_interface(parent)?;
        if !host.links.contains(parent) {
            return Err(Failure(format!("parent interface {parent} does not exist")));
        }
    }
    network.dns_enabled = false; // nobody listens in their neighbourhood
    choose_ipam(network, is_macvlan)
}

fn check_option(is_macvlan: bool, (name, value): (&str, &str)) -> Result<Option<String>, Failure> {
    let modes: &[&str] =
        if is_macvlan { &["bridge", "private", "vepa", "passthru"] } else { &["l2", "l3", "l3s"] };
    match name {
        "mode" if modes.contains(&value) => Ok(Some(value.to_owned())),
        "mode" => {
            let driver = if is_macvlan { "macvlan" } else { "ipvlan" };
            Err(Failure(format!("unknown {driver} mode {value:?}")))
        }
        "mtu" | "metric" => number(name, value),
        "bclim" if is_macvlan => match value.parse::<i32>() {
            Ok(_) => Ok(Some(value.to_owned())),
            Err(error) => Err(Failure(format!("unable to parse {name:?}: {error}"))),
        },
        "no_default_route" => switch(name, value),
        _ => Ok(None),
    }
}

fn choose_ipam(network: &mut Network, is_macvlan: bool) -> Result<(), Failure> {
    let has_subnets = !network.subnets().is_empty();
    match (ipam(network).as_deref(), has_subnets) {
        (None, true) | (Some("host-local"), true) => set_ipam(network, "host-local"),
        (None | Some("dhcp"), false) if is_macvlan => set_ipam(network, "dhcp"),
        (None | Some("dhcp"), false) => {
            return Err(Failure("ipam driver dhcp is not supported with ipvlan".into()));
        }
        (Some("dhcp"), true) => return Err(Failure("ipam driver dhcp set but subnets are set".into())),
        (Some("host-local"), false) => {
            let driver = &network.driver;
            return Err(Failure(format!(
                "{driver} driver needs at least one subnet specified when the host-local ipam driver is set"
            )));
        }
        (Some("none"), false) => {}
        (Some("none"), true) => return Err(Failure("none ipam driver is set but subnets are given".into())),
        (Some(other), _) => return Err(Failure(format!("unsupported ipam driver {other:?}"))),
    }
    Ok(())
}
