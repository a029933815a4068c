//! The names of qiao's own networks: symbolic links that the engine makes.
//!
//! ```text
//! RUN/names/
//!   lock                       held (flock) by the one process that serves, whose number is in it
//!   web@eth0 -> front …        an endpoint (see `qiao_core::names`)
//!   served/front -> ok         its gateways are listened on; or "! " and why not
//! STATE/names/
//!   record:*:A:db.lan -> 10.0.0.5       what was added by hand
//!   forward:corp.example -> 10.0.0.53
//! ```
//! Making a link is one step, and the event of it (inotify(7)) is there before the call returns: a question that
//! comes later finds the name. A network whose last endpoint left is served for a moment more, since often another
//! one comes; before it is not any more, `served` says so, and only then is looked whether one came.

use super::Source;
use super::watch::{Seen, Watch};
use crate::records::{Record, Records, data};
use crate::wire::name;
use crate::zone::{Member, MemberKey, Zone};
use ipnet::IpNet;
use qiao_core::names::Named;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a network is served after its last endpoint left.
const LINGER: Duration = Duration::from_secs(1);

/// The links.
#[derive(Debug)]
pub struct Links {
    dir: String,
    state: String,
    watch: Watch,
    lock: Option<OwnedFd>,
    lines: BTreeMap<Box<str>, Box<str>>,
    zones: BTreeMap<String, Rc<Zone>>,
    /// The links that have changed, by their networks.
    stale: BTreeMap<String, BTreeSet<Box<str>>>,
    leaving: BTreeMap<String, Instant>,
    records: Rc<Records>,
    told: BTreeMap<String, String>,
    /// More has changed than could be read.
    unread: bool,
    /// Somebody took the directory away: whatever is there now is another server's.
    gone: bool,
}

impl Links {
    /// Serves `RUN/names`, with what was added in `STATE/names`; none if another process does.
    pub fn open(run: &str, state: &str) -> io::Result<Option<Self>> {
        let dir = format!("{run}/names");
        let Some(lock) = lock(&dir)? else { return Ok(None) };
        let watch = Watch::new()?;
        watch.add(&dir)?;
        let mut links = Self {
            state: state.to_owned(),
            watch,
            lock: Some(lock),
            lines: BTreeMap::new(),
            zones: BTreeMap::new(),
            stale: BTreeMap::new(),
            leaving: BTreeMap::new(),
            records: Rc::default(),
            told: BTreeMap::new(),
            unread: false,
            gone: false,
            dir,
        };
        let _ = std::fs::remove_dir_all(format!("{}/served", links.dir)); // what a killed one said
        make_dir(&format!("{}/served", links.dir))?;
        let _ = links.watch.add(&links.state); // where it cannot be seen, nothing that is added is
        links.read_all()?;
        links.read_by_hand();
        Ok(Some(links))
    }

    /// The directory.
    pub fn dir(&self) -> &str {
        &self.dir
    }

    fn read_by_hand(&mut self) {
        let dir = format!("{}/names", self.state);
        let _ = self.watch.add(&dir); // there is none before anything was added
        self.records = Rc::new(read_records(&dir));
    }

    fn read_all(&mut self) -> io::Result<()> {
        let mut names: BTreeSet<String> = self.lines.keys().map(|name| name.to_string()).collect();
        for entry in std::fs::read_dir(&self.dir)? {
            names.insert(entry?.file_name().to_string_lossy().into_owned());
        }
        names.iter().for_each(|name| self.read(name));
        Ok(())
    }

    /// The same where a shortage of descriptors or memory ends nothing: it is read when there is some.
    fn read_all_or_later(&mut self) -> io::Result<()> {
        let read = self.read_all();
        self.unread = read.is_err();
        read.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Err(error) } else { Ok(()) })
    }

    /// Brings one link to what the directory says.
    fn read(&mut self, name: &str) {
        if !name.contains('@') || name.starts_with('.') {
            return;
        }
        let line = std::fs::read_link(format!("{}/{name}", self.dir)).ok();
        let line: Option<Box<str>> = line.map(|line| line.to_string_lossy().into());
        if line.as_deref() == self.lines.get(name).map(|old| &**old) {
            return;
        }
        let networks =
            [line.as_deref().and_then(network), self.lines.get(name).and_then(|line| network(line))];
        for network in networks.into_iter().flatten() {
            self.stale.entry(network).or_default().insert(name.into());
        }
        match line {
            Some(line) => self.lines.insert(name.into(), line),
            None => self.lines.remove(name),
        };
    }

    fn take(&mut self, seen: &Seen) -> io::Result<bool> {
        // Of the directory itself nothing is told while our lock is open in it.
        let lock = format!("{}/lock", self.dir);
        let touched = seen.all || seen.names.iter().any(|name| name == "lock");
        self.gone |= touched && self.lock.as_ref().is_some_and(|own| !is_at(own, &lock));
        let by_hand = seen.all || seen.names.iter().any(|name| name.contains(':') || name == "names");
        if by_hand {
            self.read_by_hand();
        }
        match seen.all {
            true => self.read_all_or_later()?,
            false => seen.names.iter().for_each(|name| self.read(name)),
        }
        Ok(by_hand || !self.stale.is_empty() || self.gone || self.unread)
    }

    /// Brings a network to what its links say that have changed; it is a copy in which the others are as they were.
    fn make(&mut self, network: &str, changed: &BTreeSet<Box<str>>, now: Instant) {
        let named = |name: &str| {
            let line = self.lines.get(name).filter(|line| is_of(line, network))?;
            line.parse::<Named>().ok()
        };
        let mut zone = self.zones.get(network).map(|zone| Zone::clone(zone));
        for name in changed {
            let key = MemberKey::new(name);
            zone.as_mut().map(|zone| zone.remove(key));
            let Some(named) = named(name) else { continue };
            // What it says of the network itself counts from then on: there is one such truth.
            let is_same = |zone: &Zone| zone.subnets == named.gateways && zone.internal == named.internal;
            if !zone.as_ref().is_some_and(is_same) {
                zone = Some(self.anew(network, &named));
            }
            zone.as_mut().map(|zone| zone.add(key, &member(name, named)));
        }
        let Some(mut zone) = zone else { return };
        zone.shrink();
        if zone.is_empty() {
            self.leaving.entry(network.to_owned()).or_insert(now + LINGER);
        } else {
            self.leaving.remove(network);
        }
        self.zones.insert(network.to_owned(), Rc::new(zone));
    }

    /// A network of which a link says something else than before, made of all links.
    fn anew(&self, network: &str, header: &Named) -> Zone {
        let listen = header.gateways.iter().map(IpNet::addr).collect();
        let zone = Zone::new(network, listen, (header.internal, &[]));
        let mut zone = zone.with_subnets(header.gateways.clone());
        for (name, line) in self.lines.iter().filter(|(_, line)| is_of(line, network)) {
            if let Ok(named) = line.parse() {
                zone.add(MemberKey::new(name), &member(name, named));
            }
        }
        zone
    }

    /// Brings the networks to what has changed.
    fn make_stale(&mut self, now: Instant) {
        for (network, changed) in std::mem::take(&mut self.stale) {
            self.make(&network, &changed, now);
        }
    }

    /// Ends networks that were left a while ago.
    fn end_left(&mut self, now: Instant) -> io::Result<()> {
        let late: Vec<String> =
            self.leaving.iter().filter(|(_, until)| **until <= now).map(|(name, _)| name.clone()).collect();
        for name in &late {
            self.told.remove(name);
            let _ = std::fs::remove_file(format!("{}/served/{name}", self.dir));
        }
        if late.is_empty() {
            return Ok(());
        }
        let seen = self.watch.read()?; // somebody may have come before that was said
        self.take(&seen)?;
        self.make_stale(now);
        for name in late.iter().filter(|name| self.leaving.remove(*name).is_some()) {
            self.zones.remove(name);
        }
        Ok(())
    }
}

impl Source for Links {
    fn fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    fn changed(&mut self) -> io::Result<bool> {
        let seen = self.watch.read()?;
        if seen.is_nothing() { Ok(false) } else { self.take(&seen) }
    }

    fn zones(&mut self) -> io::Result<Vec<Rc<Zone>>> {
        if self.gone {
            return Ok(Vec::new());
        }
        if self.unread {
            self.read_all()?;
            self.unread = false;
        }
        let now = Instant::now();
        self.make_stale(now);
        self.end_left(now)?;
        Ok(self.zones.values().cloned().collect())
    }

    fn records(&mut self) -> Rc<Records> {
        Rc::clone(&self.records)
    }

    fn tell(&mut self, zone: &Zone, state: Result<(), String>) {
        let text = state.err().map_or_else(|| "ok".to_owned(), |why| format!("! {why}"));
        if self.told.get(&zone.name) == Some(&text) || self.leaving.contains_key(&zone.name) {
            return;
        }
        let (temporary, path) =
            (format!("{}/served/.{}", self.dir, zone.name), format!("{}/served/{}", self.dir, zone.name));
        let _ = make_dir(&format!("{}/served", self.dir)); // one that ended may have taken it along
        let _ = std::fs::remove_file(&temporary);
        let told =
            std::os::unix::fs::symlink(&text, &temporary).and_then(|()| std::fs::rename(temporary, path));
        if told.is_ok() {
            self.told.insert(zone.name.clone(), text);
        }
    }

    fn due(&self) -> Option<Instant> {
        if self.gone {
            return None;
        }
        self.leaving.values().min().copied()
    }

    /// Gives the lock up first: who comes now starts another process, or this one sees it and goes on.
    fn is_over(&mut self) -> io::Result<bool> {
        if self.gone {
            return Ok(true);
        }
        if !self.lines.is_empty() || !self.zones.is_empty() {
            return Ok(false);
        }
        let _ = std::fs::remove_file(format!("{}/lock", self.dir));
        self.lock = None;
        self.read_all()?;
        if !self.lines.is_empty() {
            self.lock = lock(&self.dir)?;
            return Ok(self.lock.is_none());
        }
        let _ = std::fs::remove_file(format!("{}/control", self.dir));
        for name in ["served", ""] {
            let _ = std::fs::remove_dir(format!("{}/{name}", self.dir)); // not where somebody came
        }
        Ok(true)
    }
}

/// Makes a directory that is nobody else's.
fn make_dir(path: &str) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether a line is of a member of a network.
fn is_of(line: &str, network: &str) -> bool {
    line.strip_prefix(network).is_some_and(|rest| rest.starts_with(' '))
}

fn network(line: &str) -> Option<String> {
    line.split_once(' ').map(|(network, _)| network.to_owned())
}

fn member(name: &str, named: Named) -> Member {
    let id = name.split_once('@').map_or(name, |(sandbox, _)| sandbox).to_owned();
    let port = |text: &String| {
        let (port, protocol) = text.split_once('/')?;
        Some((port.parse().ok()?, protocol.to_owned()))
    };
    let ports = named.ports.iter().filter_map(port).collect();
    Member { id, addresses: named.addresses, names: named.names, upstreams: named.upstreams, ports }
}

/// What was added by hand. What makes no sense is left out.
fn read_records(dir: &str) -> Records {
    let mut records = Records::default();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(value) = std::fs::read_link(entry.path()) else { continue };
        let value = value.to_string_lossy().into_owned();
        let _ = add(&mut records, &name, &value);
    }
    records
}

/// Adds what one link says.
fn add(records: &mut Records, name: &str, value: &str) -> Option<()> {
    match *name.splitn(4, ':').collect::<Vec<_>>() {
        ["forward", domain] => {
            let to: Vec<IpAddr> = value.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
            records.forward(name::key(domain)?, &to);
        }
        ["record", network, rtype, key] => {
            let network = (network != "*").then(|| network.to_owned());
            let key = name::key(key)?;
            for value in value.split('\n') {
                let (rtype, data) = data(rtype, value)?;
                records.add(key.clone(), Record { network: network.clone(), rtype, data });
            }
        }
        _ => {}
    }
    Some(())
}

/// Whether an open file is still the one at a path.
fn is_at(fd: &OwnedFd, path: &str) -> bool {
    let there = rustix::fs::stat(path);
    rustix::fs::fstat(fd)
        .is_ok_and(|own| there.is_ok_and(|there| (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)))
}

/// The lock of the one process that serves; none if another has it. Somebody may hold it for the moment in which he
/// looks whether it is held.
fn lock(dir: &str) -> io::Result<Option<OwnedFd>> {
    const PATIENCE: Duration = Duration::from_millis(100);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let path = format!("{dir}/lock");
    let start = Instant::now();
    loop {
        let fd = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?;
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            // Who ends takes the file away: this may be one that nobody else can see.
            Ok(()) if is_at(&fd, &path) => {
                // For those who look who it is; not every file system has room for it.
                let number = std::process::id().to_string();
                let _ =
                    rustix::fs::ftruncate(&fd, 0).and_then(|()| rustix::io::write(&fd, number.as_bytes()));
                return Ok(Some(fd));
            }
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cannot be read now is read later; until then what was known is served.
    #[test]
    fn a_shortage_ends_nothing() {
        let run = std::env::temp_dir().join(format!("qiao-short-{}", std::process::id()));
        let run = run.to_str().unwrap();
        let names = format!("{run}/names");
        make_dir(&names).unwrap();
        let link = |name: &str| {
            let line = format!("front 10.0.0.1/24 - 10.0.0.9 {name} - -");
            std::os::unix::fs::symlink(line, format!("{names}/{name}@eth0")).unwrap();
        };
        link("web");
        let mut links = Links::open(run, run).unwrap().expect("nobody else serves");
        let knows = |links: &mut Links, name: &str| {
            let zones = links.zones()?;
            Ok::<_, io::Error>(zones[0].find(&name::key(name).unwrap(), &mut Vec::new()))
        };
        assert!(knows(&mut links, "web").unwrap());
        link("db");
        let file = format!("{names}/lock"); // no directory, and there all the same
        let dir = std::mem::replace(&mut links.dir, file);
        links.read_all_or_later().unwrap();
        assert!(links.unread && knows(&mut links, "web").is_err(), "the server tries again");
        links.dir = dir;
        assert!(knows(&mut links, "web").unwrap() && knows(&mut links, "db").unwrap() && !links.unread);
        links.dir = format!("{run}/nowhere");
        assert!(links.read_all_or_later().is_err(), "a directory that is gone is gone");
        std::fs::remove_dir_all(run).unwrap();
    }
}
