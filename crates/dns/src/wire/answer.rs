//! An answer, written straight into what is sent.

use super::query::{IN, Query, UDP_SAFE, rtype};
use std::net::IpAddr;

/// Response codes (RFC 1035 section 4.1.1, RFC 6891 section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// There is an answer, or none of this type.
    NoError = 0,
    /// The question makes no sense.
    FormErr = 1,
    /// Nobody could be asked.
    ServFail = 2,
    /// There is no such name.
    NxDomain = 3,
    /// Something else than names was asked for.
    NotImp = 4,
    /// The question is not answered to this client.
    Refused = 5,
    /// The version of EDNS is not known.
    BadVers = 16,
}

/// Flags of the header's first octet of flags: an answer, truncated, from who knows.
pub const QR: u8 = 0x80;
pub const AA: u8 = 0x04;
pub const TC: u8 = 0x02;
pub const RD: u8 = 0x01;
/// Flags of the second.
pub const RA: u8 = 0x80;
pub const AD: u8 = 0x20;
pub const CD: u8 = 0x10;

/// How long a container's name may be remembered: not at all. Its next address may be another.
pub const TTL: u32 = 0;

/// The octets of an OPT record without options.
const OPT_LENGTH: usize = 11;

/// An answer that is being written.
#[derive(Debug)]
pub struct Answer<'b> {
    to: &'b mut Vec<u8>,
    start: usize,
    limit: usize,
    count: u16,
    truncated: bool,
}

impl<'b> Answer<'b> {
    /// Begins one: the header and the question. It takes at most `limit` octets.
    pub fn new(to: &'b mut Vec<u8>, query: &Query<'_>, limit: usize) -> Self {
        let start = to.len();
        to.extend(query.id.to_be_bytes());
        to.extend([QR | query.flags[0] & RD, query.flags[1] & CD]);
        to.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        to.extend(query.question);
        let limit = limit.saturating_sub(query.edns.map_or(0, |_| OPT_LENGTH));
        Self { to, start, limit, count: 0, truncated: false }
    }

    /// Adds a record about the name that was asked for; false if there is no room for it.
    pub fn push(&mut self, (rtype, ttl): (u16, u32), data: &[u8]) -> bool {
        let size = 12 + data.len();
        if self.truncated || self.to.len() - self.start + size > self.limit {
            self.truncated = true;
            return false;
        }
        self.to.extend([0xc0, 12]); // the name in the question
        self.to.extend(rtype.to_be_bytes());
        self.to.extend(IN.to_be_bytes());
        self.to.extend(ttl.to_be_bytes());
        self.to.extend((data.len() as u16).to_be_bytes());
        self.to.extend(data);
        self.count += 1;
        true
    }

    /// Adds an address.
    pub fn push_address(&mut self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.push((rtype::A, TTL), &ip.octets()),
            IpAddr::V6(ip) => self.push((rtype::AAAA, TTL), &ip.octets()),
        }
    }

    /// Ends it with a code.
    pub fn finish(self, query: &Query<'_>, (code, recursive): (Code, bool)) {
        let header = &mut self.to[self.start..];
        if self.truncated {
            header[2] |= TC;
        }
        if matches!(code, Code::NoError | Code::NxDomain) {
            header[2] |= AA;
        }
        if recursive {
            header[3] |= RA;
        }
        header[3] |= code as u8 & 0x0f;
        header[6..8].copy_from_slice(&self.count.to_be_bytes());
        push_opt(self.to, self.start, query, code as u8 >> 4);
    }
}

/// Adds what we say by EDNS, where the client said something.
pub fn push_opt(to: &mut Vec<u8>, start: usize, query: &Query<'_>, code: u8) {
    let Some(edns) = query.edns else { return };
    let dnssec = if edns.dnssec { 0x80 } else { 0 };
    to.extend([0, 0, 41]);
    to.extend(UDP_SAFE.to_be_bytes());
    to.extend([code, 0, dnssec, 0, 0, 0]);
    to[start + 11] = 1;
}

/// An answer that only says why there is none; it has no question if that could not be read.
pub fn refusal(id: u16, flags: [u8; 2], code: Code) -> [u8; 12] {
    let [high, low] = id.to_be_bytes();
    [high, low, QR | flags[0] & (0x78 | RD), code as u8, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// A name as record data.
pub fn name_data(key: &[u8]) -> Vec<u8> {
    let mut data = key.to_vec();
    data.push(0);
    data
}

/// Text as record data: strings of up to 255 octets (RFC 1035 section 3.3.14).
pub fn text_data(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(255).flat_map(|part| [&[part.len() as u8], part].concat()).collect()
}
