//! The cgroup whose hooks every process of the host passes: the root of the unified hierarchy.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::io;

/// Names another cgroup than the root: for tests, which must not touch the machine's.
const OVERRIDE: &str = "QIAO_CGROUP";

/// Where the hooks go.
pub fn path() -> io::Result<String> {
    if let Ok(path) = std::env::var(OVERRIDE) {
        return Ok(path);
    }
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    mount_point(&text).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "cgroup v2 is not mounted"))
}

/// Opens the cgroup.
pub fn open(path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The mount point of a whole cgroup2 hierarchy (proc_pid_mountinfo(5): the fourth word is what is mounted,
/// the fifth where, and the kind stands behind the dash).
fn mount_point(mountinfo: &str) -> Option<String> {
    let mut found = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut words = before.split(' ').skip(3);
        let (root, point) = (words.next()?, words.next()?);
        (root == "/" && after.starts_with("cgroup2 ")).then(|| unescape(point))
    });
    found.next()
}

/// Space, tab, newline and backslash stand as `\ooo`.
fn unescape(text: &str) -> String {
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
        assert_eq!(mount_point(text).as_deref(), Some("/sys/fs/my cgroup"));
        assert_eq!(mount_point("31 23 0:28 / /sys/fs/cgroup rw - cgroup cgroup rw\n"), None);
    }
}
