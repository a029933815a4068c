//! The cgroup whose hooks every process of the host passes: the root of the unified hierarchy.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::io;

/// Names another cgroup than the root: for tests, which must not touch the machine's.
const OVERRIDE: &str = "QIAO_CGROUP";
/// Where `systemd` mounts it, alone or beside version 1.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Where the hooks go, and its path. Where the hierarchy is mounted nowhere that we can see (systems with version 1
/// only, plugins of a runtime that lives in a container), it is mounted for us alone.
pub fn root() -> io::Result<(OwnedFd, String)> {
    if let Ok(path) = std::env::var(OVERRIDE) {
        return Ok((open(&path)?, path));
    }
    if let Some(found) = USUAL.iter().find_map(|path| whole(path)) {
        return Ok(found);
    }
    let found = mounted()?.iter().find_map(|path| whole(path));
    found.map_or_else(|| Ok((mount()?, "cgroup2".into())), Ok)
}

/// The root of a hierarchy, if it is at this path.
fn whole(path: &str) -> Option<(OwnedFd, String)> {
    Some((open(path).ok().filter(is_root)?, path.to_owned()))
}

/// Where hierarchies are mounted: the kernel takes a microsecond for each mount of the host, and every network
/// namespace that has a name is one.
fn mounted() -> io::Result<Vec<String>> {
    Ok(mount_points(&std::fs::read_to_string("/proc/self/mountinfo")?).collect())
}

fn open(path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether it is the root of a hierarchy of version 2: a later mount may hide an earlier one. The root of the tree
/// has the inode 1 (`kernfs_create_root`).
fn is_root(dir: &OwnedFd) -> bool {
    const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
    let is_cgroup2 = rustix::fs::fstatfs(dir).is_ok_and(|found| found.f_type as u64 == CGROUP2_SUPER_MAGIC);
    is_cgroup2 && rustix::fs::fstat(dir).is_ok_and(|found| found.st_ino == 1)
}

/// The hierarchy, mounted where nobody else sees it. It goes with the descriptor.
fn mount() -> io::Result<OwnedFd> {
    let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&mount, ".", flags, Mode::empty())?)
}

/// The mount points of whole cgroup2 hierarchies (proc_pid_mountinfo(5): the fourth word is what is mounted,
/// the fifth where, and the kind stands behind the dash).
fn mount_points(mountinfo: &str) -> impl Iterator<Item = String> {
    mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut words = before.split(' ').skip(3);
        let (root, point) = (words.next()?, words.next()?);
        (root == "/" && after.starts_with("cgroup2 ")).then(|| unescape(point))
    })
}

/// Space, tab, newline and backslash stand as `\ooo`.
pub fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => whole.extend([byte as char].into_iter().chain(part[3..].chars())),
            None => whole.extend(['\\'].into_iter().chain(part.chars())),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_whole_hierarchy_and_not_a_part_of_it() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                    40 31 0:38 /a /somewhere rw - cgroup2 cgroup2 rw\n\
                    41 31 0:38 / /sys/fs/my\\040cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_points(text).collect::<Vec<_>>(), ["/sys/fs/my cgroup"]);
        assert_eq!(mount_points("31 23 0:28 / /sys/fs/cgroup rw - cgroup cgroup rw\n").next(), None);
    }

    /// As on a system of version 1, and in a container without /sys: mounting is not seen by anybody.
    #[test]
    #[ignore = "needs root"]
    fn a_hierarchy_that_is_mounted_nowhere_is_found() {
        let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let before = mounts();
        assert!(is_root(&mount().unwrap()));
        assert!(!is_root(&open("/proc").unwrap()), "another file system");
        assert_eq!(mounts(), before);
    }
}
