//! How netlink lays out messages, attributes and values (linux/netlink.h, linux/netfilter/nfnetlink.h).

pub(crate) mod attribute;
pub(crate) mod message;
pub(crate) mod number;
pub(crate) mod value;
pub(crate) mod writer;

pub(crate) use attribute::{Attribute, Attributes};
pub(crate) use value::Value;
pub(crate) use writer::Writer;

/// Messages and attributes begin at multiples of this many bytes (`NLMSG_ALIGNTO`, `NLA_ALIGNTO`).
pub(crate) const ALIGNMENT: usize = 4;
/// The length of an attribute's header in bytes (`NLA_HDRLEN`).
const ATTRIBUTE_HEADER: usize = 4;
/// The element of every list of attributes (`NFTA_LIST_ELEM`).
pub(crate) const NFTA_LIST_ELEM: u16 = 1;

/// Reads an array at an offset; `None` if the bytes end before.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}
