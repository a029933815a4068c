//! Writing attributes, their lengths checked.

use super::{ALIGNMENT, ATTRIBUTE_HEADER};
use crate::error::{EncodeError, Encoded};

/// Marks attributes that hold attributes (`NLA_F_NESTED`).
const NLA_F_NESTED: u16 = 0x8000;

/// Bytes under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    /// One that need not grow before it has so many bytes.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// Appends an attribute that holds these bytes, and its padding.
    pub(crate) fn put(&mut self, attribute: u16, value: &[u8]) -> Encoded {
        self.attribute(attribute, |writer| {
            writer.bytes.extend_from_slice(value);
            Ok(())
        })
    }

    /// Appends an attribute that holds the attributes `fill` appends.
    pub(crate) fn nest(&mut self, attribute: u16, fill: impl FnOnce(&mut Self) -> Encoded) -> Encoded {
        self.attribute(attribute | NLA_F_NESTED, fill)
    }

    pub(crate) fn attribute(&mut self, number: u16, fill: impl FnOnce(&mut Self) -> Encoded) -> Encoded {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ATTRIBUTE_HEADER]);
        fill(self)?;
        self.close(start, number)
    }

    /// Fills in the header of the attribute that began at `start`, now that its length is known.
    fn close(&mut self, start: usize, number: u16) -> Encoded {
        let length = self.bytes.len() - start;
        let checked = u16::try_from(length)
            .map_err(|_| EncodeError::AttributeTooLong { attribute: number & !NLA_F_NESTED, length })?;
        self.overwrite(start, &checked.to_ne_bytes());
        self.overwrite(start + 2, &number.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        Ok(())
    }

    /// Replaces bytes that are already there.
    pub(crate) fn overwrite(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_of_65535_bytes_is_written_and_a_longer_one_refused() {
        let mut writer = Writer::default();
        assert_eq!(writer.put(7, &[0; 65_531]), Ok(()));
        assert_eq!(writer.bytes.len(), 65_536);
        let refused = EncodeError::AttributeTooLong { attribute: 7, length: 65_536 };
        assert_eq!(writer.put(7, &[0; 65_532]), Err(refused));
    }

    #[test]
    fn a_nest_counts_the_padding_within_it() {
        let fill = |last: usize| {
            move |writer: &mut Writer| {
                writer.put(1, &[0; 32_001])?;
                writer.put(2, &vec![0; last])
            }
        };
        assert_eq!(Writer::default().nest(3, fill(33_515)), Ok(()));
        let refused = EncodeError::AttributeTooLong { attribute: 3, length: 65_536 };
        assert_eq!(Writer::default().nest(3, fill(33_517)), Err(refused));
    }
}
