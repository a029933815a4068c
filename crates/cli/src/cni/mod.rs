//! CNI plugins: this program under a plugin's name. One process, one transaction of each kind, no other program
//! but foreign delegates.

mod allow;
mod bandwidth;
mod chain;
mod check;
mod delegate;
mod dhcp;
mod door;
mod host_local;
mod ipam;
mod leftover;
mod loopback;
mod main_plugin;
mod sbr;
mod vrf;

use door::Door;
use qiao_doors::cni::{Call, Config, Failure, Verb, Version, version_reply};
use serde_json::Value;
use std::io::{Read, Write};
use std::process::ExitCode;

/// What a plugin prints; nothing where a verb has no result.
type Done = Result<Option<Value>, Failure>;

/// What a plugin does.
type Run = fn(&mut Door) -> Done;

/// The plugin that does the work of a whole chain. Without a verb of CNI, it is the `qiao` command.
const WHOLE: &str = "qiao";

/// A plugin by its name.
const PLUGINS: [(&str, Run); 19] = [
    ("bridge", main_plugin::run),
    (WHOLE, main_plugin::run),
    ("ptp", main_plugin::run),
    ("macvlan", main_plugin::run),
    ("ipvlan", main_plugin::run),
    ("vlan", main_plugin::run),
    ("dummy", main_plugin::run),
    ("tap", main_plugin::run),
    ("host-device", main_plugin::run),
    ("host-local", ipam::run),
    ("static", ipam::run),
    ("dhcp", ipam::run),
    ("loopback", loopback::run),
    ("portmap", chain::portmap),
    ("firewall", chain::firewall),
    ("bandwidth", bandwidth::run),
    ("sbr", sbr::run),
    ("vrf", vrf::run),
    ("tuning", chain::tuning),
];

/// The names of all plugins that this program is.
pub fn names() -> impl Iterator<Item = &'static str> {
    PLUGINS.into_iter().map(|(name, _)| name)
}

/// The largest configuration, and one byte that would be too many.
const LARGEST: u64 = qiao_doors::json::LARGEST as u64 + 1;

/// Runs as the plugin under whose name this program was started, if that is one.
pub fn called_as_plugin() -> Option<ExitCode> {
    let own = std::env::args_os().next()?;
    let name = std::path::Path::new(&own).file_name()?.to_str()?;
    let (name, run) = PLUGINS.into_iter().find(|(plugin, _)| *plugin == name)?;
    let is_command = name == WHOLE && std::env::var_os("CNI_COMMAND").is_none();
    if name == "dhcp" && std::env::args_os().nth(1).is_some_and(|word| word == "daemon") {
        return Some(dhcp::daemon());
    }
    if is_command { None } else { Some(plugin(name, run)) }
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn plugin(name: &'static str, run: Run) -> ExitCode {
    let verb = match Call::verb(&variable) {
        Ok(Some(verb)) => verb,
        Ok(None) => return about(name),
        Err(failure) => return report(&failure, None),
    };
    let mut input = Vec::new();
    if let Err(error) = std::io::stdin().lock().take(LARGEST).read_to_end(&mut input) {
        return report(&Failure::new(5, format!("cannot read the configuration: {error}")), None);
    }
    let asked = Config::version_of(&input);
    if verb == Verb::Version {
        return tell(&version_reply(asked.as_deref()));
    }
    let done = Door::open(name, (verb, &variable), input).and_then(|mut door| run(&mut door));
    match done {
        Ok(Some(answer)) => tell(&answer),
        Ok(None) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, asked.as_deref()),
    }
}

/// What is printed where nothing was asked. nerdctl looks for the version in it, and wants 1.7.1 for all it uses.
fn about(name: &str) -> ExitCode {
    let versions = Version::ALL.map(Version::as_str).join(", ");
    let own = env!("CARGO_PKG_VERSION");
    let text = format!("CNI {name} plugin v1.9.1+qiao.{own}\nCNI protocol versions supported: {versions}\n");
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn tell(answer: &Value) -> ExitCode {
    match std::io::stdout().lock().write_all(format!("{answer}\n").as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn report(failure: &Failure, asked: Option<&str>) -> ExitCode {
    tell(&failure.to_json(asked.filter(|text| Version::parse(text).is_some()).unwrap_or("1.1.0")));
    ExitCode::FAILURE
}
