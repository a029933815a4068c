//! The throw-away containers of `qiao run`: enough of a container to try a network with.
//!
//! ```text
//! qiao run ── start ──► /proc/self/fd/N container-init     the first process, from a sealed copy of qiao
//!    │◄──── ready ─────┤  namespaces are there
//!  attach               │
//!    ├───── files ─────►│  root, rights; then the command, as its child
//!    │◄──── started ────┤
//!  pump, wait           └─ hands on signals, buries the dead, ends with the command's code
//! ```
//!
//! A container is no boundary against hostile programs: it sees the host's files, if only to read, and there
//! is no seccomp filter. Capabilities are dropped and none can be gained all the same.
#![forbid(unsafe_code)]

mod control;
mod error;
pub mod exec;
pub mod init;
mod interrupt;
pub mod logs;
mod names;
mod rights;
mod root;
mod sealed;
mod signals;
pub mod spec;
mod start;
pub mod state;

pub use error::ContainerError;
pub use interrupt::Interrupt;
pub use names::{new_id, new_longer_name, new_name};
pub use spec::{Files, Spec, Volume};
pub use start::{Output, Started, start};
pub use state::{Container, Containers, Damaged, Process, Status};
