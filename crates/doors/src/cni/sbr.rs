//! `sbr`: the addresses of an interface are routed by tables of their own.

use super::call::Call;
use super::config::Config;
use super::failure::Failure;
use qiao_core::source::Sources;

/// What is asked for: all addresses that the plugins before it say are the interface's.
pub fn sources(config: &Config, call: &Call) -> Result<Sources, Failure> {
    let doc = config.doc();
    if let Some(gateway) = doc.list("gateways")?.first() {
        return Err(Failure::unsupported("gateways", gateway)
            .because("an address's gateway is the one that its address management names"));
    }
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
    let ips = prev.ips.iter().filter(|ip| is_its(ip.interface)).map(|ip| (ip.net, ip.gateway));
    Ok(Sources { ips: ips.collect(), table, hints })
}
