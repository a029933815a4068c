//! Changes of the rule set.

pub(crate) mod elements;
mod encode;
pub(crate) mod removal;

use crate::chain::Chain;
use crate::element::Element;
use crate::family::Family;
use crate::rule::Rule;
use crate::set::{Set, SetRef};
use crate::table::Table;

/// One change. What is new is made if it is not there; if it is there already and the same, nothing happens, unless
/// [`Batch::push_exclusive`](crate::Batch::push_exclusive) forbids that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Makes a table (`NFT_MSG_NEWTABLE`).
    NewTable(Table),
    /// Deletes a table with all that is in it (`NFT_MSG_DELTABLE`).
    DelTable {
        /// The table's family.
        family: Family,
        /// The table's name.
        name: String,
    },
    /// The same, but it is no error if there is none (`NFT_MSG_DESTROYTABLE`, since Linux 6.3).
    DestroyTable {
        /// The table's family.
        family: Family,
        /// The table's name.
        name: String,
    },
    /// Makes a chain, or gives a base chain another policy (`NFT_MSG_NEWCHAIN`).
    NewChain(Chain),
    /// Deletes a chain with its rules (`NFT_MSG_DELCHAIN`).
    DelChain {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The chain's name.
        name: String,
    },
    /// Deletes a chain's rules (`NFT_MSG_DELRULE`).
    FlushChain {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The chain's name.
        name: String,
    },
    /// Makes a rule, after [`Rule::position`] or at its chain's end (`NFT_MSG_NEWRULE`).
    NewRule(Rule),
    /// Makes a rule, before [`Rule::position`] or at its chain's beginning (`NFT_MSG_NEWRULE`).
    InsertRule(Rule),
    /// Puts a rule in the place of the one with [`Rule::handle`] (`NFT_MSG_NEWRULE`).
    ReplaceRule(Rule),
    /// Deletes a rule (`NFT_MSG_DELRULE`).
    DelRule {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The chain's name.
        chain: String,
        /// The rule's number.
        handle: u64,
    },
    /// Makes a set or map (`NFT_MSG_NEWSET`).
    NewSet(Set),
    /// Deletes a set or map with its elements; no rule may use it (`NFT_MSG_DELSET`).
    DelSet {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The set's name.
        name: String,
    },
    /// Adds elements, in as many messages as they need (`NFT_MSG_NEWSETELEM`).
    AddElements {
        /// The set.
        set: SetRef,
        /// The elements.
        elements: Vec<Element>,
    },
    /// Deletes elements, in as many messages as they need (`NFT_MSG_DELSETELEM`). It is an error if one is not there.
    /// None are none: to delete all there is [`Change::FlushSet`].
    DelElements {
        /// The set.
        set: SetRef,
        /// The elements; their keys, and flags of interval ends, are enough.
        elements: Vec<Element>,
    },
    /// The same, but it is no error if one is not there (`NFT_MSG_DESTROYSETELEM`, since Linux 6.3).
    DestroyElements {
        /// The set.
        set: SetRef,
        /// The elements; their keys, and flags of interval ends, are enough.
        elements: Vec<Element>,
    },
    /// Deletes all elements of a set (`NFT_MSG_DELSETELEM`).
    FlushSet {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The set's name.
        name: String,
    },
}
