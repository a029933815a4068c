//! What the process gives up before it hears anything, as far as the system lets it: it works without, too.

mod calls;
mod cgroup;
mod files;

pub use cgroup::leave_cgroup;
pub use files::Files;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

/// Gives up every right but that of binding port 53, all files but some, and all system calls but those that a
/// server needs. What the system cannot take away is told.
pub fn confine(name: &str, files: &Files<'_>) -> Vec<String> {
    let _ = std::fs::write("/proc/self/comm", name);
    let _ = set_no_new_privs(true);
    let bind = CapabilitySet::NET_BIND_SERVICE;
    let sets = CapabilitySets { effective: bind, permitted: bind, inheritable: CapabilitySet::empty() };
    let mut told = Vec::new();
    if let Err(error) = set_capabilities(None, sets) {
        told.push(format!("capabilities are kept: {error}"));
    }
    if let Err(why) = files::confine(files) {
        told.push(format!("all files can be reached: {why}"));
    }
    if let Err(why) = calls::confine() {
        told.push(format!("all system calls can be made: {why}"));
    }
    told
}
