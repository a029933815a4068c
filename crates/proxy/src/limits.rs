//! How much one process does at most.

use std::time::Duration;

/// What is bounded. A connection takes six descriptors and up to 128 KiB of the kernel's memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// TCP connections at one time; more are closed as they come.
    pub connections: usize,
    /// UDP clients at one time; the one that was silent for longest makes room.
    pub clients: usize,
    /// How long a UDP client may be silent.
    pub idle: Duration,
    /// How long a container may take to accept a connection.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let (idle, patience) = (Duration::from_secs(120), Duration::from_secs(10));
        Self { connections: 4096, clients: 4096, idle, patience }
    }
}
