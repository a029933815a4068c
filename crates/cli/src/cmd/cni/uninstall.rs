//! `qiao cni uninstall`: everything as it was before, as far as nobody else changed it since.

use super::conf;
use super::install::failed;
use super::manifest::{BACKUP, Manifest, NAME};
use super::place::{Digests, Place, is_same};
use qiao_engine::EngineError;
use std::fs;
use std::io;

/// What becomes of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes.
    Remove,
    /// What was there before comes back.
    Restore,
    /// It is gone, or is what was there before.
    Done,
    /// Somebody changed it since: it stays.
    Changed,
}

impl Fate {
    /// For `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Remove => "remove",
            Fate::Restore => "restore",
            Fate::Done => "none",
            Fate::Changed => "changed",
        }
    }
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    /// Each file, by its path.
    pub files: Vec<(String, Fate)>,
    manifest: Manifest,
}

impl Plan {
    /// Looks what there is; none where nothing was installed.
    pub fn make(place: &Place) -> Result<Option<Self>, EngineError> {
        let Some(manifest) = Manifest::read(place)? else { return Ok(None) };
        let (mut files, digests) = (Vec::new(), Digests::default());
        for path in manifest.files.keys() {
            let fate = fate(&manifest, path, &digests);
            let fate = fate.map_err(|error| EngineError::failed(format!("look at {path}"), error))?;
            files.push((path.clone(), fate));
        }
        Ok(Some(Self { files, manifest }))
    }

    /// What stays, since somebody changed it.
    pub fn left(&self) -> Vec<&str> {
        let changed = self.files.iter().filter(|(_, fate)| *fate == Fate::Changed);
        changed.map(|(path, _)| path.as_str()).collect()
    }

    /// Does it, each file in one step; the manifest goes last.
    pub fn carry_out(&self, place: &Place) -> Result<(), EngineError> {
        self.try_out(place).map_err(|error| failed(&place.bin_dir, error))
    }

    fn try_out(&self, place: &Place) -> io::Result<()> {
        let _lock = place.lock()?;
        place.sweep()?;
        for (path, fate) in &self.files {
            let backup = format!("{path}{BACKUP}");
            match fate {
                Fate::Restore => fs::rename(&backup, path)?,
                Fate::Remove => fs::remove_file(path)?,
                // A second name of what is there still: a killed `install` had not replaced it.
                Fate::Done if is_same(path, &backup) => fs::remove_file(&backup)?,
                Fate::Done | Fate::Changed => {}
            }
        }
        fs::remove_file(place.bin(NAME))?;
        // Only what is empty goes: others may have come to use it.
        self.manifest.made.iter().rev().for_each(|dir| drop(fs::remove_dir(dir)));
        Ok(())
    }
}

fn fate(manifest: &Manifest, path: &str, digests: &Digests) -> io::Result<Fate> {
    let backup = format!("{path}{BACKUP}");
    let has_backup = fs::symlink_metadata(&backup).is_ok() && !path.ends_with(conf::NAME);
    Ok(match manifest.is_ours(path, digests)? {
        Some(true) if has_backup => Fate::Restore,
        Some(true) => Fate::Remove,
        // Somebody removed ours: what it had replaced comes back.
        None if has_backup && fs::symlink_metadata(path).is_err() => Fate::Restore,
        None => Fate::Done,
        Some(false) if !has_backup || is_same(path, &backup) => Fate::Done,
        Some(false) => Fate::Changed,
    })
}
