//! What a container shall be, from what was typed. Everything that can be refused without looking at the
//! network is refused here.

use crate::args::Run;
use crate::output::time;
use qiao_container::{Spec, new_id, new_name};
use qiao_core::name::quoted;
use qiao_core::{Refusal, SandboxName};
use qiao_engine::EngineError;
use std::io::IsTerminal;
use std::path::Path;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the container shall be.
pub fn of(args: &Run) -> Result<Spec, EngineError> {
    check(args)?;
    let made = |error| EngineError::failed("make a name", error);
    let id = new_id().map_err(made)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => SandboxName::new(&new_name().map_err(made)?)?,
    };
    let hostname = args.inside.hostname.clone().unwrap_or_else(|| id[..12].to_owned());
    Ok(Spec {
        env: env(args, &hostname),
        id,
        name,
        created: time::now(),
        rootfs: args.rootfs.clone(),
        command: args.command.clone(),
        hostname,
        volumes: args.inside.volume.clone(),
        workdir: args.inside.workdir.clone(),
        user: args.inside.user,
        own_network: !on_host(args),
        remove: args.rm,
        detached: args.detach,
        terminal: !args.detach && std::io::stdin().is_terminal(),
    })
}

/// Whether the container has the host's network.
pub fn on_host(args: &Run) -> bool {
    args.network.iter().any(|network| network.name.as_str() == "host")
}

fn check(args: &Run) -> Result<(), Refusal> {
    if args.command.is_empty() {
        let word = args.rootfs.as_deref().unwrap_or("sh");
        return Err(Refusal::invalid("there is no command")
            .why("the command stands behind `--`; what stands before it is a directory that becomes the root")
            .fix(format!("qiao run … -- {word}")));
    }
    if let Some(rootfs) = &args.rootfs
        && !Path::new(rootfs).is_dir()
    {
        return Err(Refusal::not_found(format!("there is no directory {}", quoted(rootfs)))
            .why("what stands before `--` is a directory that becomes the root")
            .fix(format!("qiao run … -- {rootfs} …      (to run it as a command)")));
    }
    if let Some(volume) = args.inside.volume.iter().find(|volume| !Path::new(&volume.source).exists()) {
        return Err(Refusal::not_found(format!("there is no {} to show inside", quoted(&volume.source))));
    }
    let alone = |name: &str| args.network.iter().any(|n| n.name.as_str() == name) && args.network.len() > 1;
    if let Some(name) = ["host", "none"].into_iter().find(|name| alone(name)) {
        return Err(Refusal::invalid(format!("the network `{name}` goes with no other network")));
    }
    Ok(())
}

fn env(args: &Run, hostname: &str) -> Vec<(String, String)> {
    let mut env = vec![("PATH".to_owned(), PATH.to_owned()), ("HOSTNAME".to_owned(), hostname.to_owned())];
    env.push(("HOME".to_owned(), "/root".to_owned()));
    if let Some(term) = std::env::var("TERM").ok().filter(|_| !args.detach) {
        env.push(("TERM".to_owned(), term));
    }
    for (key, value) in &args.inside.env {
        env.retain(|(known, _)| known != key);
        env.push((key.clone(), value.clone()));
    }
    env
}
