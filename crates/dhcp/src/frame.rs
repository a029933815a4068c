//! Frames with a DHCP message in them: a client without an address cannot use the kernel's UDP (RFC 2131 section
//! 4.1), and one whose interface is not there yet has no kernel's.

use qiao_core::Mac;
use std::net::Ipv4Addr;

const SERVER: u16 = 67;
const CLIENT: u16 = 68;
const UDP: u8 = 17;
const ETHERNET: usize = 14;
const BROADCAST: [u8; 6] = [0xff; 6];

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To every server of the link.
    All,
    /// To one server, by the hardware address of whoever is on the way to it.
    One([u8; 6], Ipv4Addr),
}

/// A frame as it was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard<'a> {
    /// The hardware address of whoever sent it on this link.
    pub from: [u8; 6],
    /// The message.
    pub payload: &'a [u8],
}

/// A frame from a client.
pub fn frame((mac, ip): (Mac, Ipv4Addr), to: To, payload: &[u8]) -> Vec<u8> {
    let (to_mac, to_ip) = match to {
        To::All => (BROADCAST, Ipv4Addr::BROADCAST),
        To::One(mac, ip) => (mac, ip),
    };
    let udp = datagram((ip, to_ip), payload);
    let mut packet = vec![0x45, 0];
    packet.extend(((20 + udp.len()) as u16).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, UDP, 0, 0]);
    packet.extend(ip.octets());
    packet.extend(to_ip.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    [&to_mac[..], &mac.octets(), &[0x08, 0x00], &packet, &udp].concat()
}

fn datagram((from, to): (Ipv4Addr, Ipv4Addr), payload: &[u8]) -> Vec<u8> {
    let length = ((8 + payload.len()) as u16).to_be_bytes();
    let mut udp = [&CLIENT.to_be_bytes()[..], &SERVER.to_be_bytes(), &length, &[0, 0], payload].concat();
    let pseudo = [&from.octets()[..], &to.octets(), &[0, UDP], &length, &udp].concat();
    let sum = match checksum(&pseudo) {
        0 => u16::MAX, // zero says that there is none (RFC 768)
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    udp
}

/// The message in a frame to a client; none in any other frame. The datagram's checksum is not looked at: that of
/// a server on the same machine is not filled in yet (`CHECKSUM_PARTIAL`).
pub fn heard(frame: &[u8]) -> Option<Heard<'_>> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    let header = packet.first_chunk::<20>()?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_part = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    if ethernet[12..] != [0x08, 0x00] || header[0] >> 4 != 4 || header[9] != UDP || length < 20 || is_part {
        return None;
    }
    let udp = packet.get(length..total)?;
    let (head, payload) = udp.split_first_chunk::<8>()?;
    let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let is_ours = (number(0), number(2)) == (SERVER, CLIENT) && checksum(&packet[..length]) == 0;
    let payload = payload.get(..usize::from(number(4)).checked_sub(8)?)?;
    is_ours.then_some(Heard { from: *ethernet[6..].first_chunk()?, payload })
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from_a_server(payload: &[u8]) -> Vec<u8> {
        let mac = "02:00:00:00:00:01".parse().unwrap();
        let mut bytes = frame((mac, Ipv4Addr::new(192, 0, 2, 1)), To::All, payload);
        bytes[34..38].copy_from_slice(&[0, 67, 0, 68]);
        bytes
    }

    #[test]
    fn frames_have_their_lengths_and_sums() {
        let mac: Mac = "02:00:00:00:00:07".parse().unwrap();
        let bytes = frame((mac, Ipv4Addr::UNSPECIFIED), To::All, b"hello");
        assert_eq!(bytes.len(), 14 + 20 + 8 + 5);
        assert_eq!(checksum(&bytes[14..34]), 0);
        let pseudo = [&bytes[26..34], &[0, UDP], &bytes[38..40], &bytes[34..]].concat();
        assert_eq!(checksum(&pseudo), 0);
        assert_eq!(heard(&bytes), None, "a client's own");
        let read = from_a_server(b"hello");
        assert_eq!(heard(&read).unwrap().payload, b"hello");
        assert_eq!(heard(&read[..read.len() - 1]), None, "shorter than it says");
        assert_eq!(heard(&[&read[..], &[0; 9]].concat()).unwrap().payload, b"hello", "filled up");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), at in 0usize..60, to in any::<u8>()) {
            let _ = heard(&bytes);
            let mut changed = from_a_server(&bytes);
            if let Some(byte) = changed.get_mut(at) { *byte = to; }
            let _ = heard(&changed);
        }
    }
}
