//! The store: reading at any time, changing under the lock.

use crate::claims::Claims;
use crate::dir::{Dir, Durability};
use crate::error::StoreError;
use crate::journal::{Begun, Changes, Journal, endpoint_file, record_file};
use crate::lock::{Interrupted, Lock};
use crate::names::Names;
use crate::record::{self, Read};
use crate::residence::{self, Residence};
use crate::runtime::{self, Saved};
use crate::unreadable::EndpointName;
use qiao_core::driver::Active;
use qiao_core::{Endpoint, Network, NetworkName, SandboxName};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Where an engine keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// What survives a reboot.
    pub state: String,
    /// What does not.
    pub run: String,
}

impl Default for Paths {
    fn default() -> Self {
        Self { state: "/var/lib/qiao".into(), run: "/run/qiao".into() }
    }
}

/// The store of an engine.
#[derive(Debug)]
pub struct Store {
    paths: Paths,
    run: Dir,
    /// What survives a reboot, once it was needed.
    state: OnceCell<Dir>,
    notes: RefCell<Vec<String>>,
    /// The endpoints whose records make no sense, as far as they were read.
    pub(crate) unreadable: RefCell<BTreeMap<EndpointName, String>>,
    saved_is_unreadable: Cell<bool>,
    /// Whether a wait for the lock shall end.
    interrupted: Option<Interruptible>,
}

struct Interruptible(Box<Interrupted>);

impl std::fmt::Debug for Interruptible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interruptible")
    }
}

impl Store {
    /// Opens the store. Its directories are made where something is written.
    pub fn open(paths: &Paths) -> Result<Self, StoreError> {
        let run = Dir::open_or_absent(&paths.run)?;
        let (state, notes, unreadable, saved_is_unreadable) = Default::default();
        let interrupted = None;
        Ok(Self { paths: paths.clone(), run, state, notes, unreadable, saved_is_unreadable, interrupted })
    }

    /// With a check that ends a wait for the lock.
    pub fn interrupted_by(&mut self, interrupted: Box<Interrupted>) {
        self.interrupted = Some(Interruptible(interrupted));
    }

    /// Where the files are.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The directory of what does not survive a reboot.
    pub fn run(&self) -> &Dir {
        &self.run
    }

    /// Which engine the records say that they are of; none where they do not say.
    pub fn residence(&self) -> Result<Option<Residence>, StoreError> {
        residence::read(&self.run)
    }

    /// Which engine has this run directory in a network namespace where nothing is recorded.
    pub fn residence_in(&self, netns: u64) -> Result<Residence, StoreError> {
        residence::find(&self.run, netns)
    }

    /// Waits for the lock: from here on nobody else changes anything.
    pub fn begin(&self) -> Result<Txn<'_>, StoreError> {
        self.run.establish()?;
        let lock = Lock::take(&self.run, self.interrupted.as_ref().map(|known| &*known.0))?;
        self.run.close_kept();
        self.begun(lock, true)
    }

    /// The same for who only looks: nothing is made where the engine has no files yet.
    pub fn look(&self) -> Result<Txn<'_>, StoreError> {
        let lock = Lock::take_existing(&self.run)?;
        self.run.close_kept();
        self.begun(lock, false)
    }

    fn begun(&self, lock: Lock, notes: bool) -> Result<Txn<'_>, StoreError> {
        if let Err(error) = runtime::check_boot(&self.run, (&lock, notes))? {
            self.note(format!(
                "the boot id is not known, and nothing of an earlier boot is discarded: {}",
                error.why()
            ));
        }
        let (active, saved, network) = Default::default();
        Ok(Txn { store: self, active, saved, network, lock })
    }

    /// All networks that were created.
    pub fn networks(&self) -> Result<Vec<Network>, StoreError> {
        let Some(dir) = self.networks_dir()? else { return Ok(Vec::new()) };
        let mut networks = Vec::new();
        for file in dir.names()? {
            networks.extend(self.good_network(&dir, &file)?);
        }
        networks.sort_by(|a: &Network, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    /// One network.
    pub fn network(&self, name: &NetworkName) -> Result<Option<Network>, StoreError> {
        let file = format!("{name}.json");
        let kept = self.networks_dir()?.map_or(Ok(None), |dir| self.good_network(&dir, &file))?;
        if kept.is_some() {
            return Ok(kept);
        }
        self.run.sub("networks")?.map_or(Ok(None), |dir| self.good_network(&dir, &file))
    }

    /// Whether there is a network of this name.
    pub fn has_network(&self, name: &NetworkName) -> Result<bool, StoreError> {
        self.networks_dir()?.map_or(Ok(false), |dir| dir.has(&format!("{name}.json")))
    }

    /// The directory of the networks; none where none was ever created.
    fn networks_dir(&self) -> Result<Option<Rc<Dir>>, StoreError> {
        if self.state.get().is_none() {
            let Some(dir) = Dir::open_existing(&self.paths.state)? else { return Ok(None) };
            let _ = self.state.set(dir);
        }
        self.state.get().map_or(Ok(None), |state| state.keep("networks"))
    }

    fn good_network(&self, dir: &Dir, file: &str) -> Result<Option<Network>, StoreError> {
        self.good(dir, file, |network: &Network| format!("{}.json", network.name) == file)
    }

    /// Reads a record, setting one aside that makes no sense or is not what its name says.
    fn good<T: serde::de::DeserializeOwned>(
        &self,
        dir: &Dir,
        file: &str,
        is_its: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, StoreError> {
        match record::read(dir, file)? {
            Read::Absent => Ok(None),
            Read::Good(body) if is_its(&body) => Ok(Some(body)),
            Read::Good(_) => self.quarantine(dir, file, "it is of something else").map(|()| None),
            Read::Bad(why) => self.quarantine(dir, file, &why).map(|()| None),
        }
    }

    /// Sets a file aside that makes no sense, and notes it for the user.
    pub fn quarantine(&self, dir: &Dir, file: &str, why: &str) -> Result<(), StoreError> {
        let aside = self.run.ensure("quarantine")?;
        // Every container has its eth0.json: the directory's name keeps them apart.
        let above = dir.path().rsplit('/').next().unwrap_or_default();
        let name = format!("{above}:{file}");
        if dir.rename(file, &aside, &name).is_err() {
            // Another file system.
            let Some(bytes) = dir.read(file)? else { return Ok(()) };
            aside.write(&name, &bytes, Durability::Boot)?;
            dir.remove(file)?;
        }
        let note = format!("{}/{file} makes no sense ({why}); it was moved to {}", dir.path(), aside.path());
        self.note(note);
        Ok(())
    }

    /// Notes a message for the user, once.
    pub fn note(&self, text: String) {
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&text) {
            notes.push(text);
        }
    }

    /// Takes what there is to tell the user.
    pub fn take_notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// One endpoint's record.
    pub fn endpoint(&self, sandbox: &SandboxName, ifname: &str) -> Result<Option<Endpoint>, StoreError> {
        Ok(self.record(sandbox, ifname)?.map(|journal| journal.endpoint))
    }

    /// An endpoint's record.
    pub fn record(&self, sandbox: &SandboxName, ifname: &str) -> Result<Option<Journal>, StoreError> {
        let Some(dir) = runtime::sandbox_dir(&self.run, sandbox)? else { return Ok(None) };
        self.good_record(&dir, (sandbox, &record_file(ifname)))
    }

    /// The endpoints of a sandbox, by interface.
    pub fn sandbox(&self, sandbox: &SandboxName) -> Result<Vec<Endpoint>, StoreError> {
        let Some(dir) = runtime::sandbox_dir(&self.run, sandbox)? else { return Ok(Vec::new()) };
        let mut endpoints = Vec::new();
        for file in dir.names()? {
            endpoints.extend(self.good_record(&dir, (sandbox, &file))?.map(|journal| journal.endpoint));
        }
        endpoints.sort_by(|a, b| a.id.ifname.cmp(&b.id.ifname));
        Ok(endpoints)
    }

    /// All endpoints, by sandbox.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        let Some(dir) = self.run.keep("endpoints")? else { return Ok(Vec::new()) };
        let mut names: Vec<_> =
            dir.names()?.into_iter().filter_map(|name| SandboxName::new(&name).ok()).collect();
        names.sort();
        let mut endpoints = Vec::new();
        for name in names {
            endpoints.extend(self.sandbox(&name)?);
        }
        Ok(endpoints)
    }

    /// How many addresses of a network are given out, as a measure of its members.
    pub fn claims(&self) -> Claims<'_> {
        Claims(&self.run)
    }

    /// What the name server reads.
    pub fn names(&self) -> Names<'_> {
        Names(&self.run)
    }

    /// The networks in use, with how they were made.
    pub fn active(&self) -> Result<Active, StoreError> {
        Ok(self.good(&self.run, runtime::ACTIVE, |_| true)?.unwrap_or_default())
    }

    /// How the host was before us. A note that makes no sense stays until no network is in use any more.
    pub fn saved(&self) -> Result<Saved, StoreError> {
        let why = match record::read(&self.run, runtime::SAVED)? {
            Read::Absent => return Ok(Saved::default()),
            Read::Good(saved) => return Ok(saved),
            Read::Bad(why) => why,
        };
        if !self.saved_is_unreadable.replace(true) {
            let path = format!("{}/{}", self.run.path(), runtime::SAVED);
            self.note(format!("{path} makes no sense ({why}); how the host was before is not known"));
        }
        Ok(Saved::default())
    }

    /// Whether the note of how the host was before us was read and makes no sense.
    pub fn saved_is_unreadable(&self) -> bool {
        self.saved_is_unreadable.get()
    }
}

/// A transaction: the store with the lock held.
#[derive(Debug)]
pub struct Txn<'a> {
    store: &'a Store,
    // Read once: nobody else writes them while the lock is held.
    active: RefCell<Option<Active>>,
    saved: RefCell<Option<Saved>>,
    /// The network that was asked for last.
    network: RefCell<Option<Network>>,
    lock: Lock,
}

impl std::ops::Deref for Txn<'_> {
    type Target = Store;
    fn deref(&self) -> &Store {
        self.store
    }
}

impl Txn<'_> {
    /// Records which engine the records are of.
    pub fn settle(&self, residence: Residence) -> Result<(), StoreError> {
        residence::write(&self.run, residence)
    }

    /// The changes that have begun and not ended.
    pub fn changes(&self) -> Result<Changes, StoreError> {
        self.run.keep_ensured("pending").map(Changes)
    }

    /// Everything that has begun and not ended.
    pub fn begun_changes(&self) -> Result<Begun, StoreError> {
        self.run.keep("pending")?.map_or_else(|| Ok(Begun::default()), |dir| Changes(dir).read())
    }

    /// Sets a change aside that makes no sense.
    pub fn drop_change(&self, file: &str) -> Result<(), StoreError> {
        if file.starts_with('.') {
            return Ok(()); // never finished: it goes when the store is swept
        }
        self.quarantine(&self.changes()?.0, file, "it cannot be read")
    }

    /// Removes the files that a killed command began to write.
    pub fn sweep(&self) -> Result<(), StoreError> {
        self.run.sweep()?;
        self.networks_dir()?.map_or(Ok(()), |dir| dir.sweep())
    }

    /// The directory of all endpoints.
    pub fn endpoints_dir(&self) -> Result<Rc<Dir>, StoreError> {
        self.run.keep_ensured("endpoints")
    }

    /// Writes an endpoint's record over.
    pub fn update(&self, journal: &Journal) -> Result<(), StoreError> {
        let dir = self.endpoints_dir()?.ensure(journal.endpoint.sandbox().as_str())?;
        record::write(&dir, &endpoint_file(&journal.endpoint), journal, Durability::Boot)
    }

    /// One network. The one that was asked for last is not read again.
    pub fn network(&self, name: &NetworkName) -> Result<Option<Network>, StoreError> {
        if let Some(known) = self.network.borrow().as_ref().filter(|known| known.name == *name) {
            return Ok(Some(known.clone()));
        }
        let found = self.store.network(name)?;
        self.network.replace(found.clone());
        Ok(found)
    }

    /// Writes a network to the disk. One that its door describes anew every time is kept until the next boot.
    pub fn save_network(&self, network: &Network) -> Result<(), StoreError> {
        self.network.take();
        if network.is_inline() {
            let dir = self.run.ensure("networks")?;
            return record::write(&dir, &format!("{}.json", network.name), network, Durability::Boot);
        }
        let dir = Dir::open_root(&self.paths.state)?.ensure("networks")?;
        record::write(&dir, &format!("{}.json", network.name), network, Durability::Disk)
    }

    /// Removes a network from the disk.
    pub fn remove_network(&self, network: &Network) -> Result<(), StoreError> {
        self.network.take();
        let file = format!("{}.json", network.name);
        if network.is_inline() {
            return self.run.sub("networks")?.map_or(Ok(()), |dir| dir.remove(&file).map(|_| ()));
        }
        let Some(dir) = self.networks_dir()? else { return Ok(()) };
        dir.remove(&file)?;
        dir.sync()
    }

    /// The networks in use, with how they were made.
    pub fn active(&self) -> Result<Active, StoreError> {
        once(&self.active, || self.store.active())
    }

    /// How the host was before us.
    pub fn saved(&self) -> Result<Saved, StoreError> {
        once(&self.saved, || self.store.saved())
    }

    /// Notes which networks are in use.
    pub fn set_active(&self, active: &Active) -> Result<(), StoreError> {
        self.active.take();
        runtime::set_active(&self.run, active)
    }

    /// Whether a network has no members. It takes one look, however many there are.
    pub fn is_unused(&self, network: &NetworkName) -> Result<bool, StoreError> {
        let macs = crate::claims::below("macs", network.as_str());
        Ok(self.run.remove_dir(&macs)? || !self.run.has(&macs)?)
    }

    /// Forgets what a network gave out.
    pub fn forget_claims(&self, network: &NetworkName) -> Result<(), StoreError> {
        for kind in ["leases", "macs"] {
            self.run.remove_tree(&crate::claims::below(kind, network.as_str()))?;
        }
        Ok(())
    }

    /// Notes how the host was before us, unless what was noted before is there and cannot be read.
    pub fn save(&self, saved: &Saved) -> Result<(), StoreError> {
        if self.saved()? == *saved || self.saved_is_unreadable() {
            return Ok(());
        }
        self.saved.take();
        runtime::save(&self.run, saved)
    }

    /// Forgets how the host was before us, also what cannot be read: no network is in use.
    pub fn forget_saved(&self) -> Result<(), StoreError> {
        self.saved.take();
        runtime::save(&self.run, &Saved::default())
    }

    /// Whether the firewall had something deleted less than `limit` ago.
    pub fn deleted_within(&self, limit: Duration) -> bool {
        runtime::deleted_within(&self.run, limit)
    }

    /// Notes that the firewall had something deleted.
    pub fn note_deletion(&self) {
        runtime::note_deletion(&self.run);
    }

    /// The firewall's generation after our last change; none if it is not known.
    pub fn generation(&self) -> Option<u32> {
        self.lock.generation()
    }

    /// Forgets it, as far as that can be done.
    pub fn forget_generation(&self) {
        let _ = self.lock.forget_generation();
    }

    /// Notes the firewall's generation.
    pub fn set_generation(&self, generation: u32) {
        self.lock.set_generation(generation);
    }
}

/// What was read before, or what is read now.
fn once<T: Clone>(
    known: &RefCell<Option<T>>,
    read: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if let Some(known) = &*known.borrow() {
        return Ok(known.clone());
    }
    let now = read()?;
    known.replace(Some(now.clone()));
    Ok(now)
}
