//! Queries of the rule set.

use crate::chain::{NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE};
use crate::change::elements;
use crate::element::Element;
use crate::error::{EncodeError, Encoded};
use crate::family::Family;
use crate::nft_message::{GETCHAIN, GETGEN, GETRULE, GETSET, GETSETELEM, GETTABLE, message_type};
use crate::rule::{NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_TABLE};
use crate::set::{NFTA_SET_NAME, NFTA_SET_TABLE, SetRef};
use crate::table::NFTA_TABLE_NAME;
use crate::wire::message::{Header, NLM_F_DUMP, NLM_F_REQUEST};
use crate::wire::{Value, Writer};

/// A query. The kernel answers a dump ([`Query::is_dump`]) with any number of replies and
/// [`Reply::Done`](crate::Reply::Done); another query with one reply or an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Query {
    /// The rule set's generation, which every change increments (`NFT_MSG_GETGEN`).
    Generation,
    /// All tables, of one family or of all (dump).
    Tables(Option<Family>),
    /// One table.
    Table {
        /// Its family.
        family: Family,
        /// Its name.
        name: String,
    },
    /// All chains, of one family or of all (dump).
    Chains(Option<Family>),
    /// One chain.
    Chain {
        /// Its table's family.
        family: Family,
        /// Its table's name.
        table: String,
        /// Its name.
        name: String,
    },
    /// All rules (dump).
    Rules {
        /// Only of tables of this family.
        family: Option<Family>,
        /// Only of tables of this name.
        table: Option<String>,
        /// Only of chains of this name; needs the table's.
        chain: Option<String>,
    },
    /// One rule.
    Rule {
        /// Its table's family.
        family: Family,
        /// Its table's name.
        table: String,
        /// Its chain's name.
        chain: String,
        /// The kernel's number for it.
        handle: u64,
    },
    /// All sets (dump).
    Sets {
        /// Only of tables of this family.
        family: Option<Family>,
        /// Only of the table of this name; needs its family.
        table: Option<String>,
    },
    /// One set, without its elements.
    Set(SetRef),
    /// All elements of a set (dump). While the kernel resizes a set without [`Set::size`](crate::Set::size), which
    /// it does for some time after many were added, a dump may have elements twice and lack others, and nothing but
    /// the doubles tells. The last message may have none.
    Elements(SetRef),
    /// Some elements of a set. The kernel answers one [`Reply::Elements`](crate::Reply::Elements) for each key in
    /// turn, up to the first it does not find, for which it answers with the error `ENOENT` (2).
    Element {
        /// The set.
        set: SetRef,
        /// The keys, at least one, for to none there is no answer; they must fit in one attribute of 64 KiB.
        keys: Vec<Element>,
    },
}

/// What most questions fit in.
const ROOM: usize = 256;

impl Query {
    /// The message, to be sent on its own.
    ///
    /// # Errors
    /// [`EncodeError`] if a name or a key is too long, or there are too many keys.
    pub fn encode(&self, sequence: u32) -> Result<Vec<u8>, EncodeError> {
        let flags = NLM_F_REQUEST | if self.is_dump() { NLM_F_DUMP } else { 0 };
        let family = self.family().map_or(0, Family::octet);
        let header = Header { kind: message_type(self.message()), flags, sequence, family, resource: 0 };
        let mut writer = Writer::with_room(ROOM);
        match self {
            Self::Element { set, keys } => elements::put_message(&mut writer, header, (set, keys))?,
            other => writer.message(header, |writer| other.put_attributes(writer))?,
        }
        Ok(writer.bytes)
    }

    /// Whether the kernel answers with any number of replies and [`Reply::Done`](crate::Reply::Done).
    pub const fn is_dump(&self) -> bool {
        matches!(
            self,
            Self::Tables(_) | Self::Chains(_) | Self::Rules { .. } | Self::Sets { .. } | Self::Elements(_)
        )
    }

    const fn message(&self) -> u8 {
        match self {
            Self::Generation => GETGEN,
            Self::Tables(_) | Self::Table { .. } => GETTABLE,
            Self::Chains(_) | Self::Chain { .. } => GETCHAIN,
            Self::Rules { .. } | Self::Rule { .. } => GETRULE,
            Self::Sets { .. } | Self::Set(_) => GETSET,
            Self::Elements(_) | Self::Element { .. } => GETSETELEM,
        }
    }

    const fn family(&self) -> Option<Family> {
        match self {
            Self::Generation => None,
            Self::Tables(family)
            | Self::Chains(family)
            | Self::Rules { family, .. }
            | Self::Sets { family, .. } => *family,
            Self::Table { family, .. } | Self::Chain { family, .. } | Self::Rule { family, .. } => {
                Some(*family)
            }
            Self::Set(set) | Self::Elements(set) | Self::Element { set, .. } => Some(set.family),
        }
    }

    fn put_attributes(&self, writer: &mut Writer) -> Encoded {
        match self {
            Self::Table { name, .. } => name.put(writer, NFTA_TABLE_NAME),
            Self::Chain { table, name, .. } => {
                table.put(writer, NFTA_CHAIN_TABLE)?;
                name.put(writer, NFTA_CHAIN_NAME)
            }
            Self::Rules { table, chain, .. } => {
                table.put(writer, NFTA_RULE_TABLE)?;
                chain.put(writer, NFTA_RULE_CHAIN)
            }
            Self::Rule { table, chain, handle, .. } => {
                table.put(writer, NFTA_RULE_TABLE)?;
                chain.put(writer, NFTA_RULE_CHAIN)?;
                handle.put(writer, NFTA_RULE_HANDLE)
            }
            Self::Sets { table, .. } => table.put(writer, NFTA_SET_TABLE),
            Self::Set(set) => {
                set.table.put(writer, NFTA_SET_TABLE)?;
                set.name.put(writer, NFTA_SET_NAME)
            }
            Self::Elements(set) => elements::put_set(writer, set),
            Self::Generation | Self::Tables(_) | Self::Chains(_) | Self::Element { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
