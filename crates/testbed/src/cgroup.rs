//! A cgroup for a test's processes: hooks for clients of 127.0.0.1 are attached to it, not to the machine's own.

use crate::command::run;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs};

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
        let name = format!("qiao-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = hierarchy()?.join(name);
        fs::create_dir(&path).ok().map(|()| Self(path))
    }

    /// What a process inside needs in its environment.
    pub fn variable(&self) -> (&'static str, String) {
        (NAME, self.0.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has just been killed may still be in it.
        crate::eventually(Duration::from_secs(2), || {
            let below = fs::read_dir(&self.0).into_iter().flatten().flatten().map(|entry| entry.path());
            below.filter(|path| path.is_dir()).for_each(|path| drop(fs::remove_dir(path)));
            fs::remove_dir(&self.0).is_ok()
        });
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
