//! Whether firewalld runs: what forwards packets has to be told to it then.

use std::path::Path;

/// Where it says which process it is (firewalld.config, `FIREWALLD_PIDFILE`).
const PID_FILE: &str = "/run/firewalld.pid";

/// Whether the process that it says it is lives, and is it.
pub fn runs() -> bool {
    let pid = std::fs::read_to_string(PID_FILE).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let name = pid
        .and_then(|pid| std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm")).ok());
    name.is_some_and(|name| name.trim() == "firewalld")
}
