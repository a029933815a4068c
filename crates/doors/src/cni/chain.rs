//! Plugins that come behind a main one: `portmap`, `firewall`, `tuning`.

use super::call::Args;
use super::config::Config;
use super::doc::Doc;
use super::failure::Failure;
use qiao_core::port::{PortRange, PublishSpec};
use qiao_core::{Mac, Protocol};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The ports of `runtimeConfig.portMappings`. Those without a port of the host are not published.
pub fn port_mappings(config: &Config) -> Result<Vec<PublishSpec>, Failure> {
    let mappings = config.runtime()?.objects("portMappings")?;
    let published = mappings.into_iter().map(mapping).collect::<Result<Vec<_>, _>>()?;
    let mut specs: Vec<PublishSpec> = published.into_iter().flatten().collect();
    // The same one twice is one: containerd sends one for each family where both are meant.
    let mut seen = Vec::new();
    specs.retain(|spec| {
        !seen.contains(spec) && {
            seen.push(spec.clone());
            true
        }
    });
    Ok(specs)
}

fn mapping(doc: Doc<'_>) -> Result<Option<PublishSpec>, Failure> {
    let port = |key: &str| doc.number(key, 65535).map(|port| port.unwrap_or(0) as u16);
    let (host, container) = (port("hostPort")?, port("containerPort")?);
    if host == 0 {
        return Ok(None);
    }
    let protocol = doc.text("protocol")?.unwrap_or("tcp");
    let protocol: Protocol = protocol.parse().map_err(Failure::from)?;
    let host_ip: Option<IpAddr> = doc.parsed("hostIP", "an address")?;
    let one = |port| PortRange::one(port).map_err(Failure::from);
    Ok(Some(PublishSpec { host_ip, host: Some(one(host)?), container: one(container)?, protocol }))
}

/// Refuses settings of `portmap` that ask for something else than what is always done.
pub fn check_portmap(config: &Config) -> Result<(), Failure> {
    let doc = config.doc();
    match doc.text("backend")? {
        None | Some("iptables" | "nftables") => {}
        Some(other) => return Err(Failure::config(format!("`backend`: {other} is not known"))),
    }
    if doc.switch("snat")? == Some(false) {
        return Err(Failure::unsupported("snat", false));
    }
    doc.is_on("masqAll")?;
    for key in ["conditionsV4", "conditionsV6"] {
        if !doc.list(key)?.is_empty() {
            return Err(Failure::unsupported(key, "a condition in iptables' words"));
        }
    }
    Ok(())
}

/// Whom members of a network do not reach, by `firewall`: nobody, those of other networks, or all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// `open`
    Open,
    /// `same-bridge`
    SameBridge,
    /// `isolated`
    Isolated,
}

/// The policy of `firewall`.
pub fn ingress(config: &Config) -> Result<Ingress, Failure> {
    let doc = config.doc();
    match doc.text("backend")? {
        None | Some("iptables" | "firewalld" | "nftables") => {}
        Some(other) => return Err(Failure::config(format!("`backend`: {other} is not known"))),
    }
    match doc.text("ingressPolicy")? {
        None | Some("open") => Ok(Ingress::Open),
        Some("same-bridge") => Ok(Ingress::SameBridge),
        Some("isolated") => Ok(Ingress::Isolated),
        Some(other) => Err(Failure::config(format!("`ingressPolicy`: {other} is not known"))
            .because("open, same-bridge or isolated")),
    }
}

/// What `tuning` sets in the container: settings below `/proc/sys` by their dotted names.
pub fn sysctls(config: &Config, ifname: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut found = BTreeMap::new();
    for doc in [config.doc().object("sysctl")?, config.user()?.object("sysctl")?].into_iter().flatten() {
        for (key, value) in doc.0 {
            let key = key.replace("IFNAME", ifname);
            let value = match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Number(number) => number.to_string(),
                other => return Err(Failure::config(format!("`sysctl`: {key} cannot be {other}"))),
            };
            found.insert(setting(&key)?, value);
        }
    }
    Ok(found)
}

/// The path of a setting below `/proc/sys`: of the network, and nothing that leads elsewhere. Both notations of
/// sysctl(8) are taken: the first separator tells which.
fn setting(key: &str) -> Result<String, Failure> {
    let dotted = key.find('.').is_some_and(|dot| key.find('/').is_none_or(|slash| dot < slash));
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = if dotted { key.chars().map(swap).collect() } else { key.to_owned() };
    let fine = path.starts_with("net/") && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if fine {
        Ok(path)
    } else {
        Err(Failure::config(format!("`sysctl`: {key} is not a setting of the network")))
    }
}

/// Refuses what `tuning` does not do yet: the interface's own attributes.
pub fn refuse_attributes(config: &Config) -> Result<(), Failure> {
    let doc = config.doc();
    for key in ["mtu", "txQLen"] {
        if let Some(value) = doc.get(key).filter(|value| **value != 0 && **value != "") {
            return Err(Failure::unsupported(key, value));
        }
    }
    for key in ["promisc", "allmulti"] {
        if doc.is_on(key)? {
            return Err(Failure::unsupported(key, true));
        }
    }
    Ok(())
}

/// The hardware address that `tuning` gives: the runtime's, the user's, that of `CNI_ARGS`, the configuration's.
pub fn mac(config: &Config, args: &Args) -> Result<Option<Mac>, Failure> {
    match super::bridge::mac(config, args)? {
        Some(mac) => Ok(Some(mac)),
        None => config.doc().parsed("mac", "a hardware address"),
    }
}
