//! Where a daemon keeps its leases, and where it is asked.
//!
//! ```text
//! RUN/dhcp/WHOSE/
//!   lock            held (flock) by the one process that keeps them
//!   KEY.json        a lease: written before anybody is told of it
//!   sock            where the engine's own is asked; others are asked where their users say
//! ```

use crate::machine::Bound;
use ipnet::IpNet;
use qiao_core::Mac;
use qiao_core::dhcp::{Ask, Tenant};
use qiao_store::record::{self, Read};
use qiao_store::{BootId, Dir, Durability, StoreError};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

/// A daemon's directory and socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub dir: String,
    /// The socket.
    pub socket: String,
}

impl Place {
    /// That of the engine whose run directory this is.
    pub fn engines(run: &str) -> Self {
        let dir = format!("{run}/dhcp/engine");
        Self { socket: format!("{dir}/sock"), dir }
    }

    /// That of a daemon which is asked at a path. Daemons at several paths live side by side.
    pub fn at(run: &str, socket: &str) -> Self {
        let name: Vec<&str> = socket.split('/').filter(|part| !part.is_empty()).collect();
        Self { dir: format!("{run}/dhcp/at-{}", name.join("-")), socket: socket.to_owned() }
    }

    /// Whether any lease is written down. A directory that cannot be read may have some.
    pub fn has_leases(&self) -> bool {
        match std::fs::read_dir(&self.dir) {
            Ok(mut entries) => entries
                .any(|entry| entry.map_or(true, |e| e.file_name().to_string_lossy().ends_with(".json"))),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    }

    /// Whether a process keeps them. A lock that cannot be opened may be held.
    pub fn is_kept(&self) -> bool {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::open(format!("{}/lock", self.dir), flags, Mode::empty()) {
            Ok(file) => rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
            Err(error) => error != rustix::io::Errno::NOENT,
        }
    }
}

/// A lease, and the boot that it is of: times are counted from that one, and its sandboxes are gone with it.
#[derive(Serialize, Deserialize)]
struct Written {
    boot: String,
    lease: Record,
}

/// A lease as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who has it, and how it was asked for.
    pub ask: Ask,
    /// The hardware address that has it.
    pub mac: Mac,
    /// The lease; none while it is over and asked for again.
    pub bound: Option<Bound>,
    /// What was taken from the sandbox when it was over: the interface's index and the address.
    pub taken: Option<(u32, IpNet)>,
    /// The routes that went with it, as the kernel told of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Vec<u8>>,
    /// When it was given first, in milliseconds since the boot.
    pub since: u64,
}

/// The leases that are written down; while this is held, nobody else keeps them.
#[derive(Debug)]
pub struct Records {
    dir: Dir,
    _lock: OwnedFd,
}

impl Records {
    /// Opens the directory, making it where it is missing; none if another process keeps it.
    pub fn open(place: &Place) -> Result<Option<Self>, StoreError> {
        let dir = Dir::open_root(&place.dir)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = rustix::fs::openat(&dir, "lock", flags, Mode::RUSR | Mode::WUSR)
            .map_err(StoreError::io(|| format!("open {}/lock", place.dir)))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { dir, _lock: lock })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(StoreError::io(|| format!("lock {}/lock", place.dir))(error)),
        }
    }

    /// All of them. What makes no sense, or is of another boot, is removed: its server will forget it.
    pub fn all(&self) -> Result<Vec<Record>, StoreError> {
        self.dir.sweep()?;
        let (mut records, now) = (Vec::new(), BootId::now()?);
        for name in self.dir.names()?.into_iter().filter(|name| name.ends_with(".json")) {
            match record::read::<Written>(&self.dir, &name)? {
                Read::Good(Written { boot, lease })
                    if BootId::parse(&boot).as_ref() == Some(&now) && file(&lease.ask.tenant) == name =>
                {
                    records.push(lease);
                }
                Read::Absent => {}
                _ => drop(self.dir.remove(&name)?),
            }
        }
        Ok(records)
    }

    /// Writes one down.
    pub fn put(&self, record: &Record) -> Result<(), StoreError> {
        let written = Written { boot: BootId::now()?.as_str().to_owned(), lease: record.clone() };
        record::write(&self.dir, &file(&record.ask.tenant), &written, Durability::Boot)
    }

    /// Forgets one.
    pub fn forget(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.dir.remove(&file(tenant)).map(drop)
    }
}

fn file(tenant: &Tenant) -> String {
    format!("{}.json", tenant.key())
}
