//! System calls that no crate wraps. All of this crate's `unsafe` is below this module.

pub mod bpf;
pub mod ioctl;
pub mod namespace;
pub mod packet;
pub mod process;
pub mod tun;
pub mod xtables;
