//! `nv-proxy.lease`: the leases as netavark's proxy writes them, for those who look. What is kept is in the keeper's
//! records; nothing is ever read here.

use crate::message::Lease;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The file.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    leases: Mutex<BTreeMap<String, [Lease; 1]>>,
}

impl Cache {
    /// The file in a directory.
    pub fn new(dir: &str) -> Self {
        Self { path: PathBuf::from(dir).join("nv-proxy.lease"), leases: Mutex::default() }
    }

    /// Changes what is known, and writes it in one go.
    pub fn change(&self, change: impl FnOnce(&mut BTreeMap<String, [Lease; 1]>)) -> io::Result<()> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut leases);
        let new = self.path.with_extension("lease.new");
        std::fs::write(&new, serde_json::to_vec(&*leases)?)?;
        std::fs::rename(&new, &self.path)
    }
}
