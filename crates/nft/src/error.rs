//! What can go wrong when messages are written and read.

/// Why something cannot be written as a netlink message. Nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// An attribute's length must fit in 16 bits (`struct nlattr`), its 4 bytes of header included.
    #[error("attribute {attribute} would be {length} bytes long, more than 65,535")]
    AttributeTooLong {
        /// The attribute's number, within its nest.
        attribute: u16,
        /// Its length in bytes, header included.
        length: usize,
    },
    /// A message's length must fit in 32 bits (`struct nlmsghdr`).
    #[error("a message would be {length} bytes long, more than 32 bits can say")]
    MessageTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A name or other text has a NUL byte, or more bytes than `limit`.
    #[error("{text:?} has a NUL byte or more than {limit} bytes")]
    Text {
        /// The text that was refused.
        text: String,
        /// The longest it may be, in bytes, without the NUL that ends it.
        limit: usize,
    },
    /// A comment has a NUL byte, or does not fit in the 256 bytes of user data (`NFT_USERDATA_MAXLEN`).
    #[error("a comment of {length} bytes has a NUL byte or is longer than {limit} bytes")]
    Comment {
        /// The comment's length in bytes.
        length: usize,
        /// The longest it may be here, in bytes.
        limit: usize,
    },
    /// User data has more than 256 bytes (`NFT_USERDATA_MAXLEN`), or one entry of it more than 255.
    #[error("user data of {length} bytes is too long")]
    UserData {
        /// The length in bytes.
        length: usize,
    },
    /// A key or value is not 1 to 64 bytes long (`NFT_DATA_VALUE_MAXLEN`).
    #[error("a key or value of {length} bytes is not 1 to 64 bytes long")]
    ValueLength {
        /// Its length in bytes.
        length: usize,
    },
    /// Concatenated datatypes do not fit in `NFTA_SET_KEY_TYPE`: 1 to 5 fields, their numbers below 64.
    #[error("{fields} datatypes cannot be concatenated, or have numbers above 63")]
    Concatenation {
        /// How many fields there are.
        fields: usize,
    },
    /// A set's flags contradict its key or value.
    #[error("the flags {flags:#x} of set {set:?} contradict its key or value: {expected}")]
    SetFlags {
        /// The set's name.
        set: String,
        /// Its flags (`NFT_SET_*`).
        flags: u32,
        /// What the kernel needs to see instead.
        expected: &'static str,
    },
    /// An interval's first and last key differ in length, are in the wrong order, or have no bytes.
    #[error("an interval's last key must be as long as its first and not smaller")]
    Interval,
    /// Bytes that shall be sent as they are do not consist of whole messages.
    #[error("these bytes are no whole messages")]
    NoMessages,
}

/// Why bytes are not a message of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A message's length is less than its header's or more than the bytes there are.
    #[error("a message says it has {length} bytes, {available} are there")]
    Message {
        /// The length the message's header says, in bytes; 0 if not even the header is whole.
        length: usize,
        /// How many bytes there are.
        available: usize,
    },
    /// An attribute's length is less than its header's or more than the bytes there are.
    #[error("an attribute says it has {length} bytes, {available} are there")]
    Attribute {
        /// The length the attribute's header says, in bytes; 0 if not even the header is whole.
        length: usize,
        /// How many bytes there are.
        available: usize,
    },
    /// An attribute's value has the wrong length, an unknown number, or is not UTF-8.
    #[error("attribute {attribute} has a value of {length} bytes that is none of its type's")]
    Value {
        /// The attribute's number, within its nest.
        attribute: u16,
        /// The value's length in bytes.
        length: usize,
    },
    /// A message lacks an attribute that the kernel always sends.
    #[error("a message has no {0}")]
    Missing(&'static str),
    /// A message is of an address family that is not one of [`Family`](crate::Family)'s.
    #[error("a message is of the unknown family {0}")]
    Family(u8),
}

/// The result of writing something.
pub(crate) type Encoded = Result<(), EncodeError>;
