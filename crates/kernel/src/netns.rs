//! Network namespaces: opening one safely, and working inside it.

use crate::error::KernelError;
use crate::sys::ioctl::Interfaces;
use qiao_core::endpoint::Netns;
use qiao_core::name::quoted;
use qiao_core::{Code, Refusal};
use rustix::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// `NSFS_MAGIC` and `PROC_SUPER_MAGIC` (linux/magic.h).
const NSFS_MAGIC: u64 = 0x6e73_6673;
const PROC_MAGIC: u64 = 0x9fa0;

/// An open network namespace. From here on the descriptor counts, not the path.
#[derive(Debug)]
pub struct NetnsHandle {
    fd: OwnedFd,
    identity: Netns,
}

/// Why a namespace could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Nothing is there, or something that never was a namespace of ours.
    Gone,
    /// It must not be used.
    Refused(Refusal),
    /// The kernel said no.
    Failed(KernelError),
}

impl OpenError {
    /// That the namespace is gone, or the error: a namespace that cannot be opened may be there.
    pub(crate) fn gone<T>(self) -> Result<Option<T>, KernelError> {
        match self {
            OpenError::Refused(refusal) if refusal.code == Code::NotPermitted => {
                Err(KernelError::Errno { errno: libc::EACCES, text: Some(refusal.message) })
            }
            OpenError::Gone | OpenError::Refused(_) => Ok(None),
            OpenError::Failed(error) => Err(error),
        }
    }
}

impl NetnsHandle {
    /// Opens the namespace at `path`. Refused: what is no network namespace, the engine's own one, and
    /// init's. Nothing else is opened on the way: no symbolic link is followed but those of `/proc`.
    pub fn open(path: &str) -> Result<Self, OpenError> {
        Self::open_from(path).map(|(handle, _)| handle)
    }

    /// The same, with the calling thread's own namespace, where it can be had.
    pub(crate) fn open_from(path: &str) -> Result<(Self, rustix::io::Result<OwnedFd>), OpenError> {
        let fd = open_nsfs(path)?;
        let identity = identity(&fd, path).map_err(OpenError::Failed)?;
        let home = own();
        let own = home.as_ref().ok().map(rustix::fs::fstat).transpose();
        let own = own.map_err(|error| OpenError::Failed(KernelError::io("stat the own namespace")(error)))?;
        let is_own = own.is_some_and(|own| same(Ok(own), &identity));
        let is_init = || same(rustix::fs::stat("/proc/1/ns/net"), &identity);
        let whose = if is_own { Some("this command's own") } else { is_init().then_some("the host's own") };
        if let Some(whose) = whose {
            return Err(OpenError::Refused(
                Refusal::invalid(format!("{} is {whose} network namespace", quoted(path)))
                    .why("its interfaces are the host's; a container needs a namespace of its own"),
            ));
        }
        Ok((Self { fd, identity }, home))
    }

    /// Opens the namespace that was `known`, if it is still the one at its path. That it cannot be looked at (no
    /// descriptors, no memory, no permission) does not say that it is gone.
    pub fn reopen(known: &Netns) -> Result<Option<Self>, OpenError> {
        let mut handle = match Self::open(&known.path) {
            Ok(handle) => handle,
            Err(OpenError::Refused(refusal)) if refusal.code == Code::NotPermitted => {
                return Err(OpenError::Refused(refusal));
            }
            Err(OpenError::Gone | OpenError::Refused(_)) => return Ok(None),
            Err(failed) => return Err(failed),
        };
        if known.cookie != 0 && handle.identity.is_same(known) {
            let cookie = handle.inside(|| Ok(cookie(&Interfaces::open()?)));
            handle.know(cookie.map_err(OpenError::Failed)?);
        }
        Ok(handle.identity.is_same(known).then_some(handle))
    }

    /// Whether the namespace that was `known` is there, as far as can be seen: what belongs to one that is gone is
    /// taken away, so that it is there in case of doubt.
    pub fn is_alive(known: &Netns) -> bool {
        Self::reopen(known).map_or(true, |found| found.is_some())
    }

    /// Notes the namespace's cookie, once a socket was opened in it.
    pub(crate) fn know(&mut self, cookie: u64) {
        self.identity.cookie = cookie;
    }

    /// What the namespace is.
    pub fn identity(&self) -> &Netns {
        &self.identity
    }

    /// Moves the calling thread into the namespace for good: for what becomes another program there.
    pub fn enter(&self) -> Result<(), KernelError> {
        enter(&self.fd).map_err(KernelError::io(format!("enter the namespace `{}`", self.identity.path)))
    }

    /// Runs `act` with the calling thread inside the namespace. Sockets opened there stay there.
    pub fn inside<T>(&self, act: impl FnOnce() -> Result<T, KernelError>) -> Result<T, KernelError> {
        self.inside_from(own(), act)
    }

    /// The same, from the calling thread's own namespace.
    pub(crate) fn inside_from<T>(
        &self,
        home: rustix::io::Result<OwnedFd>,
        act: impl FnOnce() -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        let home = home.map_err(KernelError::io("open the own namespace"))?;
        enter(&self.fd).map_err(KernelError::io(format!("enter the namespace `{}`", self.identity.path)))?;
        let result = act();
        // A thread that cannot go back must do nothing more: its next change would be to the wrong host.
        if let Err(error) = enter(&home) {
            panic!("a thread that entered a namespace can return to its own: {error}");
        }
        result
    }
}

impl AsRawFd for NetnsHandle {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn enter(fd: &impl AsFd) -> rustix::io::Result<()> {
    move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Network))
}

/// The calling thread's namespace. A new socket is in it, and tells it in a tenth of the time that the way through
/// `/proc` takes, where the kernel makes an inode for each step; but only to whoever may change it.
fn own() -> rustix::io::Result<OwnedFd> {
    let told = Interfaces::open().ok().and_then(|socket| crate::sys::namespace::of_socket(&socket).ok());
    told.map_or_else(|| open_plain("/proc/thread-self/ns/net"), Ok)
}

fn open_plain(path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
}

fn open_nsfs(path: &str) -> Result<OwnedFd, OpenError> {
    let refused = |why: &str| {
        OpenError::Refused(Refusal::invalid(format!("{} is not a network namespace", quoted(path))).why(why))
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::LOOP) => match open_proc(path) {
            Ok(fd) => fd.ok_or_else(|| refused("it is a symbolic link"))?,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::SRCH) => return Err(OpenError::Gone),
            Err(error) => return Err(unopened(path, error)),
        },
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::SRCH) => {
            return Err(OpenError::Gone);
        }
        Err(rustix::io::Errno::NAMETOOLONG) => return Err(refused("its path is too long")),
        Err(rustix::io::Errno::NXIO) => return Err(refused("it is a socket or a pipe")),
        Err(error) => return Err(unopened(path, error)),
    };
    // A plain file where a namespace was mounted: the mount is gone, and with it the namespace's handle.
    match is_network_namespace(&fd).map_err(|error| unopened(path, error))? {
        Some(true) => Ok(fd),
        Some(false) => Err(refused("it is a namespace of another kind")),
        None => Err(refused("it is not a namespace at all")),
    }
}

/// Why a namespace could not be opened that may be there.
fn unopened(path: &str, error: rustix::io::Errno) -> OpenError {
    if matches!(error, rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) {
        let refusal = Refusal::new(Code::NotPermitted, format!("cannot open the namespace {}", quoted(path)));
        return OpenError::Refused(refusal.fix("run it as root"));
    }
    OpenError::Failed(KernelError::io(format!("open {}", quoted(path)))(error))
}

/// Follows a link of procfs (`/proc/PID/ns/net`), which is no path but a reference; none where it is another link.
fn open_proc(path: &str) -> rustix::io::Result<Option<OwnedFd>> {
    let link = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    let on_proc = rustix::fs::fstatfs(&link)?.f_type as u64 == PROC_MAGIC;
    if on_proc { open_plain(path).map(Some) } else { Ok(None) }
}

/// Whether it is a namespace, of whatever kind.
pub(crate) fn is_on_nsfs(fd: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(rustix::fs::fstatfs(fd)?.f_type as u64 == NSFS_MAGIC)
}

/// Whether it is a network's; none where it is no namespace at all.
fn is_network_namespace(fd: &OwnedFd) -> rustix::io::Result<Option<bool>> {
    if !is_on_nsfs(fd)? {
        return Ok(None);
    }
    Ok(Some(crate::sys::namespace::kind(fd)? == libc::CLONE_NEWNET))
}

fn identity(fd: &OwnedFd, path: &str) -> Result<Netns, KernelError> {
    let stat = rustix::fs::fstat(fd).map_err(KernelError::io("stat the namespace"))?;
    Ok(Netns { path: path.to_owned(), dev: stat.st_dev, ino: stat.st_ino, cookie: 0 })
}

/// The cookie of the namespace that a socket is in; 0 where the kernel does not tell.
pub(crate) fn cookie(socket: &impl AsFd) -> u64 {
    crate::sys::bpf::netns_cookie(socket.as_fd()).unwrap_or(0)
}

fn same(found: rustix::io::Result<rustix::fs::Stat>, identity: &Netns) -> bool {
    found.is_ok_and(|stat| stat.st_dev == identity.dev && stat.st_ino == identity.ino)
}
