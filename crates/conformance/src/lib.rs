//! Whether a directory of CNI plugins does what the Container Network Interface specification 1.1.0 says.
//!
//! Every [`Check`] proves one sentence of `SPEC.md`, or one rule that runtimes and users rely on, on a host of its
//! own: network, mount and process namespaces that are made for it. Plugins are started as a runtime starts
//! them, and what they did is looked at with `ip`, `nft`, `iptables-save` and `conntrack`.
#![forbid(unsafe_code)]

mod answer;
mod attachment;
mod call;
mod check;
mod checks;
mod network;
mod recorder;
mod report;
mod stage;
mod suite;
mod verdict;

pub use attachment::Attachment;
pub use call::request;
pub use check::{Check, Level};
pub use checks::all;
pub use report::Report;
pub use suite::{Plugins, Suite, is_inside, run_inside};
pub use verdict::Verdict;
