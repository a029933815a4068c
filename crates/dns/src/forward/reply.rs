//! What somebody else answered: looked at before it is believed, cut to what was asked, kept in a form that can be
//! given to others.

use crate::wire::answer::{AD, CD, QR, RA, RD, TC, push_opt};
use crate::wire::query::{HEADER, Query, UDP_SAFE, name_at, rtype};
use domain::base::message::RecordSection;
use domain::base::{Message, Rtype};

/// The longest that anything is remembered, in seconds.
const TTL_MAX: u32 = 3600;
/// The longest that the absence of a name is remembered (RFC 2308 section 5).
const TTL_MAX_ABSENT: u32 = 300;

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

/// What a message is that came back.
#[derive(Debug)]
pub enum Verdict {
    /// It is not the answer: the wait goes on.
    NotIt,
    /// It is the answer, cut short: by TCP there is more.
    Short,
    /// Somebody who cannot answer: others may.
    Useless,
    /// They do not know EDNS.
    NoEdns,
    /// It is the answer.
    Good(Reply),
}

/// Looks at a message that came from where `id` and `question` were sent.
pub fn judge(bytes: &[u8], (id, question): (u16, &Question)) -> Verdict {
    const FORMERR: u8 = 1;
    const NXDOMAIN: u8 = 3;
    let Ok(message) = Message::from_slice(bytes) else { return Verdict::NotIt };
    let header = message.header();
    if header.id() != id || !header.qr() || bytes[2] & 0x78 != 0 {
        return Verdict::NotIt;
    }
    let code = bytes[3] & 0x0f;
    if message.header_counts().qdcount() == 0 && code == FORMERR {
        return Verdict::NoEdns;
    }
    let Some(end) = asked(bytes, question) else { return Verdict::NotIt };
    if header.tc() {
        return Verdict::Short;
    }
    match code {
        FORMERR => Verdict::NoEdns,
        0 | NXDOMAIN => cut(message, (bytes, end)).map_or(Verdict::Useless, Verdict::Good),
        _ => Verdict::Useless,
    }
}

/// The question of an answer, if it is the one that was asked.
fn asked(bytes: &[u8], question: &Question) -> Option<usize> {
    let (name, end) = name_at(bytes, HEADER).filter(|_| bytes[4..6] == [0, 1])?;
    let (own, rest) = question.bytes.split_at(question.bytes.len() - 4);
    let same = own.len() == name.get().len() + 1 && own.starts_with(name.get());
    (same && bytes.get(end..end + 4)? == rest).then_some(end + 4)
}

/// Takes the answers and, where there are none, who says that: nothing else is believed.
fn cut(message: &Message<[u8]>, (bytes, start): (&[u8], usize)) -> Option<Reply> {
    let answer = message.answer().ok()?;
    let mut taken = Taken { start, end: start, ..Taken::default() };
    let answers = taken.section(answer, bytes)?;
    let absent = answers == 0 || bytes[3] & 0x0f != 0;
    let authorities = match absent {
        true => taken.section(answer.next_section().ok()??, bytes)?,
        false => 0,
    };
    let ttl = match absent {
        true => taken.absent.unwrap_or(0).min(taken.ttl).min(TTL_MAX_ABSENT),
        false => taken.ttl.min(TTL_MAX),
    };
    Some(Reply {
        flags: [bytes[2], bytes[3]],
        counts: [answers, authorities],
        body: bytes.get(start..taken.end)?.into(),
        records: taken.records.into(),
        ttl,
    })
}

struct Taken {
    start: usize,
    end: usize,
    records: Vec<(u16, u16)>,
    ttl: u32,
    absent: Option<u32>,
}

impl Default for Taken {
    fn default() -> Self {
        Self { start: 0, end: 0, records: Vec::new(), ttl: u32::MAX, absent: None }
    }
}

impl Taken {
    /// Takes all records of a section.
    fn section(&mut self, mut section: RecordSection<'_, [u8]>, bytes: &[u8]) -> Option<u16> {
        let mut count = 0;
        while let Some(record) = section.next() {
            let record = record.ok()?;
            let end = section.pos();
            let ttl_at = end.checked_sub(usize::from(record.rdlen()) + 6)?;
            let ttl = record.ttl().as_secs();
            self.ttl = self.ttl.min(ttl);
            if record.rtype() == Rtype::SOA {
                let minimum = bytes.get(end - 4..end)?.try_into().ok()?;
                self.absent = Some(ttl.min(u32::from_be_bytes(minimum)));
            }
            let offset = |at: usize| u16::try_from(at - self.start).ok();
            self.records.push((offset(ttl_at)?, offset(end)?));
            self.end = end;
            count += 1;
        }
        Some(count)
    }
}

impl Reply {
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

/// The types whose questions are never kept: nobody asks twice.
pub fn is_kept(rtype: u16) -> bool {
    rtype != rtype::ANY
}
