//! Netavark: the program that Podman 4 to 6 starts for each container's networks (netavark 2.x).
//!
//! [`Line`] is what was typed, [`Options`] what standard input says. A network in it becomes what is asked of the
//! engine ([`setting`]), the reply is a document ([`answer`]). [`dns`] has the files that name servers read, and
//! [`create`] completes the description of a network. Fields that are not known are passed over, as netavark does.

pub mod answer;
mod args;
pub mod create;
pub mod dns;
mod failure;
mod options;
mod ports;
pub mod setting;

pub use args::{Command, Line, Parsed, Proxy, parse};
pub use failure::{Failure, joined};
pub use options::{Network, Options, PerNetwork, PortMapping, Route, Subnet};

/// The release of netavark that this door behaves like.
pub const VERSION: &str = "2.1.0";
