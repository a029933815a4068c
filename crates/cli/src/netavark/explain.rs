//! Why nothing was attached: in netavark's words where callers look for them.

use super::call::failure;
use qiao_core::request::Attach;
use qiao_core::{Code, IfName};
use qiao_doors::netavark::{Failure, Network};
use qiao_engine::{EngineError, chain};
use qiao_kernel::{Kernel, Linux};

/// What is said of an attachment that failed.
pub fn explain(
    (kernel, netns): (&mut Linux, &str),
    (network, attach): (&Network, &Attach),
    error: EngineError,
) -> Failure {
    let text = chain(&error);
    let conflict = is_conflict(&error, &text).then(|| in_the_way((kernel, netns), (network, attach)));
    if let Some(text) = conflict.flatten() {
        return Failure(text);
    }
    if text.contains("IPv6 is disabled on") {
        let device = network.network_interface.as_deref().unwrap_or_default();
        let place = if text.contains(&format!(" on {device} ")) { "bridge" } else { "container veth" };
        return Failure(format!(
            "add ip addr to {place}: failed to add ipv6 address, is ipv6 enabled in the kernel?: Netlink error: \
             Permission denied (os error 13)"
        ));
    }
    match unwritable(&text).or_else(|| no_bridge(kernel, network)) {
        Some(text) => Failure(text),
        None => failure(error),
    }
}

/// What is said of a setting of the host that cannot be made.
fn unwritable(text: &str) -> Option<String> {
    let (path, why) = text.split_once(" to /proc/sys/")?.1.split_once(": ")?;
    Some(format!("set sysctl {path}: IO error: {why}"))
}

/// What is said of a bridge that is none; nothing where it is one.
fn no_bridge(kernel: &mut Linux, network: &Network) -> Option<String> {
    let device = network.network_interface.as_deref().filter(|_| network.driver == "bridge")?;
    let link = kernel.link(&IfName::new(device).ok()?).ok()??;
    let text = format!("bridge interface {device} already exists but is another interface");
    (!link.is_bridge).then_some(text)
}

fn is_conflict(error: &EngineError, text: &str) -> bool {
    matches!(error, EngineError::Refused(refusal) if refusal.code == Code::Conflict)
        || text.contains("File exists (os error 17)")
}

/// What is said of an interface that has the name of one that is to be made; nothing where none has.
fn in_the_way((kernel, netns): (&mut Linux, &str), (network, attach): (&Network, &Attach)) -> Option<String> {
    let ifname = attach.ifname.as_ref().map(IfName::as_str).unwrap_or_default();
    let host_if = attach.given.as_ref().and_then(|given| given.host_if.as_ref());
    let inside = kernel.netns(netns).ok().and_then(|netns| kernel.links_in(&netns).ok()).unwrap_or_default();
    let is_inside = inside.iter().any(|name| name == ifname);
    let is_bridge = |name: &IfName| network.network_interface.as_deref() == Some(name.as_str());
    let is_outside =
        host_if.is_some_and(|name| is_bridge(name) || matches!(kernel.link_index(name), Ok(Some(_))));
    let what =
        if network.driver == "bridge" { "veth pair" } else { &format!("{} interface", network.driver) };
    let or = host_if.map(|name| format!(" or {name} exists on host namespace")).unwrap_or_default();
    (is_inside || is_outside).then(|| {
        format!(
            "create {what}: interface {ifname} already exists on container namespace{or}: Netlink error: File exists \
             (os error 17)"
        )
    })
}
