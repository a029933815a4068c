//! Netlink sockets: several requests in one send, answers sorted back to their requests.

mod frame;
mod socket;

pub use frame::{Frame, frames};
pub use socket::{Answer, Reply, Socket};
