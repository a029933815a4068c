//! The directory of the entries: the one thing that the process and those who want something served share.

use crate::entry::Entry;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;

const LOCK: &str = "lock";
const STATE: &str = "state";
/// What the state of an entry begins with that cannot be served.
const BAD: &str = "! ";

/// The directory of the entries.
#[derive(Debug)]
pub struct Table {
    dir: OwnedFd,
    state: OwnedFd,
}

impl Table {
    /// Opens `RUN/loopback`, if there is one.
    pub fn open(run: &str) -> io::Result<Option<Self>> {
        let opened = open_dir(rustix::fs::CWD, &format!("{run}/loopback"))
            .and_then(|dir| open_dir(&dir, STATE).map(|state| Self { dir, state }));
        match opened {
            Err(Errno::NOENT) => Ok(None),
            opened => Ok(Some(opened?)),
        }
    }

    /// Opens `RUN/loopback`, making it where it is missing.
    pub fn create(run: &str) -> io::Result<Self> {
        for path in [format!("{run}/loopback"), format!("{run}/loopback/{STATE}")] {
            match rustix::fs::mkdir(&*path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Self::open(run)?.ok_or_else(|| Errno::NOENT.into())
    }

    /// Removes the directory if nothing is in it any more.
    pub fn remove(run: &str) {
        for name in [LOCK, STATE, ""] {
            let path = format!("{run}/loopback/{name}");
            let flags = if name == LOCK { AtFlags::empty() } else { AtFlags::REMOVEDIR };
            let _ = rustix::fs::unlinkat(rustix::fs::CWD, &*path, flags);
        }
    }

    /// Every entry.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        Ok(names(&self.dir)?.iter().filter_map(|name| self.entry(name).ok().flatten()).collect())
    }

    /// Whether nothing is to be served.
    pub fn is_idle(&self) -> io::Result<bool> {
        self.entries().map(|entries| entries.iter().all(|entry| entry.held))
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> io::Result<bool> {
        self.entries().map(|entries| entries.is_empty())
    }

    /// One entry.
    pub fn entry(&self, name: &str) -> io::Result<Option<Entry>> {
        Ok(read(&self.dir, name)?.and_then(|target| Entry::parse(name, &target)))
    }

    /// Puts an entry in, in place of one with the same name.
    pub fn put(&self, entry: &Entry) -> io::Result<()> {
        write(&self.dir, &entry.name(), &entry.target())
    }

    /// Takes an entry out.
    pub fn take(&self, name: &str) -> io::Result<()> {
        unlink(&self.dir, name)
    }

    /// What the process says of an entry: nothing yet, that it is served, or why it is not.
    pub fn state(&self, entry: &Entry) -> io::Result<Option<Result<(), String>>> {
        let text = read(&self.state, &entry.name())?;
        Ok(text.and_then(|text| match text.strip_prefix(BAD) {
            Some(why) => Some(Err(why.to_owned())),
            None => (text == entry.target()).then_some(Ok(())),
        }))
    }

    /// Whether the process says anything of an entry of this name.
    pub fn has_state(&self, name: &str) -> io::Result<bool> {
        read(&self.state, name).map(|text| text.is_some())
    }

    /// Says of an entry that it is served, or why it is not.
    pub fn set_state(&self, entry: &Entry, state: Result<(), String>) -> io::Result<()> {
        let text = state.map_or_else(|why| format!("{BAD}{why}"), |()| entry.target());
        write(&self.state, &entry.name(), &text)
    }

    /// Says nothing of an entry any more.
    pub fn clear_state(&self, name: &str) -> io::Result<()> {
        unlink(&self.state, name)
    }

    /// Says nothing of any.
    pub fn clear_states(&self) -> io::Result<()> {
        names(&self.state)?.iter().try_for_each(|name| self.clear_state(name))
    }

    fn lock_file(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(rustix::fs::openat(&self.dir, LOCK, flags, Mode::RUSR | Mode::WUSR)?)
    }

    /// Takes the lock of the one that serves, and writes its number in; none if another has it.
    pub fn lock(&self) -> io::Result<Option<OwnedFd>> {
        let file = self.lock_file()?;
        if !flock(&file, FlockOperation::NonBlockingLockExclusive)? {
            return Ok(None);
        }
        rustix::fs::ftruncate(&file, 0)?;
        rustix::io::write(&file, format!("{}\n", std::process::id()).as_bytes())?;
        Ok(Some(file))
    }

    /// The number of the process that serves, if there is one (0 where it has not said it yet).
    pub fn server(&self) -> io::Result<Option<u32>> {
        let file = self.lock_file()?;
        if flock(&file, FlockOperation::NonBlockingLockShared)? {
            return Ok(None);
        }
        let mut text = [0; 16];
        let count = rustix::io::read(&file, &mut text)?;
        Ok(Some(String::from_utf8_lossy(&text[..count]).trim().parse().unwrap_or(0)))
    }
}

impl AsFd for Table {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn flock(file: &OwnedFd, how: FlockOperation) -> io::Result<bool> {
    match rustix::fs::flock(file, how) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn open_dir(at: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

fn names(dir: &OwnedFd) -> io::Result<Vec<String>> {
    let fd = open_dir(dir, ".")?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
    let (mut entries, mut names) = (RawDir::new(&fd, &mut buffer), Vec::new());
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}

fn read(dir: &OwnedFd, name: &str) -> io::Result<Option<String>> {
    match rustix::fs::readlinkat(dir, name, Vec::new()) {
        Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// In one step: nobody ever finds the name missing.
fn write(dir: &OwnedFd, name: &str, target: &str) -> io::Result<()> {
    let temporary = format!(".{name}.tmp");
    unlink(dir, &temporary)?;
    rustix::fs::symlinkat(target, dir, &*temporary)?;
    Ok(rustix::fs::renameat(dir, &*temporary, dir, name)?)
}

fn unlink(dir: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
