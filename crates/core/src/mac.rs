//! Hardware addresses.

use crate::name::quoted;
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A unicast Ethernet address that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

/// The first byte of the hardware addresses of host ends. Programs that make bridge ports keep it for them (libvirt).
const HOST_END: u8 = 0xfe;

impl Mac {
    /// Refuses group addresses (lowest bit of the first byte set) and all zeroes.
    pub fn new(bytes: [u8; 6]) -> Result<Self, Refusal> {
        let mac = Self(bytes);
        if bytes[0] & 1 == 1 || bytes == [0; 6] {
            return Err(Refusal::invalid(format!("`{mac}` is not a unicast hardware address")));
        }
        Ok(mac)
    }

    /// The address that belongs to `ip` in the network numbered `network`.
    ///
    /// Locally administered (bit 1 of the first byte, IEEE 802c), made of 14 bits of the network and the low
    /// 32 of the address: unique in a network as the address is, and the same when the address comes back,
    /// so that no neighbour's cache is ever wrong about it.
    pub fn derived(network: u16, ip: IpAddr) -> Self {
        let low = match ip {
            IpAddr::V4(ip) => ip.octets(),
            IpAddr::V6(ip) => low_32(ip),
        };
        let first = match ((network >> 8) as u8 & 0xfc) | 0x02 {
            HOST_END => HOST_END & 0x7f, // a container's is never a host end's: not even its own one's
            first => first,
        };
        Self([first, network as u8, low[0], low[1], low[2], low[3]])
    }

    /// The address of the host's end of every pair that is a port of a bridge: the highest there is. A bridge that was
    /// given no address has the lowest of its ports' (`br_stp_recalculate_bridge_id`), and containers remember it as
    /// the gateway's: it neither changes when one of our ports comes or goes, nor is it ours where another program
    /// has a port. Ports may have the same address (`fdb_add_local`), and nothing is sent from it.
    pub const PORT: Self = Self([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);

    /// The address of the host's end of the pair whose other end has this one.
    pub fn other_end(self, on_a_bridge: bool) -> Self {
        if on_a_bridge { Self::PORT } else { self.host_end() }
    }

    /// The address of the host's end of a pair that is on no bridge: the same with `fe` in front.
    pub fn host_end(self) -> Self {
        let mut bytes = self.0;
        bytes[0] = HOST_END;
        Self(bytes)
    }

    /// Whether it is one that host ends have. No container has one of these, so that none is taken for a port.
    pub fn is_host_end(self) -> bool {
        self.0[0] == HOST_END
    }

    /// The bytes in the order they are sent.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// The IPv6 link-local address with the modified EUI-64 identifier (RFC 4291 appendix A).
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f])
    }
}

fn low_32(ip: Ipv6Addr) -> [u8; 4] {
    (u128::from(ip) as u32).to_be_bytes()
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl FromStr for Mac {
    type Err = Refusal;

    /// Takes `02:42:ac:11:00:02` and `02-42-ac-11-00-02`.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let refusal = || {
            Refusal::invalid(format!("{} is not a hardware address", quoted(text)))
                .why("six hexadecimal bytes with : or - between them, such as 02:42:ac:11:00:02")
        };
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
                .ok_or_else(refusal)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| refusal())?;
        }
        if parts.next().is_some() {
            return Err(refusal());
        }
        Self::new(bytes)
    }
}

impl TryFrom<String> for Mac {
    type Error = Refusal;
    fn try_from(text: String) -> Result<Self, Refusal> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        assert_eq!("02-42-AC-11-00-02".parse::<Mac>().unwrap().to_string(), "02:42:ac:11:00:02");
        for bad in [
            "",
            "1:2:3:4:5:6",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "02:42:ac:11:00:+2",
            "zz:42:ac:11:00:02",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn derived_is_unicast_local_and_stable() {
        let ip = "172.17.0.2".parse().unwrap();
        let mac = Mac::derived(0xffff, ip);
        assert_eq!(mac, Mac::derived(0xffff, ip));
        assert_eq!(mac.octets()[0] & 3, 2);
        assert_ne!(mac, Mac::derived(0xffff, "172.17.0.3".parse().unwrap()));
        assert!(Mac::new(mac.octets()).is_ok());
    }

    #[test]
    fn d2_no_derived_address_is_a_host_ends() {
        for network in 0..=u16::MAX {
            let mac = Mac::derived(network, "172.17.0.2".parse().unwrap());
            assert!(!mac.is_host_end() && mac.host_end().is_host_end(), "{network}: {mac}");
        }
    }

    #[test]
    fn link_local_is_eui_64() {
        let mac: Mac = "02:42:ac:11:00:02".parse().unwrap();
        assert_eq!(mac.link_local().to_string(), "fe80::42:acff:fe11:2");
    }
}
