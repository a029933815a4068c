//! What is asked of somebody else, and what he answered, in a form that can be given to others.

use super::judge::TTL_MAX;
use crate::wire::answer::{AD, CD, Code, QR, RA, RD, TC, push_opt};
use crate::wire::query::{HEADER, Query, UDP_SAFE};
use crate::wire::record::Record;

/// What is asked of somebody else.
#[derive(Clone, Debug)]
pub struct Question {
    /// The question section, in lower case.
    pub bytes: Box<[u8]>,
    /// Whether signatures are wanted.
    pub dnssec: bool,
    /// Whether it shall not be checked (CD, RFC 4035 section 3.2.2).
    pub unchecked: bool,
}

impl Question {
    /// Of a client's question.
    pub fn of(query: &Query<'_>) -> Self {
        let mut bytes: Box<[u8]> = query.question.into();
        let name = query.key.get().len();
        bytes[..name].copy_from_slice(query.key.get());
        Self { bytes, dnssec: query.wants_dnssec(), unchecked: query.flags[1] & CD != 0 }
    }

    /// The message with a number; nothing of the client's is in it but the question.
    pub fn message(&self, id: u16, edns: bool) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        message.extend([RD, if self.unchecked { CD } else { 0 }, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
        message.extend(&*self.bytes);
        if edns {
            message.extend([0, 0, 41]);
            message.extend(UDP_SAFE.to_be_bytes());
            message.extend([0, 0, if self.dnssec { 0x80 } else { 0 }, 0, 0, 0]);
        }
        message
    }
}

/// An answer that may be given to whoever asks the same.
#[derive(Debug)]
pub struct Reply {
    flags: [u8; 2],
    counts: [u16; 2],
    /// What follows the question: answers; where there are none, who says so.
    body: Box<[u8]>,
    /// Where each record begins its TTL, and where it ends, in the body.
    records: Box<[(u16, u16)]>,
    /// How long it may be remembered, in seconds; 0 for not at all.
    pub ttl: u32,
}

impl Reply {
    /// Of records of a message that stand one after the other behind its question; `counts` of them are answers and
    /// who denies them.
    pub fn new(
        (bytes, start): (&[u8], usize),
        taken: &[Record],
        (counts, ttl): ([u16; 2], u32),
    ) -> Option<Self> {
        let end = taken.last().map_or(start, |record| record.end);
        let offset = |at: usize| u16::try_from(at - start).ok();
        let records = taken.iter().map(|record| Some((offset(record.ttl_at())?, offset(record.end)?)));
        Some(Self {
            flags: [bytes[2], bytes[3]],
            counts,
            body: bytes.get(start..end)?.into(),
            records: records.collect::<Option<_>>()?,
            ttl,
        })
    }

    /// That nobody said anything: known for a second, so that not everybody who asks again makes us ask again
    /// (RFC 9520 section 3.2).
    pub fn failure() -> Self {
        let (body, records) = (Box::default(), Box::default());
        Self { flags: [0, Code::ServFail as u8], counts: [0; 2], body, records, ttl: 1 }
    }

    /// The octets that it takes in memory.
    pub fn size(&self) -> usize {
        self.body.len() + self.records.len() * 4 + 64
    }

    /// Writes it as the answer to a client's question, `age` seconds after it came.
    pub fn write(&self, to: &mut Vec<u8>, query: &Query<'_>, (age, limit): (u32, usize)) {
        let start = to.len();
        let own = query.question.len() + HEADER + query.edns.map_or(0, |_| 11);
        let room = limit.saturating_sub(own);
        let fitting = self.records.iter().take_while(|(_, end)| usize::from(*end) <= room).count();
        let length = self.records[..fitting].last().map_or(0, |(_, end)| usize::from(*end));
        let answers = self.counts[0].min(fitting as u16);
        let truncated = if answers < self.counts[0] { TC } else { 0 };
        let wants_ad = query.wants_dnssec() || query.flags[1] & AD != 0;
        to.extend(query.id.to_be_bytes());
        to.push(QR | query.flags[0] & RD | truncated);
        to.push(RA | query.flags[1] & CD | self.flags[1] & if wants_ad { AD | 0x0f } else { 0x0f });
        to.extend([0, 1]);
        to.extend(answers.to_be_bytes());
        to.extend((fitting as u16 - answers).to_be_bytes());
        to.extend([0, 0]);
        to.extend(query.question);
        let body = to.len();
        to.extend(&self.body[..length]);
        for (ttl_at, _) in &self.records[..fitting] {
            let place = &mut to[body + usize::from(*ttl_at)..][..4];
            let ttl = u32::from_be_bytes(place.try_into().unwrap_or_default());
            place.copy_from_slice(&ttl.saturating_sub(age).min(TTL_MAX).to_be_bytes());
        }
        push_opt(to, start, query, 0);
    }
}
