//! One small process that serves every port that is published on 127.0.0.1 or ::1, for hosts where BPF is
//! forbidden.
//!
//! ```text
//! RUN/loopback/
//!   lock                             held (flock) by the one process that serves
//!   tcp:8080-8080:0.0.0.0      -> 172.17.0.2:80 qiao:ep:front/web/eth0     what shall be served
//!   state/tcp:8080-8080:0.0.0.0 -> the same text once it is, or "! " and why it is not
//! ```
//!
//! Who wants a port served makes a symbolic link; the process sees it (inotify(7)), listens, and says so under
//! `state`. It keeps nothing else: killed and started again it serves the same. It ends with the last entry,
//! and when the directory is gone. It listens on loopback addresses only, whatever an entry says.
//!
//! What the container sees as its client is the address of the bridge.
#![forbid(unsafe_code)]

mod entry;
mod epoll;
mod limits;
mod port;
mod server;
mod table;
mod tcp;
mod traffic;
mod udp;

pub use entry::{Entry, Transport};
pub use limits::Limits;
pub use server::serve;
pub use table::Table;
