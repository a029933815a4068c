//! Elements of sets and maps (`enum nft_set_elem_attributes`).

use crate::error::{DecodeError, EncodeError, Encoded};
use crate::expr::{Expr, list};
use crate::userdata::{self, Entries};
use crate::verdict::ElementValue;
use crate::wire::{Attribute, Attributes, NFTA_LIST_ELEM, Value, Writer};

const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
const NFTA_SET_ELEM_EXPR: u16 = 7;
const NFTA_SET_ELEM_OBJREF: u16 = 9;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
const NFTA_SET_ELEM_EXPRESSIONS: u16 = 11;

/// The entry of an element's user data with `nft`'s own flags (`NFTNL_UDATA_SET_ELEM_FLAGS`).
const UDATA_FLAGS: u8 = 1;
/// Its only flag, in this host's byte order: no element ends this interval (`NFTNL_SET_ELEM_F_INTERVAL_OPEN`).
const UDATA_OPEN: [u8; 4] = 1_u32.to_ne_bytes();

/// An element of a set or map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// The key, 1 to 64 bytes as [`KeyBuilder`](crate::KeyBuilder) lays them out; none for [`Element::CATCHALL`].
    pub key: Vec<u8>,
    /// In a set of concatenated intervals (`NFT_SET_CONCAT`): the last key, field by field.
    pub key_end: Option<Vec<u8>>,
    /// In a map: what the key has.
    pub value: Option<ElementValue>,
    /// [`Element::INTERVAL_END`], [`Element::CATCHALL`] (`enum nft_set_elem_flags`).
    pub flags: u32,
    /// What `nft` shows as its comment, up to 253 bytes (247 if the interval is open).
    pub comment: Option<String>,
    /// After how many milliseconds it goes.
    pub timeout: Option<u64>,
    /// How many of them are left.
    pub expiration: Option<u64>,
    /// In a map of objects (`NFT_SET_OBJECT`): the name of the key's object.
    pub object: Option<String>,
    /// The element's own counter, limit or the like.
    pub exprs: Vec<Expr>,
    /// In a set of plain intervals: the interval goes up to the greatest key, so that no element ends it.
    pub open: bool,
}

impl Element {
    /// In a set of plain intervals: the first key after the interval (`NFT_SET_ELEM_INTERVAL_END`).
    pub const INTERVAL_END: u32 = 1;
    /// Stands for all keys that have no element (`NFT_SET_ELEM_CATCHALL`).
    pub const CATCHALL: u32 = 2;

    /// An element with this key and no more.
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), ..Self::default() }
    }

    /// The same with what a map has for the key.
    pub fn with_value(self, value: impl Into<ElementValue>) -> Self {
        Self { value: Some(value.into()), ..self }
    }

    /// The same with a comment, up to 253 bytes.
    pub fn with_comment(self, comment: impl Into<String>) -> Self {
        Self { comment: Some(comment.into()), ..self }
    }

    /// The same up to `last`, in a set of concatenated intervals. Each field has its own interval, from this key's
    /// to `last`'s; a field that has only one value is the same in both.
    ///
    /// # Errors
    /// [`EncodeError::Interval`] if `last` is not as long as the key or is smaller.
    pub fn with_end(self, last: impl Into<Vec<u8>>) -> Result<Self, EncodeError> {
        let last = last.into();
        check_interval(&self.key, &last)?;
        Ok(Self { key_end: Some(last), ..self })
    }

    /// The elements of the interval from this key to `last`, in a set of plain intervals: this element, and one that
    /// has the key after `last` and ends it. Keys are numbers in network byte order. To delete the interval, delete
    /// both.
    ///
    /// ```
    /// # fn main() -> Result<(), qiao_nft::EncodeError> {
    /// use qiao_nft::Element;
    /// let pair = Element::new([10, 0, 0, 0]).interval(&[10, 0, 0, 255])?;
    /// assert_eq!(pair[0].key, [10, 0, 0, 0]);
    /// assert_eq!((pair[1].key.as_slice(), pair[1].flags), (&[10, 0, 1, 0][..], Element::INTERVAL_END));
    /// assert_eq!(Element::new([255, 255, 0, 0]).interval(&[255; 4])?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`EncodeError::Interval`] if `last` is not as long as the key or is smaller.
    pub fn interval(self, last: &[u8]) -> Result<Vec<Self>, EncodeError> {
        check_interval(&self.key, last)?;
        Ok(match successor(last) {
            Some(key) => vec![self, Self { flags: Self::INTERVAL_END, ..Self::new(key) }],
            None => vec![Self { open: true, ..self }],
        })
    }

    /// Whether it ends the interval of another element.
    pub fn is_interval_end(&self) -> bool {
        self.flags & Self::INTERVAL_END != 0
    }

    pub(crate) fn put(&self, writer: &mut Writer) -> Encoded {
        writer.nest(NFTA_LIST_ELEM, |writer| {
            self.put_key(writer)?;
            self.value.put(writer, NFTA_SET_ELEM_DATA)?;
            self.timeout.put(writer, NFTA_SET_ELEM_TIMEOUT)?;
            self.expiration.put(writer, NFTA_SET_ELEM_EXPIRATION)?;
            userdata::put(writer, NFTA_SET_ELEM_USERDATA, &self.userdata()?)?;
            self.object.put(writer, NFTA_SET_ELEM_OBJREF)?;
            list::put_one_or_more(writer, [NFTA_SET_ELEM_EXPR, NFTA_SET_ELEM_EXPRESSIONS], &self.exprs)
        })
    }

    fn put_key(&self, writer: &mut Writer) -> Encoded {
        if self.flags != 0 {
            self.flags.put(writer, NFTA_SET_ELEM_FLAGS)?;
        }
        if self.flags & Self::CATCHALL == 0 {
            self.key.put(writer, NFTA_SET_ELEM_KEY)?;
        }
        self.key_end.put(writer, NFTA_SET_ELEM_KEY_END)
    }

    fn userdata(&self) -> Result<Entries, EncodeError> {
        let mut entries = Entries::new();
        if self.open {
            entries.insert(UDATA_FLAGS, UDATA_OPEN.to_vec());
        }
        userdata::insert_comment(&mut entries, userdata::COMMENT, self.comment.as_deref())?;
        Ok(entries)
    }

    pub(crate) fn decode(attributes: Attributes<'_>) -> Result<Self, DecodeError> {
        let mut element = Self::default();
        for attribute in attributes {
            element.read(&attribute?)?;
        }
        Ok(element)
    }

    fn read(&mut self, attribute: &Attribute<'_>) -> Result<(), DecodeError> {
        match attribute.number {
            NFTA_SET_ELEM_KEY => self.key = attribute.read()?,
            NFTA_SET_ELEM_DATA => self.value = Some(attribute.read()?),
            NFTA_SET_ELEM_FLAGS => self.flags = attribute.read()?,
            NFTA_SET_ELEM_TIMEOUT => self.timeout = Some(attribute.read()?),
            NFTA_SET_ELEM_EXPIRATION => self.expiration = Some(attribute.read()?),
            NFTA_SET_ELEM_USERDATA => self.read_userdata(attribute.value),
            NFTA_SET_ELEM_EXPR => self.exprs = vec![attribute.read()?],
            NFTA_SET_ELEM_OBJREF => self.object = Some(attribute.read()?),
            NFTA_SET_ELEM_KEY_END => self.key_end = Some(attribute.read()?),
            NFTA_SET_ELEM_EXPRESSIONS => self.exprs = list::decode(attribute.nested())?,
            _ => {}
        }
        Ok(())
    }

    fn read_userdata(&mut self, bytes: &[u8]) {
        let mut entries = userdata::entries(bytes);
        self.comment = userdata::take_comment(&mut entries, userdata::COMMENT);
        self.open = entries.get(&UDATA_FLAGS).is_some_and(|flags| *flags == UDATA_OPEN);
    }
}

fn check_interval(first: &[u8], last: &[u8]) -> Encoded {
    if first.is_empty() || first.len() != last.len() || first > last {
        return Err(EncodeError::Interval);
    }
    Ok(())
}

/// The next number of as many bytes; `None` after the greatest.
fn successor(number: &[u8]) -> Option<Vec<u8>> {
    let mut next = number.to_vec();
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(next);
        }
    }
    None
}

#[cfg(test)]
mod tests;
