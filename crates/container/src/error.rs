//! Why a container does not start, or is not reached.

use qiao_core::Refusal;
use thiserror::Error;

/// Why a container does not start, or is not reached.
#[derive(Debug, Error)]
pub enum ContainerError {
    /// The request is wrong, or something is in its way.
    #[error("{0}")]
    Refused(Refusal),
    /// The kernel or the file system said no.
    #[error("cannot {act}: {source}")]
    Io {
        /// What was being done.
        act: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The first process said why it cannot go on.
    #[error("{message}")]
    Init {
        /// What it said.
        message: String,
        /// The exit code this stands for: 126 for what cannot be run, 127 for what is not there, else 125.
        code: u8,
    },
}

impl ContainerError {
    /// Makes an input or output error, with what was being done.
    pub fn io<E: Into<std::io::Error>>(act: impl Into<String>) -> impl FnOnce(E) -> Self {
        let act = act.into();
        move |source| ContainerError::Io { act, source: source.into() }
    }
}

impl From<Refusal> for ContainerError {
    fn from(refusal: Refusal) -> Self {
        ContainerError::Refused(refusal)
    }
}
