//! The files of Podman's network backend, as aardvark-dns reads them.
//!
//! A folder with a file for each network, called like it, with `%int` behind it where the network is internal. Its
//! first line is `listen-ip[,ip…][ upstream[,upstream…]]`, each other one a container:
//! `ID v4[,v4…] v6[,v6…] name[,alias…][ upstream[,upstream…]]`, with single spaces; columns may be empty.
//! SIGHUP says that they have changed.

use super::Source;
use crate::zone::{Member, MemberKey, Zone};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The file that says which process serves.
pub const PID_FILE: &str = "aardvark.pid";
/// Behind the name of an internal network's file.
const INTERNAL: &str = "%int";

/// The folder.
#[derive(Debug)]
pub struct Folder {
    path: String,
    signals: UnixStream,
    known: BTreeMap<String, Known>,
    /// When files that were not whole are read again.
    again: Option<Instant>,
    trouble: BTreeMap<String, String>,
    pid: Option<OwnedFd>,
}

impl Folder {
    /// Reads the folder now, and again when the process gets SIGHUP.
    pub fn open(path: &str) -> io::Result<Self> {
        let (signals, tell) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGHUP, tell)?;
        Ok(Self {
            path: path.to_owned(),
            signals,
            known: BTreeMap::new(),
            again: None,
            trouble: BTreeMap::new(),
            pid: None,
        })
    }

    /// What could not be served, and why.
    pub fn trouble(&self) -> Option<&String> {
        self.trouble.values().next()
    }

    /// Takes the file that says which process serves; it is held for as long as we live, our children too.
    pub fn take_pid_file(&mut self) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let file = rustix::fs::open(format!("{}/{PID_FILE}", self.path), flags, mode)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        rustix::fs::ftruncate(&file, 0)?;
        self.pid = Some(file);
        Ok(())
    }

    /// Writes into it which process it is.
    pub fn write_pid(&self, number: u32) -> io::Result<()> {
        let Some(file) = &self.pid else { return Ok(()) };
        rustix::io::write(file, number.to_string().as_bytes())?;
        Ok(())
    }

    /// Whether a signal comes in the next moment.
    fn is_called(&self) -> bool {
        const GRACE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let mut signals = [PollFd::new(&self.signals, PollFlags::IN)];
        rustix::event::poll(&mut signals, Some(&GRACE)).is_ok_and(|count| count > 0)
    }

    /// Reads all files again after a pause, if not sooner.
    fn look_again(&mut self, pause: Duration) {
        self.again = self.again.into_iter().chain([Instant::now() + pause]).min();
    }

    /// Reads one file. Netavark 1 and 2 write in place: where one ends within a line somebody may be at it, and it is
    /// taken as it is only if it has not changed a moment later.
    fn file(&mut self, name: &str) -> Option<Known> {
        const MOMENT: Duration = Duration::from_millis(50);
        const WHILE: Duration = Duration::from_secs(5);
        let known = self.known.remove(name);
        let text = match read(&format!("{}/{name}", self.path)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            // It is there, and cannot be read now: what was known is served.
            Err(_) => {
                self.look_again(WHILE);
                return known;
            }
        };
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<MemberKey> = text.lines().map(MemberKey::new).collect();
        let Some(mut known) = known else {
            return parse(name, &text).map(|zone| Known { lines, zone: Rc::new(zone), half: None });
        };
        if known.lines == lines {
            return Some(known);
        }
        let is_still_so = known.half.as_ref() == Some(&lines);
        if lines.is_empty() || !(text.ends_with('\n') || is_still_so) {
            if !is_still_so {
                self.look_again(MOMENT);
            }
            known.half = Some(lines);
            return Some(known);
        }
        let zone = changed(&known, (&text, &lines)).or_else(|| parse(name, &text));
        Some(match zone {
            Some(zone) => Known { lines, zone: Rc::new(zone), half: None },
            None => known,
        })
    }
}

/// What is in a file, if it is not absurdly long.
fn read(path: &str) -> io::Result<Vec<u8>> {
    /// A line of 100 octets for each of half a million containers.
    const MOST: u64 = 50 << 20;
    let file = std::fs::File::open(path)?;
    let mut text = Vec::new();
    file.take(MOST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

/// A file as it was read.
#[derive(Debug)]
struct Known {
    /// Its lines, as keys.
    lines: Vec<MemberKey>,
    zone: Rc<Zone>,
    /// The lines of a file that was not whole.
    half: Option<Vec<MemberKey>>,
}

/// The zone with what is between the lines that are as they were at the beginning and those at the end. None if it
/// must be made anew: the network itself is another, or lines are there twice.
fn changed(known: &Known, (text, lines): (&str, &[MemberKey])) -> Option<Zone> {
    /// With more lines that went it is quicker to begin anew.
    const MOST: usize = 64;
    let old = &*known.lines;
    let same = old.iter().zip(lines).take_while(|(old, new)| old == new).count();
    let rest = old[same..].iter().rev().zip(lines[same..].iter().rev());
    let end = rest.take_while(|(old, new)| old == new).count();
    if same == 0 {
        return None;
    }
    let gone = &old[same..old.len() - end];
    if gone.len() > MOST
        || gone.iter().any(|key| lines[..same].contains(key) || lines[lines.len() - end..].contains(key))
    {
        return None;
    }
    let mut zone = Zone::clone(&known.zone);
    for key in gone {
        zone.remove(*key);
    }
    let new = lines.len() - end - same;
    text.lines().skip(same).take(new).for_each(|line| add(&mut zone, line));
    zone.shrink();
    Some(zone)
}

/// Reads one file. A line that makes no sense makes no record.
pub fn parse(name: &str, text: &str) -> Option<Zone> {
    let (network, internal) = name.strip_suffix(INTERNAL).map_or((name, false), |name| (name, true));
    let mut lines = text.lines();
    let (listen, upstreams) = lines.next().map(|line| line.split_once(' ').unwrap_or((line, "")))?;
    let listen = addresses(listen).filter(|listen| !listen.is_empty())?;
    let mut zone = Zone::new(network, listen, (internal, &addresses(upstreams)?));
    lines.for_each(|line| add(&mut zone, line));
    zone.shrink();
    Some(zone)
}

/// Adds what a line says. The same line twice is one.
fn add(zone: &mut Zone, line: &str) {
    if let Some(member) = member(line) {
        zone.add(MemberKey::new(line), &member);
    }
}

fn member(line: &str) -> Option<Member> {
    let mut columns = line.split(' ');
    let (id, v4, v6) = (columns.next()?, columns.next()?, columns.next()?);
    let names = columns.next()?.split(',').map(str::to_owned).collect();
    let addresses_of = [addresses(v4)?, addresses(v6)?].concat();
    let upstreams = columns.next().map_or(Some(Vec::new()), addresses)?;
    Some(Member { id: id.to_owned(), addresses: addresses_of, names, upstreams, ports: Vec::new() })
}

fn addresses(text: &str) -> Option<Vec<IpAddr>> {
    text.split(',').filter(|ip| !ip.is_empty()).map(|ip| ip.parse().ok()).collect()
}

impl Source for Folder {
    fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    fn changed(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 64];
        match self.signals.read(&mut bytes) {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn zones(&mut self) -> io::Result<Vec<Rc<Zone>>> {
        let mut known = BTreeMap::new();
        self.again = None;
        for entry in std::fs::read_dir(&self.path)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if name == PID_FILE || name.starts_with('.') || !is_file {
                continue;
            }
            known.extend(self.file(&name).map(|read| (name, read)));
        }
        self.known = known;
        Ok(self.known.values().map(|known| Rc::clone(&known.zone)).collect())
    }

    fn tell(&mut self, zone: &Zone, state: Result<(), String>) {
        match state {
            Ok(()) => drop(self.trouble.remove(&zone.name)),
            Err(why) => drop(self.trouble.insert(zone.name.clone(), why)),
        }
    }

    fn due(&self) -> Option<Instant> {
        self.again
    }

    /// Takes the pid file away first: who has read it before signals us in a moment, who comes later starts another.
    fn is_over(&mut self) -> io::Result<bool> {
        if self.pid.take().is_none() {
            return Ok(true);
        }
        std::fs::remove_file(format!("{}/{PID_FILE}", self.path))?;
        if !self.is_called() {
            return Ok(true);
        }
        self.take_pid_file()?;
        self.write_pid(std::process::id()).map(|()| false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_exactly() {
        let text = "10.89.0.1,fd00::1 192.0.2.1\n\
                    c1 10.89.0.2  web,c1,alias 1.1.1.1,8.8.8.8\n\
                    c2  fd00::3 db\n\
                    broken\n\
                    c3 10.89.0.4 fd00::4 a b,c\n\
                    c4 10.89.0.5 fd00::5 last,\n";
        let zone = parse("front%int", text).unwrap();
        assert_eq!((&*zone.name, zone.internal, zone.listen.len()), ("front", true, 2));
        let names = |ip: &str| -> Vec<String> {
            zone.names_of(ip.parse().unwrap()).map(crate::wire::name::text).collect()
        };
        assert_eq!(names("10.89.0.2"), ["web", "c1", "alias"]);
        assert_eq!(names("fd00::3"), ["db"]);
        assert_eq!(names("fd00::5"), ["last"]);
        assert!(names("10.89.0.4").is_empty(), "upstreams that are none make the line senseless");
        let web = zone.member("10.89.0.2".parse().unwrap());
        assert_eq!(zone.upstreams(web).len(), 2);
        let db = zone.member("fd00::3".parse().unwrap());
        assert_eq!(**zone.upstreams(db), [IpAddr::from([192, 0, 2, 1])]);
    }

    /// A folder, and what its only zone knows.
    fn folder(name: &str) -> (std::path::PathBuf, Folder) {
        let dir = std::env::temp_dir().join(format!("qiao-folder-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let folder = Folder::open(dir.to_str().unwrap()).unwrap();
        (dir, folder)
    }

    fn address(zone: &Zone, name: &str) -> Vec<IpAddr> {
        let mut found = Vec::new();
        zone.find(&crate::wire::name::key(name).unwrap(), &mut found);
        found
    }

    /// What another netavark has written of a line so far is not another address.
    #[test]
    fn half_a_line_is_none() {
        let (dir, mut folder) = folder("half");
        let file = dir.join("front");
        std::fs::write(&file, "10.89.0.1\na 10.89.0.12  web\n").unwrap();
        let find = |folder: &mut Folder, name| address(&folder.zones().unwrap()[0], name);
        assert_eq!(find(&mut folder, "web").len(), 1);
        std::fs::write(&file, "10.89.0.1\na 10.89.0.12  web\nb 10.89.0.13  d").unwrap();
        assert!(find(&mut folder, "d").is_empty() && folder.due().is_some());
        std::fs::write(&file, "").unwrap();
        assert_eq!(find(&mut folder, "web").len(), 1, "it was truncated, to be written anew");
        std::fs::write(&file, "10.89.0.1\na 10.89.0.12  web\nb 10.89.0.13  db\n").unwrap();
        assert_eq!(find(&mut folder, "db").len(), 1);
        assert!(folder.due().is_none());
        // Somebody wrote it like that.
        std::fs::write(&file, "10.89.0.1\nb 10.89.0.13  db").unwrap();
        assert_eq!(find(&mut folder, "web").len(), 1);
        assert!(find(&mut folder, "web").is_empty(), "it stays so");
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// What cannot be read now is as it was.
    #[test]
    fn an_unreadable_file_is_no_lost_network() {
        let (dir, mut folder) = folder("unread");
        let file = dir.join("front");
        std::fs::write(&file, "10.89.0.1\na 10.89.0.12  web\n").unwrap();
        assert_eq!(address(&folder.zones().unwrap()[0], "web").len(), 1);
        std::fs::File::create(&file).unwrap().set_len(1 << 30).unwrap(); // which root may read, too
        assert_eq!(address(&folder.zones().unwrap()[0], "web").len(), 1);
        assert!(folder.due().is_some(), "it is looked at again");
        std::fs::remove_file(&file).unwrap();
        assert!(folder.zones().unwrap().is_empty(), "a file that is gone is gone");
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// Whatever changes between two readings, the zone is that of the file.
    #[test]
    fn changes_of_lines_are_changes_of_members() {
        let (dir, mut folder) = folder("lines");
        let line = |n: u32| format!("c{n} 10.89.0.{n}  n{n},pool\n");
        let files: [&[u32]; 8] =
            [&[2, 3, 4], &[2, 4], &[2, 9, 4], &[4, 2, 9], &[], &[5, 5, 6], &[5, 6], &[6]];
        for numbers in files {
            let text: String = numbers.iter().map(|n| line(*n)).collect();
            std::fs::write(dir.join("front"), format!("10.89.0.1\n{text}")).unwrap();
            let zone = Rc::clone(&folder.zones().unwrap()[0]);
            for n in 2..10 {
                assert_eq!(address(&zone, &format!("n{n}")).len(), usize::from(numbers.contains(&n)), "{n}");
            }
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_has_no_address_to_listen_on_is_no_network() {
        for bad in ["", "\n", "x\n", " 1.1.1.1\n", "10.89.0.1 x\n"] {
            assert!(parse("front", bad).is_none(), "{bad:?}");
        }
    }
}
