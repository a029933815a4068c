//! Which network namespaces live. There is no list of them: they are found by whoever holds one.

use crate::bpf::cgroup::unescape;
use crate::netns;
use crate::sys::ioctl::Interfaces;
use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// `PROC_PID_INIT_INO` (linux/proc_ns.h): who is in this namespace of processes sees all of them.
const ALL_PROCESSES: &str = "pid:[4026531836]";

/// Where each namespace can be opened, by the text of its link (`net:[4026531840]`).
type Places = BTreeMap<String, Ways>;

/// Where a namespace can be opened. One way is not enough: a process ends meanwhile, and a mount can be hidden by
/// another one, as those in `/run/netns` are by a tmpfs at `/run`.
#[derive(Debug, Default)]
struct Ways {
    held: Vec<PathBuf>,
    mounted: Vec<PathBuf>,
}

/// How many processes that hold a namespace are remembered, and how many mounts of it.
const HELD: usize = 4;
const MOUNTED: usize = 64;

/// The cookies of all network namespaces that a process is in, has open, or has mounted somewhere. None where not
/// all can be seen, or one of them could not be asked: nothing may be taken for gone then.
pub fn cookies() -> Option<BTreeSet<u64>> {
    if fs::read_link("/proc/self/ns/pid").ok()?.to_str()? != ALL_PROCESSES {
        return None;
    }
    let mut places = Places::new();
    // Twice: one may be handed on to a process that was passed by already.
    (0..2).for_each(|_| search(&mut places));
    // A thread that goes into them and does nothing else.
    std::thread::spawn(move || places.iter().map(|(link, ways)| any_cookie(link, ways)).collect())
        .join()
        .ok()?
}

fn any_cookie(link: &str, ways: &Ways) -> Option<u64> {
    ways.held.iter().chain(&ways.mounted).find_map(|place| cookie(link, place))
}

fn cookie(link: &str, place: &Path) -> Option<u64> {
    // What is at a place in a container is whatever its root has put there by now: it is looked at before it is opened.
    let found = rustix::fs::open(place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let is_it = link == format!("net:[{}]", rustix::fs::fstat(&found).ok()?.st_ino)
        && netns::is_on_nsfs(&found).ok()?;
    is_it.then_some(())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let namespace =
        rustix::fs::open(format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty()).ok()?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).ok()?;
    Some(netns::cookie(&Interfaces::open().ok()?)).filter(|cookie| *cookie != 0)
}

/// Looks at every process. One that ends meanwhile holds nothing.
fn search(places: &mut Places) {
    let mut mounts = BTreeSet::new();
    for process in entries(Path::new("/proc")) {
        if process.file_name().is_none_or(|name| name.to_string_lossy().parse::<u32>().is_err()) {
            continue;
        }
        let tasks = entries(&process.join("task")).into_iter().map(|task| task.join("ns/net"));
        for place in tasks.chain(entries(&process.join("fd"))) {
            if let Some(link) = link(&place).filter(|link| link.starts_with("net:[")) {
                add(&mut places.entry(link).or_default().held, place, HELD);
            }
        }
        if link(&process.join("ns/mnt")).is_some_and(|link| mounts.insert(link)) {
            mounted(&process, places);
        }
    }
}

/// What is mounted where a process is (proc_pid_mountinfo(5)).
fn mounted(process: &Path, places: &mut Places) {
    let text = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
    for line in text.lines().filter(|line| line.contains(" - nsfs ")) {
        let mut words = line.split(' ').skip(3);
        let (Some(link), Some(point)) = (words.next(), words.next()) else { continue };
        if link.starts_with("net:[") {
            let place = process.join("root").join(unescape(point).trim_start_matches('/'));
            add(&mut places.entry(link.to_owned()).or_default().mounted, place, MOUNTED);
        }
    }
}

fn add(ways: &mut Vec<PathBuf>, place: PathBuf, most: usize) {
    if ways.len() < most && !ways.contains(&place) {
        ways.push(place);
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn link(path: &Path) -> Option<String> {
    fs::read_link(path).ok()?.into_os_string().into_string().ok()
}
