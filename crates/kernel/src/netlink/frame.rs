//! The frames of a netlink datagram (`struct nlmsghdr`, linux/netlink.h).

use super::attribute::{attributes, text};
use crate::error::KernelError;

/// `NLMSG_ERROR`: an acknowledgement or an error.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;
/// `NLM_F_CAPPED`: the request's payload is not repeated in the error.
const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: the error carries attributes.
const ACK_TLVS: u16 = 0x200;
/// `NLM_F_DUMP_INTR`: what was dumped changed meanwhile.
const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLMSGERR_ATTR_MSG`: the error in words.
const ATTR_MSG: u16 = 1;
const HEADER: usize = 16;

/// One frame of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The message type.
    pub kind: u16,
    /// `NLM_F_…`.
    pub flags: u16,
    /// The number of the request that it answers.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// What a frame means for its request.
#[derive(Debug)]
pub enum Meaning {
    /// A message; more may follow.
    Message,
    /// The request is done.
    Done,
    /// The request failed.
    Failed(KernelError),
}

impl Frame<'_> {
    /// What the frame means for its request.
    pub fn meaning(&self) -> Meaning {
        match self.kind {
            ERROR | DONE => self.outcome(),
            _ => Meaning::Message,
        }
    }

    /// Whether what is dumped changed since the frame before. The dump goes on nevertheless, and its end may be
    /// what says so.
    pub fn is_interrupted(&self) -> bool {
        self.flags & DUMP_INTERRUPTED != 0
    }

    fn outcome(&self) -> Meaning {
        match self.payload.first_chunk().map(|b| i32::from_ne_bytes(*b)) {
            Some(0) => Meaning::Done,
            // A dump that ends well carries its return value here: nothing, or a length.
            Some(code) if self.kind == DONE && code > 0 => Meaning::Done,
            Some(code) => {
                Meaning::Failed(KernelError::Errno { errno: code.saturating_neg(), text: self.text() })
            }
            None if self.kind == DONE => Meaning::Done,
            None => Meaning::Failed(KernelError::Malformed("an acknowledgement without a code")),
        }
    }

    /// The error in words, where the kernel gives them.
    fn text(&self) -> Option<String> {
        if self.flags & ACK_TLVS == 0 {
            return None;
        }
        let skip = if self.kind == DONE { 4 } else { 4 + self.repeated()? };
        let behind = self.payload.get(skip..)?;
        let (_, said) = attributes(behind).find(|(kind, _)| *kind == ATTR_MSG)?;
        Some(text(said))
    }

    /// The length of the request's header, and of its payload where it is repeated.
    fn repeated(&self) -> Option<usize> {
        let length = u32::from_ne_bytes(*self.payload.get(4..)?.first_chunk()?) as usize;
        Some(if self.flags & CAPPED != 0 { HEADER } else { length.next_multiple_of(4) })
    }
}

/// The frames of a datagram. A malformed one ends them.
pub fn frames(mut datagram: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    std::iter::from_fn(move || {
        let header: &[u8; HEADER] = datagram.first_chunk()?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let payload = datagram.get(HEADER..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Frame {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            payload,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + payload.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([7, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn cut_datagrams_end_quietly() {
        let whole = [frame(16, 0, &[1, 2, 3]), frame(ERROR, 0, &0i32.to_ne_bytes())].concat();
        assert_eq!(frames(&whole).count(), 2);
        for cut in 0..whole.len() {
            assert!(frames(&whole[..cut]).count() < 2);
        }
        assert_eq!(frames(&[0; 64]).take(10).count(), 0, "a length of zero must not loop");
    }

    #[test]
    fn errors_carry_the_kernels_words() {
        let mut payload = (-17i32).to_ne_bytes().to_vec();
        payload.extend([0; HEADER]);
        payload.extend([10, 0, ATTR_MSG as u8, 0]);
        payload.extend(b"exists\0\0");
        let bytes = frame(ERROR, CAPPED | ACK_TLVS, &payload);
        let Meaning::Failed(KernelError::Errno { errno, text }) = frames(&bytes).next().unwrap().meaning()
        else {
            panic!()
        };
        assert_eq!((errno, text.as_deref()), (17, Some("exists")));
    }
}
