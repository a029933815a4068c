//! A directory by its descriptor. Names are single components; no symbolic link is ever followed.

use crate::error::StoreError;
use crate::record::LARGEST;
use crate::steps::{self, Needs};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::unix::fs::DirBuilderExt;
use std::rc::Rc;

const DIR_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// The length of a note, in bytes: the longest is an IPv6 address.
const NOTE_LEN: usize = 48;

/// Directories of ours: one with any of them in it, for us alone, is ours.
const MARKS: [&str; 5] = ["networks", "names", "endpoints", "pending", "leases"];

/// An open directory, or one that is not there: nothing is in it then.
#[derive(Debug)]
pub struct Dir {
    fd: OnceCell<OwnedFd>,
    path: String,
    /// Directories in this one that are kept open; none where it is known that there is none.
    kept: RefCell<BTreeMap<String, Option<Rc<Dir>>>>,
}

/// Whether a file must survive a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It may be lost with the boot.
    Boot,
    /// It is on the disk before the call returns.
    Disk,
}

impl Dir {
    /// Opens `path`, making it and what is above it where it is missing. It must belong to us alone.
    pub fn open_root(path: &str) -> Result<Self, StoreError> {
        let dir = Self::open_or_absent(path)?;
        dir.establish().map(|()| dir)
    }

    /// Opens `path` if it is there: for who only looks. It must belong to us alone.
    pub fn open_or_absent(path: &str) -> Result<Self, StoreError> {
        let absent = || Self { fd: OnceCell::new(), path: path.to_owned(), kept: RefCell::default() };
        Ok(Self::open_existing(path)?.unwrap_or_else(absent))
    }

    /// Makes the directory and what is above it, where it is not there.
    pub fn establish(&self) -> Result<(), StoreError> {
        if self.is_there() {
            return Ok(());
        }
        let path = &self.path;
        make_all(path).map_err(StoreError::io(|| format!("create {path}")))?;
        let gone = || StoreError::io(|| format!("open {path}"))(Errno::NOENT);
        let made = Self::open_existing(path)?.ok_or_else(gone)?;
        self.kept.take();
        made.fd.into_inner().into_iter().for_each(|fd| drop(self.fd.set(fd)));
        Ok(())
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.fd.get().is_some()
    }

    fn fd(&self) -> rustix::io::Result<&OwnedFd> {
        self.fd.get().ok_or(Errno::NOENT)
    }

    /// Opens `path`; none where there is none. It must belong to us alone.
    pub fn open_existing(path: &str) -> Result<Option<Self>, StoreError> {
        let fd = match open_dir(rustix::fs::CWD, path) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Err(StoreError::Unsafe { path: path.into(), why: "is not a directory".into() });
            }
            Err(error) => return Err(StoreError::io(|| format!("open {path}"))(error)),
        };
        let dir = Self::new(fd, path.to_owned());
        dir.check_owner()?;
        Ok(Some(dir))
    }

    fn new(fd: OwnedFd, path: String) -> Self {
        Self { fd: OnceCell::from(fd), path, kept: RefCell::default() }
    }

    fn check_owner(&self) -> Result<(), StoreError> {
        let stat = self.fd().and_then(rustix::fs::fstat);
        let stat = stat.map_err(StoreError::io(|| format!("stat {}", self.path)))?;
        let refused = |why: &str| Err(StoreError::Unsafe { path: self.path.clone(), why: why.into() });
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return refused("belongs to another user");
        }
        if stat.st_mode & 0o022 != 0 {
            return refused("can be written to by others: give a directory that is the engine's alone");
        }
        if stat.st_mode & 0o055 != 0 && !self.is_empty()? && !self.is_ours()? {
            return refused(
                "is open to others and holds what is not qiao's: give a directory that is the engine's alone",
            );
        }
        Ok(())
    }

    /// The device and the inode of the directory that this one is in, or would be; none where that is not there either.
    pub fn above(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let found = match self.fd() {
            Ok(fd) => rustix::fs::statat(fd, "..", AtFlags::empty()),
            Err(_) => match std::path::Path::new(&self.path).parent() {
                Some(parent) if !parent.as_os_str().is_empty() => rustix::fs::stat(parent),
                _ => rustix::fs::stat("."),
            },
        };
        match found {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(StoreError::io(|| format!("stat {}/..", self.path))(error)),
        }
    }

    /// Whether there is nothing in it but the lock, which is made first.
    fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.all_names()?.iter().all(|name| name == "lock"))
    }

    /// Whether an engine keeps its files in it.
    fn is_ours(&self) -> Result<bool, StoreError> {
        let own = rustix::process::geteuid().as_raw();
        for name in MARKS {
            let found = self.stat(name);
            let is_dir =
                |mode: u32| FileType::from_raw_mode(mode) == FileType::Directory && mode & 0o777 == 0o700;
            if found.is_ok_and(|found| is_dir(found.st_mode) && found.st_uid == own) {
                return Ok(true);
            }
        }
        let is_boot = self.claimant("boot")?.is_some_and(|id| crate::boot::BootId::parse(&id).is_some());
        // Where the boot id cannot be read, this is all that a first command leaves.
        Ok(is_boot || crate::residence::read(self)?.is_some())
    }

    /// The path, for messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Opens a directory in this one; none where there is none.
    pub fn sub(&self, name: &str) -> Result<Option<Dir>, StoreError> {
        match self.fd().and_then(|fd| open_dir(fd, name)) {
            Ok(fd) => Ok(Some(Dir::new(fd, self.join(name)))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(StoreError::io(|| format!("open {}", self.join(name)))(error)),
        }
    }

    /// Makes a directory in this one, if there is none.
    pub fn make(&self, name: &str) -> Result<(), StoreError> {
        let made = steps::pass(Needs::Room).and_then(|()| rustix::fs::mkdirat(self.fd()?, name, DIR_MODE));
        self.kept.borrow_mut().remove(name);
        match made {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(StoreError::io(|| format!("create {}", self.join(name)))(error)),
        }
    }

    /// Opens a directory in this one, making it where it is missing.
    pub fn ensure(&self, name: &str) -> Result<Dir, StoreError> {
        if let Some(dir) = self.sub(name)? {
            return Ok(dir);
        }
        self.make(name)?;
        let fd = self
            .fd()
            .and_then(|fd| open_dir(fd, name))
            .map_err(StoreError::io(|| format!("open {}", self.join(name))))?;
        Ok(Dir::new(fd, self.join(name)))
    }

    /// The same as `sub`, kept open: for the few directories that a command needs again and again.
    pub fn keep(&self, name: &str) -> Result<Option<Rc<Dir>>, StoreError> {
        if let Some(known) = self.kept.borrow().get(name) {
            return Ok(known.clone());
        }
        let dir = self.sub(name)?.map(Rc::new);
        self.kept.borrow_mut().insert(name.to_owned(), dir.clone());
        Ok(dir)
    }

    /// The same as `ensure`, kept open.
    pub fn keep_ensured(&self, name: &str) -> Result<Rc<Dir>, StoreError> {
        if let Some(dir) = self.keep(name)? {
            return Ok(dir);
        }
        let dir = Rc::new(self.ensure(name)?);
        self.kept.borrow_mut().insert(name.to_owned(), Some(dir.clone()));
        Ok(dir)
    }

    /// Closes what was kept open: who has not the lock does not know what others remove.
    pub fn close_kept(&self) {
        self.kept.take();
    }

    /// Reads a file; none where there is none. What is no file reads as an empty one: it makes no sense either.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = match steps::look().and_then(|()| rustix::fs::openat(self.fd()?, name, flags, Mode::empty()))
        {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => return Ok(Some(Vec::new())),
            Err(error) => return Err(StoreError::io(|| format!("open {}", self.join(name)))(error)),
        };
        match steps::look().and_then(|()| read_all(&fd)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Errno::ISDIR) => Ok(Some(Vec::new())),
            Err(error) => Err(StoreError::io(|| format!("read {}", self.join(name)))(error)),
        }
    }

    /// Writes a file whole: under another name first, then renamed, so that nobody ever sees half of it.
    pub fn write(&self, name: &str, bytes: &[u8], durability: Durability) -> Result<(), StoreError> {
        let temporary = [".", name, ".tmp"].concat();
        let done = self
            .write_temporary(&temporary, bytes, durability)
            .and_then(|()| self.rename_within(&temporary, name));
        if done.is_err() {
            let _ = self.fd().and_then(|fd| rustix::fs::unlinkat(fd, &*temporary, AtFlags::empty()));
        }
        done.map_err(StoreError::io(|| format!("write {}", self.join(name))))?;
        if durability == Durability::Disk { self.sync() } else { Ok(()) }
    }

    fn write_temporary(&self, name: &str, bytes: &[u8], durability: Durability) -> std::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        steps::pass(Needs::Room)?;
        let mut file = std::fs::File::from(rustix::fs::openat(self.fd()?, name, flags, FILE_MODE)?);
        let (first, rest) = bytes.split_at(steps::middle(bytes.len()));
        std::io::Write::write_all(&mut file, first)?;
        steps::pass(Needs::Room)?;
        std::io::Write::write_all(&mut file, rest)?;
        if durability == Durability::Disk { file.sync_all() } else { Ok(()) }
    }

    fn rename_within(&self, from: &str, to: &str) -> std::io::Result<()> {
        steps::pass(Needs::Nothing)?;
        Ok(rustix::fs::renameat(self.fd()?, from, self.fd()?, to)?)
    }

    /// Makes the directory itself survive a loss of power: the names in it.
    pub fn sync(&self) -> Result<(), StoreError> {
        steps::pass(Needs::Nothing)
            .and_then(|()| rustix::fs::fsync(self.fd()?))
            .map_err(StoreError::io(|| format!("sync {}", self.path)))
    }

    /// Moves a file into another directory.
    pub fn rename(&self, from: &str, to: &Dir, name: &str) -> Result<(), StoreError> {
        let act = || format!("move {} to {}", self.join(from), to.join(name));
        let moved =
            steps::pass(Needs::Nothing).and_then(|()| rustix::fs::renameat(self.fd()?, from, to.fd()?, name));
        moved.map_err(StoreError::io(act))
    }

    /// Removes a file or a claim; false where there is none.
    pub fn remove(&self, name: &str) -> Result<bool, StoreError> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes an empty directory; false where there is none or it is not empty.
    pub fn remove_dir(&self, name: &str) -> Result<bool, StoreError> {
        self.kept.borrow_mut().remove(name);
        match self.unlink(name, AtFlags::REMOVEDIR) {
            Err(StoreError::Io { source, .. })
                if source.raw_os_error() == Some(Errno::NOTEMPTY.raw_os_error()) =>
            {
                Ok(false)
            }
            other => other,
        }
    }

    fn unlink(&self, name: &str, flags: AtFlags) -> Result<bool, StoreError> {
        match steps::pass(Needs::Nothing).and_then(|()| rustix::fs::unlinkat(self.fd()?, name, flags)) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(StoreError::io(|| format!("remove {}", self.join(name)))(error)),
        }
    }

    /// Removes a directory with all that is in it, if there is one.
    pub fn remove_tree(&self, name: &str) -> Result<(), StoreError> {
        let path = self.join(name);
        self.kept.borrow_mut().remove(name);
        let done =
            steps::pass(Needs::Nothing).map_err(Into::into).and_then(|()| std::fs::remove_dir_all(&path));
        match done {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io(|| format!("remove {path}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes a claim; false where there is one already.
    pub fn claim(&self, name: &str, owner: &str) -> Result<bool, StoreError> {
        match steps::pass(Needs::Room).and_then(|()| rustix::fs::symlinkat(owner, self.fd()?, name)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(StoreError::io(|| format!("write {}", self.join(name)))(error)),
        }
    }

    /// Makes a claim over, whoever had it.
    pub fn reclaim(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        let temporary = [".", name, ".tmp"].concat();
        while !self.claim(&temporary, owner)? {
            self.remove(&temporary)?; // a killed command left it
        }
        self.rename_within(&temporary, name).map_err(StoreError::io(|| format!("write {}", self.join(name))))
    }

    /// Who has a claim; none where nobody has.
    pub fn claimant(&self, name: &str) -> Result<Option<String>, StoreError> {
        match steps::look().and_then(|()| rustix::fs::readlinkat(self.fd()?, name, Vec::new())) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(error) => Err(StoreError::io(|| format!("read {}", self.join(name)))(error)),
        }
    }

    /// Notes a word where it stood, for what may be lost. It is all there or not at all, however the process ends: it is
    /// one write, into a file that is there already.
    pub fn note(&self, name: &str, word: &str) -> Result<(), StoreError> {
        let text = format!("{word:NOTE_LEN$}\n");
        steps::pass(Needs::Room)
            .and_then(|()| self.open_note(name))
            .and_then(|file| rustix::io::write(file, text.as_bytes()))
            .map(|_| ())
            .map_err(StoreError::io(|| format!("write {}", self.join(name))))
    }

    fn open_note(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(self.fd()?, name, flags, FILE_MODE) {
            Err(Errno::LOOP) => {
                rustix::fs::unlinkat(self.fd()?, name, AtFlags::empty())?; // a claim, as such notes were before
                rustix::fs::openat(self.fd()?, name, flags, FILE_MODE)
            }
            opened => opened,
        }
    }

    /// A word that was noted; none where none is.
    pub fn noted(&self, name: &str) -> Result<Option<String>, StoreError> {
        let bytes = self.read(name)?.unwrap_or_default();
        let word = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        Ok(Some(word).filter(|word| !word.is_empty()))
    }

    /// Whether there is anything of this name.
    pub fn has(&self, name: &str) -> Result<bool, StoreError> {
        match self.stat(name) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(StoreError::io(|| format!("stat {}", self.join(name)))(error)),
        }
    }

    fn stat(&self, name: &str) -> rustix::io::Result<rustix::fs::Stat> {
        steps::look().and_then(|()| rustix::fs::statat(self.fd()?, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// How long ago a claim was made; none where there is none, or that is not known.
    pub fn age(&self, name: &str) -> Option<std::time::Duration> {
        let stat = self.stat(name).ok()?;
        let since =
            std::time::Duration::new(stat.st_mtime.try_into().ok()?, stat.st_mtime_nsec.try_into().ok()?);
        (std::time::SystemTime::UNIX_EPOCH + since).elapsed().ok()
    }

    /// The names in the directory, without those of unfinished files.
    pub fn names(&self) -> Result<Vec<String>, StoreError> {
        let entries = self.entries()?.into_iter().map(|(name, _)| name);
        Ok(entries.filter(|name| !name.starts_with('.')).collect())
    }

    /// Removes the files that somebody began to write and never finished, here and in what is below.
    pub fn sweep(&self) -> Result<(), StoreError> {
        for (name, is_dir) in self.entries()? {
            if is_dir {
                self.sub(&name)?.map_or(Ok(()), |dir| dir.sweep())?;
            } else if name.starts_with('.') && name.ends_with(".tmp") {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// The names in the directory, also those of unfinished files.
    pub(crate) fn all_names(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.entries()?.into_iter().map(|(name, _)| name).collect())
    }

    /// Every name, and whether it is a directory's.
    fn entries(&self) -> Result<Vec<(String, bool)>, StoreError> {
        let fail = || format!("list {}", self.path);
        let Ok(fd) = self.fd() else { return Ok(Vec::new()) };
        rustix::fs::seek(fd, SeekFrom::Start(0)).map_err(StoreError::io(fail))?;
        let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
        let mut entries = RawDir::new(fd, &mut buffer);
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = steps::look().and(entry).map_err(StoreError::io(fail))?;
            let name = entry.file_name().to_string_lossy();
            if !matches!(&*name, "." | "..") {
                names.push((name.into_owned(), entry.file_type() == FileType::Directory));
            }
        }
        Ok(names)
    }

    fn join(&self, name: &str) -> String {
        [&self.path, "/", name].concat()
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get().map_or(rustix::fs::ABS, AsFd::as_fd) // no relative path leads anywhere from there
    }
}

fn open_dir(at: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    steps::look().and_then(|()| rustix::fs::openat(at, name, flags, Mode::empty()))
}

/// Reads a file to its end. Records are small: most are read at once, without asking for the size first. What gives
/// less than it was asked for is at its end: these are files, and nobody writes to them. What is larger than any record is
/// not read to its end.
fn read_all(fd: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    loop {
        let room = bytes.capacity() - bytes.len();
        match rustix::io::read(fd, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(read) if read < room || bytes.len() > LARGEST => return Ok(bytes),
            Ok(_) => bytes.reserve(4096),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn make_all(path: &str) -> std::io::Result<()> {
    let above = std::path::Path::new(path).parent().filter(|p| !p.as_os_str().is_empty());
    if let Some(above) = above {
        std::fs::DirBuilder::new().recursive(true).mode(DIR_MODE.as_raw_mode()).create(above)?;
    }
    match rustix::fs::mkdir(path, DIR_MODE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
