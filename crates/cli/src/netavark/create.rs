//! `create`: a network's description, completed with what this host has.

use super::call::Call;
use super::plugin::Plugin;
use qiao_doors::netavark::Failure;
use qiao_doors::netavark::create::{BUILT_IN, Create, Host};
use qiao_kernel::{Kernel, KernelError, Linux};
use serde_json::Value;
use std::time::SystemTime;

/// Runs. A plugin completes the networks of its own driver.
pub fn create(call: &Call) -> Result<Value, Failure> {
    let create = Create::parse(&call.input()?)?;
    create.check()?;
    let network = match BUILT_IN.contains(&create.network.driver.as_str()) {
        true => create.complete(&host()?)?,
        false => {
            let plugin = Plugin::creator(&create.network.driver, &call.line.plugins)?;
            let made = plugin.create(&create.network)?;
            create.made_by_plugin(made, &host()?)?
        }
    };
    serde_json::to_value(network).map_err(|error| Failure(error.to_string()))
}

fn host() -> Result<Host, Failure> {
    let wrong = |error: KernelError| Failure(format!("cannot look at the host: {error}"));
    let facts = Linux::open().map_err(wrong)?.facts().map_err(wrong)?;
    let mut random = [0; 32];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Failure(format!("no random bytes: {error}")))?;
    Ok(Host {
        links: facts.links,
        subnets: facts.busy.iter().map(|busy| busy.net).filter(|net| net.prefix_len() > 1).collect(),
        now: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        random,
    })
}
