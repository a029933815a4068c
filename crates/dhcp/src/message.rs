//! Messages (RFC 2131 section 2), with the options that they carry (RFC 2132).
//!
//! Own code: of the crates for this format one brings 70 others for names we never read, and the others take a pad
//! for an option or set the wrong bit for "broadcast". What a server sends is read leniently: an option that makes
//! no sense is as one that is not there.

use crate::option::{Options, code};
use qiao_core::Mac;
use std::net::Ipv4Addr;

/// Before the options: fixed fields, the server's name, the file's name, the magic cookie.
const HEADER: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Relays and old servers want a message as long as BOOTP's (RFC 951 section 3).
const SHORTEST: usize = 300;
/// `htype` and `hlen` of Ethernet (RFC 1700).
const ETHERNET: [u8; 2] = [1, 6];

/// The kinds of message (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as RFC 2131 names them")]
pub enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
}

impl Kind {
    const ALL: [Kind; 7] =
        [Kind::Discover, Kind::Offer, Kind::Request, Kind::Decline, Kind::Ack, Kind::Nak, Kind::Release];
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether it is a server's.
    pub reply: bool,
    /// Which exchange it belongs to.
    pub xid: u32,
    /// Seconds since the exchange began.
    pub secs: u16,
    /// The answer is to be sent to everybody.
    pub broadcast: bool,
    /// The client's address, where it has one.
    pub ciaddr: Ipv4Addr,
    /// The address that is given.
    pub yiaddr: Ipv4Addr,
    /// The client's hardware address.
    pub chaddr: Mac,
    /// The options.
    pub options: Options,
}

impl Message {
    /// What kind of message it is; none where it does not say, or says what we do not know.
    pub fn kind(&self) -> Option<Kind> {
        let number = self.options.byte(code::MESSAGE_TYPE)?;
        Kind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![if self.reply { 2 } else { 1 }];
        bytes.extend(ETHERNET);
        bytes.push(0); // hops
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend([if self.broadcast { 0x80 } else { 0 }, 0]);
        bytes.extend(self.ciaddr.octets());
        bytes.extend(self.yiaddr.octets());
        bytes.extend([0; 8]); // siaddr, giaddr
        bytes.extend(self.chaddr.octets());
        bytes.resize(HEADER - COOKIE.len(), 0);
        bytes.extend(COOKIE);
        self.options.encode(&mut bytes);
        bytes.resize(bytes.len().max(SHORTEST), 0);
        bytes
    }

    /// Reads a message; none where it is none for an Ethernet client.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, options) = bytes.split_at_checked(HEADER)?;
        let four = |at: usize| header[at..].first_chunk::<4>().copied().unwrap_or_default();
        if header[1..3] != ETHERNET || four(HEADER - 4) != COOKIE {
            return None;
        }
        let (name, file) = (&header[44..108], &header[108..236]);
        Some(Self {
            reply: match header[0] {
                1 => false,
                2 => true,
                _ => return None,
            },
            xid: u32::from_be_bytes(four(4)),
            secs: u16::from_be_bytes([header[8], header[9]]),
            broadcast: header[10] & 0x80 != 0,
            ciaddr: four(12).into(),
            yiaddr: four(16).into(),
            chaddr: Mac::new(*header[28..].first_chunk()?).ok()?,
            options: Options::decode(options, (file, name)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> Message {
        let mut options = Options::default();
        options.put(code::MESSAGE_TYPE, &[Kind::Offer as u8]);
        options.put(code::HOST_NAME, b"web");
        Message {
            reply: true,
            xid: 0x1234_5678,
            secs: 3,
            broadcast: true,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::new(192, 0, 2, 7),
            chaddr: "02:00:00:00:00:07".parse().unwrap(),
            options,
        }
    }

    #[test]
    fn messages_round_trip_and_are_as_long_as_bootps() {
        let bytes = message().encode();
        assert_eq!((bytes.len(), bytes[10]), (SHORTEST, 0x80));
        let read = Message::decode(&bytes).unwrap();
        assert_eq!((read.kind(), &read), (Some(Kind::Offer), &message()));
    }

    /// As dnsmasq 2.90 sent it to a client of this crate, but for the hardware address.
    #[test]
    fn a_message_of_dnsmasq_is_read() {
        let mut bytes = vec![2, 1, 6, 0, 0, 0, 0, 9, 0, 0, 0x80, 0];
        bytes.extend([0, 0, 0, 0, 192, 0, 2, 150, 192, 0, 2, 100, 0, 0, 0, 0, 2, 0, 0, 0, 0, 7]);
        bytes.resize(236, 0);
        bytes.extend([99, 130, 83, 99, 53, 1, 2, 54, 4, 192, 0, 2, 100, 51, 4, 0, 0, 0, 120]);
        bytes.extend([58, 4, 0, 0, 0, 60, 59, 4, 0, 0, 0, 105, 1, 4, 255, 255, 255, 0]);
        bytes.extend([28, 4, 192, 0, 2, 255, 3, 4, 192, 0, 2, 100, 255, 0, 0, 0]);
        let read = Message::decode(&bytes).unwrap();
        assert_eq!((read.kind(), read.xid, read.yiaddr), (Some(Kind::Offer), 9, [192, 0, 2, 150].into()));
        assert_eq!(read.options.number(code::LEASE_TIME), Some(120));
        assert_eq!(read.options.addresses(code::ROUTERS), [Ipv4Addr::new(192, 0, 2, 100)]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), real in any::<bool>()) {
            let bytes = if real { [&message().encode()[..HEADER], &bytes].concat() } else { bytes };
            if let Some(read) = Message::decode(&bytes) {
                let _ = crate::terms::terms(&read);
            }
            prop_assert!(!real || Message::decode(&bytes).is_some());
        }

        #[test]
        fn no_changed_byte_makes_it_panic(at in 0usize..SHORTEST, to in any::<u8>()) {
            let mut bytes = message().encode();
            bytes[at] = to;
            let _ = Message::decode(&bytes).map(|read| crate::terms::terms(&read));
        }
    }
}
