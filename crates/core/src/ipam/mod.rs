//! Which address, and which subnet.

mod assign;
mod choose;
mod unfit;

pub use assign::{Assigned, Taken, assign};
pub use choose::{Busy, BusyMap, choose_subnet, overlap};
pub use unfit::{gateways, refuse_address, refuse_mac};
