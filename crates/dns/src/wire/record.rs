//! Records of a message, found without following what names point at, and names in a bounded number of steps: however
//! a message is made, reading it takes time in proportion to its length.

use super::query::KeyBuffer;

/// Where a record is (RFC 1035 section 4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it begins: its owner's name.
    pub start: usize,
    /// Its type.
    pub rtype: u16,
    /// Its class.
    pub class: u16,
    /// How long it may be remembered, in seconds.
    pub ttl: u32,
    /// Where its data begin: the TTL stands six octets before.
    pub data: usize,
    /// Where it ends.
    pub end: usize,
}

impl Record {
    /// The record at an offset, if there is a whole one.
    pub fn at(bytes: &[u8], start: usize) -> Option<Self> {
        let fixed = skip(bytes, start)?;
        let head: [u8; 10] = bytes.get(fixed..fixed + 10)?.try_into().ok()?;
        let [t0, t1, c0, c1, l0, l1, l2, l3, d0, d1] = head;
        let data = fixed + 10;
        let end = data + usize::from(u16::from_be_bytes([d0, d1]));
        bytes.get(..end)?;
        let (rtype, class) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([c0, c1]));
        Some(Self { start, rtype, class, ttl: u32::from_be_bytes([l0, l1, l2, l3]), data, end })
    }

    /// Where its TTL stands.
    pub fn ttl_at(&self) -> usize {
        self.data - 6
    }
}

/// Where a name ends that begins at an offset.
fn skip(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            size @ 1..64 => at += usize::from(size) + 1,
            _ => return None,
        }
    }
}

/// Reads names that point at others (RFC 1035 section 4.1.4), in a bounded number of steps for all of a message.
#[derive(Debug)]
pub struct Names<'m> {
    bytes: &'m [u8],
    steps: usize,
}

impl<'m> Names<'m> {
    /// Of a message. Honest ones take a few steps for each name: less than two for an octet.
    pub fn new(bytes: &'m [u8]) -> Self {
        Self { bytes, steps: 1024 + 2 * bytes.len() }
    }

    /// The name at an offset, in lower case; none if it makes no sense, or too many steps were taken.
    pub fn read(&mut self, mut at: usize) -> Option<KeyBuffer> {
        let mut key = KeyBuffer::default();
        loop {
            self.steps = self.steps.checked_sub(1)?;
            let size = *self.bytes.get(at)?;
            match size {
                0 => return Some(key),
                0xc0.. => {
                    let to = usize::from(size & 0x3f) << 8 | usize::from(*self.bytes.get(at + 1)?);
                    at = Some(to).filter(|to| *to < at)?;
                }
                1..64 => {
                    key.push(self.bytes.get(at..=at + usize::from(size))?)?;
                    at += usize::from(size) + 1;
                }
                _ => return None,
            }
        }
    }
}
