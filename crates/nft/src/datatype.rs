//! The datatypes of sets' keys and maps' values, as `nft` numbers them (its include/datatype.h).

use crate::error::EncodeError;
use crate::wire::number::numbered;

/// In a concatenation each datatype's number has this many bits of `NFTA_SET_KEY_TYPE` (`TYPE_BITS`).
const TYPE_BITS: u32 = 6;
/// Datatypes' numbers below this fit in them.
const TYPE_LIMIT: u32 = 1 << TYPE_BITS;
/// Fields of a concatenation begin at multiples of this many bytes (`NFT_REG32_SIZE`).
const FIELD_ALIGNMENT: u32 = 4;
/// How many of them 32 bits have room for.
const FIELD_LIMIT: usize = 5;

numbered! {
    /// How `nft` is to read a value's bytes (`BYTEORDER_*`). The kernel does not care.
    pub enum ByteOrder: u32 {
        /// Values of one byte, and concatenations, have none (`BYTEORDER_INVALID`).
        None = 0,
        /// This host's; also of interfaces' names (`BYTEORDER_HOST_ENDIAN`).
        Host = 1,
        /// The network's (`BYTEORDER_BIG_ENDIAN`).
        Big = 2,
    }
}

/// Declares the datatypes of known length: number, length in bytes, byte order, name.
macro_rules! datatypes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $length:literal, $order:ident;)*) => {
        /// What one field of a key or value is. The number, the length and the byte order are `nft`'s.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DataType {
            $($(#[$doc])* $variant,)*
            /// A number that has no type of its own, as `typeof` gives it.
            Integer {
                /// Its length in bytes.
                length: u32,
                /// Its byte order.
                order: ByteOrder,
            },
            /// Any other.
            Other {
                /// `nft`'s number for it; above 63 it stands for a concatenation whose fields are not known.
                number: u32,
                /// Its length in bytes.
                length: u32,
                /// Its byte order.
                order: ByteOrder,
            },
        }

        impl DataType {
            /// All whose length is fixed.
            pub const FIXED: &[Self] = &[$(Self::$variant),*];

            /// Its number, length in bytes and byte order.
            const fn properties(self) -> (u32, u32, ByteOrder) {
                match self {
                    $(Self::$variant => ($number, $length, ByteOrder::$order),)*
                    Self::Integer { length, order } => (4, length, order),
                    Self::Other { number, length, order } => (number, length, order),
                }
            }
        }
    };
}

datatypes! {
    /// `nf_proto`: an address family (`NFPROTO_*`).
    NfProto = 2, 1, None;
    /// `ipv4_addr`.
    Ipv4Addr = 7, 4, Big;
    /// `ipv6_addr`.
    Ipv6Addr = 8, 16, Big;
    /// `ether_addr`.
    EtherAddr = 9, 6, Big;
    /// `ether_type`.
    EtherType = 10, 2, Big;
    /// `arp_op`.
    ArpOp = 11, 2, Big;
    /// `inet_proto`: a protocol over IP (`IPPROTO_*`).
    InetProto = 12, 1, None;
    /// `inet_service`: a port.
    InetService = 13, 2, Big;
    /// `icmp_type`.
    IcmpType = 14, 1, Big;
    /// `tcp_flag`.
    TcpFlag = 15, 1, Big;
    /// `time`, in milliseconds.
    Time = 18, 4, Host;
    /// `mark`: of a packet or connection.
    Mark = 19, 4, Host;
    /// `iface_index`.
    IfaceIndex = 20, 4, Host;
    /// `iface_type` (`ARPHRD_*`).
    IfaceType = 21, 2, Host;
    /// `realm`.
    Realm = 22, 4, Host;
    /// `classid`.
    ClassId = 23, 4, Host;
    /// `uid`.
    Uid = 24, 4, Host;
    /// `gid`.
    Gid = 25, 4, Host;
    /// `ct_state`.
    CtState = 26, 4, Host;
    /// `ct_dir`.
    CtDir = 27, 1, None;
    /// `ct_status`.
    CtStatus = 28, 4, Host;
    /// `icmpv6_type`.
    Icmpv6Type = 29, 1, Big;
    /// `pkt_type`.
    PktType = 31, 1, Host;
    /// `icmp_code`.
    IcmpCode = 32, 1, Big;
    /// `icmpv6_code`.
    Icmpv6Code = 33, 1, Big;
    /// `devgroup`.
    DevGroup = 35, 4, Host;
    /// `dscp`.
    Dscp = 36, 1, Big;
    /// `ecn`.
    Ecn = 37, 1, Big;
    /// `fib_addrtype` (`RTN_*`).
    FibAddrType = 38, 4, Host;
    /// `boolean`.
    Boolean = 39, 1, None;
    /// `ifname`: an interface's name, padded with NULs.
    Ifname = 41, 16, Host;
    /// `cgroupsv2`: a control group's number.
    CgroupsV2 = 46, 8, Host;
}

impl DataType {
    /// `nft`'s number for it.
    pub const fn number(self) -> u32 {
        self.properties().0
    }

    /// The length of its values in bytes, padding not counted.
    pub const fn length(self) -> u32 {
        self.properties().1
    }

    /// The order of its values' bytes.
    pub const fn order(self) -> ByteOrder {
        self.properties().2
    }

    fn fixed(number: u32) -> Option<Self> {
        Self::FIXED.iter().copied().find(|datatype| datatype.number() == number)
    }

    fn new(number: u32, length: u32, order: ByteOrder) -> Self {
        match Self::fixed(number) {
            Some(datatype) if datatype.length() == length => datatype,
            _ if number == 4 => Self::Integer { length, order },
            _ => Self::Other { number, length, order },
        }
    }

    /// Its length in a concatenation, in bytes.
    fn padded_length(self) -> u32 {
        self.length().div_ceil(FIELD_ALIGNMENT).saturating_mul(FIELD_ALIGNMENT)
    }
}

/// The datatypes of a set's key or a map's value: one, or several that are concatenated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DataTypes(pub Vec<DataType>);

impl From<DataType> for DataTypes {
    fn from(datatype: DataType) -> Self {
        Self(vec![datatype])
    }
}

impl<const N: usize> From<[DataType; N]> for DataTypes {
    fn from(datatypes: [DataType; N]) -> Self {
        Self(datatypes.to_vec())
    }
}

impl DataTypes {
    /// Whether there are several.
    pub fn is_concatenation(&self) -> bool {
        self.0.len() > 1
    }

    /// The number for all of them: `NFTA_SET_KEY_TYPE`, 6 bits each.
    ///
    /// # Errors
    /// [`EncodeError::Concatenation`] if there are none or more than 5, or one of several has a number above 63.
    pub fn number(&self) -> Result<u32, EncodeError> {
        let fits = self.0.iter().all(|datatype| datatype.number() < TYPE_LIMIT);
        match self.0.as_slice() {
            [single] => Ok(single.number()),
            [_, ..] if fits && self.0.len() <= FIELD_LIMIT => {
                Ok(self.0.iter().fold(0, |number, datatype| (number << TYPE_BITS) | datatype.number()))
            }
            _ => Err(EncodeError::Concatenation { fields: self.0.len() }),
        }
    }

    /// The length of a key in bytes: `NFTA_SET_KEY_LEN`. Of several fields, each is padded to 4 bytes.
    pub fn length(&self) -> u32 {
        match self.0.as_slice() {
            [single] => single.length(),
            fields => fields.iter().fold(0, |length, field| length.saturating_add(field.padded_length())),
        }
    }

    /// Each field's length in bytes, padding not counted: `NFTA_SET_FIELD_LEN` of `NFTA_SET_DESC_CONCAT`.
    pub fn field_lengths(&self) -> Vec<u32> {
        self.0.iter().map(|datatype| datatype.length()).collect()
    }

    /// The byte order that `nft` notes in a set's user data; none for concatenations.
    pub fn order(&self) -> ByteOrder {
        match self.0.as_slice() {
            [single] => single.order(),
            _ => ByteOrder::None,
        }
    }

    /// Takes a key apart into its fields, without their padding; `None` if its length is another.
    pub fn split<'a>(&self, key: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let mut rest = key;
        let fields = self.0.iter().map(|datatype| {
            let length = datatype.length() as usize;
            let field = rest.get(..length)?;
            let end = if self.is_concatenation() { datatype.padded_length() as usize } else { length };
            rest = rest.get(end..)?;
            Some(field)
        });
        let fields = fields.collect::<Option<Vec<_>>>()?;
        rest.is_empty().then_some(fields)
    }

    /// From what the kernel says; `lengths` are those of a concatenation's fields, if it says them.
    pub(crate) fn from_kernel(number: u32, length: u32, order: ByteOrder, lengths: &[u32]) -> Self {
        let single = || Self::from(DataType::new(number, length, order));
        if number < TYPE_LIMIT {
            return single();
        }
        match concatenation(number, lengths) {
            Some(datatypes) if datatypes.length() == length => datatypes,
            _ => single(),
        }
    }
}

/// The fields that a number stands for; `None` if one's length is not known.
fn concatenation(number: u32, lengths: &[u32]) -> Option<DataTypes> {
    let numbers = (0..FIELD_LIMIT as u32).rev().map(|place| (number >> (place * TYPE_BITS)) % TYPE_LIMIT);
    let numbers: Vec<u32> = numbers.skip_while(|number| *number == 0).collect();
    let field = |(place, number): (usize, &u32)| match lengths.get(place) {
        Some(length) => Some(DataType::new(*number, *length, ByteOrder::None)),
        None => DataType::fixed(*number),
    };
    let fields = numbers.iter().enumerate().map(field).collect::<Option<Vec<_>>>()?;
    // Two high bits are left over; a number that has them is no concatenation.
    (DataTypes(fields.clone()).number() == Ok(number)).then_some(DataTypes(fields))
}

#[cfg(test)]
mod tests;
