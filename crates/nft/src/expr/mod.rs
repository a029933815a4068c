//! Expressions: what rules are made of.

mod keys;
pub(crate) mod list;
mod numbers;
mod register;
mod table;
mod timeout;

use crate::error::Encoded;
use crate::family::Family;
#[cfg(test)]
use crate::sample::Sample;
use crate::verdict::{ElementValue, Verdict};
use crate::wire::{Attributes, Value, Writer};
pub use keys::{CtDirection, CtKey, MetaKey};
pub use numbers::*;
pub use register::Register;
pub use timeout::Timeout;

table::expressions! {
    /// An expression. Each field says the attribute that it is, by the kernel's name without its prefix; where the
    /// kernel's name is the field's own it is left out. Names of registers are as in the kernel: `sreg` is read,
    /// `dreg` is written.
    pub enum Expr {
        /// Loads metadata of the packet (`enum nft_meta_attributes`).
        Meta = "meta" {
            /// What to load.
            2 key: MetaKey,
            /// Where to.
            1 dreg: Register,
        }
        /// Sets metadata of the packet.
        MetaWrite = "meta" {
            /// What to set.
            2 key: MetaKey,
            /// To what.
            3 sreg: Register,
        }
        /// Loads bytes of the packet (`enum nft_payload_attributes`).
        Payload = "payload" {
            /// Where the offset counts from.
            2 base: PayloadBase,
            /// In bytes.
            3 offset: u32,
            /// In bytes.
            4 len: u32,
            /// Where to.
            1 dreg: Register,
        }
        /// Writes bytes of the packet, and corrects a checksum.
        PayloadWrite = "payload" {
            /// Where the offset counts from.
            2 base: PayloadBase,
            /// In bytes.
            3 offset: u32,
            /// In bytes.
            4 len: u32,
            /// What to write.
            5 sreg: Register,
            /// The checksum to correct.
            6 csum_type: Option<ChecksumKind>,
            /// Its offset in bytes.
            7 csum_offset: Option<u32>,
            /// What else to correct.
            8 csum_flags: ChecksumFlags,
        }
        /// Compares a register with a value (`enum nft_cmp_attributes`). The rule ends here if that does not hold.
        Cmp = "cmp" {
            /// How.
            2 op: CmpOp,
            /// What.
            1 sreg: Register,
            /// With what, 1 to 64 bytes (`DATA`).
            3 value: Vec<u8>,
        }
        /// Compares a register with a range (`enum nft_range_attributes`).
        Range = "range" {
            /// How.
            2 op: RangeOp,
            /// What.
            1 sreg: Register,
            /// The range's first value (`FROM_DATA`).
            3 from: Vec<u8>,
            /// Its last (`TO_DATA`).
            4 to: Vec<u8>,
        }
        /// `dreg = (sreg & mask) ^ xor` (`enum nft_bitwise_attributes`).
        Bitwise = "bitwise" (6: 0) {
            /// What.
            1 sreg: Register,
            /// Where to.
            2 dreg: Register,
            /// In bytes, as `mask` and `xor` are.
            3 len: u32,
            /// The bits that stay.
            4 mask: Vec<u8>,
            /// The bits that turn.
            5 xor: Vec<u8>,
        }
        /// `dreg = sreg << amount`, or `>>` (`enum nft_bitwise_attributes`).
        Shift = "bitwise" {
            /// What.
            1 sreg: Register,
            /// Where to.
            2 dreg: Register,
            /// In bytes.
            3 len: u32,
            /// In which direction.
            6 op: ShiftOp,
            /// By how many bits: 4 bytes in this host's byte order (`DATA`).
            7 amount: Vec<u8>,
        }
        /// Changes the byte order (`enum nft_byteorder_attributes`).
        Byteorder = "byteorder" {
            /// What.
            1 sreg: Register,
            /// Where to.
            2 dreg: Register,
            /// From which to which.
            3 op: ByteorderOp,
            /// How many bytes in all.
            4 len: u32,
            /// How many bytes a number has: 2, 4 or 8.
            5 size: u32,
        }
        /// Looks a key up in a set (`enum nft_lookup_attributes`). The rule ends here if it is not there.
        Lookup = "lookup" {
            /// The set's name.
            1 set: String,
            /// Its number within this batch.
            4 set_id: Option<u32>,
            /// The key.
            2 sreg: Register,
            /// In a map: where what it has goes to.
            3 dreg: Option<Register>,
            /// The rule ends here if the key is there (`FLAGS`, `NFT_LOOKUP_F_INV`).
            5 inverted: bool,
        }
        /// Puts a value into a register, or gives a verdict (`enum nft_immediate_attributes`).
        Immediate = "immediate" {
            /// Where to.
            1 dreg: Register,
            /// What (`DATA`).
            2 value: ElementValue,
        }
        /// Translates addresses (`enum nft_nat_attributes`).
        Nat = "nat" {
            /// Which.
            1 kind: NatKind,
            /// Of the addresses: [`Family::Ip`] or [`Family::Ip6`].
            2 family: Family,
            /// The first address to choose from.
            3 addr_min: Option<Register>,
            /// The last.
            4 addr_max: Option<Register>,
            /// The first port to choose from.
            5 proto_min: Option<Register>,
            /// The last.
            6 proto_max: Option<Register>,
            /// How.
            7 flags: NatFlags,
        }
        /// Translates the source's address to the output interface's (`enum nft_masq_attributes`).
        Masquerade = "masq" {
            /// How.
            1 flags: NatFlags,
            /// The first port to choose from.
            2 proto_min: Option<Register>,
            /// The last.
            3 proto_max: Option<Register>,
        }
        /// Translates the destination's address to this host's (`enum nft_redir_attributes`).
        Redirect = "redir" {
            /// How.
            3 flags: NatFlags,
            /// The first port to choose from.
            1 proto_min: Option<Register>,
            /// The last.
            2 proto_max: Option<Register>,
        }
        /// Loads something of the packet's connection (`enum nft_ct_attributes`).
        Ct = "ct" {
            /// What.
            2 key: CtKey,
            /// Where to.
            1 dreg: Register,
            /// Of which direction, if both have it.
            3 direction: Option<CtDirection>,
        }
        /// Sets something of the packet's connection.
        CtWrite = "ct" {
            /// What.
            2 key: CtKey,
            /// To what.
            4 sreg: Register,
            /// Of which direction, if both have it.
            3 direction: Option<CtDirection>,
        }
        /// Looks the packet up in the routing tables (`enum nft_fib_attributes`).
        Fib = "fib" {
            /// Where the result goes to.
            1 dreg: Register,
            /// What it is.
            2 result: FibResult,
            /// What the lookup goes by.
            3 flags: FibFlags,
        }
        /// Loads bytes of an extension header or option (`enum nft_exthdr_attributes`).
        Exthdr = "exthdr" {
            /// Where to.
            1 dreg: Register,
            /// What kind of header or option.
            6 op: ExthdrOp,
            /// Its number (`TYPE`).
            2 typ: u8,
            /// In bytes.
            3 offset: u32,
            /// In bytes.
            4 len: u32,
            /// Loads instead one byte: whether it is there (`FLAGS`, `NFT_EXTHDR_F_PRESENT`).
            5 present: bool,
        }
        /// Writes bytes of a TCP option.
        ExthdrWrite = "exthdr" (5: 0) {
            /// What.
            7 sreg: Register,
            /// What kind of header or option.
            6 op: ExthdrOp,
            /// Its number (`TYPE`).
            2 typ: u8,
            /// In bytes.
            3 offset: u32,
            /// In bytes.
            4 len: u32,
        }
        /// Counts (`enum nft_counter_attributes`).
        Counter = "counter" {
            /// The packets so far.
            2 packets: u64,
            /// Their bytes.
            1 bytes: u64,
        }
        /// Holds up to a rate (`enum nft_limit_attributes`).
        Limit = "limit" {
            /// How many in each `unit`.
            1 rate: u64,
            /// In seconds.
            2 unit: u64,
            /// How many more at once.
            3 burst: u32,
            /// Of what (`TYPE`).
            4 kind: LimitKind,
            /// Holds above the rate instead (`FLAGS`, `NFT_LIMIT_F_INV`).
            5 inverted: bool,
        }
        /// Holds up to a number of connections (`enum nft_connlimit_attributes`).
        Connlimit = "connlimit" {
            /// How many.
            1 count: u32,
            /// Holds above the number instead (`FLAGS`, `NFT_CONNLIMIT_F_INV`).
            2 inverted: bool,
        }
        /// Holds up to a number of bytes (`enum nft_quota_attributes`).
        Quota = "quota" {
            /// How many.
            1 bytes: u64,
            /// How.
            2 flags: QuotaFlags,
            /// How many so far.
            4 consumed: Option<u64>,
        }
        /// Notes when it was last evaluated (`enum nft_last_attributes`).
        Last = "last" {
            /// Whether it ever was: 0 or 1.
            1 set: u32,
            /// How many milliseconds ago.
            2 msecs: u64,
        }
        /// Logs the packet (`enum nft_log_attributes`).
        Log = "log" {
            /// The netlink group to send it to; if none, the kernel's log.
            1 group: Option<u16>,
            /// A text to go before, up to 127 bytes.
            2 prefix: Option<String>,
            /// How many bytes of the packet to send.
            3 snaplen: Option<u32>,
            /// After how many packets to send them.
            4 qthreshold: Option<u16>,
            /// The log's level, 0 (emergency) to 7 (debug), 8 for the audit system.
            5 level: Option<u32>,
            /// What else.
            6 flags: LogFlags,
        }
        /// Drops the packet and tells its sender (`enum nft_reject_attributes`).
        Reject = "reject" {
            /// How (`TYPE`).
            1 kind: RejectKind,
            /// The code of the answer (`ICMP_CODE`).
            2 code: Option<u8>,
        }
        /// The packet's connection is not tracked.
        Notrack = "notrack" {}
        /// Hands the packet to a process (`enum nft_queue_attributes`).
        Queue = "queue" {
            /// The first queue's number.
            1 num: Option<u16>,
            /// How many queues.
            2 total: Option<u16>,
            /// How.
            3 flags: QueueFlags,
            /// The queue's number, in place of `num` (`SREG_QNUM`).
            4 sreg: Option<Register>,
        }
        /// Changes a set (`enum nft_dynset_attributes`).
        Dynset = "dynset" {
            /// The set's name (`SET_NAME`).
            1 set: String,
            /// Its number within this batch.
            2 set_id: Option<u32>,
            /// How.
            3 op: DynsetOp,
            /// The key.
            4 sreg_key: Register,
            /// In a map: what it is to have.
            5 sreg_data: Option<Register>,
            /// The element's timeout.
            6 timeout: Timeout,
            /// The element's own expression.
            7 expr: Option<Box<Expr>>,
            /// Its own expressions, if they are several; needs [`DynsetFlags::EXPR`] (`EXPRESSIONS`).
            10 exprs: Vec<Expr>,
            /// How.
            9 flags: DynsetFlags,
        }
        /// Loads something of the packet's socket (`enum nft_socket_attributes`).
        Socket = "socket" {
            /// What.
            1 key: SocketKey,
            /// Where to.
            2 dreg: Register,
            /// For [`SocketKey::CgroupV2`]: the level in the hierarchy.
            3 level: Option<u32>,
        }
        /// Uses an object (`enum nft_objref_attributes`).
        Objref = "objref" {
            /// The object's type (`NFT_OBJECT_*`; `IMM_TYPE`).
            1 kind: u32,
            /// Its name (`IMM_NAME`).
            2 object: String,
        }
        /// Uses the object that a map has for a key (`enum nft_objref_attributes`).
        ObjrefMap = "objref" {
            /// The key (`SET_SREG`).
            3 sreg: Register,
            /// The map's name (`SET_NAME`).
            4 set: String,
            /// Its number within this batch.
            5 set_id: Option<u32>,
        }
        /// Loads something of the packet's route (`enum nft_rt_attributes`).
        Rt = "rt" {
            /// What.
            2 key: RtKey,
            /// Where to.
            1 dreg: Register,
        }
        /// Generates a number (`enum nft_ng_attributes`).
        Numgen = "numgen" {
            /// Where to.
            1 dreg: Register,
            /// How many numbers there are.
            2 modulus: u32,
            /// How (`TYPE`).
            3 kind: NumgenKind,
            /// The first of them.
            4 offset: Option<u32>,
        }
        /// Makes a hash (`enum nft_hash_attributes`).
        Hash = "hash" {
            /// Of what.
            1 sreg: Option<Register>,
            /// Where to.
            2 dreg: Register,
            /// Of how many bytes.
            3 len: Option<u32>,
            /// How many hashes there are.
            4 modulus: u32,
            /// Where it starts.
            5 seed: Option<u32>,
            /// The first of them.
            6 offset: Option<u32>,
            /// How (`TYPE`).
            7 kind: HashKind,
        }
        /// Sends a copy of the packet (`enum nft_dup_attributes`).
        Dup = "dup" {
            /// To this address.
            1 sreg_addr: Option<Register>,
            /// Through the interface of this index.
            2 sreg_dev: Option<Register>,
        }
        /// Sends the packet on (`enum nft_fwd_attributes`).
        Fwd = "fwd" {
            /// Through the interface of this index.
            1 sreg_dev: Register,
            /// To this address.
            2 sreg_addr: Option<Register>,
            /// Of the address (`NFPROTO`).
            3 family: Option<Family>,
        }
    }
}

impl Expr {
    /// Gives a verdict.
    pub fn verdict(verdict: Verdict) -> Self {
        Self::Immediate { dreg: Register::VERDICT, value: ElementValue::Verdict(verdict) }
    }

    /// Puts these bytes, 1 to 64, into a register.
    pub fn bytes(dreg: Register, bytes: impl Into<Vec<u8>>) -> Self {
        Self::Immediate { dreg, value: ElementValue::Bytes(bytes.into()) }
    }

    /// Holds if the register has these bytes, 1 to 64.
    pub fn equal(sreg: Register, value: impl Into<Vec<u8>>) -> Self {
        Self::Cmp { op: CmpOp::Eq, sreg, value: value.into() }
    }

    /// Counts from zero.
    pub const fn counter() -> Self {
        Self::Counter { packets: 0, bytes: 0 }
    }
}

#[cfg(test)]
mod tests;
