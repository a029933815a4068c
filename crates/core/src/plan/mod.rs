//! What is to be done: the difference between what exists and what must exist, as reversible operations.
//!
//! ```text
//!            desired                observed
//!        ┌─────────────┬─────────────┬─────────────┐
//!        │ Add         │ Set if they │ Del         │
//!        │             │ differ      │             │
//!        └─────────────┴─────────────┴─────────────┘
//! ```

mod diff;
mod key;
mod op;
mod setting;
mod state;

pub use diff::{diff, diff_all};
pub use key::{Guard, Key, Member, RouteId, Set, Switch, Sysctl, Table};
pub use op::{Op, Plan};
pub use setting::Setting;
pub use state::{Found, Object, Observed, Ownership, State, Value};
