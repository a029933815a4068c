//! A cgroup for a test's processes: hooks for clients of 127.0.0.1 are attached to it, not to the machine's own.

use crate::command::run;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs};

/// What their names begin with; the number of the process that made them follows.
const PREFIX: &str = "qiao-test-";
/// What is older than this is of no test that is about to begin.
const OLD: Duration = Duration::from_secs(600);
/// Says to a process that it is inside which cgroup is its own.
const NAME: &str = "QIAO_TESTBED_CGROUP";
/// Where the hierarchy is mounted inside.
const INSIDE: &str = "/sys/fs/cgroup";

/// A cgroup; it is removed when it is dropped.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one; none where there is no hierarchy of version 2, or no permission.
    pub fn make() -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        static SWEPT: Once = Once::new();
        let hierarchy = hierarchy()?;
        SWEPT.call_once(|| sweep(&hierarchy));
        // A killed test may have left one of this number a moment ago.
        (0..16).find_map(|_| {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = hierarchy.join(format!("{PREFIX}{}-{number}", std::process::id()));
            fs::create_dir(&path).ok().map(|()| Self(path))
        })
    }

    /// What a process inside needs in its environment.
    pub fn variable(&self) -> (&'static str, String) {
        (NAME, self.0.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has just been killed may still be in it.
        crate::eventually(Duration::from_secs(2), || remove(&self.0));
    }
}

fn below(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir())
}

/// Removes one with those in it, if nobody is in them.
fn remove(path: &Path) -> bool {
    below(path).for_each(|path| drop(fs::remove_dir(path)));
    fs::remove_dir(path).is_ok()
}

/// Removes those of tests that were killed: of processes that are gone, and not of the last minutes, since others may
/// be in another process namespace.
fn sweep(hierarchy: &Path) {
    let is_left = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid);
        let is_gone = process.is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        let made = fs::metadata(path).and_then(|found| found.modified());
        let age = made.ok().and_then(|made| made.elapsed().ok());
        is_gone && age.is_some_and(|age| age > OLD)
    };
    for path in below(hierarchy).filter(is_left) {
        remove(&path);
    }
}

/// Where the hierarchy of version 2 is mounted outside.
fn hierarchy() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// Moves this process, which is inside, and all it will start into its cgroup; the cgroup's path.
pub fn enter() -> Option<String> {
    let path = format!("{INSIDE}/{}", env::var(NAME).ok()?);
    run(&format!("mount -t cgroup2 cgroup2 {INSIDE}"));
    fs::write(format!("{path}/cgroup.procs"), "0").unwrap_or_else(|error| panic!("enter {path}: {error}"));
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn only_what_killed_tests_left_long_ago_goes() {
        let dir = env::temp_dir().join(format!("qiao-sweep-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let own = std::process::id();
        let cases = [
            (format!("{PREFIX}999999999-0"), true, false),
            (format!("{PREFIX}999999999-1"), false, true),
            (format!("{PREFIX}{own}-0"), true, true),
            ("system.slice".to_owned(), true, true),
        ];
        for (name, is_old, _) in &cases {
            fs::create_dir_all(dir.join(name).join("below")).unwrap();
            let made = SystemTime::now() - if *is_old { OLD * 2 } else { Duration::ZERO };
            fs::File::open(dir.join(name)).unwrap().set_modified(made).unwrap();
        }
        sweep(&dir);
        for (name, _, stays) in &cases {
            assert_eq!(dir.join(name).exists(), *stays, "{name}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
