//! What was installed, and what was there before: one file beside the plugins. It is written before anything is touched
//! and goes last, so that a killed command leaves something to go by.

use super::place::{Digest, Digests, Place};
use qiao_core::Refusal;
use qiao_engine::EngineError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// The file's name, in the directory of the plugins.
pub const NAME: &str = ".qiao-cni.json";
/// What a file that was there is called from then on.
pub const BACKUP: &str = ".before-qiao";
const VERSION: u32 = 1;

/// The manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// What we wrote, by its path. A file may have been written by more than one qiao.
    pub files: BTreeMap<String, Vec<Digest>>,
    /// The directories that we made.
    pub made: Vec<String>,
}

impl Manifest {
    /// Reads it; an empty one where there is none.
    pub fn read(place: &Place) -> Result<Option<Self>, EngineError> {
        let path = place.bin(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(EngineError::failed(format!("read {path}"), error)),
        };
        let wrong = |why: String| {
            let refusal = Refusal::conflict(format!("{path} makes no sense")).why(why);
            refusal.fix("move it away, and what it is about by hand")
        };
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if manifest.version > VERSION {
            return Err(wrong(format!("it is of version {}, of a newer qiao", manifest.version)).into());
        }
        Ok(Some(manifest))
    }

    /// Writes it, in one step.
    pub fn write(&mut self, place: &Place) -> io::Result<()> {
        self.version = VERSION;
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        super::place::write(&place.bin(NAME), &text)
    }

    /// Whether a file is as we wrote it; none where there is no such file.
    pub fn is_ours(&self, path: &str, digests: &Digests) -> io::Result<Option<bool>> {
        let Some(found) = digests.of(path)? else { return Ok(None) };
        Ok(Some(self.files.get(path).is_some_and(|known| known.contains(&found))))
    }

    /// Notes that we write this at a path.
    pub fn add(&mut self, path: &str, content: &Digest) {
        let known = self.files.entry(path.to_owned()).or_default();
        if !known.contains(content) {
            known.push(content.clone());
        }
    }
}
