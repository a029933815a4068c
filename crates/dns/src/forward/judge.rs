//! Whether a message is the answer to what was asked, and how much of it is believed.

use super::reply::{Question, Reply};
use crate::wire::name;
use crate::wire::query::{HEADER, KeyBuffer, name_at, rtype};
use crate::wire::record::{Names, Record};
use domain::base::Message;

/// The longest that anything is remembered, in seconds.
pub const TTL_MAX: u32 = 3600;
/// The longest that the absence of a name is remembered (RFC 2308 section 5).
const TTL_MAX_ABSENT: u32 = 300;
/// The most names that one leads to by CNAME.
const CHAIN_MAX: usize = 16;

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
    let Some((asked, start)) = asked(bytes, question) else { return Verdict::NotIt };
    if header.tc() {
        return Verdict::Short;
    }
    let counts = (message.header_counts().ancount(), message.header_counts().nscount());
    match code {
        FORMERR => Verdict::NoEdns,
        0 | NXDOMAIN => cut((bytes, start), asked, counts).map_or(Verdict::Useless, Verdict::Good),
        _ => Verdict::Useless,
    }
}

/// The name of an answer's question and where that ends, if it is the one that was asked.
fn asked(bytes: &[u8], question: &Question) -> Option<(KeyBuffer, usize)> {
    let (name, end) = name_at(bytes, HEADER).filter(|_| bytes[4..6] == [0, 1])?;
    let (own, rest) = question.bytes.split_at(question.bytes.len() - 4);
    let same = own.len() == name.get().len() + 1 && own.starts_with(name.get());
    (same && bytes.get(end..end + 4)? == rest).then_some((name, end + 4))
}

/// Takes the answers and, where there are none, who says that: nothing else is believed.
fn cut(
    (bytes, start): (&[u8], usize),
    asked: KeyBuffer,
    (answers, authorities): (u16, u16),
) -> Option<Reply> {
    let all = records(bytes, start, answers)?;
    let mut names = Names::new(bytes);
    let chain = Chain::of(asked, &mut names, &all)?;
    // What is left out cannot be cut from between: what stands behind may point at it.
    let believed = all.iter().take_while(|record| chain.has(&mut names, record)).count();
    if believed == 0 && answers > 0 {
        return None;
    }
    let mut taken = all[..believed].to_vec();
    let absent = answers == 0 || bytes[3] & 0x0f != 0;
    if absent && believed == all.len() {
        let from = all.last().map_or(start, |record| record.end);
        let said = records(bytes, from, authorities)?;
        taken.extend(said.into_iter().take_while(|record| chain.is_denied_by(&mut names, record)));
    }
    let ttl = remembered(bytes, &taken, absent);
    let counts = [believed as u16, (taken.len() - believed) as u16];
    Reply::new((bytes, start), &taken, (counts, ttl))
}

/// The records of a section.
fn records(bytes: &[u8], mut at: usize, count: u16) -> Option<Vec<Record>> {
    let mut next = || Record::at(bytes, at).inspect(|record| at = record.end);
    (0..count).map(|_| next()).collect()
}

/// How long records may be remembered, in seconds; the absence of a name as long as who denies it says.
fn remembered(bytes: &[u8], taken: &[Record], absent: bool) -> u32 {
    // A TTL with its highest bit is 0 (RFC 2181 section 8).
    let ttl = taken.iter().map(|record| i32::try_from(record.ttl).map_or(0, i32::unsigned_abs)).min();
    let ttl = ttl.unwrap_or(u32::MAX);
    if !absent {
        return ttl.min(TTL_MAX);
    }
    let soa = taken.iter().find(|record| record.rtype == rtype::SOA);
    let minimum = soa.and_then(|soa| bytes[soa.data..soa.end].last_chunk().copied());
    minimum.map_or(0, u32::from_be_bytes).min(ttl).min(TTL_MAX_ABSENT)
}

/// The name that was asked for, and those that it leads to.
#[derive(Debug)]
struct Chain(Vec<KeyBuffer>);

impl Chain {
    /// The names that records lead to, in whatever order they stand.
    fn of(asked: KeyBuffer, names: &mut Names<'_>, all: &[Record]) -> Option<Self> {
        let mut chain = Self(vec![asked]);
        loop {
            let before = chain.0.len();
            for record in all.iter().filter(|record| record.rtype == rtype::CNAME) {
                let (owner, target) = (names.read(record.start)?, names.read(record.data)?);
                if chain.knows(owner.get()) && !chain.knows(target.get()) {
                    chain.0.push(target);
                }
            }
            if chain.0.len() == before {
                return Some(chain);
            }
            if chain.0.len() > CHAIN_MAX {
                return None;
            }
        }
    }

    fn knows(&self, name: &[u8]) -> bool {
        self.0.iter().any(|known| known.get() == name)
    }

    /// Whether one of the names lies in a domain.
    fn lies_in(&self, domain: &[u8]) -> bool {
        self.0.iter().any(|known| name::is_in(known.get(), domain))
    }

    /// Whether a record of the answer section is about one of the names (RFC 6672 for whole domains that lead away).
    fn has(&self, names: &mut Names<'_>, record: &Record) -> bool {
        let Some(owner) = names.read(record.start) else { return false };
        let of_domain = matches!(record.rtype, rtype::DNAME | rtype::RRSIG);
        self.knows(owner.get()) || of_domain && self.lies_in(owner.get())
    }

    /// Whether a record of the authority section says why there is no answer, and may.
    fn is_denied_by(&self, names: &mut Names<'_>, record: &Record) -> bool {
        match record.rtype {
            rtype::SOA => names.read(record.start).is_some_and(|owner| self.lies_in(owner.get())),
            rtype::NSEC | rtype::NSEC3 | rtype::RRSIG => true,
            _ => false,
        }
    }
}
