//! Bridge networks.

use super::{
    Choice, Host, Used, check_interface, ipam, is_name, number, options, rename, set_ipam, subnets, switch,
};
use crate::netavark::failure::Failure;
use crate::netavark::options::Network;
use crate::netavark::setting::MANAGED_DHCP;
use ipnet::IpNet;
use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Completes a bridge network, but for what all networks have; whether its subnets must be its own.
pub fn complete(
    network: &mut Network,
    (used, choice): (&Used, &Choice),
    host: &Host,
) -> Result<bool, Failure> {
    rename(network, "com.docker.network.driver.mtu", "mtu");
    let docker = network.options.as_mut().and_then(|all| all.remove("com.docker.network.bridge.name"));
    if let Some(name) = docker {
        network.network_interface = Some(name);
    }
    options(network, "bridge", check_option)?;
    let is_exclusive = is_exclusive(network);
    device(network, (used, is_exclusive), (choice, host))?;
    match ipam(network).as_deref() {
        None | Some("host-local") => {
            set_ipam(network, "host-local");
            fill(network, (used, choice), host)?;
        }
        Some("dhcp") if network.option("mode") != Some("unmanaged") => {
            return Err(Failure(MANAGED_DHCP.into()));
        }
        _ => {}
    }
    Ok(is_exclusive)
}

/// Networks can share a bridge of somebody else's, and one that tells VLANs apart; what is in one of them may be elsewhere
/// as well.
fn is_exclusive(network: &Network) -> bool {
    network.option("vlan").is_none() && !matches!(network.option("mode"), Some("unmanaged"))
}

fn check_option(name: &str, value: &str) -> Result<Option<String>, Failure> {
    let keep = || Ok(Some(value.to_owned()));
    match name {
        "mtu" | "metric" => number(name, value),
        "vlan" => match value.parse::<u16>() {
            Ok(0..=4094) => keep(),
            Ok(_) => Err(Failure("vlan must be between 0 and 4094".into())),
            Err(error) => Err(Failure(format!("unable to parse \"vlan\": {error}"))),
        },
        "isolate" if value == "strict" => keep(),
        "isolate" => switch(name, value).map_err(|_| Failure(format!("invalid isolate option \"{value}\""))),
        "no_default_route" => switch(name, value),
        "outbound_addr4" => address::<Ipv4Addr>(name, value),
        "outbound_addr6" => address::<Ipv6Addr>(name, value),
        "vrf" if value.is_empty() => Err(Failure("invalid vrf name".into())),
        "vrf" => keep(),
        "mode" if matches!(value, "" | "managed" | "unmanaged") => keep(),
        "mode" => Err(Failure(format!("invalid bridge mode {value:?}"))),
        _ => Ok(None),
    }
}

/// An address that members bear outside: what setup heeds can be asked for.
fn address<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<Option<String>, Failure> {
    match value.parse::<T>() {
        Ok(_) => Ok(Some(value.to_owned())),
        Err(error) => Err(Failure(format!("unable to parse {name:?}: {error}"))),
    }
}

/// The bridge: the one asked for, or the first that nothing is called like.
fn device(
    network: &mut Network,
    (used, is_exclusive): (&Used, bool),
    (choice, host): (&Choice, &Host),
) -> Result<(), Failure> {
    if let Some(name) = network.network_interface.as_ref().filter(|name| !name.is_empty()) {
        if is_exclusive && used.interfaces.contains(name) {
            return Err(Failure(format!("bridge name {name} already in use")));
        }
        if !is_name(name) {
            return Err(Failure(format!("bridge name {name} is invalid")));
        }
        return check_interface(name);
    }
    let base = choice.default_interface_name.as_deref().unwrap_or("podman");
    let is_taken = |name: &String| {
        used.interfaces.contains(name) || used.names.contains_key(name) || host.links.contains(name)
    };
    let free = (1u32..).map(|n| format!("{base}{n}")).find(|name| !is_taken(name)).unwrap_or_default();
    check_interface(&free)?;
    network.network_interface = Some(free);
    Ok(())
}

/// Chooses the subnets that are missing.
fn fill(network: &mut Network, (used, choice): (&Used, &Choice), host: &Host) -> Result<(), Failure> {
    let has = |network: &Network, v4: bool| {
        network.subnets().iter().any(|subnet| subnet.subnet.addr().is_ipv4() == v4)
    };
    let wants_v4 = network.subnets().is_empty() || network.ipv6_enabled && !has(network, true);
    let wants_v6 = network.ipv6_enabled && !has(network, false);
    let mut taken: Vec<IpNet> = subnets::taken(true, used, host);
    taken.extend(network.subnets().iter().map(|subnet| subnet.subnet));
    if wants_v4 {
        subnets::push(network, subnets::free(choice, &taken)?);
    }
    if wants_v6 {
        subnets::push(network, subnets::unique_local(&host.random, &taken)?);
    }
    Ok(())
}
