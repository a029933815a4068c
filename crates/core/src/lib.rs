//! The pure part of qiao.
//!
//! A front door turns its wire format into a typed request ([`request`]); this crate decides what that
//! request means: which address ([`ipam`]), what must exist ([`driver`]), what is to be done ([`plan`]), and
//! how to say it ([`render`]). It performs no I/O and knows no clock, no randomness and no environment; what
//! only the world knows enters as an argument. See `ARCHITECTURE.md` for the whole.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod child;
pub mod condition;
pub mod dhcp;
pub mod driver;
pub mod endpoint;
pub mod engine;
pub mod flows;
pub mod forwarding;
pub mod ipam;
pub mod mac;
pub mod name;
pub mod names;
pub mod network;
pub mod owner;
pub mod plan;
pub mod port;
pub mod refusal;
pub mod render;
pub mod request;
pub mod route;
pub mod settings;
pub mod shape;
pub mod solo;
pub mod source;
pub mod subnet;
pub mod vrf;
pub mod zones;

pub use child::Child;
pub use endpoint::Endpoint;
pub use engine::EngineId;
pub use mac::Mac;
pub use name::{Hostname, IfName, NetworkId, NetworkName, SandboxName};
pub use network::{Bridge, Driver, Network, Pool};
pub use owner::Owner;
pub use plan::{Key, Op, Plan, State, Value};
pub use port::{Protocol, Publish};
pub use refusal::{Code, Refusal};
pub use solo::Solo;
pub use subnet::Subnet;
