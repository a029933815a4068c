//! Building the keys and values of sets and maps.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::EncodeError;

/// The length of an interface's name with its NUL (`IFNAMSIZ` of linux/if.h), in bytes.
const IFNAMSIZ: usize = 16;
/// Fields of a concatenation begin at multiples of this many bytes (`NFT_REG32_SIZE`).
const FIELD_ALIGNMENT: usize = 4;
/// What a name and an address of any kind fit in.
const ROOM: usize = 40;

/// Begins a key (or a map's value): the fields are to follow in the order of the set's datatypes.
///
/// ```
/// # fn main() -> Result<(), qiao_nft::EncodeError> {
/// let port = qiao_nft::key().u16_be(80).build();
/// assert_eq!(port, [0, 80]);
/// let both = qiao_nft::key().ifname("eth0")?.u16_be(80).build();
/// assert_eq!(both, *b"eth0\0\0\0\0\0\0\0\0\0\0\0\0\0\x50\0\0");
/// # Ok(())
/// # }
/// ```
pub fn key() -> KeyBuilder {
    KeyBuilder { bytes: Vec::with_capacity(ROOM), ..KeyBuilder::default() }
}

/// A key under construction. One field is as long as its datatype; of several, each is padded to 4 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyBuilder {
    bytes: Vec<u8>,
    first_length: Option<usize>,
}

impl KeyBuilder {
    /// Appends an interface's name, padded with NULs to 16 bytes.
    ///
    /// # Errors
    /// [`EncodeError::Text`] if it has more than 15 bytes or a NUL.
    pub fn ifname(self, name: &str) -> Result<Self, EncodeError> {
        if name.len() >= IFNAMSIZ || name.contains('\0') {
            return Err(EncodeError::Text { text: name.to_owned(), limit: IFNAMSIZ - 1 });
        }
        let mut field = [0; IFNAMSIZ];
        for (place, byte) in field.iter_mut().zip(name.bytes()) {
            *place = byte;
        }
        Ok(self.bytes(&field))
    }

    /// Appends a field of these bytes.
    pub fn bytes(mut self, field: &[u8]) -> Self {
        self.first_length.get_or_insert(field.len());
        self.bytes.extend_from_slice(field);
        self.bytes.resize(self.bytes.len().next_multiple_of(FIELD_ALIGNMENT), 0);
        self
    }

    /// Appends a field of one byte, for example of `inet_proto`.
    pub fn u8(self, field: u8) -> Self {
        self.bytes(&[field])
    }

    /// Appends a field of two bytes in network byte order, for example of `inet_service`.
    pub fn u16_be(self, field: u16) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    /// Appends a field of four bytes in network byte order.
    pub fn u32_be(self, field: u32) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    /// Appends a field of four bytes in this host's byte order, for example of `mark`.
    pub fn u32_host(self, field: u32) -> Self {
        self.bytes(&field.to_ne_bytes())
    }

    /// Appends a field of `ipv4_addr`.
    pub fn ipv4(self, address: Ipv4Addr) -> Self {
        self.bytes(&address.octets())
    }

    /// Appends a field of `ipv6_addr`.
    pub fn ipv6(self, address: Ipv6Addr) -> Self {
        self.bytes(&address.octets())
    }

    /// Appends a field of `ether_addr`.
    pub fn ether(self, address: [u8; 6]) -> Self {
        self.bytes(&address)
    }

    /// The key's bytes.
    pub fn build(mut self) -> Vec<u8> {
        let first = self.first_length.unwrap_or_default();
        if self.bytes.len() == first.next_multiple_of(FIELD_ALIGNMENT) {
            self.bytes.truncate(first);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_field_is_not_padded_and_each_of_several_is() {
        assert_eq!(key().u8(6).build(), [6]);
        assert_eq!(key().u8(6).u16_be(80).build(), [6, 0, 0, 0, 0, 80, 0, 0]);
        assert_eq!(key().ether([1; 6]).build(), [1; 6]);
        let both = key().ether([1; 6]).ipv4(Ipv4Addr::LOCALHOST).build();
        assert_eq!(both, [1, 1, 1, 1, 1, 1, 0, 0, 127, 0, 0, 1]);
    }

    #[test]
    fn a_name_of_15_bytes_fits_and_of_16_does_not() {
        assert_eq!(key().ifname("123456789012345").map(KeyBuilder::build), Ok(b"123456789012345\0".to_vec()));
        assert!(key().ifname("1234567890123456").is_err());
        assert!(key().ifname("a\0b").is_err());
    }
}
