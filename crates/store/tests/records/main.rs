//! What the store keeps: claims with one owner each, records that are whole or set aside, commits of one step.

mod claims;
mod commit;
mod damage;
mod host_local;
mod notes;
mod place;
