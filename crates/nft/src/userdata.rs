//! What `nft` keeps with objects for itself: entries of a type (u8), a length (u8) and as many bytes (libnftnl's
//! udata.h). The kernel stores up to 256 bytes of them unread (`NFT_USERDATA_MAXLEN`).

use std::collections::BTreeMap;

use crate::error::{EncodeError, Encoded};
use crate::wire::Writer;

/// `NFT_USERDATA_MAXLEN`, in bytes.
const LIMIT: usize = 256;
/// The length of an entry's type and length, in bytes.
const ENTRY_HEADER: usize = 2;
/// The comment of a table, chain, rule or element (`NFTNL_UDATA_*_COMMENT`).
pub(crate) const COMMENT: u8 = 0;

/// The entries, by type. `nft` writes them in this order.
pub(crate) type Entries = BTreeMap<u8, Vec<u8>>;

/// Adds a comment, if there is one, and the NUL that ends it.
pub(crate) fn insert_comment(entries: &mut Entries, entry: u8, comment: Option<&str>) -> Encoded {
    let Some(comment) = comment else { return Ok(()) };
    let used: usize = entries.values().map(|value| ENTRY_HEADER + value.len()).sum();
    let limit = LIMIT.saturating_sub(used + ENTRY_HEADER + 1);
    if comment.len() > limit || comment.contains('\0') {
        return Err(EncodeError::Comment { length: comment.len(), limit });
    }
    entries.insert(entry, [comment.as_bytes(), &[0]].concat());
    Ok(())
}

/// Takes the comment out; leaves what is not text.
pub(crate) fn take_comment(entries: &mut Entries, entry: u8) -> Option<String> {
    let text = entries.get(&entry)?.strip_suffix(&[0])?;
    let comment = std::str::from_utf8(text).ok().filter(|text| !text.contains('\0'))?.to_owned();
    entries.remove(&entry);
    Some(comment)
}

/// Appends the entries as an attribute, unless there are none.
pub(crate) fn put(writer: &mut Writer, attribute: u16, entries: &Entries) -> Encoded {
    if entries.is_empty() { Ok(()) } else { writer.put(attribute, &bytes(entries)?) }
}

/// Appends a comment as an object's only user data.
pub(crate) fn put_comment(writer: &mut Writer, attribute: u16, comment: Option<&str>) -> Encoded {
    let mut entries = Entries::new();
    insert_comment(&mut entries, COMMENT, comment)?;
    put(writer, attribute, &entries)
}

fn bytes(entries: &Entries) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = vec![];
    for (entry, value) in entries {
        let length = value.len();
        bytes.extend([*entry, u8::try_from(length).map_err(|_| EncodeError::UserData { length })?]);
        bytes.extend(value);
    }
    if bytes.len() > LIMIT { Err(EncodeError::UserData { length: bytes.len() }) } else { Ok(bytes) }
}

/// Reads entries, up to where the bytes are none. Whoever made the object may have put anything there, so that
/// this cannot fail.
pub(crate) fn entries(bytes: &[u8]) -> Entries {
    let mut entries = Entries::new();
    let mut rest = bytes;
    while let [entry, length, tail @ ..] = rest {
        let Some((value, next)) = tail.split_at_checked(usize::from(*length)) else { break };
        entries.insert(*entry, value.to_vec());
        rest = next;
    }
    entries
}

/// Reads the comment of a table, chain or rule.
pub(crate) fn comment(bytes: &[u8]) -> Option<String> {
    take_comment(&mut entries(bytes), COMMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_of_253_bytes_fits_and_a_longer_one_is_refused() {
        let mut writer = Writer::default();
        assert_eq!(put_comment(&mut writer, 6, Some(&"x".repeat(253))), Ok(()));
        assert_eq!(writer.bytes.len(), 4 + LIMIT);
        let refused = EncodeError::Comment { length: 254, limit: 253 };
        assert_eq!(put_comment(&mut writer, 6, Some(&"x".repeat(254))), Err(refused));
        assert!(put_comment(&mut writer, 6, Some("a\0b")).is_err());
    }

    #[test]
    fn bytes_that_are_no_entries_are_left_out() {
        assert_eq!(entries(&[0, 3, 1, 2]), Entries::new());
        assert_eq!(entries(&[7, 1, 9, 0]), Entries::from([(7, vec![9])]));
        assert_eq!(comment(&[0, 2, b'x', b'y']), None);
    }
}
