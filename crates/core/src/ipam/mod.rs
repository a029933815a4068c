//! Which address, and which subnet.

mod assign;
mod choose;

pub use assign::{Assigned, Taken, assign};
pub use choose::{Busy, BusyMap, choose_subnet, overlap};
