//! `teardown`: a container leaves networks. What is not there is gone already, so that it can be done twice.

use super::call::{Call, failure};
use super::plugin::{self, Plugin};
use super::{dns, log, sysctl};
use qiao_core::request::Amend;
use qiao_doors::netavark::create::BUILT_IN;
use qiao_doors::netavark::setting::{self, Context};
use qiao_doors::netavark::{Failure, Network, Options, PerNetwork, joined};
use qiao_engine::Engine;
use qiao_kernel::Linux;

/// Runs. Each part goes as far as it can.
pub fn teardown(call: &Call, netns: &str) -> Result<(), Failure> {
    let options = call.options()?;
    let (networks, mut failures) = options.known();
    let firewall = call.firewall()?;
    call.config()?;
    if let Err(error) = std::fs::metadata(netns) {
        let text =
            format!("container netns not found: open container netns: open {netns}: IO error: {error}");
        log::warn("commands::teardown", text);
    }
    let served: Vec<&Network> =
        networks.iter().map(|(_, network)| *network).filter(|n| n.dns_enabled).collect();
    failures.extend(dns::remove(call, &served, &options.container_id).err());
    let mut engine = call.engine()?;
    for (own, network) in &networks {
        failures.extend(leave((call, &mut engine), (&options, own, network), netns).err());
        sysctl::forget(network);
    }
    let context =
        Context { options: &options, netns: "", firewall, rootless: call.line.rootless, dns_port: None };
    failures.extend(publish_again(&mut engine, context).err());
    engine.store().take_notes().iter().for_each(|note| log::warn("commands::teardown", note));
    joined(failures)
}

fn leave(
    (call, engine): (&Call, &mut Engine<Linux>),
    (options, own, network): (&Options, &PerNetwork, &Network),
    netns: &str,
) -> Result<(), Failure> {
    if BUILT_IN.contains(&network.driver.as_str()) {
        let leave = setting::detach(options, (own, network))?;
        let left = engine.detach(&leave).map_err(failure)?;
        left.plans.iter().for_each(|plan| log::plan("commands::teardown", plan.ops()));
        return Ok(());
    }
    let input = plugin::Input::new(options, (own, network));
    Plugin::find(&network.driver, &call.line.plugins)?.teardown(netns, &input)
}

/// What a network that was left published is published by another one that the container is still on.
fn publish_again(engine: &mut Engine<Linux>, context: Context<'_>) -> Result<(), Failure> {
    let options: &Options = context.options;
    if options.port_mappings.as_deref().unwrap_or_default().is_empty() {
        return Ok(());
    }
    let sandbox = setting::sandbox(options)?;
    let stays = engine.store().sandbox(&sandbox).map_err(|error| failure(error.into()))?;
    for endpoint in stays {
        let network = engine.store().network(endpoint.network()).map_err(|error| failure(error.into()))?;
        let bridge = network.as_ref().and_then(|network| network.bridge());
        let Some(bridge) = bridge.filter(|bridge| bridge.inline.is_some_and(|inline| inline.closed)) else {
            continue;
        };
        let publish = setting::publish(context, (bridge.internal, endpoint.addresses()))?;
        let own = Amend::new(sandbox.clone(), endpoint.id.ifname.clone());
        let amend = Amend { publish: Some(publish), held: true, ..own };
        engine.amend(&amend).map_err(failure)?;
    }
    Ok(())
}
