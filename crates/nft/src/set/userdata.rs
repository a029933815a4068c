//! What `nft` notes with a set, to print its elements: their byte orders and, for concatenations, an expression.
//! Without it `nft` prints interfaces' names as "".

use super::*;
use crate::datatype::ByteOrder;
use crate::userdata::{Entries, insert_comment, take_comment};

/// `NFTNL_UDATA_SET_KEYBYTEORDER`.
pub(super) const KEY_ORDER: u8 = 0;
/// `NFTNL_UDATA_SET_DATABYTEORDER`.
pub(super) const VALUE_ORDER: u8 = 1;
/// `NFTNL_UDATA_SET_KEY_TYPEOF`.
const KEY_TYPEOF: u8 = 3;
/// `NFTNL_UDATA_SET_DATA_TYPEOF`.
const VALUE_TYPEOF: u8 = 4;
/// `NFTNL_UDATA_SET_DATA_INTERVAL`.
const VALUE_INTERVAL: u8 = 6;
/// `NFTNL_UDATA_SET_COMMENT`.
const COMMENT: u8 = 7;
/// `nft`'s number for concatenations among its expressions (`EXPR_CONCAT`).
const EXPR_CONCAT: u32 = 13;

impl Set {
    /// What is sent: what `nft` would note, replaced and completed by what the set itself has.
    pub(super) fn all_userdata(&self) -> Result<Entries, EncodeError> {
        let mut entries = self.usual_userdata();
        entries.extend(self.userdata.iter().cloned());
        insert_comment(&mut entries, COMMENT, self.comment.as_deref())?;
        Ok(entries)
    }

    /// Keeps only what differs from what `nft` would note.
    pub(super) fn take_userdata(&mut self, mut entries: Entries) {
        self.comment = take_comment(&mut entries, COMMENT);
        let usual = self.usual_userdata();
        entries.retain(|entry, value| usual.get(entry) != Some(value));
        self.userdata = entries.into_iter().collect();
    }

    fn usual_userdata(&self) -> Entries {
        let mut entries = Entries::from([(KEY_ORDER, word(self.key.order().number()))]);
        if self.key.is_concatenation() {
            entries.insert(KEY_TYPEOF, typeof_concatenation());
        }
        match &self.value {
            Some(MapValue::Verdict) => note_value(&mut entries, ByteOrder::None),
            Some(MapValue::Value(value)) => {
                note_value(&mut entries, value.order());
                if value.is_concatenation() {
                    entries.insert(VALUE_TYPEOF, typeof_concatenation());
                }
            }
            Some(MapValue::Object(_)) | None => {}
        }
        entries
    }
}

fn note_value(entries: &mut Entries, order: ByteOrder) {
    entries.insert(VALUE_ORDER, word(order.number()));
    entries.insert(VALUE_INTERVAL, word(0));
}

fn word(number: u32) -> Vec<u8> {
    number.to_ne_bytes().to_vec()
}

/// A concatenation (entry 0: the kind of expression) of nothing (entry 1: its operands), for they are only types.
fn typeof_concatenation() -> Vec<u8> {
    [&[0, 4], word(EXPR_CONCAT).as_slice(), &[1, 0]].concat()
}
