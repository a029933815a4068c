//! Records and forwards that somebody wrote down, besides the containers' names.

use crate::wire::answer::{name_data, text_data};
use crate::wire::name::{self, Key};
use crate::wire::query::rtype;
use crate::zone::Upstreams;
use std::collections::HashMap;
use std::net::IpAddr;

/// How long such a record may be remembered, in seconds.
pub const TTL: u32 = 5;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The network that sees it; none for all.
    pub network: Option<String>,
    /// Its type.
    pub rtype: u16,
    /// Its data, as it is sent.
    pub data: Vec<u8>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Records {
    by_name: HashMap<Key, Vec<Record>>,
    forwards: Vec<(Key, Upstreams)>,
}

impl Records {
    /// Adds a record.
    pub fn add(&mut self, key: Key, record: Record) {
        self.by_name.entry(key).or_default().push(record);
    }

    /// Sends the questions about a domain, and about what is in it, somewhere else.
    pub fn forward(&mut self, domain: Key, to: &[IpAddr]) {
        self.forwards.push((domain, to.into()));
        self.forwards.sort_by_key(|(domain, _)| std::cmp::Reverse(domain.len()));
    }

    /// The records of a name that a network sees; none where there are none of any type.
    pub fn find<'r>(&'r self, key: &[u8], network: &'r str) -> Option<impl Iterator<Item = &'r Record>> {
        let sees = move |record: &&Record| record.network.as_deref().is_none_or(|of| of == network);
        let records = self.by_name.get(key)?;
        records.iter().any(|record| sees(&record)).then(|| records.iter().filter(sees))
    }

    /// Where questions about a name go: the longest domain counts.
    pub fn upstreams(&self, key: &[u8]) -> Option<&Upstreams> {
        self.forwards.iter().find(|(domain, _)| name::is_in(key, domain)).map(|(_, to)| to)
    }

    /// Whether there are any records.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// The types of records that can be written down, and what their values are.
pub const TYPES: [(&str, &str); 6] = [
    ("A", "IPV4"),
    ("AAAA", "IPV6"),
    ("PTR", "NAME"),
    ("TXT", "TEXT"),
    ("MX", "PREFERENCE NAME"),
    ("SRV", "PRIORITY WEIGHT PORT NAME"),
];

/// The data of a record as people write it: `A 10.0.0.5`, `MX 10 mail.example`, `SRV 0 0 443 web`.
pub fn data(rtype: &str, value: &str) -> Option<(u16, Vec<u8>)> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let number = |at: usize| words.get(at)?.parse::<u16>().ok().map(u16::to_be_bytes);
    let name = |at: usize| Some(name_data(&name::key(words.get(at)?)?));
    match (rtype.to_ascii_uppercase().as_str(), words.len()) {
        ("A", 1) => Some((rtype::A, value.trim().parse::<std::net::Ipv4Addr>().ok()?.octets().to_vec())),
        ("AAAA", 1) => {
            Some((rtype::AAAA, value.trim().parse::<std::net::Ipv6Addr>().ok()?.octets().to_vec()))
        }
        ("PTR", 1) => Some((rtype::PTR, name(0)?)),
        ("MX", 2) => Some((rtype::MX, [&number(0)?[..], &name(1)?].concat())),
        ("SRV", 4) => Some((rtype::SRV, [&number(0)?[..], &number(1)?, &number(2)?, &name(3)?].concat())),
        ("TXT", _) if !value.is_empty() && value.len() <= 1024 => Some((rtype::TXT, text_data(value))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_read_as_people_write_it() {
        for (rtype, what) in TYPES {
            let words = ["IPV4", "IPV6", "NAME", "TEXT", "PREFERENCE", "PRIORITY", "WEIGHT", "PORT"];
            let given = ["10.0.0.5", "fd00::1", "web", "text", "1", "1", "1", "1"];
            let word = |word| given[words.iter().position(|of| *of == word).unwrap()];
            let value: Vec<&str> = what.split(' ').map(word).collect();
            assert!(data(rtype, &value.join(" ")).is_some(), "{rtype} {value:?}");
        }
        assert_eq!(data("a", "10.0.0.5").unwrap(), (1, vec![10, 0, 0, 5]));
        assert_eq!(data("MX", "10 mail.lan").unwrap().1, b"\x00\x0a\x04mail\x03lan\x00");
        assert_eq!(data("SRV", "0 0 443 web").unwrap().1, b"\0\0\0\0\x01\xbb\x03web\0");
        for (rtype, bad) in
            [("A", "fd00::1"), ("AAAA", "10.0.0.1"), ("MX", "mail"), ("SRV", "1 2 web"), ("X", "y")]
        {
            assert_eq!(data(rtype, bad), None, "{rtype} {bad}");
        }
    }

    #[test]
    fn the_longest_domain_counts() {
        let mut records = Records::default();
        let (far, near) = ([IpAddr::from([1, 1, 1, 1])], [IpAddr::from([2, 2, 2, 2])]);
        records.forward(name::key("corp").unwrap(), &far);
        records.forward(name::key("eu.corp").unwrap(), &near);
        let to = |text| records.upstreams(&name::key(text).unwrap()).map(|to| to[0]);
        assert_eq!((to("db.eu.corp"), to("corp"), to("a.corp")), (Some(near[0]), Some(far[0]), Some(far[0])));
        assert_eq!(to("notcorp"), None);
    }
}
