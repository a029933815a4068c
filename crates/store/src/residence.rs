//! Which engine a run directory is of: recorded in it, so that a run directory that is mounted elsewhere too is of the
//! same engine there.

use crate::dir::Dir;
use crate::error::StoreError;
use qiao_core::EngineId;
use qiao_core::engine::Home;

/// The record.
pub const RESIDENCE: &str = "engine";

/// A network namespace, and the number of the engine there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residence {
    /// The cookie of the network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// The engine.
    pub engine: EngineId,
}

/// What is recorded; none where nothing is, or nothing that makes sense.
pub fn read(run: &Dir) -> Result<Option<Residence>, StoreError> {
    Ok(run.claimant(RESIDENCE)?.as_deref().and_then(parse))
}

fn parse(text: &str) -> Option<Residence> {
    let (netns, engine) = text.split_once(' ')?;
    Some(Residence { netns: u64::from_str_radix(netns, 16).ok()?, engine: EngineId::parse(engine)? })
}

/// The record for a network namespace. A run directory that was removed and created again has the same number as
/// before, since the number is made from the directory above.
pub fn find(run: &Dir, netns: u64) -> Result<Residence, StoreError> {
    let (dev, ino) = run.above()?.unwrap_or_default();
    let name = run.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    Ok(Residence { netns, engine: EngineId::at(Home { netns, dev, ino, name }) })
}

/// Records it.
pub fn write(run: &Dir, residence: Residence) -> Result<(), StoreError> {
    run.reclaim(RESIDENCE, &format!("{:x} {}", residence.netns, residence.engine))
}
