//! What can be loaded of a packet's metadata and of its connection.

use crate::wire::number::numbered;

numbered! {
    /// Metadata of a packet (`enum nft_meta_keys`). Where no length is given it is 4 bytes in this host's byte order.
    pub enum MetaKey: u32 {
        /// The length in bytes.
        Len = 0,
        /// The ethernet type, 2 bytes in network byte order.
        Protocol = 1,
        /// The priority.
        Priority = 2,
        /// The mark.
        Mark = 3,
        /// The input interface's index.
        Iif = 4,
        /// The output interface's index.
        Oif = 5,
        /// The input interface's name, 16 bytes.
        IifName = 6,
        /// The output interface's name, 16 bytes.
        OifName = 7,
        /// The input interface's type (`ARPHRD_*`), 2 bytes.
        IifType = 8,
        /// The output interface's type, 2 bytes.
        OifType = 9,
        /// The sending user.
        SkUid = 10,
        /// The sending group.
        SkGid = 11,
        /// Whether the packet is traced, one byte.
        NfTrace = 12,
        /// The realm of the route.
        RtClassId = 13,
        /// The security mark.
        SecMark = 14,
        /// The family (`NFPROTO_*`), one byte.
        NfProto = 15,
        /// The protocol over IP (`IPPROTO_*`), one byte.
        L4Proto = 16,
        /// The name of the bridge of the input interface, 16 bytes.
        BriIifName = 17,
        /// The name of the bridge of the output interface, 16 bytes.
        BriOifName = 18,
        /// To whom the packet goes (`PACKET_*`), one byte.
        PktType = 19,
        /// The CPU's number.
        Cpu = 20,
        /// The input interface's group.
        IifGroup = 21,
        /// The output interface's group.
        OifGroup = 22,
        /// The control group's class.
        Cgroup = 23,
        /// A random number.
        Prandom = 24,
        /// Whether the packet came through IPsec, one byte.
        SecPath = 25,
        /// The kind of the input interface (`IFLA_INFO_KIND`), 16 bytes.
        IifKind = 26,
        /// The kind of the output interface, 16 bytes.
        OifKind = 27,
        /// The VLAN of the input bridge, 2 bytes.
        BriIifPvid = 28,
        /// The VLAN protocol of the input bridge, 2 bytes in network byte order.
        BriIifVproto = 29,
        /// The time in nanoseconds since 1970, 8 bytes.
        TimeNs = 30,
        /// The day of the week, 0 for Sunday, one byte.
        TimeDay = 31,
        /// The second of the day.
        TimeHour = 32,
        /// The index of the slave interface of the input VRF.
        Sdif = 33,
        /// The name of the slave interface of the input VRF, 16 bytes.
        SdifName = 34,
    }
}

numbered! {
    /// What to load of a packet's connection (`enum nft_ct_keys`). Where no length is given it is 4 bytes in this
    /// host's byte order.
    pub enum CtKey: u32 {
        /// The state, a set of bits: 1 invalid, 2 established, 4 related, 8 new, 64 untracked.
        State = 0,
        /// The direction, one byte.
        Direction = 1,
        /// The status, a set of bits (`enum ip_conntrack_status`).
        Status = 2,
        /// The mark.
        Mark = 3,
        /// The security mark.
        SecMark = 4,
        /// In how many milliseconds it ends.
        Expiration = 5,
        /// The helper's name, 16 bytes.
        Helper = 6,
        /// The family (`NFPROTO_*`), one byte.
        L3Protocol = 7,
        /// The source address; deprecated.
        Src = 8,
        /// The destination address; deprecated.
        Dst = 9,
        /// The protocol over IP (`IPPROTO_*`), one byte.
        Protocol = 10,
        /// The source port, 2 bytes in network byte order.
        ProtoSrc = 11,
        /// The destination port, 2 bytes in network byte order.
        ProtoDst = 12,
        /// The labels, 16 bytes.
        Labels = 13,
        /// The number of packets, 8 bytes.
        Packets = 14,
        /// The number of bytes, 8 bytes.
        Bytes = 15,
        /// The average bytes of a packet, 8 bytes.
        AveragePacket = 16,
        /// The zone, 2 bytes.
        Zone = 17,
        /// The events to report.
        EventMask = 18,
        /// The IPv4 source address.
        SrcIp = 19,
        /// The IPv4 destination address.
        DstIp = 20,
        /// The IPv6 source address, 16 bytes.
        SrcIp6 = 21,
        /// The IPv6 destination address, 16 bytes.
        DstIp6 = 22,
        /// The connection's number.
        Id = 23,
    }
}

numbered! {
    /// A direction of a connection (`enum ip_conntrack_dir`).
    pub enum CtDirection: u8 {
        /// As it began.
        Original = 0,
        /// The answers.
        Reply = 1,
    }
}
