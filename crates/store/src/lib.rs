//! What qiao remembers.
//!
//! ```text
//! STATE (/var/lib/qiao)            survives a reboot; written, synced, renamed, synced
//!   networks/NAME.json             the networks
//! RUN (/run/qiao, tmpfs)           dies with the boot, as the containers do
//!   lock                           one command at a time changes anything; in it the firewall's generation
//!   boot                    -> id  another boot's files are discarded
//!   deleted                 -> now when the firewall had something deleted last
//!   host.json                      settings of the host as they were before us
//!   active.json                    networks that exist in the kernel
//!   engine                  -> netns number  which engine the records are of (see `residence.rs`)
//!   pending/KEY.json               changes that have begun and not ended
//!   endpoints/SANDBOX/IF.json      endpoints
//!   leases/NETWORK/ADDRESS  -> key who has which address
//!   leases/NETWORK/last4           where the next search starts
//!   macs/NETWORK/MAC        -> key
//!   ports/PROTO/PORT        -> key IP…  (see `ports.rs`)
//!   ranges/PROTO:A-B:IP     -> key
//!   names/                         what the name server serves (see the crate `dns`)
//!   dhcp/WHOSE/KEY.json            leases that a DHCP server gave (see the crate `dhcp`)
//!   loopback/                      what the loopback proxy serves (see the crate `proxy`)
//!   loopback-hooks          -> cgroup  the kernel serves loopback clients, by hooks of this cgroup
//!   quarantine/                    files that made no sense
//! ```
//!
//! A claim (`->`) is a symbolic link that leads nowhere: made in one step or not at all, never half written,
//! and readable with `ls -l`. Nothing ever follows one. An attachment's journal *is* its record in `pending`;
//! committing it is one rename into `endpoints`, and detaching begins with the rename back.
#![forbid(unsafe_code)]

mod boot;
mod claims;
mod dir;
mod error;
mod host_local;
mod journal;
mod lock;
mod names;
mod ports;
pub mod record;
mod residence;
mod runtime;
pub mod steps;
mod store;
mod unreadable;

pub use boot::BootId;
pub use claims::{Binding, Claims, Holder, Leases};
pub use dir::{Dir, Durability};
pub use error::StoreError;
pub use host_local::{HostLocal, Tenant};
pub use journal::{About, Amendment, Begun, Changes, Creation, Journal, Made, Pending};
pub use lock::Interrupted;
pub use names::Names;
pub use residence::Residence;
pub use runtime::Saved;
pub use store::{Paths, Store, Txn};
pub use unreadable::EndpointName;
