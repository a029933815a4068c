//! What expressions load, compare and do: the kernel's numbers.

use crate::wire::number::{flags, numbered};

numbered! {
    /// A comparison (`enum nft_cmp_ops`). Values compare byte by byte, as numbers in network byte order do.
    pub enum CmpOp: u32 {
        /// Equal.
        Eq = 0,
        /// Not equal.
        Neq = 1,
        /// Less.
        Lt = 2,
        /// Less or equal.
        Lte = 3,
        /// Greater.
        Gt = 4,
        /// Greater or equal.
        Gte = 5,
    }
}

numbered! {
    /// A comparison with a range (`enum nft_range_ops`).
    pub enum RangeOp: u32 {
        /// Within.
        Eq = 0,
        /// Without.
        Neq = 1,
    }
}

numbered! {
    /// A change of byte order (`enum nft_byteorder_ops`).
    pub enum ByteorderOp: u32 {
        /// From the network's to this host's.
        Ntoh = 0,
        /// From this host's to the network's.
        Hton = 1,
    }
}

numbered! {
    /// A shift of bits (`enum nft_bitwise_ops`).
    pub enum ShiftOp: u32 {
        /// To the left (`NFT_BITWISE_LSHIFT`).
        Left = 1,
        /// To the right (`NFT_BITWISE_RSHIFT`).
        Right = 2,
    }
}

numbered! {
    /// Where an offset into a packet counts from (`enum nft_payload_bases`).
    pub enum PayloadBase: u32 {
        /// The link layer's header.
        Link = 0,
        /// The network layer's header.
        Network = 1,
        /// The transport layer's header.
        Transport = 2,
        /// What follows the transport layer's header.
        Inner = 3,
    }
}

numbered! {
    /// A checksum to correct after a write into a packet (`enum nft_payload_csum_types`).
    pub enum ChecksumKind: u32 {
        /// None.
        None = 0,
        /// The internet checksum.
        Inet = 1,
        /// SCTP's.
        Sctp = 2,
    }
}

flags! {
    /// What else to correct after a write into a packet (`enum nft_payload_csum_flags`).
    pub struct ChecksumFlags: u32 {
        /// The bytes are part of the transport layer's pseudo header.
        PSEUDO_HEADER = 1,
    }
}

numbered! {
    /// What kind of header or option to look for (`enum nft_exthdr_op`).
    pub enum ExthdrOp: u32 {
        /// An extension header of IPv6.
        Ipv6 = 0,
        /// An option of TCP.
        TcpOpt = 1,
        /// An option of IPv4.
        Ipv4 = 2,
        /// A chunk of SCTP.
        Sctp = 3,
        /// An option of DCCP.
        Dccp = 4,
    }
}

numbered! {
    /// What a lookup in the routing tables is to give (`enum nft_fib_result`).
    pub enum FibResult: u32 {
        /// The outgoing interface's index, 4 bytes.
        Oif = 1,
        /// The outgoing interface's name, 16 bytes.
        OifName = 2,
        /// The address's type (`RTN_*`), 4 bytes in this host's byte order.
        AddressType = 3,
    }
}

flags! {
    /// What a lookup in the routing tables goes by (`enum nft_fib_flags`).
    pub struct FibFlags: u32 {
        /// The source address.
        SADDR = 1,
        /// The destination address.
        DADDR = 2,
        /// The packet's mark.
        MARK = 4,
        /// The incoming interface.
        IIF = 8,
        /// The outgoing interface.
        OIF = 16,
        /// Only whether there is a route, as one byte.
        PRESENT = 32,
    }
}

numbered! {
    /// Which addresses to translate (`enum nft_nat_types`).
    pub enum NatKind: u32 {
        /// The source's.
        Snat = 0,
        /// The destination's.
        Dnat = 1,
    }
}

flags! {
    /// How to translate addresses (`NF_NAT_RANGE_*` of linux/netfilter/nf_nat.h). The kernel adds the first two.
    pub struct NatFlags: u32 {
        /// To the addresses given.
        MAP_IPS = 0x1,
        /// To the ports given.
        PROTO_SPECIFIED = 0x2,
        /// Ports at random.
        PROTO_RANDOM = 0x4,
        /// A client always gets the same address.
        PERSISTENT = 0x8,
        /// Ports fully at random.
        PROTO_RANDOM_FULLY = 0x10,
        /// Ports move by an offset.
        PROTO_OFFSET = 0x20,
        /// Addresses keep their host part.
        NETMAP = 0x40,
    }
}

numbered! {
    /// What a limit counts (`enum nft_limit_type`).
    pub enum LimitKind: u32 {
        /// Packets.
        Packets = 0,
        /// Bytes.
        Bytes = 1,
    }
}

flags! {
    /// How a quota works (`enum nft_quota_flags`).
    pub struct QuotaFlags: u32 {
        /// Holds after the quota is used up, not before.
        INVERTED = 1,
        /// It is used up.
        DEPLETED = 2,
    }
}

flags! {
    /// What to log besides the packet (`NF_LOG_*` of linux/netfilter/nf_log.h).
    pub struct LogFlags: u32 {
        /// TCP's sequence numbers.
        TCP_SEQUENCE = 1,
        /// TCP's options.
        TCP_OPTIONS = 2,
        /// IP's options.
        IP_OPTIONS = 4,
        /// The sending process's user.
        UID = 8,
        /// The hardware addresses.
        MAC_DECODE = 32,
    }
}

numbered! {
    /// How a packet is rejected (`enum nft_reject_types`).
    pub enum RejectKind: u32 {
        /// With ICMP's or ICMPv6's "unreachable", the code being theirs.
        IcmpUnreachable = 0,
        /// With TCP's reset.
        TcpReset = 1,
        /// With the family's own "unreachable", the code being of `enum nft_reject_inet_code`.
        IcmpxUnreachable = 2,
    }
}

flags! {
    /// How packets are queued (`NFT_QUEUE_FLAG_*`).
    pub struct QueueFlags: u16 {
        /// They pass if nobody listens.
        BYPASS = 1,
        /// The CPU's number chooses the queue.
        CPU_FANOUT = 2,
    }
}

numbered! {
    /// What to do to a set (`enum nft_dynset_ops`).
    pub enum DynsetOp: u32 {
        /// Add an element.
        Add = 0,
        /// Add an element, or start its timeout anew.
        Update = 1,
        /// Delete an element.
        Delete = 2,
    }
}

flags! {
    /// How to change a set (`enum nft_dynset_flags`).
    pub struct DynsetFlags: u32 {
        /// Holds if the change fails.
        INVERTED = 1,
        /// The element has several expressions.
        EXPR = 2,
    }
}

numbered! {
    /// What to load of a packet's socket (`enum nft_socket_keys`).
    pub enum SocketKey: u32 {
        /// Whether it is transparent (`IP_TRANSPARENT`), one byte.
        Transparent = 0,
        /// Its mark, 4 bytes.
        Mark = 1,
        /// Whether it is bound to no address, one byte.
        Wildcard = 2,
        /// Its control group's number, 8 bytes.
        CgroupV2 = 3,
    }
}

numbered! {
    /// What to load of a packet's route (`enum nft_rt_keys`).
    pub enum RtKey: u32 {
        /// The realm, 4 bytes.
        ClassId = 0,
        /// The next hop, 4 bytes.
        NextHop4 = 1,
        /// The next hop, 16 bytes.
        NextHop6 = 2,
        /// The greatest segment size of TCP, 2 bytes.
        TcpMss = 3,
        /// Whether IPsec transforms the packet, one byte.
        Xfrm = 4,
    }
}

numbered! {
    /// How numbers are generated (`enum nft_ng_types`).
    pub enum NumgenKind: u32 {
        /// One after the other.
        Incremental = 0,
        /// At random.
        Random = 1,
    }
}

numbered! {
    /// How a hash is made (`enum nft_hash_types`).
    pub enum HashKind: u32 {
        /// Of a register, with Jenkins' hash.
        Jenkins = 0,
        /// Of the packet's addresses and ports, the same for both directions.
        Symmetric = 1,
    }
}
