//! The sequence. `attach.rs` is the data path in one page: read it first.
//!
//! Every change goes the same way: under the lock, what the request means is decided by `core`, written down
//! by `store`, done by `kernel`, looked at again, and then it counts. What a killed command left is ended by
//! the next one, before it does anything of its own.
#![forbid(unsafe_code)]

mod activate;
mod address;
mod adopt;
mod amend;
mod attach;
mod desired;
mod detach;
mod draft;
mod engine;
mod error;
mod forward;
mod gc;
mod home;
mod identity;
mod inline;
mod inspect;
mod lease;
mod leaving;
mod lost;
mod nameless;
mod names;
mod network;
mod outcome;
mod parent;
mod publish;
mod reassert;
mod recover;
mod restore;
mod session;
mod shape;
mod solo;
mod source;
mod stuck;
mod subnets;
mod transit;
mod tune;
mod unreadable;
mod vrf;
mod zones;

pub use engine::Engine;
pub use error::{EngineError, chain};
pub use names::NAME_SERVER;
pub use outcome::{Attached, Created, Detached, Finding, Health, Removed, Repaired};
