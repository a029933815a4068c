//! Directories and files: links and copies of this program, and what is atomic about writing them.

use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// This program, whatever has become of its path.
const OWN: &str = "/proc/self/exe";
/// What files end with that are not finished.
const UNFINISHED: &str = ".qiao-tmp";
/// What is a configuration to a runtime (libcni's `ConfFiles`).
const CONFIGURATIONS: [&str; 3] = [".conf", ".conflist", ".json"];

/// Where plugins and configurations are.
#[derive(Clone, Debug)]
pub struct Place {
    /// The directory of the plugins.
    pub bin_dir: String,
    /// The directory of the configurations.
    pub conf_dir: String,
}

/// What tells one content from another: its length and a sum (as FNV-1a, by words, twice). It shows
/// changes, not attacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    length: u64,
    sum: String,
}

impl Place {
    /// The path of a plugin.
    pub fn bin(&self, name: &str) -> String {
        format!("{}/{name}", self.bin_dir)
    }

    /// The path of a configuration.
    pub fn conf(&self, name: &str) -> String {
        format!("{}/{name}", self.conf_dir)
    }

    /// The configurations that there are.
    pub fn configurations(&self) -> io::Result<BTreeSet<String>> {
        let entries = match fs::read_dir(&self.conf_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter(|name| CONFIGURATIONS.iter().any(|end| name.ends_with(end))).collect())
    }

    /// Makes the directories that are missing; which those are.
    pub fn missing_dirs(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for dir in [&self.bin_dir, &self.conf_dir] {
            let above = Path::new(dir).ancestors().take_while(|path| !path.as_os_str().is_empty());
            let mut made: Vec<String> =
                above.take_while(|path| !path.exists()).map(|path| path.display().to_string()).collect();
            made.reverse();
            missing.extend(made);
        }
        missing
    }

    /// One command at a time changes the plugins. It goes with the process.
    pub fn lock(&self) -> io::Result<rustix::fd::OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&*self.bin_dir, flags, Mode::empty())?;
        rustix::fs::flock(&dir, FlockOperation::LockExclusive)?;
        Ok(dir)
    }

    /// Removes what a killed command did not finish.
    pub fn sweep(&self) -> io::Result<()> {
        for dir in [&self.bin_dir, &self.conf_dir] {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with('.') && name.ends_with(UNFINISHED) {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }
}

/// Digests of files. Plugins are mostly links to one: that is read once.
#[derive(Debug, Default)]
pub struct Digests(RefCell<BTreeMap<(u64, u64), Digest>>);

impl Digests {
    /// That of a file; none where there is no file.
    pub fn of(&self, path: &str) -> io::Result<Option<Digest>> {
        match File::open(path) {
            Ok(file) => self.of_file(file).map(Some),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// That of this program.
    pub fn own(&self) -> io::Result<Digest> {
        self.of_file(File::open(OWN)?)
    }

    fn of_file(&self, mut file: File) -> io::Result<Digest> {
        let found = file.metadata()?;
        let key = (found.dev(), found.ino());
        if let Some(known) = self.0.borrow().get(&key) {
            return Ok(known.clone());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let digest = Digest::of(&bytes);
        self.0.borrow_mut().insert(key, digest.clone());
        Ok(digest)
    }
}

impl Digest {
    /// That of a content.
    pub fn of(bytes: &[u8]) -> Self {
        const PRIME: u64 = 0x0100_0000_01b3;
        let (mut one, mut two) = (0xcbf2_9ce4_8422_2325_u64, 0x6c62_272e_07bb_0142_u64);
        let (words, rest) = bytes.as_chunks::<8>();
        let rest = rest.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        for word in words.iter().map(|word| u64::from_le_bytes(*word)).chain([rest]) {
            one = (one ^ word).wrapping_mul(PRIME);
            two = (two ^ word).wrapping_mul(PRIME).rotate_left(23);
        }
        Self { length: bytes.len() as u64, sum: format!("{one:016x}{two:016x}") }
    }
}

/// Whether two paths are one file.
pub fn is_same(one: &str, two: &str) -> bool {
    let identity = |path: &str| fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()));
    identity(one).is_ok_and(|one| identity(two).is_ok_and(|two| one == two))
}

/// Writes a file whole, in one step.
pub fn write(path: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = unfinished(path);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// Puts this program at a path, in one step: as a link to `source` where that can be, else as a copy.
pub fn put_program(source: Option<&str>, path: &str) -> io::Result<()> {
    let temporary = unfinished(path);
    let _ = fs::remove_file(&temporary);
    let linked = match source {
        Some(source) => fs::hard_link(source, &temporary),
        None => rustix::fs::linkat(
            rustix::fs::CWD,
            OWN,
            rustix::fs::CWD,
            &*temporary,
            rustix::fs::AtFlags::SYMLINK_FOLLOW,
        )
        .map_err(Into::into),
    };
    if linked.is_err() {
        let _ = fs::remove_file(&temporary);
        fs::copy(OWN, &temporary)?;
        fs::set_permissions(&temporary, Permissions::from_mode(0o755))?;
        File::open(&temporary)?.sync_all()?;
    }
    // Renaming one link of a file onto another does nothing (rename(2)): that one is there already.
    fs::rename(&temporary, path)?;
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a second name for what is at a path; one that another file has is given to this one.
pub fn keep(path: &str, backup: &str) -> io::Result<()> {
    let temporary = unfinished(backup);
    let _ = fs::remove_file(&temporary);
    fs::hard_link(path, &temporary)?;
    fs::rename(&temporary, backup)?;
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn unfinished(path: &str) -> String {
    let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
    format!("{dir}/.{name}{UNFINISHED}")
}
