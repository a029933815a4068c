//! Plugins behind a main one: each amends the record that the main one left, and passes the result on. Where the main
//! one is not ours there is none: the attachment is adopted, which gives it one.

use super::door::{Door, failure};
use super::{Done, allow, leftover};
use crate::cmd::attach::tell_notes;
use crate::firewalld;
use qiao_core::condition::Condition;
use qiao_core::endpoint::{Clients, Tunable};
use qiao_core::owner::EndpointId;
use qiao_core::request::{Amend, Attach, Detach, Ingress};
use qiao_core::{Driver, Endpoint, NetworkName, Value};
use qiao_doors::cni::condition::conditions;
use qiao_doors::cni::{Failure, Verb, bandwidth, chain};
use qiao_engine::Engine;
use qiao_kernel::{Kernel, Linux};

pub(super) fn amend(door: &Door) -> Amend {
    let own = Amend::new(door.call.sandbox.clone(), door.call.ifname.clone());
    // Runtimes hold ports open themselves (Podman), and publish them on each of a container's networks.
    Amend { held: true, ..own }
}

/// `portmap`.
pub fn portmap(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => {
            let (clients, conditions) = told_of_clients(door)?;
            let answer = door.pass_on()?;
            let publish = chain::port_mappings(&door.config)?;
            if !publish.is_empty() {
                let (publish, clients, conditions) = (Some(publish), Some(clients), Some(conditions));
                change(door, &Amend { publish, clients, conditions, ..amend(door) })?;
            }
            Ok(Some(answer))
        }
        Verb::Del => {
            let publishes = |endpoint: &Endpoint| {
                let waits = |wire: &qiao_core::endpoint::Wire| !wire.extras.waiting.is_empty();
                !endpoint.publish().is_empty() || endpoint.wire.as_ref().is_some_and(waits)
            };
            let (clients, conditions) = (Some(Clients::default()), Some(Vec::new()));
            undo(door, &publishes, &Amend { publish: Some(Vec::new()), clients, conditions, ..amend(door) })
        }
        Verb::Check if chain::port_mappings(&door.config)?.is_empty() => Ok(None),
        Verb::Check => inspect(door),
        Verb::Status => told_of_clients(door).map(|_| None),
        Verb::Gc => collect(door),
        Verb::Version => Ok(None),
    }
}

/// How clients of published ports are known, and what must hold of them.
fn told_of_clients(door: &Door) -> Result<(Clients, Vec<Condition>), Failure> {
    Ok((chain::clients(&door.config)?, conditions(&door.config)?))
}

/// `firewall`. Whatever is open needs nothing; of networks of ours isolation goes with the attachment.
pub fn firewall(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => {
            let (ingress, zone) = (chain::ingress(&door.config)?, zone(door)?);
            let answer = door.pass_on()?;
            let dropped = Linux::open().and_then(|mut linux| linux.drops_forwarded());
            let dropped = dropped.map_err(|error| failure(error.into()))?;
            if ingress != Ingress::Open || !dropped.is_empty() || zone.is_some() {
                let (ingress, open, zone) = (Some(ingress), Some(dropped), Some(zone));
                change(door, &Amend { ingress, open, zone, ..amend(door) })?;
            }
            Ok(Some(answer))
        }
        Verb::Del => {
            let is_kept = |endpoint: &Endpoint| {
                let wire = endpoint.wire.as_ref();
                let extras = wire.map(|wire| &wire.extras);
                extras.is_some_and(|e| e.is_apart() || !e.opened.is_empty() || e.zone.is_some())
            };
            let (ingress, open, zone) = (Some(Ingress::Open), Some(Vec::new()), Some(None));
            undo(door, &is_kept, &Amend { ingress, open, zone, ..amend(door) })
        }
        Verb::Check if chain::ingress(&door.config)? == Ingress::Open => Ok(None),
        Verb::Check => inspect(door),
        Verb::Status => chain::ingress(&door.config).and(chain::zone(&door.config)).map(|_| None),
        Verb::Gc => collect(door),
        Verb::Version => Ok(None),
    }
}

/// The zone of firewalld that the container is put in. Where that does not run there is nothing to tell it, and all is as
/// without.
fn zone(door: &Door) -> Result<Option<String>, Failure> {
    let Some((zone, must)) = chain::zone(&door.config)? else { return Ok(None) };
    let runs = firewalld::runs();
    if must && !runs {
        crate::output::note("`backend`: firewalld does not run; the rules are those of nftables");
    }
    Ok(Some(zone).filter(|_| runs))
}

/// `tuning`: settings of the container's interface and of its network. What they were before comes back.
pub fn tuning(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => {
            let wanted = tunings(door)?;
            door.pass_on()?;
            if !wanted.is_empty() {
                change(door, &Amend { tune: Some(wanted.clone()), ..amend(door) })?;
            }
            tell(door, &wanted);
            door.pass_on().map(Some)
        }
        Verb::Del => {
            let is_tuned = |endpoint: &Endpoint| {
                endpoint.wire.as_ref().is_some_and(|wire| !wire.extras.tuned.is_empty())
            };
            undo(door, &is_tuned, &Amend { tune: Some(Vec::new()), ..amend(door) })
        }
        Verb::Check if tunings(door)?.is_empty() => Ok(None),
        Verb::Check => inspect(door),
        Verb::Status => tunings(door).map(|_| None),
        Verb::Gc => collect(door),
        Verb::Version => Ok(None),
    }
}

/// What is to be changed in the container.
pub fn tunings(door: &Door) -> Result<Vec<(Tunable, Value)>, Failure> {
    chain::tuning(&door.config, &door.call, &|name| allow::sysctl(name))
}

/// Says in the result what was changed of the container's interface.
fn tell(door: &mut Door, wanted: &[(Tunable, Value)]) {
    let interfaces = door.config.prev.iter_mut().flat_map(|prev| &mut prev.interfaces);
    let ifname = door.call.ifname.as_str();
    for interface in interfaces.filter(|i| i.name == ifname && i.sandbox.is_some()) {
        for tuned in wanted {
            match tuned {
                (Tunable::Mac, Value::Mac(mac)) => interface.mac = Some(mac.to_string()),
                (Tunable::Mtu, Value::Number(mtu)) => interface.mtu = Some(*mtu),
                _ => {}
            }
        }
    }
}

/// What `qiao` asks for at once: all that the plugins of a chain ask for one after the other.
pub fn whole(door: &Door, request: &mut Attach) -> Result<(), Failure> {
    let (clients, conditions) = told_of_clients(door)?;
    request.publish = chain::port_mappings(&door.config)?;
    let (policy, zone) = (chain::ingress(&door.config)?, zone(door)?);
    if let Some(given) = &mut request.given {
        (given.extras.clients, given.extras.conditions) = (clients, conditions);
        given.extras.zone = zone;
        given.extras.isolated |= policy == Ingress::Isolated;
        if let (Driver::Bridge(bridge), true) = (&mut given.network.driver, policy != Ingress::Open) {
            bridge.inline.iter_mut().for_each(|inline| inline.apart = true);
        }
    }
    Ok(())
}

/// Changes settings of a container that was attached just now, and lets it through where `iptables` would drop what
/// the host forwards.
pub fn set(
    door: &Door,
    (engine, endpoint): (&mut Engine<Linux>, &mut Endpoint),
    wanted: Vec<(Tunable, Value)>,
) -> Result<(), Failure> {
    let dropped = engine.kernel().drops_forwarded().map_err(|error| failure(error.into()))?;
    let limits = bandwidth::limits(&door.config)?;
    if wanted.is_empty() && dropped.is_empty() && limits.is_none() {
        return Ok(());
    }
    let wanted = Amend { tune: Some(wanted), open: Some(dropped), limits: Some(limits), ..amend(door) };
    let amended = engine.amend(&wanted).map_err(failure)?;
    amended.into_iter().for_each(|(amended, _)| *endpoint = amended);
    Ok(())
}

/// Amends the endpoint. One that is not known is of a main plugin of somebody else's, and is adopted first.
pub(super) fn change(door: &Door, wanted: &Amend) -> Result<(), Failure> {
    let mut engine = door.engine()?;
    if engine.amend(wanted).map_err(failure)?.is_some() {
        return Ok(());
    }
    engine.attach(&chain::adoption(&door.config, &door.call)?).map_err(failure)?;
    engine.amend(wanted).map(drop).map_err(|error| {
        // Nothing comes of it: one that nothing is asked for is not adopted any more.
        let _ = engine.amend(&amend(door));
        failure(error)
    })
}

/// Takes back what a plugin made, if there is any of it.
pub(super) fn undo(door: &Door, has_some: &dyn Fn(&Endpoint) -> bool, nothing: &Amend) -> Done {
    let mut engine = door.engine()?;
    let network = chain::adopted_network(&door.config)?;
    match door.endpoint(&engine)? {
        Some(endpoint) if has_some(&endpoint) || *endpoint.network() == network => {
            engine.amend(nothing).map(drop).map_err(failure)?;
            tell_notes(&engine);
        }
        // What nobody can take away in part is taken away, where no main plugin of ours comes after.
        None if door.is_unreadable(&engine) => {
            let (sandbox, ifname) = (door.call.sandbox.clone(), Some(door.call.ifname.clone()));
            engine.detach(&Detach { sandbox, network: Some(network), ifname }).map(drop).map_err(failure)?;
        }
        _ => engine.settle_begun().map_err(failure)?,
    }
    leftover::of_one(door).map(|()| None)
}

/// Ends what was adopted and lives no more. What is ours is its main plugin's to collect.
pub(super) fn collect(door: &Door) -> Done {
    let Some(valid) = door.config.valid()? else { return Ok(None) };
    let network: NetworkName = chain::adopted_network(&door.config)?;
    let lives =
        |id: &EndpointId| valid.iter().any(|(c, i)| c == id.sandbox.as_str() && i == id.ifname.as_str());
    let mut engine = door.engine()?;
    engine.collect_network(&network, &lives).map_err(failure)?;
    tell_notes(&engine);
    leftover::of_others(door, &valid).map(|()| None)
}

pub(super) fn inspect(door: &Door) -> Done {
    let mut engine = door.engine()?;
    let Some(endpoint) = door.endpoint(&engine)? else {
        door.refuse_unreadable(&engine)?;
        return Err(Failure::new(110, format!("`{}` is not attached", door.call.sandbox)));
    };
    super::check::record(&mut engine, &endpoint).map(|()| None)
}
