//! The effects of qiao: what exists in the kernel, and doing what a plan says.
//!
//! Only this crate may use `unsafe`. No process is started to configure the kernel: rtnetlink, nf_tables and
//! conntrack are spoken directly.

mod adopt;
mod announce;
mod apply;
mod bpf;
mod conntrack;
pub mod dhcp;
mod error;
pub mod facts;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod forwarding;
mod heap;
pub mod holders;
mod kernel;
mod leftover;
mod lend;
mod linux;
mod living;
mod lo;
mod loopback;
mod mark;
pub mod netlink;
pub mod netns;
mod nft;
mod observe;
mod opening;
mod parent;
mod reap;
pub mod rtnl;
pub mod sandbox;
pub mod sockets;
mod source;
pub mod stage;
mod sys;
pub mod sysctl;

pub use error::KernelError;
pub use facts::Facts;
pub use heap::Heap;
pub use kernel::{ApplyError, FREED, HostLink, Kernel, Places, Reached, Routing, Via};
pub use leftover::{Leaving, Plugin, Tenant};
pub use linux::Linux;
pub use loopback::{PROXY_COMMAND, Way};
pub use netns::{NetnsHandle, OpenError};
pub use sockets::InTheWay;
pub use sys::ioctl::Interfaces;
