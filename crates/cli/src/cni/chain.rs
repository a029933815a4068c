//! Plugins behind a main one: each amends the record that the main one left, and passes the result on.

use super::Done;
use super::door::{Door, failure};
use qiao_core::Driver;
use qiao_core::request::{Amend, Attach};
use qiao_doors::cni::chain::{self, Ingress};
use qiao_doors::cni::{Failure, Verb};
use qiao_kernel::NetnsHandle;
use std::collections::BTreeMap;

fn amend(door: &Door) -> Amend {
    let (sandbox, ifname) = (door.call.sandbox.clone(), door.call.ifname.clone());
    Amend { sandbox, ifname, publish: None, apart: None, mac: None, held: false }
}

/// `portmap`.
pub fn portmap(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => {
            chain::check_portmap(&door.config)?;
            let answer = door.pass_on()?;
            let publish = chain::port_mappings(&door.config)?;
            if !publish.is_empty() {
                change(door, &Amend { publish: Some(publish), ..amend(door) })?;
            }
            Ok(Some(answer))
        }
        Verb::Del => {
            let mut engine = door.engine()?;
            if door.endpoint(&engine)?.is_some_and(|endpoint| !endpoint.publish().is_empty()) {
                let nothing = Amend { publish: Some(Vec::new()), ..amend(door) };
                engine.amend(&nothing).map_err(failure)?;
            }
            Ok(None)
        }
        Verb::Check => inspect(door),
        Verb::Status => chain::check_portmap(&door.config).map(|()| None),
        Verb::Gc | Verb::Version => Ok(None), // what it made goes with the attachment
    }
}

/// `firewall`. Whatever is open needs nothing; isolation goes with the attachment.
pub fn firewall(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => {
            let policy = chain::ingress(&door.config)?;
            let answer = door.pass_on()?;
            if policy != Ingress::Open {
                change(door, &Amend { apart: Some(policy == Ingress::Isolated), ..amend(door) })?;
            }
            Ok(Some(answer))
        }
        Verb::Check => inspect(door),
        Verb::Status => chain::ingress(&door.config).map(|_| None),
        _ => Ok(None),
    }
}

/// `tuning`: settings of the container's network. They go with it.
pub fn tuning(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => {
            chain::refuse_attributes(&door.config)?;
            let sysctls = chain::sysctls(&door.config, door.call.ifname.as_str())?;
            let answer = tuned(door)?;
            set(door, &sysctls)?;
            Ok(Some(answer))
        }
        Verb::Check => {
            let netns = netns(door)?;
            for (path, value) in chain::sysctls(&door.config, door.call.ifname.as_str())? {
                let now = netns.read_sysctl(&path).unwrap_or_default();
                if now.split_whitespace().ne(value.split_whitespace()) {
                    return Err(Failure::new(110, format!("{path} is {now}, not {value}")));
                }
            }
            Ok(None)
        }
        Verb::Status => chain::refuse_attributes(&door.config).map(|()| None),
        _ => Ok(None),
    }
}

/// Gives the container's interface the hardware address that is asked for, and says so in the result.
fn tuned(door: &mut Door) -> Result<serde_json::Value, Failure> {
    door.pass_on()?;
    let Some(mac) = chain::mac(&door.config, &door.call.args)? else { return door.pass_on() };
    change(door, &Amend { mac: Some(mac), ..amend(door) })?;
    let interfaces = door.config.prev.iter_mut().flat_map(|prev| &mut prev.interfaces);
    let ifname = door.call.ifname.as_str();
    let own = interfaces.filter(|i| i.name == ifname && i.sandbox.is_some());
    own.for_each(|interface| interface.mac = Some(mac.to_string()));
    door.pass_on()
}

/// Sets settings of the container's network.
pub fn set(door: &Door, sysctls: &BTreeMap<String, String>) -> Result<(), Failure> {
    if sysctls.is_empty() {
        return Ok(());
    }
    let netns = netns(door)?;
    sysctls.iter().try_for_each(|(path, value)| {
        netns.set_sysctl(path, value).map_err(|error| {
            Failure::new(105, format!("cannot set {path} to {value} in the container: {error}"))
        })
    })
}

/// What `qiao` asks for at once: all that the plugins of a chain ask for one after the other.
pub fn whole(door: &Door, request: &mut Attach) -> Result<(), Failure> {
    chain::check_portmap(&door.config)?;
    chain::refuse_attributes(&door.config)?;
    request.publish = chain::port_mappings(&door.config)?;
    let policy = chain::ingress(&door.config)?;
    if let (Some(given), true) = (&mut request.given, policy != Ingress::Open) {
        given.extras.isolated |= policy == Ingress::Isolated;
        if let Driver::Bridge(bridge) = &mut given.network.driver {
            bridge.inline.iter_mut().for_each(|inline| inline.apart = true);
        }
    }
    Ok(())
}

fn netns(door: &Door) -> Result<NetnsHandle, Failure> {
    let path = door.call.netns.as_deref().unwrap_or_default();
    NetnsHandle::open(path).map_err(|error| failure(error.into()))
}

fn change(door: &Door, amend: &Amend) -> Result<(), Failure> {
    match door.engine()?.amend(amend).map_err(failure)? {
        Some(_) => Ok(()),
        None => {
            Err(Failure::new(103, format!("`{}` has a main plugin that is not qiao's", door.call.sandbox))
                .because(format!("{} behind plugins of others is not supported", door.plugin)))
        }
    }
}

fn inspect(door: &Door) -> Done {
    let mut engine = door.engine()?;
    let Some(endpoint) = door.endpoint(&engine)? else {
        return Err(Failure::new(110, format!("`{}` is not attached", door.call.sandbox)));
    };
    super::check::record(&mut engine, &endpoint).map(|()| None)
}
