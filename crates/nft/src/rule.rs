//! Rules (`enum nft_rule_attributes`).

use crate::error::{DecodeError, Encoded};
use crate::expr::{Expr, list};
use crate::family::Family;
use crate::userdata;
use crate::wire::{Attributes, Value, Writer};

pub(crate) const NFTA_RULE_TABLE: u16 = 1;
pub(crate) const NFTA_RULE_CHAIN: u16 = 2;
pub(crate) const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_COMPAT: u16 = 5;
const NFTA_RULE_COMPAT_PROTO: u16 = 1;
const NFTA_RULE_COMPAT_FLAGS: u16 = 2;
const NFTA_RULE_POSITION: u16 = 6;
const NFTA_RULE_USERDATA: u16 = 7;

/// A rule: expressions that are evaluated in order, until one does not hold or gives a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its table's family.
    pub family: Family,
    /// Its table's name.
    pub table: String,
    /// Its chain's name.
    pub chain: String,
    /// The expressions, up to 128 (`NFT_RULE_MAXEXPRS`).
    pub exprs: Vec<Expr>,
    /// What `nft` shows as its comment, up to 253 bytes.
    pub comment: Option<String>,
    /// The kernel's number for it; sent only by [`Change::ReplaceRule`](crate::Change::ReplaceRule).
    pub handle: Option<u64>,
    /// The handle of the rule next to which a new one goes. From the kernel: of the rule before it.
    pub position: Option<u64>,
    /// The protocol (IANA's number) that the rule has asked for, as matches of `iptables` want to know it
    /// (`enum nft_rule_compat_attributes`). The kernel does not tell it.
    pub compat_protocol: Option<u32>,
}

impl Rule {
    /// A rule without expressions and comment.
    pub fn new(family: Family, table: impl Into<String>, chain: impl Into<String>) -> Self {
        let (table, chain) = (table.into(), chain.into());
        let (comment, handle, position) = (None, None, None);
        Self { family, table, chain, exprs: vec![], comment, handle, position, compat_protocol: None }
    }

    /// Appends all but the handle.
    pub(crate) fn put(&self, writer: &mut Writer) -> Encoded {
        self.table.put(writer, NFTA_RULE_TABLE)?;
        self.chain.put(writer, NFTA_RULE_CHAIN)?;
        writer.nest(NFTA_RULE_EXPRESSIONS, |writer| list::put_elements(writer, &self.exprs))?;
        if let Some(protocol) = self.compat_protocol {
            writer.nest(NFTA_RULE_COMPAT, |writer| {
                protocol.put(writer, NFTA_RULE_COMPAT_PROTO)?;
                0_u32.put(writer, NFTA_RULE_COMPAT_FLAGS)
            })?;
        }
        self.position.put(writer, NFTA_RULE_POSITION)?;
        userdata::put_comment(writer, NFTA_RULE_USERDATA, self.comment.as_deref())
    }

    pub(crate) fn decode(family: Family, attributes: Attributes<'_>) -> Result<Self, DecodeError> {
        let (mut rule, mut table, mut chain) = (Self::new(family, "", ""), None, None);
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.number {
                NFTA_RULE_TABLE => table = Some(attribute.read()?),
                NFTA_RULE_CHAIN => chain = Some(attribute.read()?),
                NFTA_RULE_HANDLE => rule.handle = Some(attribute.read()?),
                NFTA_RULE_EXPRESSIONS => rule.exprs = list::decode(attribute.nested())?,
                NFTA_RULE_COMPAT => rule.compat_protocol = protocol(attribute.nested())?,
                NFTA_RULE_POSITION => rule.position = Some(attribute.read()?),
                NFTA_RULE_USERDATA => rule.comment = userdata::comment(attribute.value),
                _ => {}
            }
        }
        rule.table = table.ok_or(DecodeError::Missing("NFTA_RULE_TABLE"))?;
        rule.chain = chain.ok_or(DecodeError::Missing("NFTA_RULE_CHAIN"))?;
        Ok(rule)
    }
}

fn protocol(compat: Attributes<'_>) -> Result<Option<u32>, DecodeError> {
    let mut protocol = None;
    for attribute in compat {
        let attribute = attribute?;
        if attribute.number == NFTA_RULE_COMPAT_PROTO {
            protocol = Some(attribute.read()?);
        }
    }
    Ok(protocol)
}
