//! Writing sets.

use super::*;
use crate::error::Encoded;
use crate::expr::list;
use crate::wire::{NFTA_LIST_ELEM, Value, Writer};

impl Set {
    pub(crate) fn put(&self, writer: &mut Writer) -> Encoded {
        self.check_flags()?;
        self.table.put(writer, NFTA_SET_TABLE)?;
        self.name.put(writer, NFTA_SET_NAME)?;
        self.flags.0.put(writer, NFTA_SET_FLAGS)?;
        self.key.number()?.put(writer, NFTA_SET_KEY_TYPE)?;
        self.key.length().put(writer, NFTA_SET_KEY_LEN)?;
        self.put_value(writer)?;
        self.id.put(writer, NFTA_SET_ID)?;
        self.policy.put(writer, NFTA_SET_POLICY)?;
        self.put_description(writer)?;
        self.timeout.put(writer, NFTA_SET_TIMEOUT)?;
        self.gc_interval.put(writer, NFTA_SET_GC_INTERVAL)?;
        crate::userdata::put(writer, NFTA_SET_USERDATA, &self.all_userdata()?)?;
        list::put_one_or_more(writer, [NFTA_SET_EXPR, NFTA_SET_EXPRESSIONS], &self.exprs)
    }

    fn put_value(&self, writer: &mut Writer) -> Encoded {
        match &self.value {
            None => Ok(()),
            Some(MapValue::Object(kind)) => kind.put(writer, NFTA_SET_OBJ_TYPE),
            Some(MapValue::Verdict) => {
                NFT_DATA_VERDICT.put(writer, NFTA_SET_DATA_TYPE)?;
                0_u32.put(writer, NFTA_SET_DATA_LEN)
            }
            Some(MapValue::Value(value)) => {
                value.number()?.put(writer, NFTA_SET_DATA_TYPE)?;
                value.length().put(writer, NFTA_SET_DATA_LEN)
            }
        }
    }

    fn put_description(&self, writer: &mut Writer) -> Encoded {
        let concat = self.flags.contains(SetFlags::CONCAT);
        if !concat && self.size.is_none() {
            return Ok(());
        }
        writer.nest(NFTA_SET_DESC, |writer| {
            self.size.put(writer, NFTA_SET_DESC_SIZE)?;
            if concat { self.put_fields(writer) } else { Ok(()) }
        })
    }

    fn put_fields(&self, writer: &mut Writer) -> Encoded {
        writer.nest(NFTA_SET_DESC_CONCAT, |writer| {
            self.key.field_lengths().iter().try_for_each(|length| {
                writer.nest(NFTA_LIST_ELEM, |writer| length.put(writer, NFTA_SET_FIELD_LEN))
            })
        })
    }
}
