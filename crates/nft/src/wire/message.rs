//! Netlink's and nfnetlink's message headers (`struct nlmsghdr`, `struct nfgenmsg`).

use super::{ALIGNMENT, Writer, array_at};
use crate::error::{DecodeError, EncodeError, Encoded};

/// The length of `struct nlmsghdr` in bytes.
pub(crate) const HEADER: usize = 16;
/// Where the flags are in it.
const FLAGS_OFFSET: usize = 6;
/// Where the sequence number is.
const SEQUENCE_OFFSET: usize = 8;
/// nf_tables' number among nfnetlink's subsystems (`NFNL_SUBSYS_NFTABLES`).
pub(crate) const NFNL_SUBSYS_NFTABLES: u16 = 10;

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
/// Of an error message: the request it quotes was cut to its header (`NLM_F_CAPPED`).
pub(crate) const NLM_F_CAPPED: u16 = 0x100;
/// Of an error message: attributes follow the quoted request (`NLM_F_ACK_TLVS`).
pub(crate) const NLM_F_ACK_TLVS: u16 = 0x200;

/// What a header says. `family` and `resource` are of `struct nfgenmsg`, which begins every nfnetlink message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Header {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) family: u8,
    pub(crate) resource: u16,
}

impl Header {
    /// Its bytes; the length, which comes first, is not known yet.
    fn bytes(&self) -> [u8; HEADER + 4] {
        let mut bytes = [0; HEADER + 4];
        bytes[4..6].copy_from_slice(&self.kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&self.flags.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        // The version, behind the family, is NFNETLINK_V0.
        bytes[HEADER] = self.family;
        bytes[HEADER + 2..].copy_from_slice(&self.resource.to_be_bytes());
        bytes
    }
}

impl Writer {
    /// Appends a message with the attributes `fill` appends. If that fails, what was appended is no message.
    pub(crate) fn message(&mut self, header: Header, fill: impl FnOnce(&mut Self) -> Encoded) -> Encoded {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&header.bytes());
        fill(self)?;
        let length = self.bytes.len() - start;
        let checked = u32::try_from(length).map_err(|_| EncodeError::MessageTooLong { length })?;
        self.overwrite(start, &checked.to_ne_bytes());
        Ok(())
    }

    /// Sets a flag in the header of the message that begins at `start`.
    pub(crate) fn set_message_flag(&mut self, start: usize, flag: u16) {
        let flags = array_at(&self.bytes, start + FLAGS_OFFSET).map_or(0, u16::from_ne_bytes);
        self.overwrite(start + FLAGS_OFFSET, &(flags | flag).to_ne_bytes());
    }

    /// Sets the sequence number of the message that begins at `start`.
    pub(crate) fn set_message_sequence(&mut self, start: usize, sequence: u32) {
        self.overwrite(start + SEQUENCE_OFFSET, &sequence.to_ne_bytes());
    }
}

/// A message as it was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

impl Message<'_> {
    /// The family and what follows `struct nfgenmsg`.
    pub(crate) fn family_and_attributes(&self) -> Result<(u8, &[u8]), DecodeError> {
        let short = DecodeError::Message { length: HEADER + self.body.len(), available: self.body.len() };
        let family = *self.body.first().ok_or_else(|| short.clone())?;
        Ok((family, self.body.get(4..).ok_or(short)?))
    }
}

/// The messages in a datagram, in order. Ends after the first error.
#[derive(Clone, Debug)]
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (bytes, length) = (self.0, array_at(self.0, 0).map_or(0, u32::from_ne_bytes));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let message = bytes.get(..length).and_then(whole_message);
        self.0 = match message {
            Some(_) => bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default(),
            None => &[],
        };
        Some(message.ok_or(DecodeError::Message { length, available: bytes.len() }))
    }
}

fn whole_message(bytes: &[u8]) -> Option<Message<'_>> {
    Some(Message {
        kind: u16::from_ne_bytes(array_at(bytes, 4)?),
        flags: u16::from_ne_bytes(array_at(bytes, FLAGS_OFFSET)?),
        sequence: u32::from_ne_bytes(array_at(bytes, SEQUENCE_OFFSET)?),
        body: bytes.get(HEADER..)?,
    })
}
