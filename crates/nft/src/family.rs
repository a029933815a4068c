//! Address families.

use crate::wire::number::numbered;

numbered! {
    /// The address family of a table and all that is in it (`NFPROTO_*` of linux/netfilter.h).
    pub enum Family: u32 {
        /// IPv4 and IPv6 (`NFPROTO_INET`).
        Inet = 1,
        /// IPv4 (`NFPROTO_IPV4`).
        Ip = 2,
        /// ARP (`NFPROTO_ARP`).
        Arp = 3,
        /// The ingress and egress of single devices (`NFPROTO_NETDEV`).
        Netdev = 5,
        /// Ethernet bridges (`NFPROTO_BRIDGE`).
        Bridge = 7,
        /// IPv6 (`NFPROTO_IPV6`).
        Ip6 = 10,
    }
}

impl Family {
    /// The number as `struct nfgenmsg` has it.
    pub(crate) const fn octet(self) -> u8 {
        self.number().to_be_bytes()[3]
    }
}

impl TryFrom<u8> for Family {
    type Error = crate::DecodeError;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Self::from_number(number.into()).ok_or(crate::DecodeError::Family(number))
    }
}
