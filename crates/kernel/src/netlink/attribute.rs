//! The attributes of a message (`struct nlattr`, linux/netlink.h), read where they lie. Reading a link so takes a
//! tenth of what it takes to make the hundred attributes into objects, of which a dozen are looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NLA_TYPE_MASK`: without the flags for nesting and byte order.
const TYPE: u16 = 0x3fff;
const HEADER: usize = 4;

/// The attributes, each with its type and value. A malformed one ends them.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = number16(bytes.get(2..)?)?;
        let value = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & TYPE, value))
    })
}

/// A number of 16 bits.
pub fn number16(value: &[u8]) -> Option<u16> {
    value.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

/// A number of 32 bits.
pub fn number(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// A number at a place of a message's fixed part.
pub fn number_at(payload: &[u8], offset: usize) -> Option<u32> {
    number(payload.get(offset..)?)
}

/// Text up to its NUL.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// An address of four or sixteen bytes.
pub fn ip(value: &[u8]) -> Option<IpAddr> {
    let v6 = || <[u8; 16]>::try_from(value).map(|bytes| Ipv6Addr::from(bytes).into());
    <[u8; 4]>::try_from(value).map(|bytes| Ipv4Addr::from(bytes).into()).or_else(|_| v6()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + value.len()) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn cut_attributes_end_quietly() {
        let whole = [attribute(3, b"eth0\0"), attribute(0x8000 | 18, &[1, 2, 3, 4])].concat();
        let read: Vec<_> = attributes(&whole).collect();
        assert_eq!(read, [(3, b"eth0\0".as_slice()), (18, &[1, 2, 3, 4])]);
        for cut in 0..whole.len() {
            assert!(attributes(&whole[..cut]).count() < 2, "{cut}");
        }
        assert_eq!(attributes(&[0; 64]).take(10).count(), 0, "a length of zero must not loop");
    }

    #[test]
    fn values_of_another_length_are_none() {
        assert_eq!((number(&[1, 0, 0]), number16(&[1])), (None, None));
        assert_eq!(ip(&[10, 0, 0, 1]), Some([10, 0, 0, 1].into()));
        assert_eq!(ip(&[0; 5]), None);
        assert_eq!(text(b"br-blue\0x"), "br-blue");
    }
}
