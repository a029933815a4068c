//! Names that are the same everywhere, or nobody's: no other server is asked about them (RFC 6761, 7686, 6303).

use crate::wire::name::{self, labels};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is known of such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// `localhost` and what is below it: whoever asks (RFC 6761 section 6.3).
    Localhost,
    /// The reverse name of a loopback address: `localhost` (RFC 6303 section 4.2).
    Loopback,
    /// There is no such name: `invalid` (RFC 6761 section 6.4), `onion` (RFC 7686 section 2).
    Absent,
}

/// Its addresses.
pub const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// It as a key.
pub const LOCALHOST_KEY: &[u8] = b"\x09localhost";

/// Whether a name is one of them; `reverse` is the address that it is the reverse name of.
pub fn of(key: &[u8], reverse: Option<IpAddr>) -> Option<Reserved> {
    match labels(key).last()? {
        b"localhost" => Some(Reserved::Localhost),
        b"invalid" | b"onion" => Some(Reserved::Absent),
        b"arpa" => reverse.is_some_and(|ip| ip.is_loopback()).then_some(Reserved::Loopback),
        _ => None,
    }
}

/// Whether a name is `localhost` or below it: no container is called so.
pub fn is_localhost(key: &[u8]) -> bool {
    name::is_in(key, LOCALHOST_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_known_by_their_last_label() {
        let of = |text: &str| {
            let key = name::key(text).expect("a name");
            of(&key, name::reverse(&key))
        };
        assert_eq!(of("localhost"), Some(Reserved::Localhost));
        assert_eq!(of("db.LocalHost"), Some(Reserved::Localhost));
        assert_eq!(of("2.1.0.127.in-addr.arpa"), Some(Reserved::Loopback));
        assert_eq!((of("x.onion"), of("invalid")), (Some(Reserved::Absent), Some(Reserved::Absent)));
        for other in [
            "localhost.example",
            "notlocalhost",
            "1.0.0.10.in-addr.arpa",
            "onion.example",
            "127.in-addr.arpa",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
