//! Those who want to know what the server does: by a socket that only root can open, in lines of text.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, socket_with,
};
use std::io;

/// The longest line of a watcher.
const LONGEST: usize = 1024;

/// Listens for watchers at a path.
pub fn listen(path: &str) -> io::Result<OwnedFd> {
    let _ = std::fs::remove_file(path);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::fs::chmod(path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    rustix::net::listen(&socket, 8)?;
    Ok(socket)
}

/// A watcher.
#[derive(Debug)]
pub struct Watcher {
    /// Its connection.
    pub socket: OwnedFd,
    /// Whether it wants to know of every question.
    pub logs: bool,
    came: Vec<u8>,
}

impl Watcher {
    /// One that has come.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, logs: false, came: Vec::new() }
    }

    /// The lines that have come; none if it is gone.
    pub fn receive(&mut self) -> Option<Vec<String>> {
        let mut buffer = [0u8; LONGEST];
        match rustix::net::recv(&self.socket, &mut buffer, RecvFlags::empty()) {
            Ok((_, 0)) => return None,
            Ok((_, length)) => self.came.extend(&buffer[..length.min(LONGEST)]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return None,
        }
        let end = self.came.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.came.drain(..end).collect();
        if self.came.len() > LONGEST {
            return None;
        }
        Some(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }

    /// Tells a line. One that is not read in time is lost: nobody is held up by a watcher.
    pub fn tell(&self, line: &str) {
        let line = format!("{line}\n");
        let _ = rustix::net::send(&self.socket, line.as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}
