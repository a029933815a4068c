//! Seeing that files come, go and change (inotify(7)).

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;

/// Directories that are watched.
#[derive(Debug)]
pub struct Watch(OwnedFd);

/// What happened.
#[derive(Debug, Default)]
pub struct Seen {
    /// The names in the directories that something happened to.
    pub names: Vec<String>,
    /// More happened than was told.
    pub all: bool,
    /// A directory is gone.
    pub gone: bool,
}

impl Seen {
    /// Whether nothing happened.
    pub fn is_nothing(&self) -> bool {
        self.names.is_empty() && !self.all && !self.gone
    }
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    }

    /// Watches a directory too.
    pub fn add(&self, path: &str) -> io::Result<()> {
        let come = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE;
        let go =
            WatchFlags::MOVED_FROM | WatchFlags::DELETE | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        inotify::add_watch(&self.0, path, come | go | WatchFlags::ONLYDIR)?;
        Ok(())
    }

    /// What happened since it was asked last.
    pub fn read(&self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(seen),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let over =
                ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
            seen.gone |= event.events().intersects(over);
            seen.all |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            seen.names.extend(event.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
