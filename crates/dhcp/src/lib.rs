//! A DHCPv4 client (RFC 2131, RFC 2132), and the one process that keeps the leases of containers.
//!
//! ```text
//! qiao attach, the CNI plugin ──► Request ──► daemon        one line of JSON over a socket (`protocol`, `client`)
//!                                              │
//!                                           Tenancy          one lease: who waits for it, its socket while it listens
//!                                              │
//!             frames ◄──► Machine              the client of RFC 2131, without sockets and clocks
//!                                              │
//!                                           Records          written down before anybody is told
//! ```
//!
//! Servers are asked by raw frames: inside the sandbox where its interface is there already, at the host's
//! interface where it is yet to be made. A lease ends with its sandbox's namespace.
#![forbid(unsafe_code)]

mod call;
mod client;
mod daemon;
pub mod frame;
mod listen;
pub mod machine;
pub mod message;
pub mod option;
mod place;
mod protocol;
mod tenancy;
pub mod terms;

pub use client::{Engines, ask};
pub use daemon::{Options, keep};
pub use listen::{activated, listen};
pub use place::{Place, Records};
pub use protocol::{Answer, Request};

/// The command of `qiao` that is the daemon.
pub const COMMAND: &str = "dhcp-daemon";
/// Where the reference's daemon is asked, and so ours.
pub const SOCKET: &str = "/run/cni/dhcp.sock";
