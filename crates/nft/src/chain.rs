//! Chains (`enum nft_chain_attributes`).

use crate::error::{DecodeError, Encoded};
use crate::family::Family;
use crate::hook::{Hook, HookAttributes};
use crate::userdata;
use crate::wire::{Attributes, Value, Writer};

pub(crate) const NFTA_CHAIN_TABLE: u16 = 1;
pub(crate) const NFTA_CHAIN_HANDLE: u16 = 2;
pub(crate) const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_CHAIN_USERDATA: u16 = 12;

/// A chain: a list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its table's family.
    pub family: Family,
    /// Its table's name.
    pub table: String,
    /// Its name, up to 255 bytes.
    pub name: String,
    /// Where packets enter it; `None` if only rules jump to it.
    pub hook: Option<Hook>,
    /// What `nft` shows as its comment, up to 253 bytes.
    pub comment: Option<String>,
    /// The kernel's number for it; not sent.
    pub handle: Option<u64>,
}

impl Chain {
    /// A chain without hook and comment.
    pub fn new(family: Family, table: impl Into<String>, name: impl Into<String>) -> Self {
        let (table, name) = (table.into(), name.into());
        Self { family, table, name, hook: None, comment: None, handle: None }
    }

    pub(crate) fn put(&self, writer: &mut Writer) -> Encoded {
        self.table.put(writer, NFTA_CHAIN_TABLE)?;
        self.name.put(writer, NFTA_CHAIN_NAME)?;
        if let Some(hook) = &self.hook {
            hook.kind.name().to_owned().put(writer, NFTA_CHAIN_TYPE)?;
            hook.policy.put(writer, NFTA_CHAIN_POLICY)?;
            hook.put(writer, NFTA_CHAIN_HOOK)?;
        }
        userdata::put_comment(writer, NFTA_CHAIN_USERDATA, self.comment.as_deref())
    }

    /// `None` if it has a hook of a kind that [`Hook`] cannot say.
    pub(crate) fn decode(family: Family, attributes: Attributes<'_>) -> Result<Option<Self>, DecodeError> {
        let (mut chain, mut table, mut name) = (Self::new(family, "", ""), None, None);
        let mut hook = HookAttributes::default();
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.number {
                NFTA_CHAIN_TABLE => table = Some(attribute.read()?),
                NFTA_CHAIN_HANDLE => chain.handle = Some(attribute.read()?),
                NFTA_CHAIN_NAME => name = Some(attribute.read()?),
                NFTA_CHAIN_HOOK => hook.read(attribute.nested())?,
                NFTA_CHAIN_POLICY => hook.policy = Some(attribute.read()?),
                NFTA_CHAIN_TYPE => hook.kind = Some(attribute.read()?),
                NFTA_CHAIN_USERDATA => chain.comment = userdata::comment(attribute.value),
                _ => {}
            }
        }
        chain.table = table.ok_or(DecodeError::Missing("NFTA_CHAIN_TABLE"))?;
        chain.name = name.ok_or(DecodeError::Missing("NFTA_CHAIN_NAME"))?;
        if hook.is_there() {
            chain.hook = hook.finish();
            return Ok(chain.hook.is_some().then_some(chain));
        }
        Ok(Some(chain))
    }
}
