//! What firewalld was told by us: a file with a zone and a source of it a line. It is changed by one process at a time.

use super::Pairs;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const FILE: &str = "firewalld";

/// What was told, at some moment.
pub fn read(run: &Path) -> io::Result<Pairs> {
    let text = match fs::read_to_string(run.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        read => read.unwrap_or_default(),
    };
    let pair = |line: &str| line.split_once(' ').map(|(zone, source)| (zone.to_owned(), source.to_owned()));
    Ok(text.lines().filter_map(pair).collect())
}

/// What was told; nobody else changes it meanwhile.
pub struct Told {
    pub pairs: Pairs,
    path: PathBuf,
    /// The directory, locked: it goes with this process.
    _lock: File,
}

impl Told {
    /// Waits until nobody else tells anything.
    pub fn open(run: &Path) -> io::Result<Self> {
        let lock = File::open(run)?;
        while let Err(error) = flock(&lock, FlockOperation::LockExclusive) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
        Ok(Self { pairs: read(run)?, path: run.join(FILE), _lock: lock })
    }

    /// Notes what was told from now on. Nobody ever sees half of it.
    pub fn note(&mut self, pairs: Pairs) -> io::Result<()> {
        if pairs == self.pairs {
            return Ok(());
        }
        if pairs.is_empty() {
            fs::remove_file(&self.path)?;
        } else {
            let text: String = pairs.iter().map(|(zone, source)| format!("{zone} {source}\n")).collect();
            let new = self.path.with_extension("new");
            fs::write(&new, text).and_then(|()| fs::rename(&new, &self.path))?;
        }
        self.pairs = pairs;
        Ok(())
    }
}
