//! What is said over the daemon's socket: one line of JSON each way, then the connection ends.

use qiao_core::dhcp::{Ask, Leased, Tenant, Trouble};
use serde::{Deserialize, Serialize};

/// The longest line.
pub const LONGEST: usize = 1 << 16;

/// What is asked of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Take a lease.
    Acquire(Ask),
    /// Give it back.
    Release(Tenant),
    /// Which lease somebody has.
    Look(Tenant),
    /// Who has one.
    List,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// This lease.
    Leased(Leased),
    /// No lease, or none any more.
    Nothing,
    /// These have one, and for how many seconds.
    Tenants(Vec<(Tenant, u64)>),
    /// It cannot be done.
    Trouble(Trouble),
}
