//! The names of containers: a DNS server for the gateways of container networks.
//!
//! ```text
//! question ─► wire::query        what is asked, by whom; garbage ends here
//!                │
//!           snapshot::answer     PURE: zones, records, who asks ─► the answer's octets, or: ask somebody else
//!                │
//!           forward              asked once, with a number and a port that nobody can guess; remembered
//! ```
//! A snapshot never changes; when the names change ([`source`]), another one takes its place between two batches of
//! datagrams. One thread does everything: nothing that a client does keeps it waiting.
#![forbid(unsafe_code)]

mod confine;
mod epoll;
pub mod forward;
pub mod records;
mod reserved;
pub mod server;
pub mod snapshot;
mod socket;
pub mod source;
pub mod wire;
pub mod zone;

pub use confine::{Files, confine, leave_cgroup};
pub use server::{Options, Server};
