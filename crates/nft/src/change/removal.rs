//! Deletions: how they are written, and how the kernel reports them to those who listen (`NFNLGRP_NFTABLES`).

use super::{Change, elements};
use crate::chain::{NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE};
use crate::error::{DecodeError, Encoded};
use crate::family::Family;
use crate::nft_message::{DELCHAIN, DELRULE, DELSET, DELSETELEM, DELTABLE};
use crate::rule::{NFTA_RULE_CHAIN, NFTA_RULE_HANDLE, NFTA_RULE_TABLE};
use crate::set::{NFTA_SET_NAME, NFTA_SET_TABLE, SetRef};
use crate::table::NFTA_TABLE_NAME;
use crate::wire::{Attributes, Value, Writer};

/// Appends a deletion's attributes.
pub(super) fn put(change: &Change, writer: &mut Writer) -> Encoded {
    match change {
        Change::DelTable { name, .. } | Change::DestroyTable { name, .. } => {
            name.put(writer, NFTA_TABLE_NAME)
        }
        Change::DelChain { table, name, .. } => {
            table.put(writer, NFTA_CHAIN_TABLE)?;
            name.put(writer, NFTA_CHAIN_NAME)
        }
        Change::FlushChain { table, name, .. } => {
            table.put(writer, NFTA_RULE_TABLE)?;
            name.put(writer, NFTA_RULE_CHAIN)
        }
        Change::DelRule { table, chain, handle, .. } => {
            table.put(writer, NFTA_RULE_TABLE)?;
            chain.put(writer, NFTA_RULE_CHAIN)?;
            handle.put(writer, NFTA_RULE_HANDLE)
        }
        Change::DelSet { table, name, .. } => {
            table.put(writer, NFTA_SET_TABLE)?;
            name.put(writer, NFTA_SET_NAME)
        }
        Change::FlushSet { family, table, name } => {
            elements::put_set(writer, &SetRef::new(*family, table.as_str(), name.as_str()))
        }
        _ => Ok(()),
    }
}

/// Reads the message of a deletion; `None` if it is another message.
pub(crate) fn decode(
    message: u8,
    family: Family,
    attributes: Attributes<'_>,
) -> Result<Option<Change>, DecodeError> {
    Ok(Some(match message {
        DELTABLE => Change::DelTable { family, name: text(&attributes, NFTA_TABLE_NAME)? },
        DELCHAIN => Change::DelChain {
            family,
            table: text(&attributes, NFTA_CHAIN_TABLE)?,
            name: text(&attributes, NFTA_CHAIN_NAME)?,
        },
        DELRULE => rule(family, &attributes)?,
        DELSET => Change::DelSet {
            family,
            table: text(&attributes, NFTA_SET_TABLE)?,
            name: text(&attributes, NFTA_SET_NAME)?,
        },
        DELSETELEM => set_elements(family, attributes)?,
        _ => return Ok(None),
    }))
}

fn rule(family: Family, attributes: &Attributes<'_>) -> Result<Change, DecodeError> {
    let (table, chain) = (text(attributes, NFTA_RULE_TABLE)?, text(attributes, NFTA_RULE_CHAIN)?);
    Ok(match find(attributes, NFTA_RULE_HANDLE)? {
        Some(handle) => Change::DelRule { family, table, chain, handle },
        None => Change::FlushChain { family, table, name: chain },
    })
}

fn set_elements(family: Family, attributes: Attributes<'_>) -> Result<Change, DecodeError> {
    let (set, elements) = elements::decode(family, attributes)?;
    Ok(match elements {
        Some(elements) => Change::DelElements { set, elements },
        None => Change::FlushSet { family, table: set.table, name: set.name },
    })
}

fn text(attributes: &Attributes<'_>, number: u16) -> Result<String, DecodeError> {
    find(attributes, number)?.ok_or(DecodeError::Missing("name of what is deleted"))
}

fn find<T: Value>(attributes: &Attributes<'_>, number: u16) -> Result<Option<T>, DecodeError> {
    for attribute in attributes.clone() {
        let attribute = attribute?;
        if attribute.number == number {
            return attribute.read().map(Some);
        }
    }
    Ok(None)
}

impl Change {
    /// Whether something is deleted by it. What was deleted is freed after a grace period of RCU, and a
    /// netlink socket that is closed before waits for it (`nft_rcv_nl_event`, nf_tables_api.c).
    pub fn deletes(&self) -> bool {
        !matches!(
            self,
            Change::NewTable(_)
                | Change::NewChain(_)
                | Change::NewRule(_)
                | Change::InsertRule(_)
                | Change::NewSet(_)
                | Change::AddElements { .. }
        )
    }
}
