//! Tables (`enum nft_table_attributes`).

use crate::error::{DecodeError, Encoded};
use crate::family::Family;
use crate::userdata;
use crate::wire::{Attributes, Value, Writer};

pub(crate) const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFTA_TABLE_USE: u16 = 3;
const NFTA_TABLE_HANDLE: u16 = 4;
const NFTA_TABLE_USERDATA: u16 = 6;

/// A table: a namespace for chains and sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What packets its chains see.
    pub family: Family,
    /// Its name, up to 255 bytes.
    pub name: String,
    /// [`Table::DORMANT`], [`Table::OWNER`] (`enum nft_table_flags`).
    pub flags: u32,
    /// What `nft` shows as its comment, up to 253 bytes.
    pub comment: Option<String>,
    /// The kernel's number for it; not sent.
    pub handle: Option<u64>,
    /// How many chains, sets, flow tables and objects it has; not sent.
    pub uses: Option<u32>,
}

impl Table {
    /// The chains are not registered with the packet hooks (`NFT_TABLE_F_DORMANT`).
    pub const DORMANT: u32 = 1;
    /// The table belongs to one netlink socket and goes with it (`NFT_TABLE_F_OWNER`).
    pub const OWNER: u32 = 2;

    /// With an owner: when the socket is closed the table stays, without an owner (`NFT_TABLE_F_PERSIST`, Linux 6.9).
    pub const PERSIST: u32 = 4;

    /// A table without flags and comment.
    pub fn new(family: Family, name: impl Into<String>) -> Self {
        Self { family, name: name.into(), flags: 0, comment: None, handle: None, uses: None }
    }

    pub(crate) fn put(&self, writer: &mut Writer) -> Encoded {
        self.name.put(writer, NFTA_TABLE_NAME)?;
        self.flags.put(writer, NFTA_TABLE_FLAGS)?;
        userdata::put_comment(writer, NFTA_TABLE_USERDATA, self.comment.as_deref())
    }

    pub(crate) fn decode(family: Family, attributes: Attributes<'_>) -> Result<Self, DecodeError> {
        let (mut table, mut name) = (Self::new(family, ""), None);
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.number {
                NFTA_TABLE_NAME => name = Some(attribute.read()?),
                NFTA_TABLE_FLAGS => table.flags = attribute.read()?,
                NFTA_TABLE_USE => table.uses = Some(attribute.read()?),
                NFTA_TABLE_HANDLE => table.handle = Some(attribute.read()?),
                NFTA_TABLE_USERDATA => table.comment = userdata::comment(attribute.value),
                _ => {}
            }
        }
        table.name = name.ok_or(DecodeError::Missing("NFTA_TABLE_NAME"))?;
        Ok(table)
    }
}
