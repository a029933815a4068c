//! What a container's first process and its supervisor say to one another: lines of JSON.

use crate::error::ContainerError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// One end of the conversation.
#[derive(Debug)]
pub struct Control(BufReader<UnixStream>);

/// What the first process says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// Its namespaces are there.
    Ready,
    /// The command runs.
    Started,
    /// It cannot go on.
    Failed {
        /// Why.
        message: String,
        /// The exit code.
        code: u8,
    },
}

impl Control {
    /// Both ends.
    pub fn pair() -> std::io::Result<(Control, OwnedFd)> {
        let (own, other) = UnixStream::pair()?;
        Ok((Control(BufReader::new(own)), other.into()))
    }

    /// The end that a process was started with.
    pub fn of(fd: OwnedFd) -> std::io::Result<Self> {
        // What this process starts must not hold the conversation open.
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Control(BufReader::new(UnixStream::from(fd))))
    }

    /// Says something.
    pub fn say(&mut self, what: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line)
    }

    /// Listens; nothing if the other has gone.
    pub fn hear<T: DeserializeOwned>(&mut self) -> std::io::Result<Option<T>> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&line)?))
    }

    /// Listens to the first process.
    pub fn answer(&mut self) -> Result<Said, ContainerError> {
        match self.hear().map_err(ContainerError::io("hear of the container's first process"))? {
            Some(Said::Failed { message, code }) => Err(ContainerError::Init { message, code }),
            Some(said) => Ok(said),
            None => Err(ContainerError::Init {
                message: "the container's first process has ended too early".into(),
                code: 125,
            }),
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
