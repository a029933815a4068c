//! firewalld. It drops what comes from addresses that it does not know: while it runs, those of containers are sources of
//! its zone `trusted`, or of the one that a door was told of. What it was told is written down, so that nothing of it
//! stays when its container is gone, whoever was killed; what others have put there is never ours.
//!
//! It is looked for on the bus: under systemd there is no file that says which process it is (`--nopid`).

mod bus;
mod told;

pub use bus::{Bus, Message};

use bus::Whom;
use ipnet::IpNet;
use qiao_core::zones::{Certainty, Part, Sources, Wanted, Zones};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;
use told::Told;

/// Its name on the bus.
pub const NAME: &str = "org.fedoraproject.FirewallD1";
/// Who knows the zones (firewalld.dbus(5)).
const ZONES: Whom = ["/org/fedoraproject/FirewallD1", "org.fedoraproject.FirewallD1.zone", NAME];
/// Where its configuration is: where there is none it is not installed, and nobody is asked.
const INSTALLED: &str = "/etc/firewalld";
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is so already.
const SO_ALREADY: [&str; 4] = ["ALREADY_ENABLED", "ZONE_ALREADY_SET", "NOT_ENABLED", "UNKNOWN_SOURCE"];

/// Zones, and sources of them in its words.
type Pairs = BTreeSet<(String, String)>;

/// Whether it runs, for the network namespace that we are in.
pub fn runs() -> bool {
    connect().is_some()
}

fn is_installed() -> bool {
    Path::new(INSTALLED).exists()
}

/// The bus, if firewalld is on it, and of our network namespace.
fn connect() -> Option<Bus> {
    is_installed().then_some(())?;
    let mut bus = Bus::connect(Some(PATIENCE)).ok()?;
    let process = bus.ask(bus::ITSELF, "GetConnectionUnixProcessID", &[NAME]).ok()?.number()?;
    let own = std::fs::read_link("/proc/self/ns/net").ok()?;
    let its = std::fs::read_link(format!("/proc/{process}/ns/net"));
    its.map_or(true, |its| its == own).then_some(bus)
}

/// Who tells it.
#[derive(Debug)]
pub struct Firewalld {
    /// The directory in which it is written down what was told.
    run: PathBuf,
    /// Who hears of what it did not do.
    complain: fn(&str),
}

impl Firewalld {
    /// With a directory that is emptied when the machine boots.
    pub fn new(run: &str, complain: fn(&str)) -> Self {
        Self { run: run.into(), complain }
    }

    fn try_settle(
        &self,
        known: Certainty,
        wanted: &mut dyn FnMut(Part) -> Option<Wanted>,
    ) -> io::Result<Vec<String>> {
        if !is_installed() || known == Certainty::Unmoved && self.is_told(wanted)? {
            return Ok(Vec::new());
        }
        let Some(bus) = connect() else { return Ok(Vec::new()) };
        let mut told = Told::open(&self.run)?;
        let Some(Wanted { sources, lacks_some }) = wanted(Part::All) else { return Ok(Vec::new()) };
        let kept = if lacks_some { told.pairs.clone() } else { Pairs::new() };
        let wanted = &pairs(&sources) | &kept;
        if wanted.is_empty() && told.pairs.is_empty() {
            return Ok(Vec::new());
        }
        let mut talk = Talk { bus, failed: Vec::new() };
        let there = talk.there(&(&wanted | &told.pairs))?;
        let (missing, surplus) = (&wanted - &there, &told.pairs - &wanted);
        told.note(&told.pairs | &missing)?; // before it is told: who is killed leaves a trace
        let stuck = talk.each("removeSource", &(&surplus & &there))?; // first: an address is in one zone
        let refused = talk.each("addSource", &missing)?;
        told.note(&(&(&told.pairs & &wanted) - &refused) | &stuck)?;
        Ok(talk.failed)
    }

    /// Whether it was told of just these networks. Who changes that while we look, tells it himself.
    fn is_told(&self, wanted: &mut dyn FnMut(Part) -> Option<Wanted>) -> io::Result<bool> {
        let Some(Wanted { sources, lacks_some: false }) = wanted(Part::Networks) else { return Ok(false) };
        let mut told = told::read(&self.run)?;
        told.retain(|(_, source)| {
            source.parse().is_ok_and(|net: IpNet| net.prefix_len() < net.max_prefix_len())
        });
        Ok(told == pairs(&sources))
    }
}

impl Zones for Firewalld {
    fn settle(&mut self, known: Certainty, wanted: &mut dyn FnMut(Part) -> Option<Wanted>) {
        let failed = self.try_settle(known, wanted).unwrap_or_else(|error| vec![silent(&error)]);
        failed.iter().for_each(|why| (self.complain)(why));
    }

    fn lacking(&mut self, wanted: &Sources) -> Vec<String> {
        let wanted = pairs(wanted);
        let Some(bus) = connect().filter(|_| !wanted.is_empty()) else { return Vec::new() };
        match (Talk { bus, failed: Vec::new() }).there(&wanted) {
            Ok(there) => (&wanted - &there).into_iter().map(drops).collect(),
            Err(error) => vec![format!("firewalld: {}", silent(&error))],
        }
    }
}

/// Why it could not be asked.
fn silent(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("no answer within {} s; `qiao repair` tells it again", PATIENCE.as_secs())
        }
        _ => error.to_string(),
    }
}

fn pairs(sources: &Sources) -> Pairs {
    sources.iter().map(|(net, zone)| (zone.clone(), net.to_string())).collect()
}

fn drops((zone, source): (String, String)) -> String {
    format!("firewalld drops what comes from {source}: it is no source of its zone {zone}")
}

/// A conversation.
struct Talk {
    bus: Bus,
    /// What it did not do, and why.
    failed: Vec<String>,
}

impl Talk {
    /// The sources of the zones that are spoken of. Who asks for a zone that is not there, hears of it later.
    fn there(&mut self, pairs: &Pairs) -> io::Result<Pairs> {
        let zones: BTreeSet<&String> = pairs.iter().map(|(zone, _)| zone).collect();
        let mut there = Pairs::new();
        for zone in zones {
            let sources = self.bus.ask(ZONES, "getSources", &[zone])?.texts();
            there.extend(sources.into_iter().map(|source| (zone.clone(), source)));
        }
        Ok(there)
    }

    /// Calls a method for each; those for which it failed.
    fn each(&mut self, method: &str, pairs: &Pairs) -> io::Result<Pairs> {
        let mut failed = Pairs::new();
        for (zone, source) in pairs {
            let answer = self.bus.ask(ZONES, method, &[zone, source])?;
            let Some(why) = answer.error().filter(|why| !SO_ALREADY.iter().any(|word| why.contains(word)))
            else {
                continue;
            };
            self.failed.push(format!("{method} {source} of the zone {zone}: {why}"));
            failed.insert((zone.clone(), source.clone()));
        }
        Ok(failed)
    }
}
