//! Options (RFC 2132), read and written. A long one is in several parts (RFC 3396), and some may be where the
//! server's and the file's name are otherwise (option 52).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The codes of options.
#[allow(missing_docs, reason = "named as RFC 2132 and its successors name them")]
pub mod code {
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTERS: u8 = 3;
    pub const NAME_SERVERS: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN_NAME: u8 = 15;
    pub const MTU: u8 = 26;
    pub const REQUESTED_ADDRESS: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_IDENTIFIER: u8 = 54;
    pub const PARAMETER_REQUEST_LIST: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const MAXIMUM_SIZE: u8 = 57;
    pub const RENEWAL_TIME: u8 = 58;
    pub const REBINDING_TIME: u8 = 59;
    pub const VENDOR_CLASS: u8 = 60;
    pub const CLIENT_IDENTIFIER: u8 = 61;
    pub const USER_CLASS: u8 = 77;
    pub const CLASSLESS_ROUTES: u8 = 121;
    pub const END: u8 = 255;
}

/// The options of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<u8, Vec<u8>>);

impl Options {
    /// Puts an option in, in place of one with the same code.
    pub fn put(&mut self, code: u8, content: &[u8]) {
        self.0.insert(code, content.to_vec());
    }

    /// An option's content.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    /// An option that is one byte.
    pub fn byte(&self, code: u8) -> Option<u8> {
        self.get(code).and_then(|content| <[u8; 1]>::try_from(content).ok()).map(|[byte]| byte)
    }

    /// An option that is a number of four bytes.
    pub fn number(&self, code: u8) -> Option<u32> {
        self.get(code).and_then(|content| content.try_into().ok()).map(u32::from_be_bytes)
    }

    /// An option that is an address.
    pub fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.number(code).map(Ipv4Addr::from)
    }

    /// An option that is a list of addresses; what is left over of one is ignored.
    pub fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let (whole, _) = self.get(code).unwrap_or_default().as_chunks::<4>();
        whole.iter().map(|four| Ipv4Addr::from(*four)).collect()
    }

    /// An option that is a text, less the zeroes at its end that some servers send.
    pub fn text(&self, code: u8) -> Option<&str> {
        let text = std::str::from_utf8(self.get(code)?).ok()?;
        Some(text.trim_end_matches('\0')).filter(|text| !text.is_empty())
    }

    /// Writes them: the message's type first, since some servers look for it there.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let (first, rest): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|(code, _)| **code == code::MESSAGE_TYPE);
        for (code, content) in first.into_iter().chain(rest) {
            let mut parts = content.chunks(255).peekable();
            if parts.peek().is_none() {
                bytes.extend([*code, 0]);
            }
            for part in parts {
                bytes.extend([*code, part.len() as u8]);
                bytes.extend(part);
            }
        }
        bytes.push(code::END);
    }

    /// Reads them. One that goes beyond the end is not there.
    pub fn decode(bytes: &[u8], (file, name): (&[u8], &[u8])) -> Self {
        let mut options = Self::default();
        options.read(bytes);
        let overload = options.byte(code::OVERLOAD).unwrap_or(0);
        for (bit, more) in [(1, file), (2, name)] {
            if overload & bit != 0 {
                options.read(more);
            }
        }
        options
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((code, rest)) = bytes.split_first() {
            match *code {
                code::PAD => bytes = rest,
                code::END => return,
                code => {
                    let Some((length, rest)) = rest.split_first() else { return };
                    let Some((content, rest)) = rest.split_at_checked((*length).into()) else { return };
                    self.0.entry(code).or_default().extend(content);
                    bytes = rest;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Options {
        Options::decode(bytes, (&[], &[]))
    }

    #[test]
    fn an_option_beyond_the_end_is_not_there() {
        let options = read(&[53, 1, 2, 0, 0, 3, 4, 192, 0, 2]);
        assert_eq!((options.byte(53), options.get(3)), (Some(2), None));
        assert_eq!(read(&[53]), Options::default());
        assert_eq!(read(&[255, 53, 1, 2]), Options::default(), "nothing is behind the end");
    }

    #[test]
    fn long_ones_are_put_together_and_names_may_be_options() {
        let mut long = Options::default();
        long.put(code::CLASSLESS_ROUTES, &[7; 300]);
        let mut bytes = Vec::new();
        long.encode(&mut bytes);
        assert_eq!(read(&bytes), long);
        let overloaded = Options::decode(&[52, 1, 3], (&[12, 1, b'a'], &[15, 1, b'b']));
        assert_eq!((overloaded.text(12), overloaded.text(15)), (Some("a"), Some("b")));
        assert_eq!(read(&[52, 1, 0]).text(12), None);
    }

    #[test]
    fn what_is_too_long_or_too_short_is_not_read() {
        assert_eq!(read(&[51, 3, 0, 0, 1]).number(51), None);
        assert_eq!(read(&[51, 5, 0, 0, 0, 0, 1]).number(51), None);
        assert_eq!(read(&[6, 6, 9, 9, 9, 9, 1, 1]).addresses(6), [Ipv4Addr::new(9, 9, 9, 9)]);
        assert_eq!(read(&[12, 2, 0xff, 0xfe]).text(12), None);
    }
}
