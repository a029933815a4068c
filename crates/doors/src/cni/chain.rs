//! Plugins that come behind a main one: `portmap`, `firewall`, `tuning`; what adopts.

use super::call::{Args, Call};
use super::config::Config;
use super::doc::Doc;
use super::failure::Failure;
use qiao_core::endpoint::{Clients, Tunable};
use qiao_core::name::quoted;
use qiao_core::network::{Adopted, MTU_MAX};
use qiao_core::owner::fnv;
use qiao_core::port::{PortRange, PublishSpec};
use qiao_core::request::{Attach, Given, Ingress};
use qiao_core::zones::TRUSTED;
use qiao_core::{Driver, Mac, Network, NetworkId, NetworkName, Protocol, Value};
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

/// Which clients of published ports are known by the host's address, by `portmap`.
pub fn clients(config: &Config) -> Result<Clients, Failure> {
    let doc = config.doc();
    match doc.text("backend")? {
        None | Some("iptables" | "nftables") => {}
        Some(other) => return Err(Failure::config(format!("`backend`: {other} is not known"))),
    }
    // We mark nothing: what these say is how the reference finds again what it has to translate.
    if doc.number("markMasqBit", 31)?.is_some() && doc.text("externalSetMarkChain")?.is_some() {
        return Err(Failure::config("`markMasqBit` and `externalSetMarkChain` exclude one another"));
    }
    match (doc.switch("snat")?.unwrap_or(true), doc.is_on("masqAll")?) {
        (false, _) => Ok(Clients::None),
        (true, true) => Ok(Clients::All),
        (true, false) => Ok(Clients::Members),
    }
}

const FIREWALLD: &str = "firewalld";

/// The zone of firewalld that `firewall` puts a container in, where firewalld runs; and whether nothing else will do. Like
/// the reference's it does so without being asked for.
pub fn zone(config: &Config) -> Result<Option<(String, bool)>, Failure> {
    let doc = config.doc();
    let zone = doc.text("firewalldZone")?.filter(|zone| !zone.is_empty()).unwrap_or(TRUSTED);
    if !zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-/".contains(&byte)) {
        return Err(Failure::config(format!("`firewalldZone`: {} is no zone's name", quoted(zone))));
    }
    Ok(match doc.text("backend")? {
        None => Some((zone.to_owned(), false)),
        Some(FIREWALLD) => Some((zone.to_owned(), true)),
        Some(_) => None,
    })
}

/// The policy of `firewall`.
pub fn ingress(config: &Config) -> Result<Ingress, Failure> {
    let doc = config.doc();
    match doc.text("backend")? {
        None | Some("iptables" | "nftables" | FIREWALLD) => {}
        Some(other) => return Err(Failure::config(format!("`backend`: {other} is not known"))),
    }
    doc.text("iptablesAdminChainName")?;
    match doc.text("ingressPolicy")? {
        None | Some("open") => Ok(Ingress::Open),
        Some("same-bridge") => Ok(Ingress::SameBridge),
        Some("isolated") => Ok(Ingress::Isolated),
        Some(other) => Err(Failure::config(format!("`ingressPolicy`: {other} is not known"))
            .because("open, same-bridge or isolated")),
    }
}

/// What `tuning` changes in the container. `allowed` says whether a sysctl may be set, by its name as it is written.
pub fn tuning(
    config: &Config,
    call: &Call,
    allowed: &dyn Fn(&str) -> Result<(), Failure>,
) -> Result<Vec<(Tunable, Value)>, Failure> {
    let mut wanted = BTreeMap::new();
    for doc in [config.doc(), config.user()?] {
        for (key, value) in doc.object("sysctl")?.iter().flat_map(|sysctls| sysctls.0) {
            allowed(key)?;
            let name = key.replace("IFNAME", call.ifname.as_str());
            wanted.insert(Tunable::Sysctl(setting(&name)?), Value::Text(sysctl_value(&name, value)?));
        }
        attributes(doc, &mut wanted)?;
    }
    if let Some(mac) = mac(config, &call.args)? {
        wanted.insert(Tunable::Mac, Value::Mac(mac));
    }
    config.doc().text("dataDir")?; // what was before is in our own record
    Ok(wanted.into_iter().collect())
}

/// What has words has one space between them, as it is read back.
fn sysctl_value(name: &str, value: &serde_json::Value) -> Result<String, Failure> {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        other => return Err(Failure::config(format!("`sysctl`: {name} cannot be {other}"))),
    };
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The interface's own settings. An MTU of 0 and a switch that is off leave them as they are, as the reference does.
fn attributes(doc: Doc<'_>, wanted: &mut BTreeMap<Tunable, Value>) -> Result<(), Failure> {
    let number = |key: &str, most: u64| Ok::<_, Failure>(doc.number(key, most)?.map(|number| number as u32));
    let mtu = number("mtu", u64::from(MTU_MAX))?.filter(|mtu| *mtu != 0);
    wanted.extend(mtu.map(|mtu| (Tunable::Mtu, Value::Number(mtu))));
    let queue = number("txQLen", u64::from(u32::MAX))?;
    wanted.extend(queue.map(|queue| (Tunable::QueueLength, Value::Number(queue))));
    for (key, what) in [("promisc", Tunable::Promiscuous), ("allmulti", Tunable::AllMulticast)] {
        wanted.extend(doc.is_on(key)?.then_some((what, Value::Number(1))));
    }
    Ok(())
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

/// The hardware address that `tuning` gives: the runtime's, the user's, that of `CNI_ARGS`, the configuration's.
pub fn mac(config: &Config, args: &Args) -> Result<Option<Mac>, Failure> {
    match super::bridge::mac(config, args)? {
        Some(mac) => Ok(Some(mac)),
        None => config.doc().parsed("mac", "a hardware address"),
    }
}

/// The name that the network of a configuration has where its main plugin is not ours.
pub fn adopted_network(config: &Config) -> Result<NetworkName, Failure> {
    let long = |_| Failure::config(format!("the network name `{}` is too long", config.name));
    NetworkName::new(&format!("adopted.{}", config.name)).map_err(long)
}

/// What makes an attachment of somebody else's known to the engine: the addresses that `prevResult` has for the
/// container's interface, or for none in particular.
pub fn adoption(config: &Config, call: &Call) -> Result<Attach, Failure> {
    let name = adopted_network(config)?;
    let prev = config.prev.iter();
    let is_its = |place: Option<usize>, interfaces: &[super::Interface]| {
        let interface = place.and_then(|place| interfaces.get(place));
        interface
            .is_none_or(|interface| interface.name == call.ifname.as_str() && interface.sandbox.is_some())
    };
    let ips = prev.flat_map(|prev| prev.ips.iter().filter(|ip| is_its(ip.interface, &prev.interfaces)));
    let id = NetworkId::from_bytes(std::array::from_fn(|i| fnv(name.as_str(), i as u64) as u8));
    let driver = Driver::Adopted(Adopted::default());
    let network = Network { id, name: name.clone(), driver, labels: Default::default(), created: 0 };
    let given = Given::new(network, ips.map(|ip| ip.net).collect(), Default::default());
    Ok(Attach {
        netns: call.netns.clone(),
        network: Some(name),
        ifname: Some(call.ifname.clone()),
        given: Some(Box::new(given)),
        ..Attach::new(call.sandbox.clone())
    })
}
