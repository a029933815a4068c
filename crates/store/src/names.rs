//! What the name server reads (see the crate `dns`): a link for each endpoint that has a name, and what it says of
//! the networks that it serves.

use crate::dir::Dir;
use crate::error::StoreError;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

const NAMES: &str = "names";
const LOCK: &str = "lock";
const SERVED: &str = "served";
const CONTROL: &str = "control";
/// What the server says before the reason why it does not serve a network.
const BAD: &str = "! ";

/// The names of an engine's endpoints.
#[derive(Debug)]
pub struct Names<'a>(pub(crate) &'a Dir);

impl Names<'_> {
    fn dir(&self) -> Result<Option<Rc<Dir>>, StoreError> {
        self.0.keep(NAMES)
    }

    /// Makes an endpoint's line known, whatever it was before. A server that ends takes the directory along if
    /// nothing is in it: then it is made once more.
    pub fn put(&self, key: &str, line: &str) -> Result<(), StoreError> {
        self.try_put(key, line).or_else(|_| {
            self.0.close_kept();
            self.try_put(key, line)
        })
    }

    fn try_put(&self, key: &str, line: &str) -> Result<(), StoreError> {
        let dir = self.0.keep_ensured(NAMES)?;
        if dir.claim(key, line)? || dir.claimant(key)?.as_deref() == Some(line) {
            return Ok(());
        }
        dir.reclaim(key, line)
    }

    /// Takes an endpoint's line away.
    pub fn take(&self, key: &str) -> Result<(), StoreError> {
        self.dir()?.map_or(Ok(()), |dir| dir.remove(key).map(drop))
    }

    /// The endpoints that have a line.
    pub fn keys(&self) -> Result<Vec<String>, StoreError> {
        let names = self.dir()?.map_or(Ok(Vec::new()), |dir| dir.names())?;
        Ok(names.into_iter().filter(|name| name.contains('@')).collect())
    }

    /// The line of an endpoint.
    pub fn line(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.dir()?.map_or(Ok(None), |dir| dir.claimant(key))
    }

    /// Whether a network is served: nothing is said yet, it is, or it is not, and why.
    pub fn served(&self, network: &str) -> Result<Option<Result<(), String>>, StoreError> {
        let Some(dir) = self.dir()? else { return Ok(None) };
        let text = dir.claimant(&format!("{SERVED}/{network}"))?;
        Ok(text.map(|text| text.strip_prefix(BAD).map_or(Ok(()), |why| Err(why.to_owned()))))
    }

    /// Forgets what a server that was killed said of a network.
    pub fn forget_served(&self, network: &str) -> Result<(), StoreError> {
        self.dir()?.map_or(Ok(()), |dir| dir.remove(&format!("{SERVED}/{network}")).map(drop))
    }

    /// Whether a process serves.
    pub fn is_running(&self) -> Result<bool, StoreError> {
        Ok(self.held()?.is_some())
    }

    /// The number of the process that serves.
    pub fn process(&self) -> Result<Option<u32>, StoreError> {
        let mut text = [0; 16];
        let read = |lock: OwnedFd| rustix::io::read(lock, &mut text).ok();
        let length = self.held()?.and_then(read).unwrap_or_default();
        Ok(std::str::from_utf8(&text[..length]).ok().and_then(|text| text.parse().ok()))
    }

    /// Whether the process that serves says anything. It is asked nothing that it could know.
    pub fn is_answering(&self, patience: Duration) -> bool {
        let Ok(Some(dir)) = self.dir() else { return false };
        let ask = || -> std::io::Result<usize> {
            let mut control = connect(&format!("{}/{CONTROL}", dir.path()))?;
            control.set_read_timeout(Some(patience))?;
            control.write_all(b"?\n")?;
            control.read(&mut [0; 64])
        };
        ask().is_ok_and(|length| length > 0)
    }

    /// The lock, if somebody has it.
    fn held(&self) -> Result<Option<OwnedFd>, StoreError> {
        let Some(dir) = self.dir()? else { return Ok(None) };
        let fail = |error| StoreError::io(|| format!("look at {}/{LOCK}", dir.path()))(error);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = match rustix::fs::openat(&*dir, LOCK, flags, Mode::empty()) {
            Ok(lock) => lock,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(None),
            Err(Errno::WOULDBLOCK) => Ok(Some(lock)),
            Err(error) => Err(fail(error)),
        }
    }
}

/// Connects at once or not at all: where nobody takes what comes, whoever comes too late would wait for ever.
fn connect(path: &str) -> std::io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}
