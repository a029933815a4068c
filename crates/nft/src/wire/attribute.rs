//! Reading attributes.

use super::{ALIGNMENT, ATTRIBUTE_HEADER, Value, array_at};
use crate::error::DecodeError;

/// The two high bits of an attribute's number are flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const NLA_TYPE_MASK: u16 = 0x3fff;

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) number: u16,
    pub(crate) value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Its value, which must be one of the type's.
    pub(crate) fn read<T: Value>(&self) -> Result<T, DecodeError> {
        T::get(self.value).ok_or(DecodeError::Value { attribute: self.number, length: self.value.len() })
    }

    /// The attributes within it.
    pub(crate) fn nested(&self) -> Attributes<'a> {
        Attributes(self.value)
    }
}

/// The attributes in some bytes, in order. Ends after the first error, for what follows has no known place.
#[derive(Clone, Debug)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (bytes, header) = (self.0, array_at::<4>(self.0, 0));
        let [low, high, number @ ..] = header.unwrap_or_default();
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let Some(value) = bytes.get(ATTRIBUTE_HEADER..length) else {
            self.0 = &[];
            return Some(Err(DecodeError::Attribute { length, available: bytes.len() }));
        };
        // The last attribute of a nest may lack its padding.
        self.0 = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some(Ok(Attribute { number: u16::from_ne_bytes(number) & NLA_TYPE_MASK, value }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(bytes: &[u8]) -> Result<Vec<(u16, usize)>, DecodeError> {
        Attributes(bytes).map(|item| item.map(|a| (a.number, a.value.len()))).collect()
    }

    #[test]
    fn attributes_are_padded_to_four_bytes_and_their_flags_masked() {
        let mut bytes = vec![];
        bytes.extend([5_u16.to_ne_bytes(), 0x8001_u16.to_ne_bytes()].concat());
        bytes.extend([7, 0, 0, 0]);
        bytes.extend([5_u16.to_ne_bytes(), 2_u16.to_ne_bytes()].concat());
        bytes.push(9);
        assert_eq!(numbers(&bytes), Ok(vec![(1, 1), (2, 1)]));
    }

    #[test]
    fn lengths_beyond_the_bytes_or_below_the_header_are_errors() {
        for length in [0_u16, 3, 9, u16::MAX] {
            let bytes = [&length.to_ne_bytes()[..], &[1, 0, 0, 0, 0, 0]].concat();
            let expected = DecodeError::Attribute { length: usize::from(length), available: 8 };
            assert_eq!(numbers(&bytes), Err(expected));
        }
        assert_eq!(numbers(&[1, 2, 3]), Err(DecodeError::Attribute { length: 0, available: 3 }));
    }
}
