//! Sets and maps.

mod decode;
mod encode;
mod userdata;

use crate::datatype::DataTypes;
use crate::error::EncodeError;
use crate::expr::Expr;
use crate::family::Family;
use crate::wire::number::{flags, numbered};

pub(crate) const NFTA_SET_TABLE: u16 = 1;
pub(crate) const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_POLICY: u16 = 8;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_TIMEOUT: u16 = 11;
const NFTA_SET_GC_INTERVAL: u16 = 12;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_OBJ_TYPE: u16 = 15;
const NFTA_SET_HANDLE: u16 = 16;
const NFTA_SET_EXPR: u16 = 17;
const NFTA_SET_EXPRESSIONS: u16 = 18;
const NFTA_SET_DESC_SIZE: u16 = 1;
const NFTA_SET_DESC_CONCAT: u16 = 2;
const NFTA_SET_FIELD_LEN: u16 = 1;
/// What `NFTA_SET_DATA_TYPE` is for verdicts (`NFT_DATA_VERDICT`).
const NFT_DATA_VERDICT: u32 = 0xffff_ff00;

flags! {
    /// What a set is (`enum nft_set_flags`). They must agree with its key and value.
    pub struct SetFlags: u32 {
        /// It goes with the rule that uses it; its name may hold a `%d` for the kernel to number.
        ANONYMOUS = 0x1,
        /// Its elements cannot change once a rule uses it.
        CONSTANT = 0x2,
        /// Its elements are intervals.
        INTERVAL = 0x4,
        /// It is a map: [`Set::value`] is a verdict or a value.
        MAP = 0x8,
        /// Its elements may have timeouts.
        TIMEOUT = 0x10,
        /// Rules may add elements (`dynamic` of `nft`).
        EVAL = 0x20,
        /// It is a map of objects: [`Set::value`] is an object.
        OBJECT = 0x40,
        /// The kernel is to know the key's fields; needed, and of use, with `INTERVAL` and several fields.
        CONCAT = 0x80,
        /// Its elements have several expressions.
        EXPR = 0x100,
    }
}

numbered! {
    /// What the kernel optimizes a set for (`enum nft_set_policies`).
    pub enum SetPolicy: u32 {
        /// Speed (`NFT_SET_POL_PERFORMANCE`).
        Performance = 0,
        /// Little memory (`NFT_SET_POL_MEMORY`).
        Memory = 1,
    }
}

/// What a map has for each key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MapValue {
    /// A verdict; needs [`SetFlags::MAP`].
    Verdict,
    /// A value of these datatypes; needs [`SetFlags::MAP`].
    Value(DataTypes),
    /// An object of this type (`NFT_OBJECT_*`); needs [`SetFlags::OBJECT`].
    Object(u32),
}

/// A set or map (`enum nft_set_attributes`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its table's family.
    pub family: Family,
    /// Its table's name.
    pub table: String,
    /// Its name, up to 255 bytes.
    pub name: String,
    /// Names it within a batch, where it must be unique. From the kernel: 0.
    pub id: u32,
    /// What it is.
    pub flags: SetFlags,
    /// The datatypes of its keys.
    pub key: DataTypes,
    /// What it has for each key, if it is a map.
    pub value: Option<MapValue>,
    /// How many elements it may have. With it, the kernel need not resize a set that has neither intervals nor
    /// timeouts, and a dump is complete ([`Query::Elements`](crate::Query::Elements)).
    pub size: Option<u32>,
    /// What `nft` shows as its comment, up to 247 bytes; less for maps and concatenations.
    pub comment: Option<String>,
    /// The kernel's number for it; not sent.
    pub handle: Option<u64>,
    /// The timeout, in milliseconds, of elements that have none of their own.
    pub timeout: Option<u64>,
    /// How often the kernel looks for elements that timed out, in milliseconds.
    pub gc_interval: Option<u32>,
    /// What the kernel optimizes it for.
    pub policy: Option<SetPolicy>,
    /// The counter, limit or the like that each element has of its own.
    pub exprs: Vec<Expr>,
    /// User data that differs from what `nft` would note for these datatypes, as pairs of type and bytes
    /// (`NFTNL_UDATA_SET_*`); of sets that others made.
    pub userdata: Vec<(u8, Vec<u8>)>,
}

impl Set {
    /// A set without flags, elements of any number.
    pub fn new(
        family: Family,
        table: impl Into<String>,
        name: impl Into<String>,
        key: impl Into<DataTypes>,
    ) -> Self {
        Self {
            family,
            table: table.into(),
            name: name.into(),
            id: 0,
            flags: SetFlags::default(),
            key: key.into(),
            value: None,
            size: None,
            comment: None,
            handle: None,
            timeout: None,
            gc_interval: None,
            policy: None,
            exprs: vec![],
            userdata: vec![],
        }
    }

    /// Names it, for changes and queries of its elements.
    pub fn reference(&self) -> SetRef {
        let (table, name) = (self.table.clone(), self.name.clone());
        SetRef { family: self.family, table, name, id: Some(self.id).filter(|id| *id != 0) }
    }

    /// The flags must agree with the rest, lest the kernel takes the set for another kind or a comparison of what is
    /// there with what was meant fails.
    fn check_flags(&self) -> Result<(), EncodeError> {
        let several = self.key.is_concatenation();
        let is_map = matches!(self.value, Some(MapValue::Verdict | MapValue::Value(_)));
        let is_object_map = matches!(self.value, Some(MapValue::Object(_)));
        let concat = self.flags.contains(SetFlags::CONCAT);
        let expected = if self.flags.contains(SetFlags::MAP) != is_map {
            "MAP with a verdict or value, and only then"
        } else if self.flags.contains(SetFlags::OBJECT) != is_object_map {
            "OBJECT with an object, and only then"
        } else if several && self.flags.contains(SetFlags::INTERVAL) && !concat {
            "CONCAT with intervals of several fields"
        } else {
            return Ok(());
        };
        Err(EncodeError::SetFlags { set: self.name.clone(), flags: self.flags.0, expected })
    }
}

/// Names a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetRef {
    /// Its table's family.
    pub family: Family,
    /// Its table's name.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Its number within this batch, if it was made in it and its name is not known yet.
    pub id: Option<u32>,
}

impl SetRef {
    /// Names a set that is there, or was made earlier in this batch.
    pub fn new(family: Family, table: impl Into<String>, name: impl Into<String>) -> Self {
        Self { family, table: table.into(), name: name.into(), id: None }
    }
}

#[cfg(test)]
mod tests;
