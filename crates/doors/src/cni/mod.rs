//! CNI, specification 1.1.0 and all before it (containernetworking/cni, SPEC.md).
//!
//! A [`Call`] is what the environment says, a [`Config`] what standard input does; a plugin's own settings are
//! read out of that ([`main_plugin`], [`ipam`]). What goes back is a [`Answer`] or a [`Failure`], each in the shape of
//! the version that was asked for. Keys are found whatever their case, as Go finds them: containerd sends `HostPort`.

mod answer;
pub mod bandwidth;
mod bridge;
mod call;
pub mod chain;
mod child;
pub mod condition;
mod config;
pub mod dhcp;
mod doc;
mod failure;
pub mod ipam;
pub mod main_plugin;
mod ptp;
pub mod sbr;
mod solo;
mod version;
pub mod vrf;

pub use answer::{Address, Answer, Interface, Route};
pub use call::{Args, Call, Environment, Verb};
pub use config::Config;
pub use doc::Doc;
pub use failure::Failure;
pub use version::{Version, version_reply};
