//! The leases of CNI's `host-local`, in the reference's format: a file for each address, named by it, which says
//! whose it is, and one for the address that each set of ranges gave last. A node that changes from the reference
//! to us, or back, keeps the addresses of its containers.

use crate::boot::{Boot, BootId};
use crate::error::StoreError;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;

/// Which boot the leases are of. The reference has no such file, and leaves it alone.
const BOOT: &str = ".qiao-boot";

/// What stands in place of addresses while they are taken.
const UNFINISHED: &str = "?";

/// The name of the note of what a tenant has. The reference ignores files whose names are no addresses.
fn note_name((container, ifname): (&str, &str)) -> String {
    format!(".of.{container}@{ifname}")
}

/// Whose an address is: container and interface. Files of old versions name no interface.
pub type Tenant = (String, String);

/// The leases of a network, with the lock held that the reference takes too.
#[derive(Debug)]
pub struct HostLocal {
    path: String,
    _lock: OwnedFd,
}

impl HostLocal {
    /// Waits for the lock. What another boot left is discarded: its containers are gone. Where we have not been
    /// before, nobody knows which boot the leases are of, and they count.
    pub fn lock(path: &str) -> Result<Self, StoreError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
        made.map_err(StoreError::io(|| format!("create {path}")))?;
        Self::lock_there(path)
    }

    /// The same, of a network that has leases; none where it never had any.
    pub fn lock_known(path: &str) -> Result<Option<Self>, StoreError> {
        match fs::exists(path) {
            Ok(true) => Self::lock_there(path).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(StoreError::io(|| format!("stat {path}"))(error)),
        }
    }

    fn lock_there(path: &str) -> Result<Self, StoreError> {
        let file = format!("{path}/lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(&*file, flags, Mode::from_raw_mode(0o600))
            .map_err(StoreError::io(|| format!("open {file}")))?;
        while let Err(error) = rustix::fs::flock(&fd, FlockOperation::LockExclusive) {
            if error != rustix::io::Errno::INTR {
                return Err(StoreError::io(|| format!("lock {file}"))(error));
            }
        }
        let leases = Self { path: path.to_owned(), _lock: fd };
        leases.check_boot()?;
        Ok(leases)
    }

    /// A note that a killed command or a full disk left empty says nothing, and so does a boot whose id cannot be read.
    fn check_boot(&self) -> Result<(), StoreError> {
        let noted = self.read(BOOT)?;
        let Ok(now) = BootId::now() else { return Ok(()) };
        match Boot::of(noted.as_deref(), &now) {
            Boot::Same => return Ok(()),
            Boot::Another => {
                for ip in self.addresses()? {
                    self.tenant(ip)?.map_or(Ok(false), |(c, i)| self.remove(&note_name((&c, &i))))?;
                    self.remove(&ip.to_string())?;
                }
            }
            Boot::Unknown => {}
        }
        self.write(BOOT, &format!("{}\n", now.as_str()))
    }

    /// Takes an address; false where somebody has it.
    pub fn take(&self, ip: IpAddr, (container, ifname): (&str, &str)) -> Result<bool, StoreError> {
        let (file, begun) = (self.file(&ip.to_string()), self.file(".begun"));
        // Whole or not at all: a file that a killed command left empty would keep its address for ever.
        fs::write(&begun, format!("{container}\r\n{ifname}"))
            .map_err(StoreError::io(|| format!("write {begun}")))?;
        let mut linked = fs::hard_link(&begun, &file);
        if matches!(&linked, Err(error) if error.kind() == ErrorKind::AlreadyExists) && self.is_empty(&file) {
            linked = fs::rename(&begun, &file);
        }
        let _ = fs::remove_file(&begun);
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(StoreError::io(|| format!("write {file}"))(error)),
        }
    }

    fn is_empty(&self, file: &str) -> bool {
        fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() == 0)
    }

    /// The holder of an address; none where the address is free.
    pub fn tenant(&self, ip: IpAddr) -> Result<Option<Tenant>, StoreError> {
        let Some(text) = self.read(&ip.to_string())? else { return Ok(None) };
        let (container, ifname) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
        Ok(Some((container.trim().to_owned(), ifname.trim().to_owned())))
    }

    /// Gives an address back, if it is this tenant's.
    pub fn give_back(&self, ip: IpAddr, (container, ifname): (&str, &str)) -> Result<bool, StoreError> {
        let is_its = |(c, i): &Tenant| c == container && (i == ifname || i.is_empty());
        if self.tenant(ip)?.as_ref().is_some_and(is_its) { self.remove(&ip.to_string()) } else { Ok(false) }
    }

    /// Whether a tenant has addresses already, as far as we gave them.
    pub fn has_some(&self, (container, ifname): (&str, &str)) -> Result<bool, StoreError> {
        for ip in self.noted((container, ifname))?.unwrap_or_default() {
            if self.tenant(ip)?.is_some_and(|(c, i)| c == container && i == ifname) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A tenant is about to take addresses. What a killed command of its took before, and did not come to note, goes
    /// back: nobody would know of it when the tenant leaves.
    pub fn begin(&self, tenant: (&str, &str)) -> Result<(), StoreError> {
        let file = self.file(&note_name(tenant));
        let mut made = std::os::unix::fs::symlink(UNFINISHED, &file);
        if matches!(&made, Err(error) if error.kind() == ErrorKind::AlreadyExists) {
            self.give_all_back(tenant, &[])?;
            made = std::os::unix::fs::symlink(UNFINISHED, &file);
        }
        made.map_err(StoreError::io(|| format!("write {file}")))
    }

    /// Nothing came of it: what was taken has been given back.
    pub fn end(&self, tenant: (&str, &str)) -> Result<(), StoreError> {
        self.remove(&note_name(tenant)).map(drop)
    }

    /// Notes which addresses a tenant has: giving them back takes one look then, not one at every lease.
    pub fn note(&self, tenant: (&str, &str), ips: &[IpAddr]) -> Result<(), StoreError> {
        let name = note_name(tenant);
        self.remove(&name)?;
        let text: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
        let file = self.file(&name);
        std::os::unix::fs::symlink(text.join(","), &file).map_err(StoreError::io(|| format!("write {file}")))
    }

    /// What was noted of a tenant; none where nothing was, or the note was never finished.
    fn noted(&self, tenant: (&str, &str)) -> Result<Option<Vec<IpAddr>>, StoreError> {
        let file = self.file(&note_name(tenant));
        match fs::read_link(&file) {
            Ok(target) => {
                Ok(target.to_str().and_then(|text| text.split(',').map(|ip| ip.parse().ok()).collect()))
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
            Err(error) => Err(StoreError::io(|| format!("read {file}"))(error)),
        }
    }

    /// Gives back all that a tenant has: what was noted, or what it is known to have, or else what every lease says.
    pub fn give_all_back(&self, tenant: (&str, &str), known: &[IpAddr]) -> Result<(), StoreError> {
        let ips = match self.noted(tenant)? {
            Some(noted) => noted,
            None if known.is_empty() => self.addresses()?,
            None => known.to_vec(),
        };
        ips.into_iter().try_for_each(|ip| self.give_back(ip, tenant).map(drop))?;
        self.remove(&note_name(tenant)).map(drop)
    }

    /// Gives back what is of nobody that `lives` knows; what it was.
    pub fn collect(&self, lives: &dyn Fn(&str, &str) -> bool) -> Result<Vec<IpAddr>, StoreError> {
        let mut collected = Vec::new();
        for ip in self.addresses()? {
            let Some((container, ifname)) = self.tenant(ip)? else { continue };
            if !lives(&container, &ifname) {
                self.remove(&ip.to_string())?;
                self.remove(&note_name((&container, &ifname)))?;
                collected.push(ip);
            }
        }
        Ok(collected)
    }

    /// Every address that somebody has.
    pub fn addresses(&self) -> Result<Vec<IpAddr>, StoreError> {
        let entries = fs::read_dir(&self.path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.map_err(StoreError::io(|| format!("list {}", self.path)))?;
        Ok(entries.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    /// The address that a set gave last.
    pub fn last(&self, set: usize) -> Option<IpAddr> {
        fs::read_to_string(self.file(&format!("last_reserved_ip.{set}"))).ok()?.trim().parse().ok()
    }

    /// Notes the address that a set gave last.
    pub fn set_last(&self, set: usize, ip: IpAddr) -> Result<(), StoreError> {
        self.write(&format!("last_reserved_ip.{set}"), &ip.to_string())
    }

    /// A file's text; none where there is no file.
    fn read(&self, name: &str) -> Result<Option<String>, StoreError> {
        let file = self.file(name);
        match fs::read(&file) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(|| format!("read {file}"))(error)),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let file = self.file(name);
        fs::write(&file, text).map_err(StoreError::io(|| format!("write {file}")))
    }

    fn remove(&self, name: &str) -> Result<bool, StoreError> {
        let file = self.file(name);
        match fs::remove_file(&file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io(|| format!("remove {file}"))(error)),
        }
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}
