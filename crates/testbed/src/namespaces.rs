//! A process starts itself again in namespaces of its own.

use crate::cgroup::{self, Cgroup};
use crate::command::run;
use crate::host::Host;
use std::env;
use std::fs;
use std::process::Command;

/// Says to a process that it is inside, and which network namespace it came from.
const OUTSIDE: &str = "QIAO_TESTBED_OUTSIDE";

/// Whether this process is inside. It looks, because a mistake here would change the real host.
pub fn is_inside() -> bool {
    let Ok(outside) = env::var(OUTSIDE) else { return false };
    assert_ne!(own(), outside, "the network namespace is not one of our own");
    assert_eq!(std::process::id(), 1, "the process namespace is not one of our own");
    true
}

fn own() -> String {
    fs::read_link("/proc/self/ns/net").expect("/proc").to_string_lossy().into_owned()
}

/// The command that starts this very program again in new network, mount and process namespaces. All its
/// processes end with it.
pub fn again() -> Command {
    let program = env::current_exe().expect("the path of this program");
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(program)
        .env(OUTSIDE, own());
    command
}

/// Gives the namespaces a private `/run` and a loopback interface: what a host has when it has booted.
pub fn boot() {
    assert!(is_inside(), "only in namespaces of its own");
    run("mount -t tmpfs -o mode=755 tmpfs /run");
    run("mount -t sysfs sysfs /sys");
    run("ip link set lo up");
}

/// New namespaces for this very program, and a cgroup for all that it will start there.
#[derive(Debug)]
pub struct Namespaces(Option<Cgroup>);

impl Namespaces {
    /// Makes the cgroup, where that is possible; it goes with this.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        Self(Cgroup::make())
    }

    /// The command that starts this program again, there.
    pub fn command(&self) -> Command {
        let mut command = again();
        command.envs(self.0.iter().map(Cgroup::variable));
        command
    }
}

/// What [`boot`] does, and moves into the cgroup; the cgroup's path, where there is one.
pub fn boot_in_cgroup() -> Option<String> {
    boot();
    cgroup::enter()
}

/// Runs a test on a host of its own.
pub fn on_a_host<F: FnOnce(&Host)>(test: F) {
    let name = test_name::<F>();
    if is_inside() {
        let host = Host::build(boot_in_cgroup());
        test(&host);
        return;
    }
    let namespaces = Namespaces::new();
    let mut command = namespaces.command();
    command.args(["--exact", &name, "--ignored", "--nocapture", "--test-threads", "1"]);
    let output = command.output().expect("start unshare");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "on its host: {}\n{errors}\n{text}", output.status);
    eprint!("{errors}");
}

/// The test's name as the test program lists it: the path of the closure, less the crate and the closure.
fn test_name<F>() -> String {
    let path = std::any::type_name::<F>().replace("::{{closure}}", "");
    path.split_once("::").map_or(path.clone(), |(_, name)| name.to_owned())
}
