//! A codec for the kernel's nf_tables netlink messages (linux/netfilter/nf_tables.h, nfnetlink.h): it encodes what is
//! to be sent, and decodes what was received. It does no I/O; any `NETLINK_NETFILTER` socket will do.
//!
//! Changes go in a [`Batch`], which the kernel carries out whole or not at all. Queries are messages of their own.
//! [`parse`] reads the answers to both. What one reads can be written again, to another table or another host: what
//! this crate does not know of an expression stays in [`Expr::Unknown`].
//!
//! ```
//! # fn main() -> Result<(), qiao_nft::EncodeError> {
//! use qiao_nft::*;
//!
//! // table inet example {
//! //     set closed { type ifname; elements = { "eth1" comment "guests" } }
//! //     chain input {
//! //         type filter hook input priority 0; policy accept;
//! //         iifname @closed counter drop
//! //     }
//! // }
//! let closed = Set { id: 1, ..Set::new(Family::Inet, "example", "closed", DataType::Ifname) };
//! let hook = Hook {
//!     kind: ChainType::Filter,
//!     number: Hook::INPUT,
//!     priority: 0,
//!     policy: Policy::Accept,
//!     device: None,
//! };
//! let input = Chain { hook: Some(hook), ..Chain::new(Family::Inet, "example", "input") };
//! let name = Register::quad(1);
//! let exprs = vec![
//!     Expr::Meta { key: MetaKey::IifName, dreg: name },
//!     Expr::Lookup { set: "closed".into(), set_id: None, sreg: name, dreg: None, inverted: false },
//!     Expr::counter(),
//!     Expr::verdict(Verdict::Drop),
//! ];
//! let guests = Element::new(key().ifname("eth1")?.build()).with_comment("guests");
//!
//! let mut batch = Batch::new(1);
//! batch.push_exclusive(&Change::NewTable(Table::new(Family::Inet, "example")))?;
//! batch.push(&Change::NewSet(closed.clone()))?;
//! batch.push(&Change::AddElements { set: closed.reference(), elements: vec![guests] })?;
//! batch.push(&Change::NewChain(input))?;
//! batch.push(&Change::NewRule(Rule { exprs, ..Rule::new(Family::Inet, "example", "input") }))?;
//! let to_send: Vec<u8> = batch.finish();
//!
//! // The kernel would answer with `Reply::Ack` for each change; what it was sent can be read, too.
//! let replies: Vec<_> = parse(&to_send).collect();
//! assert!(matches!(&replies[2], Ok((3, Reply::Set(set))) if *set == closed));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod batch;
mod chain;
mod change;
mod datatype;
mod element;
mod error;
mod expr;
mod family;
mod hook;
mod key;
mod nft_message;
mod query;
mod reply;
mod rule;
#[cfg(test)]
mod sample;
mod set;
mod table;
#[cfg(test)]
mod tests;
mod userdata;
mod verdict;
mod wire;

pub use batch::{Batch, encode};
pub use chain::Chain;
pub use change::Change;
pub use datatype::{ByteOrder, DataType, DataTypes};
pub use element::Element;
pub use error::{DecodeError, EncodeError};
pub use expr::*;
pub use family::Family;
pub use hook::{ChainType, Hook, Policy};
pub use key::{KeyBuilder, key};
pub use query::Query;
pub use reply::{Reply, parse};
pub use rule::Rule;
pub use set::{MapValue, Set, SetFlags, SetPolicy, SetRef};
pub use table::Table;
pub use verdict::{ElementValue, Verdict};
