//! A question as a client sent it.

use super::name::KEY_MAX;
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
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const OPT: u16 = 41;
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

impl KeyBuffer {
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
        let edns = match counts.arcount() {
            0 => None,
            _ => edns(message).ok_or(format)?,
        };
        let question = &bytes[HEADER..end + 4];
        Ok(Query { id, flags, question, key, rtype: word(0), class: word(2), edns, length: bytes.len() })
    }

    /// The most octets of an answer by UDP.
    pub fn udp_limit(&self) -> usize {
        let size = self.edns.map_or(UDP_MAX, |edns| edns.size.clamp(UDP_MAX, UDP_SAFE));
        usize::from(size).min(AMPLIFICATION * self.length)
    }

    /// Whether signatures are wanted.
    pub fn wants_dnssec(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec)
    }
}

fn edns(message: &Message<[u8]>) -> Option<Option<Edns>> {
    let mut section = message.additional().ok()?;
    // An OPT that cannot be read is no OPT: look that all of it can be.
    if section.by_ref().any(|record| record.is_err()) {
        return None;
    }
    Some(message.opt().map(|opt| Edns {
        size: opt.udp_payload_size(),
        version: opt.version(),
        dnssec: opt.dnssec_ok(),
    }))
}

/// The name at an offset, in lower case, and the offset behind it. Pointers have nothing to point at in a question.
pub fn name_at(bytes: &[u8], mut at: usize) -> Option<(KeyBuffer, usize)> {
    let mut key = KeyBuffer { bytes: [0; KEY_MAX], length: 0 };
    let mut length = 0;
    loop {
        let size = usize::from(*bytes.get(at)?);
        if size == 0 {
            key.length = u8::try_from(length).ok()?;
            return Some((key, at + 1));
        }
        let label = bytes.get(at..=at + size).filter(|_| size < 64)?;
        let place = key.bytes.get_mut(length..length + size + 1)?;
        place.copy_from_slice(label);
        place.make_ascii_lowercase(); // a length is below 64, and no letter
        length += size + 1;
        at += size + 1;
    }
}
