//! Netlink sockets: several requests in one send, answers sorted back to their requests.

pub mod attribute;
mod frame;
pub mod patience;
mod socket;

pub use frame::{Frame, frames};
pub use patience::until_whole;
pub use socket::{Answer, Dump, Message, Reply, Socket};
