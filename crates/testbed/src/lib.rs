//! Hosts, containers and outside networks in namespaces: where the `qiao` command is tried out.
//!
//! Everything is built and looked at with `ip`, `nft` and `conntrack`, never with the code under test. A test
//! starts itself again in network, mount and process namespaces of its own (`namespaces`); there it *is* the
//! host. When it ends, all of it is gone.
#![forbid(unsafe_code)]

mod cgroup;
mod command;
mod dhcp;
mod echo;
mod firewalld;
pub mod frame;
pub mod grpc;
mod host;
pub mod names;
pub mod namespaces;
mod place;
mod qiao;
mod snapshot;
mod strace;
mod wire;

pub use command::{run, stdout};
pub use dhcp::{Dnsmasq, Question, Server};
pub use echo::{Protocol, Service, ask, ask_from};
pub use firewalld::Firewalld;
pub use host::{Host, OUTSIDE4, OUTSIDE6, UPLINK4, UPLINK6, attach_line, uplink};
pub use place::Place;
pub use qiao::{Outcome, Qiao, has_plugin, link_helpers, link_plugins};
pub use snapshot::Snapshot;
pub use strace::{CHANGING, ERRORS, Point, READING, fail_at, kill_at, points, reads};
pub use wire::Wire;

use std::time::{Duration, Instant};

/// The most that patience is stretched by.
const MOST: f64 = 10.0;

/// So much longer things take than on a machine that has nothing else to do: as many runnable processes as there are for
/// each processor.
pub fn busy() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|load| load.parse::<f64>().ok()).unwrap_or(1.0);
    let processors = std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
    (load / processors).clamp(1.0, MOST)
}

/// Waits until something is so, at most for this long, or longer where the machine is busy; whether it became so.
pub fn eventually(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let (begun, patience) = (Instant::now(), patience.mul_f64(busy()));
    loop {
        if is_so() {
            return true;
        }
        if begun.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
