//! What goes wrong between us and the kernel.

use std::io;
use thiserror::Error;

/// An error of the kernel, or of talking to it.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The kernel said no.
    #[error("{}{}", std::io::Error::from_raw_os_error(*errno), text.as_ref().map(|t| format!(": {t}")).unwrap_or_default())]
    Errno {
        /// The error number (`errno(3)`), positive.
        errno: i32,
        /// The kernel's words, where it has any.
        text: Option<String>,
    },
    /// A system call failed.
    #[error("cannot {act}")]
    Io {
        /// What was being done.
        act: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What the kernel sent makes no sense.
    #[error("the kernel sent {0}")]
    Malformed(&'static str),
    /// A dump was interrupted by a change: asking again helps.
    #[error("the kernel's answer changed while it was read")]
    Interrupted,
    /// Another engine manages the network namespace.
    #[error("another engine of qiao manages this network namespace: it created the interface `{link}`")]
    AnotherEngine {
        /// An interface that says so.
        link: String,
    },
    /// A message could not be encoded.
    #[error("cannot encode a message")]
    Encode(#[from] qiao_nft::EncodeError),
    /// A message could not be decoded.
    #[error("cannot decode a message")]
    Decode(#[from] qiao_nft::DecodeError),
    /// The kernel lacks something.
    #[error("this kernel has no {0}")]
    Unsupported(String),
}

impl KernelError {
    /// Makes an error of a failed system call: `map_err(KernelError::io("open …"))`.
    pub fn io<E: Into<io::Error>>(act: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |source| KernelError::Io { act: act.into(), source: source.into() }
    }

    /// The error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            KernelError::Errno { errno, .. } => Some(*errno),
            KernelError::Io { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Whether the object asked for does not exist.
    pub fn is_absent(&self) -> bool {
        matches!(
            self.errno(),
            Some(libc::ENOENT | libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL | libc::ENXIO)
        )
    }

    /// Whether a bridge has no port left (`find_portno`, net/bridge/br_if.c).
    pub fn is_full(&self) -> bool {
        self.errno() == Some(libc::EXFULL)
    }

    /// Whether somebody else changed what we were about to change: observing again and planning anew helps.
    pub fn is_race(&self) -> bool {
        matches!(self, KernelError::Interrupted)
            || matches!(self.errno(), Some(libc::EEXIST | libc::ERESTART))
            || self.is_absent()
    }
}
