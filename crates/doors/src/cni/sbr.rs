//! `sbr`: the addresses of an interface are routed by tables of their own.

use super::call::Call;
use super::config::Config;
use super::doc::{Doc, wrong};
use super::failure::Failure;
use ipnet::IpNet;
use qiao_core::source::Sources;
use std::net::IpAddr;

/// What is asked for: all addresses that the plugins before it say are the interface's.
pub fn sources(config: &Config, call: &Call) -> Result<Sources, Failure> {
    let doc = config.doc();
    let gateways = gateways(doc)?;
    let table = doc.number("table", u64::from(u32::MAX))?.map(|table| table as u32);
    if let Some(table @ (0 | 253..=255)) = table {
        return Err(Failure::config(format!("`table`: {table} is one of the kernel's own")));
    }
    let hints = doc.is_on("addSourceHints")?;
    let Some(prev) = &config.prev else { return Ok(Sources { ips: Vec::new(), table, hints }) };
    let is_its = |place: Option<usize>| {
        let interface = place.and_then(|place| prev.interfaces.get(place));
        interface
            .is_none_or(|interface| interface.name == call.ifname.as_str() && interface.sandbox.is_some())
    };
    let ips = prev.ips.iter().filter(|ip| is_its(ip.interface));
    let ips: Vec<_> = ips.map(|ip| (ip.net, gateway_of(ip.net, &gateways).or(ip.gateway))).collect();
    match gateways.iter().find(|gateway| !ips.iter().any(|(_, used)| used.as_ref() == Some(gateway))) {
        Some(idle) if !ips.is_empty() => {
            Err(Failure::config(format!("`gateways`: {idle} is of no address's"))
                .because("each address has the first in its subnet, or else the first of its family"))
        }
        _ => Ok(Sources { ips, table, hints }),
    }
}

fn gateways(doc: Doc<'_>) -> Result<Vec<IpAddr>, Failure> {
    let address = |text: &str| text.parse().map_err(|_| wrong("gateways", &text.into(), "an address"));
    doc.texts("gateways")?.into_iter().map(address).collect()
}

/// The gateway that is said to be an address's: one of its subnet before one of its family.
fn gateway_of(net: IpNet, gateways: &[IpAddr]) -> Option<IpAddr> {
    let near = gateways.iter().find(|gateway| net.contains(*gateway));
    near.or_else(|| gateways.iter().find(|gateway| gateway.is_ipv4() == net.addr().is_ipv4())).copied()
}
