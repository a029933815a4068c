//! Published ports for clients of 127.0.0.1 and ::1 on the host itself.
//!
//! No packet of the host ever leaves by another interface with a loopback address, and without
//! `route_localnet` none may; so the destination is replaced before there is a packet, when a socket connects
//! ([`program`]), or one process passes the bytes on ([`proxy`]).
//!
//! Which of the two it is, is decided when the first port is published: by the setting, and where that leaves
//! it open, by trying. Both are looked at always: a setting may change, and what is where it should not be any
//! more is moved.

mod entry;
mod hooks;
mod program;
mod proxy;

use crate::error::KernelError;
use crate::kernel::ApplyError;
use crate::linux::Linux;
use entry::{RawKey, RawValue};
use hooks::{Hooks, Loaded, Others, Place};
pub use proxy::COMMAND as PROXY_COMMAND;
use qiao_core::Owner;
use qiao_core::plan::{Key, Observed, Op, Ownership, State, Value};
use qiao_core::port::Listen;
use qiao_core::settings::LoopbackMethod;
use qiao_proxy::{Entry, Table};
use rustix::fd::AsFd;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::thread::JoinHandle;

/// How loopback clients are served, and where the entries of the proxy are.
#[derive(Debug)]
pub(crate) struct Loopback {
    method: LoopbackMethod,
    /// The engine's run directory; without one there is no proxy.
    run: Option<String>,
    /// Whether every hook is looked at, not only the one that is attached last.
    thorough: bool,
    place: Option<Place>,
    hooks: Option<Hooks>,
    /// Whether the note of hooks was found, and no hooks.
    noted_in_vain: bool,
    /// A thread that makes the programs of the hooks.
    loading: Option<JoinHandle<io::Result<Loaded>>>,
    /// What was looked at since the lock is held, and need not be again: nobody else makes or takes it meanwhile.
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    /// The hooks are those that are kept here.
    hooks: bool,
    /// There are none.
    no_hooks: bool,
    /// There is no table of the proxy.
    no_table: Cell<bool>,
}

/// Which way serves loopback clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Programs at the hooks of this cgroup.
    Hooks(String),
    /// The proxy, with its process number while it runs.
    Proxy(Option<u32>),
    /// None, because the setting says so.
    Off,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Hooks(path) => write!(f, "bpf (hooks of {path})"),
            Way::Proxy(Some(pid)) => write!(f, "proxy (process {pid})"),
            Way::Proxy(None) => f.write_str("proxy (not running)"),
            Way::Off => f.write_str("off"),
        }
    }
}

/// The note that hooks were made: an entry of the run directory, for who heals.
const NOTE: &str = "loopback-hooks";

impl Loopback {
    pub fn new(method: LoopbackMethod, run: Option<&str>) -> Self {
        Self {
            method,
            run: run.map(str::to_owned),
            thorough: true,
            place: None,
            hooks: None,
            noted_in_vain: false,
            loading: None,
            seen: Seen::default(),
        }
    }

    /// The lock was taken; everything has to be looked at anew, and if `thorough`, all of it.
    pub fn begin(&mut self, thorough: bool) {
        (self.thorough, self.seen) = (thorough, Seen::default());
    }

    fn place(&mut self, socket: &impl AsFd) -> io::Result<&Place> {
        if self.place.is_none() {
            self.place = Some(Place::open(socket.as_fd())?);
        }
        self.place.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    /// The hooks, if there are any. Where BPF is forbidden there are none.
    fn hooks(&mut self, socket: &impl AsFd) -> io::Result<Option<&Hooks>> {
        if self.seen.no_hooks {
            return Ok(None);
        }
        let (thorough, known) = (self.thorough, self.hooks.take());
        let seen = std::mem::replace(&mut self.seen.hooks, !thorough);
        let Ok(place) = self.place(socket) else { return Ok(None) };
        let found = match known.filter(|hooks| !thorough && (seen || place.still_has(hooks))) {
            Some(hooks) => Some(hooks),
            None => match place.find(thorough) {
                Err(error) if is_forbidden(&error) => None,
                found => found?,
            },
        };
        self.seen.no_hooks = found.is_none();
        self.hooks = found;
        Ok(self.hooks.as_ref())
    }

    fn table(&self) -> io::Result<Option<Table>> {
        if self.seen.no_table.get() {
            return Ok(None);
        }
        let table = self.run.as_deref().map(Table::open).transpose().map(Option::flatten)?;
        self.seen.no_table.set(table.is_none());
        Ok(table)
    }

    /// Whether the ports that clients hold with sockets of their own are not served.
    fn is_leaving(&self) -> io::Result<bool> {
        self.table()?.map_or(Ok(false), |table| Ok(table.entries()?.iter().any(|entry| entry.held)))
    }

    /// Whether the proxy has anything to serve.
    fn is_proxying(&self) -> io::Result<bool> {
        self.table()?.map_or(Ok(false), |table| table.is_idle().map(|idle| !idle))
    }

    fn note(&self, path: Option<&str>) {
        let Some(note) = self.run.as_ref().map(|run| format!("{run}/{NOTE}")) else { return };
        match path {
            Some(path) => drop(rustix::fs::symlink(path, &*note)),
            None => drop(rustix::fs::unlink(&*note)),
        }
    }
}

/// Whether BPF, or what we need of it, is not to be had here.
fn is_forbidden(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EINVAL | libc::EBADF)
    )
}

fn look(error: io::Error) -> KernelError {
    KernelError::io("look who serves clients of 127.0.0.1")(error)
}

type Found = Vec<(Key, Ownership, Value)>;

/// What there is of the wanted entries.
pub fn observe(linux: &mut Linux, wanted: &State, observed: &mut Observed) -> Result<(), KernelError> {
    let listens: Vec<Listen> = wanted.keys().filter_map(listen_of).collect();
    if listens.is_empty() {
        return Ok(());
    }
    for (key, found, value) in seen(linux, Some(&listens)).map_err(look)? {
        let Some(object) = wanted.get(&key) else { continue };
        observed.insert(key, as_expected(found, &object.owner), as_held(value, &object.value));
    }
    Ok(())
}

fn listen_of(key: &Key) -> Option<Listen> {
    match key {
        Key::Loopback(listen) => Some(*listen),
        _ => None,
    }
}

/// A mark that cannot be read back is known by comparing.
fn as_expected(found: Ownership, expected: &Owner) -> Ownership {
    match found {
        Ownership::Ours => crate::nft::owner_of(Some(&expected.mark()), Some(expected)),
        found => found,
    }
}

/// Hooks serve a port with or without a socket of the client: their entries do not record it.
fn as_held(found: Value, expected: &Value) -> Value {
    match (found, expected) {
        (Value::Backend(found), Value::Held(expected)) if found == *expected => Value::Held(found),
        (found, _) => found,
    }
}

/// Every entry.
pub fn survey(linux: &mut Linux, observed: &mut Observed) -> Result<(), KernelError> {
    for (key, owner, value) in seen(linux, None).map_err(look)? {
        observed.insert(key, owner, value);
    }
    Ok(())
}

/// The entries of both ways, or only those for `listens`. What is in the way that the setting does not want
/// is not as it must be.
fn seen(linux: &mut Linux, listens: Option<&[Listen]>) -> io::Result<Found> {
    let misplaced = linux.loopback.method == LoopbackMethod::Proxy;
    let has_hooks = !misplaced && linux.loopback.hooks(&linux.interfaces)?.is_some();
    // Who looks thoroughly also looks whether hooks are to be had by now.
    let tries = linux.loopback.thorough && !misplaced && linux.loopback.is_leaving()?;
    let may_hook =
        has_hooks || tries && linux.loopback.place(&linux.interfaces).and_then(Place::probe).is_ok();
    let mut found = seen_by_proxy(&linux.loopback, may_hook, listens)?;
    let Some(hooks) = linux.loopback.hooks(&linux.interfaces)? else { return Ok(found) };
    let raw = raw_entries(hooks, listens)?;
    let whole = hooks.whole && !misplaced;
    found.extend(
        entry::decode(&raw)
            .into_iter()
            .map(|(key, owner, value)| (key, owner, if whole { value } else { Value::Present })),
    );
    Ok(found)
}

fn seen_by_proxy(loopback: &Loopback, may_hook: bool, listens: Option<&[Listen]>) -> io::Result<Found> {
    let Some(table) = loopback.table()? else { return Ok(Vec::new()) };
    let entries = match listens {
        Some(listens) => listens
            .iter()
            .filter_map(|l| table.entry(&proxy::name(*l)).transpose())
            .collect::<io::Result<_>>()?,
        None => table.entries()?,
    };
    let may = loopback.method != LoopbackMethod::Bpf;
    let service = proxy::Service { running: may && table.server()?.is_some(), leaves: may && !may_hook };
    Ok(entries.iter().filter_map(|entry| proxy::found(&table, entry, service)).collect())
}

/// The entries of the hooks. So many single looks cost what a look at all does.
fn raw_entries(hooks: &Hooks, listens: Option<&[Listen]>) -> io::Result<Vec<(RawKey, RawValue)>> {
    const MANY: usize = 1024;
    let count = |listens: &[Listen]| listens.iter().map(|l| usize::from(l.ports.count())).sum::<usize>();
    let Some(listens) = listens.filter(|listens| count(listens) < MANY) else {
        return hooks.entries.entries();
    };
    let mut found = Vec::new();
    for key in listens.iter().copied().flat_map(entry::keys) {
        found.extend(hooks.entries.get(&key)?.map(|value| (key, value)));
    }
    Ok(found)
}

/// Has the programs made that ports will need, and that are not there, beside what comes before them.
pub fn prepare(linux: &mut Linux) {
    let is_first = |linux: &mut Linux| {
        matches!(linux.loopback.hooks(&linux.interfaces), Ok(None))
            && matches!(wants_hooks(linux), Ok(Some(_)))
    };
    if linux.loopback.loading.is_some() || !is_first(linux) {
        return;
    }
    let place = linux.loopback.place(&linux.interfaces).and_then(Place::again);
    let start = |place: Place| std::thread::Builder::new().spawn(move || place.load()).ok();
    linux.loopback.loading = place.ok().and_then(start);
}

/// Waits for what was begun and not needed after all.
pub fn end_preparing(linux: &mut Linux) {
    drop(linux.loopback.loading.take().map(join));
}

fn join(loading: JoinHandle<io::Result<Loaded>>) -> io::Result<Loaded> {
    loading.join().unwrap_or_else(|_| Err(io::Error::other("the thread that makes the programs ended")))
}

/// Carries out a group. What is taken away goes first: it may be a range that a single port replaces.
pub fn apply(linux: &mut Linux, group: &[Op]) -> Result<(), ApplyError> {
    let Some(first) = group.first() else { return Ok(()) };
    let failed = |error| crate::apply::failed(first, KernelError::io("serve clients of 127.0.0.1")(error));
    let gone: Vec<Listen> =
        group.iter().filter(|op| op.after().is_none()).filter_map(|op| listen_of(op.key())).collect();
    let kept: Vec<&Op> = group.iter().filter(|op| op.after().is_some()).collect();
    take_from_hooks(linux, &gone).and_then(|()| take_from_proxy(linux, &gone)).map_err(failed)?;
    if kept.is_empty() {
        return Ok(());
    }
    let (entries, listens) =
        (raw(&kept), kept.iter().filter_map(|op| listen_of(op.key())).collect::<Vec<_>>());
    match wants_hooks(linux).map_err(failed)? {
        Some(forced) => match put_into_hooks(linux, &entries) {
            Ok(()) => take_from_proxy(linux, &listens).map_err(failed),
            Err(error) if forced => Err(failed(only_bpf(&error))),
            Err(_) => put_into_proxy(linux, (&kept, &listens), first),
        },
        None => put_into_proxy(linux, (&kept, &listens), first),
    }
}

/// The error number is told in words only: it is neither a race nor a matter of who runs the command.
fn only_bpf(error: &io::Error) -> io::Error {
    let fix = "the setting `loopback` allows BPF only; \"auto\" or \"proxy\" needs none";
    io::Error::other(format!("BPF is not to be had ({error}), and {fix}"))
}

fn raw(ops: &[&Op]) -> Vec<(RawKey, RawValue)> {
    let entries = |op: &&Op| entry::of_object(op.key(), &op.after()?);
    ops.iter().filter_map(entries).flatten().collect()
}

/// Whether hooks are to be used, and whether nothing else will do.
fn wants_hooks(linux: &mut Linux) -> io::Result<Option<bool>> {
    match linux.loopback.method {
        LoopbackMethod::Bpf => Ok(Some(true)),
        LoopbackMethod::Proxy => Ok(None),
        LoopbackMethod::Auto | LoopbackMethod::Off => {
            let has_hooks = linux.loopback.hooks(&linux.interfaces)?.is_some();
            if has_hooks || linux.loopback.run.is_none() {
                return Ok(Some(true));
            }
            Ok((!linux.loopback.is_proxying()?).then_some(false))
        }
    }
}

fn put_into_hooks(linux: &mut Linux, entries: &[(RawKey, RawValue)]) -> io::Result<()> {
    let loopback = &mut linux.loopback;
    let has_whole = loopback.hooks(&linux.interfaces)?.map(|hooks| hooks.whole);
    if let (Some(true), Some(hooks)) = (has_whole, &loopback.hooks) {
        return hooks.entries.put_all(entries);
    }
    let (old, loading) = (loopback.hooks.take(), loopback.loading.take());
    let place = loopback.place(&linux.interfaces)?;
    let hooks = match old {
        Some(hooks) => {
            hooks.entries.put_all(entries)?;
            place.mend(&hooks)?
        }
        None => {
            let loaded = loading.map_or_else(|| place.load(), join)?;
            place.put(&loaded, entries)?
        }
    };
    let path = place.path.clone();
    loopback.seen.no_hooks = false;
    loopback.hooks = Some(hooks);
    loopback.note(Some(&path));
    Ok(())
}

fn put_into_proxy(
    linux: &mut Linux,
    (ops, listens): (&[&Op], &[Listen]),
    first: &Op,
) -> Result<(), ApplyError> {
    let failed = |error| crate::apply::failed(first, KernelError::io("serve clients of 127.0.0.1")(error));
    let nowhere =
        || io::Error::new(io::ErrorKind::Unsupported, "there is no directory for the loopback proxy");
    take_from_hooks(linux, listens).map_err(failed)?;
    let run = linux.loopback.run.as_deref().ok_or_else(|| failed(nowhere()))?;
    linux.loopback.seen.no_table.set(false);
    let entries: Vec<(&Op, Entry)> =
        ops.iter().filter_map(|op| Some((*op, proxy::entry(op.key(), &op.after()?)?))).collect();
    proxy::put(run, &entries)
}

/// Takes entries out of the hooks. The hooks stay for the next: making them takes 3 ms, more than all the rest
/// of an attachment.
fn take_from_hooks(linux: &mut Linux, listens: &[Listen]) -> io::Result<()> {
    if listens.is_empty() {
        return Ok(());
    }
    let keys: Vec<RawKey> = listens.iter().copied().flat_map(entry::keys).collect();
    match linux.loopback.hooks(&linux.interfaces)? {
        Some(hooks) => hooks.entries.delete_all(&keys),
        None => {
            linux.loopback.note(None);
            Ok(())
        }
    }
}

/// Takes the hooks away, with whatever is in them: no network is in use any more.
pub fn end(linux: &mut Linux) -> Result<(), KernelError> {
    let failed = KernelError::io("take the hooks for clients of 127.0.0.1 away");
    let Some(_) = linux.loopback.hooks(&linux.interfaces).map_err(look)? else { return Ok(()) };
    linux.loopback.place(&linux.interfaces).and_then(Place::remove).map_err(failed)?;
    linux.loopback.hooks = None;
    linux.loopback.note(None);
    Ok(())
}

fn take_from_proxy(linux: &Linux, listens: &[Listen]) -> io::Result<()> {
    let (Some(run), false) = (&linux.loopback.run, listens.is_empty()) else { return Ok(()) };
    let names: Vec<String> = listens.iter().copied().map(proxy::name).collect();
    proxy::take(run, &names)
}

/// Takes away the hooks of engines whose namespace is gone: 64 programs can be at a hook, and theirs are in the way of
/// others. Which they were. Those of an earlier version tell nothing; they stay where it cannot be seen who lives.
pub fn collect(linux: &mut Linux) -> io::Result<Vec<String>> {
    let Ok(place) = linux.loopback.place(&linux.interfaces) else { return Ok(Vec::new()) };
    let Others { mut gone, unsure, .. } = match place.others() {
        Err(error) if is_forbidden(&error) => return Ok(Vec::new()),
        others => others?,
    };
    if let Some(living) = (!unsure.is_empty()).then(crate::living::cookies).flatten() {
        gone.extend(unsure.difference(&living));
    }
    place.remove_all(&gone)?;
    let of = |cookie: &u64| format!("hooks for 127.0.0.1 of the network namespace {cookie}, which is gone");
    Ok(gone.iter().map(of).collect())
}

/// Forgets the note of hooks that are gone and were not made again: nothing needs them any more.
pub fn settle(linux: &mut Linux) {
    let was_in_vain = std::mem::take(&mut linux.loopback.noted_in_vain);
    if was_in_vain && matches!(linux.loopback.hooks(&linux.interfaces), Ok(None)) {
        linux.loopback.note(None);
    }
}

/// What keeps loopback clients from being served, if anything does: for who heals and who checks. It looks at
/// little: two links where nothing is published.
pub fn trouble(linux: &mut Linux) -> Result<Option<String>, KernelError> {
    let Some(run) = linux.loopback.run.clone() else { return Ok(None) };
    let noted = match rustix::fs::readlink(format!("{run}/{NOTE}"), Vec::new()) {
        Ok(_) => true,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL | rustix::io::Errno::NOTDIR) => false,
        Err(error) => return Err(look(error.into())),
    };
    linux.loopback.noted_in_vain = noted && linux.loopback.hooks(&linux.interfaces).map_err(look)?.is_none();
    if linux.loopback.noted_in_vain {
        return Ok(Some("the hooks for clients of 127.0.0.1 are gone".into()));
    }
    let Some(table) = linux.loopback.table().map_err(look)? else { return Ok(None) };
    let idle = table.server().map_err(look)?.is_none() && !table.is_idle().map_err(look)?;
    Ok(idle.then(|| "the loopback proxy does not run".into()))
}

/// What the user must know of clients of 127.0.0.1 and cannot be mended by us: for who checks.
pub fn notes(linux: &mut Linux) -> Result<Vec<String>, KernelError> {
    let Some(table) = linux.loopback.table().map_err(look)? else { return Ok(Vec::new()) };
    let may = !matches!(linux.loopback.method, LoopbackMethod::Proxy | LoopbackMethod::Off);
    if linux.loopback.hooks(&linux.interfaces).map_err(look)?.is_some() {
        return Ok(Vec::new());
    }
    let place = linux.loopback.place(&linux.interfaces);
    let mut notes: Vec<String> =
        place.and_then(Place::crowd).ok().flatten().into_iter().filter(|_| may).collect();
    let held: Vec<String> =
        table.entries().map_err(look)?.iter().filter(|entry| entry.held).map(Entry::name).collect();
    if !held.is_empty() {
        let why = if may { "hooks are not to be had" } else { "the setting `loopback` allows no hooks" };
        let held = held.join(", ");
        notes.push(format!(
            "clients of 127.0.0.1 and ::1 do not reach {held}: the caller holds the ports, and {why}"
        ));
    }
    Ok(notes)
}

/// Which way serves loopback clients, or would serve the first.
pub fn way(linux: &mut Linux) -> io::Result<Way> {
    let hooks = |linux: &Linux| linux.loopback.place.as_ref().map(|place| Way::Hooks(place.path.clone()));
    let server = linux.loopback.table()?.map(|table| table.server()).transpose()?.flatten();
    let method = linux.loopback.method;
    let probed = match method {
        LoopbackMethod::Off => return Ok(Way::Off),
        LoopbackMethod::Proxy => return Ok(Way::Proxy(server)),
        _ if linux.loopback.hooks(&linux.interfaces)?.is_some() => Ok(()),
        LoopbackMethod::Auto if server.is_some() => return Ok(Way::Proxy(server)),
        _ => linux.loopback.place(&linux.interfaces).and_then(Place::probe),
    };
    match (probed, method) {
        (Err(error), LoopbackMethod::Bpf) => Err(error),
        (Err(_), _) => Ok(Way::Proxy(server)),
        (Ok(()), _) => Ok(hooks(linux).unwrap_or(Way::Off)),
    }
}
