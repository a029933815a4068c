//! What goes wrong with files.

use thiserror::Error;

/// An error of the store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A system call failed.
    #[error("cannot {act}")]
    Io {
        /// What was being done.
        act: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file was written by a newer qiao.
    #[error("{file} is of version {version}, and this qiao reads version 1")]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        version: u64,
    },
    /// A record would be larger than any that is read.
    #[error("{file} would take {size} bytes, and no more than {} are read", crate::record::LARGEST)]
    TooLarge {
        /// The file.
        file: String,
        /// Its size, in bytes.
        size: usize,
    },
    /// A directory of ours belongs to somebody else.
    #[error("{path} {why}")]
    Unsafe {
        /// The directory.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl StoreError {
    /// The error with its cause, in one line.
    pub fn why(&self) -> String {
        match self {
            StoreError::Io { source, .. } => format!("{self}: {source}"),
            other => other.to_string(),
        }
    }

    /// Makes an error of a failed system call. What was done is put into words only where it failed.
    pub fn io<E: Into<std::io::Error>, A: Into<String>>(act: impl FnOnce() -> A) -> impl FnOnce(E) -> Self {
        move |source| StoreError::Io { act: act().into(), source: source.into() }
    }
}
