//! Writing changes.

use super::{Change, elements, removal};
use crate::error::Encoded;
use crate::family::Family;
use crate::nft_message::*;
use crate::rule::NFTA_RULE_HANDLE;
use crate::wire::message::{Header, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE};
use crate::wire::{Value, Writer};

impl Change {
    /// Appends the change's messages, each with these flags and its own; the result is where each begins.
    pub(crate) fn put(
        &self,
        writer: &mut Writer,
        flags: u16,
        sequence: u32,
    ) -> Result<Vec<usize>, crate::EncodeError> {
        let (message, own_flags) = self.message();
        let family = self.family().octet();
        let header =
            Header { kind: message_type(message), flags: flags | own_flags, sequence, family, resource: 0 };
        match self {
            Self::AddElements { set, elements }
            | Self::DelElements { set, elements }
            | Self::DestroyElements { set, elements } => {
                elements::put_messages(writer, header, (set, elements))
            }
            single => {
                let start = writer.bytes.len();
                writer.message(header, |writer| single.put_attributes(writer))?;
                Ok(vec![start])
            }
        }
    }

    /// The message's number and flags.
    const fn message(&self) -> (u8, u16) {
        match self {
            Self::NewTable(_) => (NEWTABLE, NLM_F_CREATE),
            Self::DelTable { .. } => (DELTABLE, 0),
            Self::DestroyTable { .. } => (DESTROYTABLE, 0),
            Self::NewChain(_) => (NEWCHAIN, NLM_F_CREATE),
            Self::DelChain { .. } => (DELCHAIN, 0),
            Self::NewRule(_) => (NEWRULE, NLM_F_CREATE | NLM_F_APPEND),
            Self::InsertRule(_) => (NEWRULE, NLM_F_CREATE),
            Self::ReplaceRule(_) => (NEWRULE, NLM_F_REPLACE),
            Self::FlushChain { .. } | Self::DelRule { .. } => (DELRULE, 0),
            Self::NewSet(_) => (NEWSET, NLM_F_CREATE),
            Self::DelSet { .. } => (DELSET, 0),
            Self::AddElements { .. } => (NEWSETELEM, NLM_F_CREATE),
            Self::DelElements { .. } | Self::FlushSet { .. } => (DELSETELEM, 0),
            Self::DestroyElements { .. } => (DESTROYSETELEM, 0),
        }
    }

    /// Whether [`Batch::push_exclusive`](crate::Batch::push_exclusive) means something for it.
    pub(crate) const fn can_be_exclusive(&self) -> bool {
        matches!(self, Self::NewTable(_) | Self::NewChain(_) | Self::NewSet(_) | Self::AddElements { .. })
    }

    const fn family(&self) -> Family {
        match self {
            Self::NewTable(table) => table.family,
            Self::NewChain(chain) => chain.family,
            Self::NewRule(rule) | Self::InsertRule(rule) | Self::ReplaceRule(rule) => rule.family,
            Self::NewSet(set) => set.family,
            Self::AddElements { set, .. }
            | Self::DelElements { set, .. }
            | Self::DestroyElements { set, .. } => set.family,
            Self::DelTable { family, .. }
            | Self::DestroyTable { family, .. }
            | Self::DelChain { family, .. }
            | Self::FlushChain { family, .. }
            | Self::DelRule { family, .. }
            | Self::DelSet { family, .. }
            | Self::FlushSet { family, .. } => *family,
        }
    }

    fn put_attributes(&self, writer: &mut Writer) -> Encoded {
        match self {
            Self::NewTable(table) => table.put(writer),
            Self::NewChain(chain) => chain.put(writer),
            Self::NewRule(rule) | Self::InsertRule(rule) => rule.put(writer),
            Self::ReplaceRule(rule) => {
                rule.put(writer)?;
                rule.handle.put(writer, NFTA_RULE_HANDLE)
            }
            Self::NewSet(set) => set.put(writer),
            removal => removal::put(removal, writer),
        }
    }
}
