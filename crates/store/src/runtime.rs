//! What is known for as long as the host is up: which boot it is, which networks are in use, and how the host
//! was before us.

use crate::boot::{Boot, BootId};
use crate::dir::{Dir, Durability};
use crate::error::StoreError;
use crate::lock::Lock;
use crate::record;
use qiao_core::SandboxName;
use qiao_core::driver::Active;
use qiao_core::forwarding::Transit;
use qiao_core::plan::Sysctl;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The host's settings as they were before we changed them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Each setting and its value.
    pub sysctls: Vec<(Sysctl, u32)>,
    /// The interfaces that were there before forwarding was switched on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub before: BTreeSet<String>,
    /// What passed through the host besides, as far as was last seen.
    #[serde(default, skip_serializing_if = "Transit::is_none")]
    pub transit: Transit,
}

impl Saved {
    /// The settings by name.
    pub fn map(&self) -> BTreeMap<Sysctl, u32> {
        self.sysctls.iter().cloned().collect()
    }
}

/// How the host was before us; nothing where no network is in use.
pub const SAVED: &str = "host.json";
/// The networks in use.
pub const ACTIVE: &str = "active.json";
const BOOT: &str = "boot";
const DELETED: &str = "deleted";
/// What a new boot discards.
const OF_A_BOOT: [&str; 13] = [
    "networks",
    "active",
    "pending",
    "endpoints",
    "leases",
    "macs",
    "ports",
    "ranges",
    "containers",
    "names",
    "dhcp",
    "loopback",
    "loopback-hooks",
];

/// Discards what another boot left: its containers are gone, so their leases must be. Where this boot's id cannot be
/// read, nothing is discarded and nothing noted; the error has the reason.
///
/// `notes` is false where nothing must be written that was not there.
pub fn check_boot(run: &Dir, (lock, notes): (&Lock, bool)) -> Result<Result<(), StoreError>, StoreError> {
    let now = match BootId::now() {
        Ok(now) => now,
        Err(error) => return Ok(Err(error)),
    };
    match Boot::of(run.claimant(BOOT)?.as_deref(), &now) {
        Boot::Same => return Ok(Ok(())),
        Boot::Another => {
            OF_A_BOOT.into_iter().try_for_each(|name| run.remove_tree(name))?;
            run.remove(SAVED)?;
            lock.forget_generation()?;
            run.remove(DELETED)?;
            run.remove(ACTIVE)?;
        }
        Boot::Unknown if !notes => return Ok(Ok(())),
        Boot::Unknown => {}
    }
    run.reclaim(BOOT, now.as_str()).map(Ok)
}

/// Notes how the host was before us; an empty note removes it.
pub fn save(run: &Dir, saved: &Saved) -> Result<(), StoreError> {
    if saved.sysctls.is_empty() {
        return run.remove(SAVED).map(|_| ());
    }
    record::write(run, SAVED, saved, Durability::Boot)
}

/// Whether the firewall had something deleted less than `limit` ago.
pub fn deleted_within(run: &Dir, limit: Duration) -> bool {
    run.age(DELETED).is_some_and(|age| age < limit)
}

/// Notes that the firewall had something deleted. Losing it costs a moment of waiting, no more.
pub fn note_deletion(run: &Dir) {
    let _ = run.reclaim(DELETED, "now");
}

/// Notes which networks are in use; none removes the note.
pub fn set_active(run: &Dir, active: &Active) -> Result<(), StoreError> {
    if active.is_empty() {
        return run.remove(ACTIVE).map(|_| ());
    }
    record::write(run, ACTIVE, active, Durability::Boot)
}

/// The directory of a sandbox's endpoints, if it has any.
pub fn sandbox_dir(run: &Dir, sandbox: &SandboxName) -> Result<Option<Dir>, StoreError> {
    match run.keep("endpoints")? {
        Some(dir) => dir.sub(sandbox.as_str()),
        None => Ok(None),
    }
}
