//! Netlink sockets: several requests in one send, answers sorted back to their requests.

pub mod attribute;
mod frame;
mod socket;

pub use frame::{Frame, frames};
pub use socket::{Answer, Message, Reply, Socket};
