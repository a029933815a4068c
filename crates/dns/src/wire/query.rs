//! A question as a client sent it.

use super::name::KEY_MAX;
use super::record::Record;
use domain::base::Message;
use domain::base::iana::Opcode;

/// The octets of a header (RFC 1035 section 4.1.1).
pub const HEADER: usize = 12;
/// The largest answer by UDP without EDNS (RFC 1035 section 2.3.4).
const UDP_MAX: u16 = 512;
/// The largest answer by UDP that is never fragmented (DNS flag day 2020).
pub const UDP_SAFE: u16 = 1232;
/// How many times the question an answer by UDP may be long: who wants more proves by TCP where it is.
const AMPLIFICATION: usize = 10;
/// The class of the Internet.
pub const IN: u16 = 1;

/// Types that are told apart here (IANA, Domain Name System parameters).
pub mod rtype {
    #![allow(missing_docs, reason = "they are called what they are")]
    pub const A: u16 = 1;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const RRSIG: u16 = 46;
    pub const NSEC: u16 = 47;
    pub const NSEC3: u16 = 50;
    pub const ANY: u16 = 255;
}

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Query<'m> {
    /// The client's number of it.
    pub id: u16,
    /// The second and third octet of the header's flags, as the client sent them.
    pub flags: [u8; 2],
    /// The question section as it was sent.
    pub question: &'m [u8],
    /// The name.
    pub key: KeyBuffer,
    /// The type asked for.
    pub rtype: u16,
    /// The class asked for.
    pub class: u16,
    /// What the client said of itself by EDNS (RFC 6891).
    pub edns: Option<Edns>,
    /// The octets of the whole message.
    pub length: usize,
}

/// What a client says by EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The largest answer that it takes by UDP.
    pub size: u16,
    /// The version: there is one, 0.
    pub version: u8,
    /// Whether it wants signatures.
    pub dnssec: bool,
}

/// A key without memory of its own.
#[derive(Clone, Copy)]
pub struct KeyBuffer {
    bytes: [u8; KEY_MAX],
    length: u8,
}

impl Default for KeyBuffer {
    fn default() -> Self {
        Self { bytes: [0; KEY_MAX], length: 0 }
    }
}

impl KeyBuffer {
    /// Adds a label, with its length before it, in lower case; none if it is too long then.
    pub fn push(&mut self, label: &[u8]) -> Option<()> {
        let length = usize::from(self.length);
        let place = self.bytes.get_mut(length..length + label.len())?;
        place.copy_from_slice(label);
        place.make_ascii_lowercase(); // a length is below 64, and no letter
        self.length += label.len() as u8;
        Some(())
    }

    /// The key.
    pub fn get(&self) -> &[u8] {
        &self.bytes[..self.length.into()]
    }
}

impl std::fmt::Debug for KeyBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&super::name::text(self.get()))
    }
}

/// What is no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It gets no answer: an answer itself, or too short to have a number. Two servers that answer each other's
    /// errors would never end.
    Silent,
    /// It makes no sense; the client's number of it and its flags.
    Format(u16, [u8; 2]),
    /// It asks for something else than names.
    Operation(u16, [u8; 2]),
}

impl<'m> Query<'m> {
    /// Reads a question.
    pub fn parse(bytes: &'m [u8]) -> Result<Self, Fault> {
        let message = Message::from_slice(bytes).map_err(|_| Fault::Silent)?;
        let (header, counts) = (message.header(), message.header_counts());
        if header.qr() {
            return Err(Fault::Silent);
        }
        let (id, flags) = (header.id(), [bytes[2], bytes[3]]);
        if header.opcode() != Opcode::QUERY {
            return Err(Fault::Operation(id, flags));
        }
        let format = Fault::Format(id, flags);
        if (counts.qdcount(), counts.ancount(), counts.nscount()) != (1, 0, 0) {
            return Err(format);
        }
        let (key, end) = name_at(bytes, HEADER).ok_or(format)?;
        let fixed = bytes.get(end..end + 4).ok_or(format)?;
        let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let edns = edns(bytes, end + 4, counts.arcount()).ok_or(format)?;
        let question = &bytes[HEADER..end + 4];
        Ok(Query { id, flags, question, key, rtype: word(0), class: word(2), edns, length: bytes.len() })
    }

    /// The most octets of an answer by UDP.
    pub fn udp_limit(&self) -> usize {
        let size = self.edns.map_or(UDP_MAX, |edns| edns.size.clamp(UDP_MAX, UDP_SAFE));
        usize::from(size).min(AMPLIFICATION * self.length)
    }

    /// The same question in as few octets as it takes, for as long as somebody waits for its answer.
    pub fn plain(&self) -> Box<[u8]> {
        let mut message = Vec::with_capacity(HEADER + self.question.len() + 11);
        message.extend(self.id.to_be_bytes());
        message.extend(self.flags);
        message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        message.extend(self.question);
        if let Some(edns) = self.edns {
            message.extend([0, 0, rtype::OPT as u8]);
            message.extend(edns.size.to_be_bytes());
            message.extend([0, edns.version, if edns.dnssec { 0x80 } else { 0 }, 0, 0, 0]);
        }
        message.into()
    }

    /// Whether signatures are wanted.
    pub fn wants_dnssec(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec)
    }
}

/// What the additional section says: nothing, or one OPT record (RFC 6891 section 6.1.1). None if it makes no sense;
/// a question needs no more than that and a signature.
fn edns(bytes: &[u8], mut at: usize, count: u16) -> Option<Option<Edns>> {
    const MOST: u16 = 4;
    let mut found = None;
    for _ in 0..Some(count).filter(|count| *count <= MOST)? {
        let record = Record::at(bytes, at)?;
        if record.rtype == rtype::OPT {
            let is_first = found.is_none() && bytes[at] == 0;
            let [_, version, flags, _] = record.ttl.to_be_bytes();
            found = Some(Edns { size: record.class, version, dnssec: flags & 0x80 != 0 });
            is_first.then_some(())?;
        }
        at = record.end;
    }
    Some(found)
}

/// The name at an offset, in lower case, and the offset behind it. Pointers have nothing to point at in a question.
pub fn name_at(bytes: &[u8], mut at: usize) -> Option<(KeyBuffer, usize)> {
    let mut key = KeyBuffer::default();
    loop {
        let size = usize::from(*bytes.get(at)?);
        if size == 0 {
            return Some((key, at + 1));
        }
        key.push(bytes.get(at..=at + size).filter(|_| size < 64)?)?;
        at += size + 1;
    }
}
