//! Subnets, and the arithmetic of addresses inside them.

use crate::name::quoted;
use crate::refusal::Refusal;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The address family of an address or a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of `ip`.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// The length of an address in bits.
    pub fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// Everything: `0.0.0.0/0` or `::/0`.
    pub fn default_route(self) -> IpNet {
        let any = self.address(0);
        IpNet::new_assert(any, 0)
    }

    /// The address with this number.
    pub fn address(self, number: u128) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::from(number as u32).into(),
            Family::V6 => Ipv6Addr::from(number).into(),
        }
    }
}

/// An address as a number: what the arithmetic is done with.
pub fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

/// A subnet: a prefix whose host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "IpNet", into = "IpNet")]
pub struct Subnet(IpNet);

impl Subnet {
    /// Refuses a prefix with host bits set, since it is unclear what was meant.
    pub fn new(net: IpNet) -> Result<Self, Refusal> {
        if net == net.trunc() {
            return Ok(Self(net));
        }
        Err(Refusal::invalid(format!("`{net}` is an address in a subnet, not a subnet"))
            .fix(net.trunc().to_string()))
    }

    /// The subnet that `net`'s address lies in.
    pub fn around(net: IpNet) -> Self {
        Self(net.trunc())
    }

    /// The prefix.
    pub fn net(self) -> IpNet {
        self.0
    }

    /// The address family.
    pub fn family(self) -> Family {
        Family::of(self.0.addr())
    }

    /// The length of the prefix in bits.
    pub fn prefix_len(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether `ip` lies in the subnet.
    pub fn contains(self, ip: IpAddr) -> bool {
        self.0.contains(&ip)
    }

    /// Whether every address of `other` lies in the subnet.
    pub fn covers(self, other: IpNet) -> bool {
        self.0.contains(&other)
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: IpNet) -> bool {
        self.0.contains(&other) || other.contains(&self.0)
    }

    /// The first address, with all host bits zero.
    pub fn first(self) -> IpAddr {
        self.0.network()
    }

    /// The last address, with all host bits one.
    pub fn last(self) -> IpAddr {
        self.0.broadcast()
    }

    /// `ip` with this subnet's prefix length: how an interface carries it.
    pub fn with_host(self, ip: IpAddr) -> IpNet {
        IpNet::new_assert(ip, self.prefix_len())
    }

    /// The first and the last address a host may have, as numbers. IPv4 keeps the network and the broadcast
    /// address out unless the prefix is /31 or /32 (RFC 3021); IPv6 keeps the first out (the subnet-router
    /// anycast address, RFC 4291 section 2.6.1) unless it is /127 or /128 (RFC 6164).
    pub fn host_range(self) -> (u128, u128) {
        let (first, last) = (number(self.first()), number(self.last()));
        let room = self.family().bits() - self.prefix_len();
        match self.family() {
            _ if room <= 1 => (first, last),
            Family::V4 => (first + 1, last - 1),
            Family::V6 => (first + 1, last),
        }
    }

    /// Whether a host may have `ip`.
    pub fn usable(self, ip: IpAddr) -> bool {
        let (first, last) = self.host_range();
        self.contains(ip) && (first..=last).contains(&number(ip))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for Subnet {
    type Err = Refusal;
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let net = text.parse().map_err(|_| {
            Refusal::invalid(format!("{} is not a subnet", quoted(text)))
                .why("a subnet is an address and a prefix length, such as 172.30.0.0/24 or fd00:1::/64")
        })?;
        Self::new(net)
    }
}

impl TryFrom<IpNet> for Subnet {
    type Error = Refusal;
    fn try_from(net: IpNet) -> Result<Self, Refusal> {
        Self::new(net)
    }
}

impl From<Subnet> for IpNet {
    fn from(subnet: Subnet) -> IpNet {
        subnet.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_are_refused_with_the_subnet_meant() {
        let refusal = "172.30.0.5/24".parse::<Subnet>().unwrap_err();
        assert_eq!(refusal.fix, ["172.30.0.0/24"]);
    }

    #[test]
    fn usable_follows_the_rfcs() {
        let net = subnet("10.0.0.0/30");
        let usable = |ip: &str| net.usable(ip.parse().unwrap());
        assert!(!usable("10.0.0.0") && usable("10.0.0.1") && usable("10.0.0.2") && !usable("10.0.0.3"));
        assert!(subnet("10.0.0.0/31").usable("10.0.0.0".parse().unwrap()));
        assert!(!subnet("fd00::/64").usable("fd00::".parse().unwrap()));
        assert!(subnet("fd00::/64").usable("fd00::ffff:ffff:ffff:ffff".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn numbers_round_trip(v4: u32, v6: u128) {
            let v4 = IpAddr::from(Ipv4Addr::from(v4));
            let v6 = IpAddr::from(Ipv6Addr::from(v6));
            prop_assert_eq!(Family::V4.address(number(v4)), v4);
            prop_assert_eq!(Family::V6.address(number(v6)), v6);
        }

        #[test]
        fn overlap_is_symmetric_and_means_a_shared_address(a: u32, b: u32, pa in 0u8..=32, pb in 0u8..=32) {
            let a = Subnet::around(IpNet::new_assert(Ipv4Addr::from(a).into(), pa));
            let b = Subnet::around(IpNet::new_assert(Ipv4Addr::from(b).into(), pb));
            prop_assert_eq!(a.overlaps(b.net()), b.overlaps(a.net()));
            let shared = number(a.first()) <= number(b.last()) && number(b.first()) <= number(a.last());
            prop_assert_eq!(a.overlaps(b.net()), shared);
        }
    }
}
