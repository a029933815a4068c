//! `qiao demo`: a host of its own, two containers on it, the nine steps aloud, packets across, and something
//! that breaks. It works in namespaces of its own and leaves nothing: they end with it.

mod cast;
mod picture;
mod probe;
mod stage;
mod tell;

pub use cast::{PLAY, play};

use super::{Done, OK};
use cast::Cast;
use qiao_core::request::{Attach, CreateNetwork, Detach};
use qiao_core::{Endpoint, NetworkName, SandboxName};
use qiao_engine::{Engine, EngineError};
use qiao_kernel::Linux;
use stage::{NETWORK, SUBNET};
use std::time::Instant;

type Host = Engine<Linux>;

/// Shows it.
pub fn run() -> Done {
    tell::opening();
    let begun = Instant::now();
    stage::enter()?;
    let mut cast = Cast::call()?;
    stage::lay_uplink(&cast)?;
    let mut host = stage::engine()?;
    let (web, app) = build(&mut host, &mut cast)?;
    tell::picture(&web, &app);
    let mut fine = scene_packets(&cast, (&web, &app));
    fine &= scene_firewall(&mut host, &cast)?;
    fine &= scene_end(&mut host)?;
    tell::closing(begun.elapsed(), fine);
    Ok(if fine { OK } else { 1.into() })
}

/// The nine steps: one network, two containers.
fn build(host: &mut Host, cast: &mut Cast) -> Result<(Endpoint, Endpoint), EngineError> {
    let network = NetworkName::new(NETWORK)?;
    let begun = Instant::now();
    let network = host
        .create_network(&CreateNetwork { subnets: vec![SUBNET.parse()?], ..CreateNetwork::new(network) })?;
    let web = host.attach(&request("web", &cast.web.netns(), &["8080:80"])?)?;
    let took = begun.elapsed();
    tell::steps(&[&network.plan, &web.plan], &web.places);
    tell::took("all nine steps: web is on the network", took);
    let begun = Instant::now();
    let app = host.attach(&request("app", &cast.app.netns(), &[])?)?;
    tell::took("app too: steps 4 to 9 once more", begun.elapsed());
    cast.web.serve(80)?;
    cast.lan.serve(80)?;
    Ok((web.endpoint, app.endpoint))
}

fn request(name: &str, netns: &str, ports: &[&str]) -> Result<Attach, EngineError> {
    let publish = ports.iter().map(|port| port.parse()).collect::<Result<Vec<_>, _>>()?;
    Ok(Attach {
        netns: Some(netns.to_owned()),
        network: Some(NetworkName::new(NETWORK)?),
        publish,
        ..Attach::new(SandboxName::new(name)?)
    })
}

/// Packets in every direction; what was not published is not reached.
fn scene_packets(cast: &Cast, (web, app): (&Endpoint, &Endpoint)) -> bool {
    let address = |endpoint: &Endpoint| endpoint.addresses().first().map(|net| net.addr());
    let (Some(web), Some(app)) = (address(web), address(app)) else { return false };
    tell::heading("Packets");
    let (lan, host) = (stage::lan_ip(), stage::host_ip());
    tell::check(&[
        ("app pings web", probe::ping(Some(&cast.app.handle), web)),
        ("app fetches http://web/", probe::get(Some(&cast.app.handle), (web, 80))),
        ("the host pings app", probe::ping(None, app)),
        ("app fetches from outside; seen as the host", probe::get(Some(&cast.app.handle), (lan, 80))),
        ("outside fetches the published port 8080", probe::get(Some(&cast.lan.handle), (host, 8080))),
        ("web fetches itself through 8080", probe::get(Some(&cast.web.handle), (host, 8080))),
        ("outside tries web's port 80 directly: no answer", probe::silence(&cast.lan.handle, (web, 80))),
    ])
}

/// Somebody else's firewall flushes the rules.
fn scene_firewall(host: &mut Host, cast: &Cast) -> Result<bool, EngineError> {
    tell::heading("Something breaks: all firewall rules are flushed, as some reloads do");
    qiao_kernel::stage::flush()?;
    let published = (stage::host_ip(), 8080);
    let broken = tell::check(&[(
        "outside fetches port 8080: refused now",
        probe::refused(&cast.lan.handle, published),
    )]);
    let findings = host.check()?.findings.len();
    let begun = Instant::now();
    host.repair()?;
    let took = begun.elapsed();
    tell::took(&format!("check names {findings} things, repair mends them"), took);
    let mended = probe::get(Some(&cast.lan.handle), published);
    Ok(broken & (findings > 0) & tell::check(&[("outside fetches port 8080 again", mended)]))
}

/// Everything goes.
fn scene_end(host: &mut Host) -> Result<bool, EngineError> {
    tell::heading("The end");
    for name in ["web", "app"] {
        let begun = Instant::now();
        host.detach(&Detach { sandbox: SandboxName::new(name)?, network: None, ifname: None })?;
        tell::took(&format!("{name} is detached"), begun.elapsed());
    }
    host.remove_network(&NetworkName::new(NETWORK)?)?;
    let left = stage::leftovers();
    Ok(tell::check(&[("the host has its uplink and nothing else", left)]))
}
