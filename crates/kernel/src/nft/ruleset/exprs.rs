//! Phrases of rules: what a rule of nft's compiles to, by the same registers, so that `nft list` shows it as
//! it was meant.

use qiao_nft::{
    CmpOp, CtDirection, CtKey, ElementValue, Expr, ExthdrOp, Family, FibFlags, FibResult, MetaKey, NatFlags,
    NatKind, PayloadBase, Register, Verdict,
};

const R1: Register = Register::quad(1);

/// Something to load, for a comparison or as a field of a key.
#[derive(Clone, Copy)]
pub enum Load {
    IifName,
    OifName,
    L4Proto,
    NfProto,
    EtherSource,
    ArpMac,
    ArpIp,
    Source4,
    Target4,
    Source6,
    Target6,
    Port,
    NdTarget,
    /// The destination of the packet that an ICMP error quotes: who sends such an error must have got the packet.
    Quoted4,
    Quoted6,
    /// Who sends in this direction of the packet's connection, or of that which it speaks of.
    CtSource4(CtDirection),
    CtSource6(CtDirection),
}

impl Load {
    /// The length in bytes.
    fn len(self) -> u32 {
        match self {
            Load::IifName | Load::OifName | Load::Source6 | Load::Target6 | Load::NdTarget => 16,
            Load::Quoted6 | Load::CtSource6(_) => 16,
            Load::EtherSource | Load::ArpMac => 6,
            Load::ArpIp | Load::Source4 | Load::Target4 | Load::Quoted4 | Load::CtSource4(_) => 4,
            Load::Port => 2,
            Load::L4Proto | Load::NfProto => 1,
        }
    }

    fn expr(self, dreg: Register) -> Expr {
        let payload = |base, offset| Expr::Payload { base, offset, len: self.len(), dreg };
        match self {
            Load::IifName => Expr::Meta { key: MetaKey::IifName, dreg },
            Load::OifName => Expr::Meta { key: MetaKey::OifName, dreg },
            Load::L4Proto => Expr::Meta { key: MetaKey::L4Proto, dreg },
            Load::NfProto => Expr::Meta { key: MetaKey::NfProto, dreg },
            Load::EtherSource => payload(PayloadBase::Link, 6),
            Load::ArpMac => payload(PayloadBase::Network, 8),
            Load::ArpIp => payload(PayloadBase::Network, 14),
            Load::Source4 => payload(PayloadBase::Network, 12),
            Load::Target4 => payload(PayloadBase::Network, 16),
            Load::Source6 => payload(PayloadBase::Network, 8),
            Load::Target6 => payload(PayloadBase::Network, 24),
            Load::Port => payload(PayloadBase::Transport, 2),
            Load::NdTarget => payload(PayloadBase::Transport, 8),
            // Behind the error's own eight bytes, where an IP header has its destination (RFC 792, RFC 4443).
            Load::Quoted4 => payload(PayloadBase::Transport, 8 + 16),
            Load::Quoted6 => payload(PayloadBase::Transport, 8 + 24),
            Load::CtSource4(direction) => Expr::Ct { key: CtKey::SrcIp, dreg, direction: Some(direction) },
            Load::CtSource6(direction) => Expr::Ct { key: CtKey::SrcIp6, dreg, direction: Some(direction) },
        }
    }
}

/// Loads fields one behind the other, each from a 4-byte register on.
fn concat(fields: &[Load]) -> Vec<Expr> {
    let mut word = 0;
    let load = |field: &Load| {
        let register = if word % 4 == 0 { Register::quad(1 + word / 4) } else { Register::word(word) };
        word += field.len().div_ceil(4);
        field.expr(register)
    };
    fields.iter().map(load).collect()
}

/// The fields are an element of a set.
pub fn is_in(fields: &[Load], set: &str) -> Vec<Expr> {
    lookup(fields, set, false)
}

/// The fields are no element of a set.
pub fn is_not_in(fields: &[Load], set: &str) -> Vec<Expr> {
    lookup(fields, set, true)
}

fn lookup(fields: &[Load], set: &str, inverted: bool) -> Vec<Expr> {
    let mut exprs = concat(fields);
    exprs.push(Expr::Lookup { set: set.to_owned(), set_id: None, sreg: R1, dreg: None, inverted });
    exprs
}

/// The verdict that a map has for the fields.
pub fn verdict_of(load: Expr, map: &str) -> Vec<Expr> {
    let lookup = Expr::Lookup {
        set: map.to_owned(),
        set_id: None,
        sreg: R1,
        dreg: Some(Register::VERDICT),
        inverted: false,
    };
    vec![load, lookup]
}

/// The load that `verdict_of` needs for the address family.
pub fn family_of_packet() -> Expr {
    Expr::Meta { key: MetaKey::NfProto, dreg: R1 }
}

fn compare(load: Expr, op: CmpOp, value: impl Into<Vec<u8>>) -> Vec<Expr> {
    vec![load, Expr::Cmp { op, sreg: R1, value: value.into() }]
}

fn equals(load: Expr, value: impl Into<Vec<u8>>) -> Vec<Expr> {
    compare(load, CmpOp::Eq, value)
}

fn bytes(base: PayloadBase, offset: u32, len: u32) -> Expr {
    Expr::Payload { base, offset, len, dreg: R1 }
}

/// In the `inet` family: the packet is of this one.
pub fn family(of: Family) -> Vec<Expr> {
    equals(family_of_packet(), [of as u8])
}

/// In the `bridge` family: the ethernet type that the kernel has settled on.
pub fn protocol(ethertype: u16) -> Vec<Expr> {
    equals(Expr::Meta { key: MetaKey::Protocol, dreg: R1 }, ethertype.to_be_bytes())
}

/// The ethernet type as it stands in the frame: that of a tag, where there is one.
pub fn ether_type(ethertype: u16) -> Vec<Expr> {
    equals(bytes(PayloadBase::Link, 12, 2), ethertype.to_be_bytes())
}

/// The protocol above IP.
pub fn l4(number: u8) -> Vec<Expr> {
    equals(Expr::Meta { key: MetaKey::L4Proto, dreg: R1 }, [number])
}

/// UDP or TCP from or to a port.
pub fn port(l4_number: u8, (offset, number): (u32, u16)) -> Vec<Expr> {
    [l4(l4_number), equals(bytes(PayloadBase::Transport, offset, 2), number.to_be_bytes())].concat()
}

/// An ICMP or ICMPv6 message of a type.
pub fn icmp(l4_number: u8, kind: u8) -> Vec<Expr> {
    [l4(l4_number), equals(bytes(PayloadBase::Transport, 0, 1), [kind])].concat()
}

/// An ICMPv6 error: its type is less than 128 (RFC 4443).
pub fn error6() -> Vec<Expr> {
    [l4(58), compare(bytes(PayloadBase::Transport, 0, 1), CmpOp::Lt, [128])].concat()
}

/// The types of ICMP errors that quote a packet (RFC 792), but for redirects.
pub const ERRORS4: [u8; 4] = [3, 4, 11, 12];

/// Bytes of the network header.
pub fn network(offset: u32, value: &[u8]) -> Vec<Expr> {
    equals(bytes(PayloadBase::Network, offset, value.len() as u32), value)
}

/// An IPv4 option is there.
pub fn option4(kind: u8) -> Vec<Expr> {
    let load = Expr::Exthdr { dreg: R1, op: ExthdrOp::Ipv4, typ: kind, offset: 0, len: 1, present: true };
    equals(load, [1])
}

/// The input interface's name.
pub fn iif(name: &str) -> Vec<Expr> {
    equals(Expr::Meta { key: MetaKey::IifName, dreg: R1 }, padded(name))
}

/// The output interface's name.
pub fn oif(name: &str) -> Vec<Expr> {
    equals(Expr::Meta { key: MetaKey::OifName, dreg: R1 }, padded(name))
}

/// The input interface's kind.
pub fn iif_kind(kind: &str) -> Vec<Expr> {
    equals(Expr::Meta { key: MetaKey::IifKind, dreg: R1 }, padded(kind))
}

/// The output interface's kind.
pub fn oif_kind(kind: &str) -> Vec<Expr> {
    equals(Expr::Meta { key: MetaKey::OifKind, dreg: R1 }, padded(kind))
}

fn padded(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// The destination is an address of this host (`RTN_LOCAL`).
pub fn is_local() -> Vec<Expr> {
    const RTN_LOCAL: u32 = 2;
    equals(
        Expr::Fib { dreg: R1, result: FibResult::AddressType, flags: FibFlags::DADDR },
        RTN_LOCAL.to_ne_bytes(),
    )
}

/// Some of these bits are set in something of the connection.
fn ct_bits(key: CtKey, bits: u32) -> Vec<Expr> {
    let zero = 0u32.to_ne_bytes().to_vec();
    let mask = bits.to_ne_bytes().to_vec();
    vec![
        Expr::Ct { key, dreg: R1, direction: None },
        Expr::Bitwise { sreg: R1, dreg: R1, len: 4, mask, xor: zero.clone() },
        Expr::Cmp { op: CmpOp::Neq, sreg: R1, value: zero },
    ]
}

/// The packet belongs to a connection that was let through, in either direction.
pub fn established() -> Vec<Expr> {
    const ESTABLISHED: u32 = 2;
    ct_bits(CtKey::State, ESTABLISHED)
}

/// The packet is an ICMP error about a connection, from any sender, or the first of a connection that a helper
/// expected.
pub fn related() -> Vec<Expr> {
    const RELATED: u32 = 4;
    ct_bits(CtKey::State, RELATED)
}

/// The packet goes in this direction of its connection, or of that which it speaks of.
pub fn goes(direction: CtDirection) -> Vec<Expr> {
    equals(Expr::Ct { key: CtKey::Direction, dreg: R1, direction: None }, [direction as u8])
}

/// The connection's destination was translated (`IPS_DST_NAT`).
pub fn was_translated() -> Vec<Expr> {
    ct_bits(CtKey::Status, 1 << 5)
}

/// Translates the destination to what a map has for the fields: an address and a port, or an address alone.
pub fn translate(of: Family, fields: &[Load], (map, with_port): (&str, bool)) -> Vec<Expr> {
    let port = if of == Family::Ip { Register::word(1) } else { Register::quad(2) };
    let port = with_port.then_some(port);
    let flags = if with_port { NatFlags::MAP_IPS | NatFlags::PROTO_SPECIFIED } else { NatFlags::MAP_IPS };
    let mut exprs = [family(of), concat(fields)].concat();
    exprs.push(Expr::Lookup { set: map.to_owned(), set_id: None, sreg: R1, dreg: Some(R1), inverted: false });
    exprs.push(Expr::Nat {
        kind: NatKind::Dnat,
        family: of,
        addr_min: Some(R1),
        addr_max: Some(R1),
        proto_min: port,
        proto_max: port,
        flags,
    });
    exprs
}

/// Translates the source to what a map has for it.
pub fn translate_source(of: Family, source: Load, map: &str) -> Vec<Expr> {
    let mut exprs = concat(&[source]);
    exprs.push(Expr::Lookup { set: map.to_owned(), set_id: None, sreg: R1, dreg: Some(R1), inverted: false });
    exprs.push(Expr::Nat {
        kind: NatKind::Snat,
        family: of,
        addr_min: Some(R1),
        addr_max: Some(R1),
        proto_min: None,
        proto_max: None,
        flags: NatFlags::MAP_IPS,
    });
    exprs
}

/// The packet goes out under the host's address, from a random port.
pub fn masquerade() -> Expr {
    Expr::Masquerade { flags: NatFlags::PROTO_RANDOM_FULLY, proto_min: None, proto_max: None }
}

/// The same, from a port that needs no privilege.
pub fn masquerade_high() -> Vec<Expr> {
    let (low, high) = (R1, Register::quad(2));
    let bytes =
        |dreg, port: u16| Expr::Immediate { dreg, value: ElementValue::Bytes(port.to_be_bytes().to_vec()) };
    let flags = NatFlags::PROTO_SPECIFIED | NatFlags::PROTO_RANDOM_FULLY;
    vec![
        bytes(low, 1024),
        bytes(high, 65535),
        Expr::Masquerade { flags, proto_min: Some(low), proto_max: Some(high) },
    ]
}

/// Back to the chain that led here.
pub fn back() -> Expr {
    Expr::verdict(Verdict::Return)
}

/// In the `inet` family: the packet came in a frame of Ethernet.
pub fn ethernet() -> Vec<Expr> {
    const ARPHRD_ETHER: u16 = 1;
    equals(Expr::Meta { key: MetaKey::IifType, dreg: R1 }, ARPHRD_ETHER.to_ne_bytes())
}

/// A rule that lets packets pass.
pub fn accept(conditions: &[Vec<Expr>]) -> (Vec<Expr>, &'static str) {
    let mut exprs = conditions.concat();
    exprs.push(Expr::verdict(Verdict::Accept));
    (exprs, "")
}

/// A rule that counts packets and drops them, and says why.
pub fn drop_because(conditions: &[Vec<Expr>], why: &'static str) -> (Vec<Expr>, &'static str) {
    let mut exprs = conditions.concat();
    exprs.extend([Expr::counter(), Expr::verdict(Verdict::Drop)]);
    (exprs, why)
}

/// A rule that leads to another chain, for good.
pub fn goto(conditions: &[Vec<Expr>], chain: &str) -> (Vec<Expr>, &'static str) {
    let mut exprs = conditions.concat();
    exprs.push(Expr::verdict(Verdict::Goto(chain.to_owned())));
    (exprs, "")
}

/// A rule that leads to another chain and back.
pub fn jump(conditions: &[Vec<Expr>], chain: &str) -> (Vec<Expr>, &'static str) {
    let mut exprs = conditions.concat();
    exprs.push(Expr::verdict(Verdict::Jump(chain.to_owned())));
    (exprs, "")
}
