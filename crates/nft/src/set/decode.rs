//! Reading sets.

use super::*;
use crate::datatype::ByteOrder;
use crate::error::DecodeError;
use crate::expr::list;
use crate::userdata::{Entries, entries};
use crate::wire::{Attribute, Attributes};

/// What a set's attributes say, as far as they are read; some have a meaning only together.
#[derive(Debug, Default)]
struct SetAttributes {
    table: Option<String>,
    name: Option<String>,
    key_type: u32,
    key_length: Option<u32>,
    data_type: Option<u32>,
    data_length: u32,
    object_type: Option<u32>,
    field_lengths: Vec<u32>,
    entries: Entries,
}

impl Set {
    pub(crate) fn decode(family: Family, attributes: Attributes<'_>) -> Result<Self, DecodeError> {
        let mut set = Self::new(family, "", "", DataTypes(vec![]));
        let mut said = SetAttributes::default();
        for attribute in attributes {
            let attribute = attribute?;
            set.read(&attribute)?;
            said.read(&attribute)?;
            if attribute.number == NFTA_SET_DESC {
                set.size = said.read_description(attribute.nested())?;
            }
        }
        set.table = said.table.take().ok_or(DecodeError::Missing("NFTA_SET_TABLE"))?;
        set.name = said.name.take().ok_or(DecodeError::Missing("NFTA_SET_NAME"))?;
        set.key = said.key()?;
        set.value = said.value();
        set.take_userdata(said.entries);
        Ok(set)
    }

    fn read(&mut self, attribute: &Attribute<'_>) -> Result<(), DecodeError> {
        match attribute.number {
            NFTA_SET_FLAGS => self.flags = attribute.read()?,
            NFTA_SET_ID => self.id = attribute.read()?,
            NFTA_SET_POLICY => self.policy = Some(attribute.read()?),
            NFTA_SET_TIMEOUT => self.timeout = Some(attribute.read()?),
            NFTA_SET_GC_INTERVAL => self.gc_interval = Some(attribute.read()?),
            NFTA_SET_HANDLE => self.handle = Some(attribute.read()?),
            NFTA_SET_EXPR => self.exprs = vec![attribute.read()?],
            NFTA_SET_EXPRESSIONS => self.exprs = list::decode(attribute.nested())?,
            _ => {}
        }
        Ok(())
    }
}

impl SetAttributes {
    fn read(&mut self, attribute: &Attribute<'_>) -> Result<(), DecodeError> {
        match attribute.number {
            NFTA_SET_TABLE => self.table = Some(attribute.read()?),
            NFTA_SET_NAME => self.name = Some(attribute.read()?),
            NFTA_SET_KEY_TYPE => self.key_type = attribute.read()?,
            NFTA_SET_KEY_LEN => self.key_length = Some(attribute.read()?),
            NFTA_SET_DATA_TYPE => self.data_type = Some(attribute.read()?),
            NFTA_SET_DATA_LEN => self.data_length = attribute.read()?,
            NFTA_SET_OBJ_TYPE => self.object_type = Some(attribute.read()?),
            NFTA_SET_USERDATA => self.entries = entries(attribute.value),
            _ => {}
        }
        Ok(())
    }

    /// Notes the lengths of the key's fields; the result is the set's size.
    fn read_description(&mut self, attributes: Attributes<'_>) -> Result<Option<u32>, DecodeError> {
        let mut size = None;
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.number {
                NFTA_SET_DESC_SIZE => size = Some(attribute.read()?),
                NFTA_SET_DESC_CONCAT => self.field_lengths = field_lengths(attribute.nested())?,
                _ => {}
            }
        }
        Ok(size)
    }

    fn key(&self) -> Result<DataTypes, DecodeError> {
        let length = self.key_length.ok_or(DecodeError::Missing("NFTA_SET_KEY_LEN"))?;
        let order = self.order(super::userdata::KEY_ORDER);
        Ok(DataTypes::from_kernel(self.key_type, length, order, &self.field_lengths))
    }

    fn value(&self) -> Option<MapValue> {
        match (self.data_type, self.object_type) {
            (Some(NFT_DATA_VERDICT), _) => Some(MapValue::Verdict),
            (Some(number), _) => {
                let order = self.order(super::userdata::VALUE_ORDER);
                Some(MapValue::Value(DataTypes::from_kernel(number, self.data_length, order, &[])))
            }
            (None, object) => object.map(MapValue::Object),
        }
    }

    fn order(&self, entry: u8) -> ByteOrder {
        let bytes = self.entries.get(&entry).and_then(|value| value.as_slice().try_into().ok());
        bytes.map(u32::from_ne_bytes).and_then(ByteOrder::from_number).unwrap_or(ByteOrder::None)
    }
}

fn field_lengths(fields: Attributes<'_>) -> Result<Vec<u32>, DecodeError> {
    let mut lengths = vec![];
    for field in fields {
        for attribute in field?.nested() {
            let attribute = attribute?;
            if attribute.number == NFTA_SET_FIELD_LEN {
                lengths.push(attribute.read()?);
            }
        }
    }
    Ok(lengths)
}
