//! `qiao cni install`: what it would do, and doing it.

use super::conf;
use super::manifest::{BACKUP, Manifest, NAME};
use super::place::{self, Digest, Digests, Place};
use qiao_core::{Code, Refusal};
use qiao_engine::EngineError;
use std::fs;
use std::io;

/// What happens to one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is there already.
    None,
    /// It is new.
    Add,
    /// An older one of ours is replaced.
    Update,
    /// One of others is replaced, and kept.
    Replace,
}

impl Change {
    /// For `--json`.
    pub fn word(self) -> &'static str {
        match self {
            Change::None => "none",
            Change::Add => "add",
            Change::Update => "update",
            Change::Replace => "replace",
        }
    }
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    /// The plugins.
    pub plugins: Vec<(&'static str, Change)>,
    /// A configuration, where the directory has none: its text.
    pub configuration: Option<String>,
    /// The directories that are missing.
    pub dirs: Vec<String>,
    own: Digest,
    manifest: Manifest,
}

impl Plan {
    /// Looks what there is. Nothing is touched. `subnet` is asked for where a configuration is needed.
    pub fn make(
        place: &Place,
        subnet: impl FnOnce() -> Result<qiao_core::Subnet, EngineError>,
    ) -> Result<Self, EngineError> {
        let failed = |error: io::Error| EngineError::failed(format!("look into {}", place.bin_dir), error);
        let manifest = Manifest::read(place)?.unwrap_or_default();
        let digests = Digests::default();
        let own = digests.own().map_err(failed)?;
        let mut plugins = Vec::new();
        for name in crate::cni::names() {
            plugins.push((name, change(place, name, (&digests, &own, &manifest)).map_err(failed)?));
        }
        let conf_failed = |error| EngineError::failed(format!("look into {}", place.conf_dir), error);
        let known = place.configurations().map_err(conf_failed)?;
        let configuration = match known.is_empty() {
            true => Some(conf::text(subnet()?)),
            false => None,
        };
        Ok(Self { plugins, configuration, dirs: place.missing_dirs(), own, manifest })
    }

    /// Whether there is anything to do.
    pub fn is_empty(&self) -> bool {
        self.configuration.is_none() && self.plugins.iter().all(|(_, change)| *change == Change::None)
    }

    /// Does it: the manifest first, then each file in one step. Killed in between, it goes on where it was, or is
    /// taken back.
    pub fn carry_out(mut self, place: &Place) -> Result<(), EngineError> {
        let failed = |error| failed(&place.bin_dir, error);
        for dir in [&place.bin_dir, &place.conf_dir] {
            fs::create_dir_all(dir).map_err(|error| self::failed(dir, error))?;
        }
        let _lock = place.lock().map_err(failed)?;
        place.sweep().map_err(failed)?;
        self.note(place);
        self.manifest.write(place).map_err(failed)?;
        let mut source = None;
        for (name, change) in &self.plugins {
            let path = place.bin(name);
            if *change == Change::Replace {
                place::keep(&path, &format!("{path}{BACKUP}")).map_err(failed)?;
            }
            if *change != Change::None {
                place::put_program(source.as_deref(), &path).map_err(failed)?;
            }
            source.get_or_insert(path);
        }
        if let Some(text) = &self.configuration {
            let path = place.conf(conf::NAME);
            place::write(&path, text.as_bytes()).map_err(|error| self::failed(&place.conf_dir, error))?;
        }
        Ok(())
    }

    fn note(&mut self, place: &Place) {
        for (name, _) in &self.plugins {
            self.manifest.add(&place.bin(name), &self.own);
        }
        if let Some(text) = &self.configuration {
            self.manifest.add(&place.conf(conf::NAME), &Digest::of(text.as_bytes()));
        }
        let new: Vec<String> =
            self.dirs.iter().filter(|dir| !self.manifest.made.contains(dir)).cloned().collect();
        self.manifest.made.extend(new);
    }
}

fn change(
    place: &Place,
    name: &str,
    (digests, own, manifest): (&Digests, &Digest, &Manifest),
) -> io::Result<Change> {
    let path = place.bin(name);
    if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_symlink()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path} is no file")));
    }
    let known = manifest.files.get(&path);
    Ok(match digests.of(&path)? {
        // A link that leads nowhere is somebody's all the same.
        None if fs::symlink_metadata(&path).is_ok() => Change::Replace,
        None => Change::Add,
        Some(found) if found == *own && known.is_some_and(|known| known.contains(&found)) => Change::None,
        Some(found) if known.is_some_and(|known| known.contains(&found)) => Change::Update,
        Some(_) => Change::Replace,
    })
}

/// What could not be written, and what to try.
pub fn failed(dir: &str, error: io::Error) -> EngineError {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Refusal::new(Code::NotPermitted, format!("cannot write in {dir}"))
            .why(error.to_string())
            .fix("run it as root, or give --bin-dir and --conf-dir")
            .into();
    }
    if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        return Refusal::conflict(format!("cannot write in {dir}"))
            .why(error.to_string())
            .fix("--bin-dir DIR      (and name DIR to the runtime)")
            .into();
    }
    EngineError::failed(format!("write in {dir} (what is done there, {NAME} lists)"), error)
}
