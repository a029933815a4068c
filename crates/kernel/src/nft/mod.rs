//! nf_tables: the constant rule set, and containers as elements of its sets.

mod element;
mod ruleset;
mod session;
mod survey;
mod table;
mod verify;

pub use element::{encode, owner_of, read_backend};
pub use ruleset::TABLE;
pub use session::{Session, Write};
pub use survey::Contents;
pub use table::{FAMILIES, RULESET};
pub use verify::{Damage, look};
