//! Names as keys: the labels as they are in a message (RFC 1035 section 3.1), in lower case, without the root.

use std::fmt::Write;
use std::net::IpAddr;

/// The longest key: a name of 255 octets has a root.
pub const KEY_MAX: usize = 254;
/// The longest label in octets.
const LABEL_MAX: usize = 63;

/// A name as a key: `\x03web\x05front`.
pub type Key = Box<[u8]>;

/// The key of a host name: labels of letters, digits, `-` and `_` (RFC 1123 section 2.1, and the underscore). None
/// for everything else: what is no host name makes no record.
pub fn key(text: &str) -> Option<Key> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let mut key = Vec::with_capacity(text.len() + 1);
    for label in text.split('.') {
        if label.is_empty() || label.len() > LABEL_MAX || !label.bytes().all(plain) {
            return None;
        }
        key.push(label.len() as u8);
        key.extend(label.bytes().map(|b| b.to_ascii_lowercase()));
    }
    (key.len() <= KEY_MAX).then(|| key.into())
}

/// A key as text; what is not printable is escaped (RFC 4343 section 2.1).
pub fn text(key: &[u8]) -> String {
    let mut text = String::new();
    for label in labels(key) {
        if !text.is_empty() {
            text.push('.');
        }
        for &byte in label {
            match byte {
                b'.' | b'\\' => text.extend(['\\', char::from(byte)]),
                b if b.is_ascii_graphic() => text.push(char::from(b)),
                b => drop(write!(text, "\\{b:03}")),
            }
        }
    }
    if text.is_empty() { ".".into() } else { text }
}

/// The labels of a key.
pub fn labels(mut key: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&length, rest) = key.split_first()?;
        let (label, rest) = rest.split_at_checked(length.into())?;
        key = rest;
        Some(label)
    })
}

/// What stands before a suffix, if the key ends with it and has more labels.
pub fn before<'k>(key: &'k [u8], suffix: &[u8]) -> Option<&'k [u8]> {
    let at = key.len().checked_sub(suffix.len()).filter(|at| *at > 0)?;
    let ends = key.ends_with(suffix) && !suffix.is_empty();
    (ends && starts(key).any(|start| start == at)).then(|| &key[..at])
}

/// Whether a name is a domain or lies in it.
pub fn is_in(key: &[u8], domain: &[u8]) -> bool {
    key == domain || domain.is_empty() || before(key, domain).is_some()
}

/// Where the labels start.
fn starts(key: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    labels(key).map(move |label| {
        let start = at;
        at += label.len() + 1;
        start
    })
}

/// The address whose names are asked for: `2.0.18.172.in-addr.arpa`, or 32 digits under `ip6.arpa`.
pub fn reverse(key: &[u8]) -> Option<IpAddr> {
    if let Some(digits) = before(key, b"\x07in-addr\x04arpa") {
        let number = |label: &[u8]| std::str::from_utf8(label).ok()?.parse::<u8>().ok();
        let mut bytes: Vec<u8> = labels(digits).map(number).collect::<Option<_>>()?;
        bytes.reverse();
        return Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?));
    }
    let digits = before(key, b"\x03ip6\x04arpa")?;
    let mut value = 0u128;
    let mut count = 0;
    for label in labels(digits) {
        let digit = std::str::from_utf8(label).ok().filter(|label| label.len() == 1)?;
        value |= u128::from(u8::from_str_radix(digit, 16).ok()?) << (4 * count.min(31));
        count += 1;
    }
    (count == 32).then(|| IpAddr::from(value.to_be_bytes()))
}

/// The name under which an address has its names: the reverse of [`reverse`].
pub fn reversed(ip: IpAddr) -> Key {
    let labels: Vec<String> = match ip {
        IpAddr::V4(ip) => ip.octets().iter().rev().map(ToString::to_string).collect(),
        IpAddr::V6(ip) => {
            ip.octets().iter().rev().flat_map(|b| [b & 15, b >> 4]).map(|d| format!("{d:x}")).collect()
        }
    };
    let zone: &[u8] = if ip.is_ipv4() { b"\x07in-addr\x04arpa" } else { b"\x03ip6\x04arpa" };
    let octets = labels.iter().flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()));
    octets.chain(zone.iter().copied()).collect()
}

/// Whether a name ends in a label that may be a domain of the public: two letters (those of countries), or one of
/// those that most names are in. Names that nobody chose to be a domain's, `CONTAINER.NETWORK` and container names
/// with dots, are not served where they would hide one.
pub fn looks_public(key: &[u8]) -> bool {
    let Some(last) = labels(key).last() else { return false };
    let country = last.len() == 2 && last.iter().all(u8::is_ascii_alphabetic);
    country || PUBLIC.iter().any(|public| public.as_bytes() == last)
}

const PUBLIC: [&str; 41] = [
    "com",
    "net",
    "org",
    "edu",
    "gov",
    "mil",
    "int",
    "arpa",
    "info",
    "biz",
    "name",
    "pro",
    "app",
    "dev",
    "page",
    "cloud",
    "xyz",
    "online",
    "site",
    "shop",
    "store",
    "blog",
    "tech",
    "art",
    "live",
    "life",
    "top",
    "localhost",
    "club",
    "space",
    "world",
    "agency",
    "email",
    "media",
    "network",
    "systems",
    "services",
    "team",
    "tools",
    "wiki",
    "zone",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lower_case_labels() {
        assert_eq!(&*key("Web.Front.").unwrap(), b"\x03web\x05front");
        assert_eq!(text(&key("Web.Front").unwrap()), "web.front");
        for bad in ["", ".", "a..b", "a b", "a\n", "a,b", &"x".repeat(64), &vec!["x".repeat(62); 5].join(".")]
        {
            assert_eq!(key(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn suffixes_end_at_labels() {
        let name = key("web.front").unwrap();
        assert_eq!(before(&name, &key("front").unwrap()), Some(&*key("web").unwrap()));
        assert_eq!(before(&name, &name), None);
        // The bytes of a suffix may also stand inside a label.
        assert_eq!(before(b"\x07a\x05front", b"\x05front"), None);
    }

    #[test]
    fn addresses_are_read_backwards() {
        let ip = reverse(&key("2.0.18.172.in-addr.arpa").unwrap());
        assert_eq!(ip, Some("172.18.0.2".parse().unwrap()));
        let digits = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(reverse(&key(digits).unwrap()), Some("fd00::2".parse().unwrap()));
        for bad in ["18.172.in-addr.arpa", "300.0.18.172.in-addr.arpa", "x.ip6.arpa", "in-addr.arpa"] {
            assert_eq!(reverse(&key(bad).unwrap()), None, "{bad}");
        }
    }

    #[test]
    fn a_network_called_like_a_domain_hides_nothing() {
        for public in ["com", "google.de", "x.io", "my.app"] {
            assert!(looks_public(&key(public).unwrap()), "{public}");
        }
        for own in ["front", "web.1", "my.backend", "com.front"] {
            assert!(!looks_public(&key(own).unwrap()), "{own}");
        }
    }
}
