//! Records: JSON with a version and a checksum, so that garbage is recognised before it is believed.

use crate::dir::{Dir, Durability};
use crate::error::StoreError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version that is written, and the newest that is read.
const VERSION: u64 = 1;
/// The largest record that is written, and the largest that is read, in bytes: 60,000 ports that cannot be joined to ranges.
pub const LARGEST: usize = 16 << 20;

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    v: u64,
    sum: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// A record as it was read.
#[derive(Debug)]
pub enum Read<T> {
    /// There is none.
    Absent,
    /// It makes sense.
    Good(T),
    /// It makes none, for this reason.
    Bad(String),
}

/// Writes a record. One that could not be read back is not written.
pub fn write<T: Serialize>(
    dir: &Dir,
    name: &str,
    body: &T,
    durability: Durability,
) -> Result<(), StoreError> {
    let fail = || format!("encode {}/{name}", dir.path());
    let body = serde_json::value::to_raw_value(body).map_err(StoreError::io(fail))?;
    let envelope = Envelope { v: VERSION, sum: sum(body.get()), body: &body };
    let mut bytes = serde_json::to_vec(&envelope).map_err(StoreError::io(fail))?;
    bytes.push(b'\n');
    if bytes.len() > LARGEST {
        return Err(StoreError::TooLarge { file: format!("{}/{name}", dir.path()), size: bytes.len() });
    }
    dir.write(name, &bytes, durability)
}

/// Reads a record. One that a newer qiao wrote is an error: it must not be misread, nor set aside.
pub fn read<T: DeserializeOwned>(dir: &Dir, name: &str) -> Result<Read<T>, StoreError> {
    let Some(bytes) = dir.read(name)? else { return Ok(Read::Absent) };
    if bytes.len() > LARGEST {
        return Ok(Read::Bad(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    let envelope: Envelope<'_> = match serde_json::from_slice(&bytes) {
        Ok(envelope) => envelope,
        Err(error) => return Ok(Read::Bad(error.to_string())),
    };
    if envelope.v > VERSION {
        return Err(StoreError::Newer { file: format!("{}/{name}", dir.path()), version: envelope.v });
    }
    if envelope.sum != sum(envelope.body.get()) {
        return Ok(Read::Bad("its checksum is wrong".into()));
    }
    Ok(serde_json::from_str(envelope.body.get()).map_or_else(|e| Read::Bad(e.to_string()), Read::Good))
}

fn sum(text: &str) -> String {
    format!("{:016x}", qiao_core::owner::fnv(text, 0))
}
