//! The laws of plans, addresses and texts, tried on whatever the generators think of.

mod addresses;
mod generate;
mod parents;
mod plans;
mod subnets;
mod texts;
