//! The types that attributes' values are of.

use super::Writer;
use crate::error::{EncodeError, Encoded};

/// The longest name, without its NUL (`NFT_NAME_MAXLEN`); other texts of nf_tables are shorter.
const TEXT_LIMIT: usize = 255;

/// A type that an attribute's value can be of.
pub(crate) trait Value: Sized {
    /// Appends the attribute; nothing if the value is what its absence means.
    fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded;

    /// Reads the attribute's bytes; `None` if they are none of this type's.
    fn get(bytes: &[u8]) -> Option<Self>;

    /// What the attribute's absence means; `None` if it must be there.
    fn absent() -> Option<Self> {
        None
    }
}

/// nf_tables' numbers are in network byte order.
macro_rules! big_endian {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
                writer.put(attribute, &self.to_be_bytes())
            }

            fn get(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_be_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}
big_endian!(u8, u16, u32, i32, u64);

/// A word of flags of which only the lowest is defined.
impl Value for bool {
    fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
        if *self { 1_u32.put(writer, attribute) } else { Ok(()) }
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        match u32::get(bytes)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn absent() -> Option<Self> {
        Some(false)
    }
}

/// Text is UTF-8 and ends with a NUL.
impl Value for String {
    fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
        if self.len() > TEXT_LIMIT || self.contains('\0') {
            return Err(EncodeError::Text { text: self.clone(), limit: TEXT_LIMIT });
        }
        writer.attribute(attribute, |writer| {
            writer.bytes.extend_from_slice(self.as_bytes());
            writer.bytes.push(0);
            Ok(())
        })
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        let text = bytes.strip_suffix(&[0]).unwrap_or(bytes);
        let text = std::str::from_utf8(text).ok()?;
        (!text.contains('\0')).then(|| text.to_owned())
    }
}

impl<T: Value> Value for Option<T> {
    fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
        self.as_ref().map_or(Ok(()), |value| value.put(writer, attribute))
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        T::get(bytes).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Value> Value for Box<T> {
    fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
        (**self).put(writer, attribute)
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        T::get(bytes).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_a_nul_or_over_255_bytes_is_refused() {
        for text in ["a\0b".to_owned(), "x".repeat(256)] {
            let refused = EncodeError::Text { text: text.clone(), limit: 255 };
            assert_eq!(text.put(&mut Writer::default(), 1), Err(refused));
        }
        assert_eq!("x".repeat(255).put(&mut Writer::default(), 1), Ok(()));
    }

    #[test]
    fn text_is_read_with_and_without_its_nul() {
        assert_eq!(String::get(b"ab\0"), Some("ab".to_owned()));
        assert_eq!(String::get(b"ab"), Some("ab".to_owned()));
        assert_eq!(String::get(b"a\0b\0"), None);
        assert_eq!(String::get(b"\xff\0"), None);
    }

    #[test]
    fn numbers_of_another_length_are_none() {
        assert_eq!(u32::get(&[0, 0, 1]), None);
        assert_eq!(u32::get(&[0, 0, 1, 2, 3]), None);
        assert_eq!(u32::get(&[0, 0, 1, 2]), Some(258));
        assert_eq!(bool::get(&[0, 0, 0, 2]), None);
    }
}
