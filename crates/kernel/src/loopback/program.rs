//! The programs that make 127.0.0.1 and ::1 lead to containers.
//!
//! ```text
//!  connect(127.0.0.1:8080)                  sendto(127.0.0.1:53)    recvfrom()     getpeername()
//!        │  destination in `entries`?             │ the same             ▲               ▲
//!        ▼  yes: the container's instead          ▼                      │ 127.0.0.1:53  │ 127.0.0.1:8080
//!  connect(172.17.0.2:80) ── noted in `flows` by the socket's cookie ────┴───────────────┘
//! ```
//!
//! The kernel then picks source address and route for the new destination, so that the container sees the
//! bridge's address and can answer. Left alone, and so refused by whoever (does not) listen there:
//! - sockets of another network namespace than the engine's, known by its cookie;
//! - sockets that are bound to a loopback address or to an interface: the container could not answer them;
//! - datagrams of an unconnected `AF_INET6` socket to `::1` where the container has IPv4 only: the kernel
//!   refuses to let a program turn those into IPv4 (`udpv6_sendmsg`, `-ENOTSUPP`).
//!
//! Every program returns 1: it never forbids anything.

use super::entry::KEY_BITS;
use crate::bpf::asm::{Assembler, Helper, Insn, Label, Reg, Size};
use crate::bpf::program::Hook;
use Reg::{Fp, R0, R1, R2, R3, R4, R6, R7, R8, R9};

/// What a program is built with.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// The descriptor of the map that says whether the engine's network namespace is there.
    pub anchor: u32,
    /// The descriptor of the map of entries.
    pub entries: u32,
    /// The descriptor of the map of flows.
    pub flows: u32,
    /// The cookie of the engine's network namespace.
    pub cookie: u64,
}

/// All hooks, in the order in which they are detached; they are attached the other way round. So where the
/// first is, all of them are, and while any is left, one is that holds the entries.
pub const HOOKS: [Hook; 8] = [
    Hook::Connect4,
    Hook::Peer4,
    Hook::Peer6,
    Hook::Receive4,
    Hook::Receive6,
    Hook::Connect6,
    Hook::Send4,
    Hook::Send6,
];

/// The program of a hook.
pub fn program(hook: Hook, parts: Parts) -> Vec<Insn> {
    let mut writer = Writer::new(hook, parts);
    match hook {
        Hook::Connect4 | Hook::Connect6 | Hook::Send4 | Hook::Send6 => writer.there(),
        Hook::Receive4 | Hook::Receive6 | Hook::Peer4 | Hook::Peer6 => writer.back(),
    }
    writer.asm.finish()
}

/// Where things are in `struct bpf_sock_addr` (linux/bpf.h).
mod context {
    pub const IP4: i16 = 4;
    pub const IP6: i16 = 8;
    pub const PORT: i16 = 24;
    pub const PROTOCOL: i16 = 36;
    pub const SOURCE4: i16 = 40;
    pub const SOURCE6: i16 = 44;
    pub const SOCKET: i16 = 64;
}

/// Where things are in `struct bpf_sock`.
mod socket {
    pub const INTERFACE: i16 = 0;
    pub const SOURCE4: i16 = 24;
    pub const SOURCE6: i16 = 28;
}

/// Where things are on the stack: the keys and values of `entry.rs`.
mod stack {
    /// The key of an entry: its length in bits; address, port, protocol, a zero byte.
    pub const BITS: i16 = -28;
    pub const KEY: i16 = -24;
    /// The key of a flow: cookie, address, port, six zero bytes.
    pub const FLOW: i16 = -64;
    /// The value of a flow: address, port, two zero bytes.
    pub const ORIGIN: i16 = -88;
}

/// Where the address and the port of the container are in an entry's value, and those that the socket asked
/// for in a flow's.
const PORT: i16 = 16;

/// The number 127, and `::ffff:…` and `…::1` as words in the order of the network.
const LOOPBACK_OCTET: u32 = 127;
const MAPPED: u32 = 0xffff_u32.to_be();
const ONE: u32 = 1_u32.to_be();
const LOCALHOST4: u32 = 0x7f00_0001_u32.to_be();

struct Writer {
    asm: Assembler,
    out: Label,
    hook: Hook,
    parts: Parts,
}

impl Writer {
    fn new(hook: Hook, parts: Parts) -> Self {
        let mut asm = Assembler::default();
        let out = asm.label();
        asm.copy(R6, R1);
        asm.map(R1, parts.anchor); // to hold it and to name it: no packet asks for it
        Self { asm, out, hook, parts }
    }

    fn is_v4(&self) -> bool {
        matches!(self.hook, Hook::Connect4 | Hook::Send4 | Hook::Receive4 | Hook::Peer4)
    }

    fn is_send(&self) -> bool {
        matches!(self.hook, Hook::Send4 | Hook::Send6)
    }

    fn end(&mut self) {
        self.asm.place(self.out);
        self.asm.set(R0, 1);
        self.asm.exit();
    }

    /// To the container: the destination is looked for, noted, and replaced.
    fn there(&mut self) {
        if self.is_v4() {
            self.destination4()
        } else {
            self.destination6()
        }
        self.own_namespace();
        self.unbound();
        self.find_entry();
        self.check_family();
        self.note_flow();
        self.replace(R8);
        self.end();
    }

    /// And back: the source is looked for among the socket's flows, and replaced.
    fn back(&mut self) {
        self.own_namespace();
        self.flow_key();
        if self.is_v4() {
            self.asm.store_number(Size::Double, (Fp, stack::FLOW + 8), 0);
            self.asm.store_number(Size::Word, (Fp, stack::FLOW + 16), MAPPED as i32);
            self.move_word((R6, context::IP4), (Fp, stack::FLOW + 20));
        } else {
            self.move_address((R6, context::IP6), (Fp, stack::FLOW + 8));
        }
        self.asm.load(Size::Word, R1, (R6, context::PORT));
        self.asm.store(Size::Half, (Fp, stack::FLOW + 24), R1);
        self.look_up(self.parts.flows, stack::FLOW);
        self.asm.go_if_zero(R0, self.out);
        self.asm.copy(R8, R0);
        self.replace(R8);
        self.end();
    }

    /// Goes on only with 127.0.0.0/8, or 0.0.0.0, which means 127.0.0.1. Afterwards the last two words of the
    /// address, mapped into IPv6, are in R9 and R7.
    fn destination4(&mut self) {
        self.asm.load(Size::Word, R7, (R6, context::IP4));
        self.loopback4();
        self.asm.set(R9, MAPPED as i32);
    }

    /// Takes R7 for an IPv4 address, and goes on only if it is the host's own.
    fn loopback4(&mut self) {
        let (any, done) = (self.asm.label(), self.asm.label());
        self.asm.go_if(R7, 0, any);
        self.asm.copy(R8, R7);
        self.asm.first_octet(R8);
        self.asm.go_unless(R8, LOOPBACK_OCTET, self.out);
        self.asm.go(done);
        self.asm.place(any);
        self.asm.set(R7, LOCALHOST4 as i32);
        self.asm.place(done);
    }

    /// The same with ::1, `::`, and IPv4 addresses mapped into IPv6.
    fn destination6(&mut self) {
        let (v4, done, any) = (self.asm.label(), self.asm.label(), self.asm.label());
        for offset in [0, 4] {
            self.asm.load(Size::Word, R8, (R6, context::IP6 + offset));
            self.asm.go_unless(R8, 0, self.out);
        }
        self.asm.load(Size::Word, R9, (R6, context::IP6 + 8));
        self.asm.load(Size::Word, R7, (R6, context::IP6 + 12));
        self.asm.go_if(R9, MAPPED, v4);
        self.asm.go_unless(R9, 0, self.out);
        self.asm.go_if(R7, 0, any);
        self.asm.go_unless(R7, ONE, self.out);
        self.asm.place(any);
        self.asm.set(R7, ONE as i32);
        self.asm.go(done);
        self.asm.place(v4);
        self.loopback4();
        self.asm.place(done);
    }

    /// Goes on only for sockets of the engine's namespace.
    fn own_namespace(&mut self) {
        let ours = self.asm.label();
        self.asm.copy(R1, R6);
        self.asm.call(Helper::NetnsCookie);
        self.asm.set64(R1, self.parts.cookie);
        self.asm.go_if_same((R0, R1), ours);
        self.asm.go(self.out);
        self.asm.place(ours);
    }

    /// Goes on only for sockets whose source the kernel may still choose.
    fn unbound(&mut self) {
        self.asm.load(Size::Double, R1, (R6, context::SOCKET));
        self.asm.load(Size::Word, R2, (R1, socket::INTERFACE));
        self.asm.go_unless(R2, 0, self.out);
        if self.is_v4() { self.unbound4() } else { self.unbound6() }
    }

    /// An address of another interface will do for a source; a loopback address will not.
    fn unbound4(&mut self) {
        self.asm.load(Size::Word, R2, (R1, socket::SOURCE4));
        self.asm.first_octet(R2);
        self.asm.go_if(R2, LOOPBACK_OCTET, self.out);
        if self.is_send() {
            self.asm.load(Size::Word, R2, (R6, context::SOURCE4));
            self.asm.first_octet(R2);
            self.asm.go_if(R2, LOOPBACK_OCTET, self.out);
        }
    }

    fn unbound6(&mut self) {
        let words = |base, first| (0..4).map(move |word| (base, first + 4 * word));
        for place in words(R1, socket::SOURCE6) {
            self.asm.load(Size::Word, R2, place);
            self.asm.go_unless(R2, 0, self.out);
        }
        if self.is_send() {
            for place in words(R6, context::SOURCE6) {
                self.asm.load(Size::Word, R2, place);
                self.asm.go_unless(R2, 0, self.out);
            }
        }
    }

    /// The entry of exactly this address, or else that of all addresses (the last word is zero), in R8.
    fn find_entry(&mut self) {
        let found = self.asm.label();
        self.asm.store_number(Size::Word, (Fp, stack::BITS), KEY_BITS as i32);
        self.asm.store_number(Size::Double, (Fp, stack::KEY), 0);
        self.asm.store(Size::Word, (Fp, stack::KEY + 8), R9);
        self.asm.store(Size::Word, (Fp, stack::KEY + 12), R7);
        self.asm.load(Size::Word, R1, (R6, context::PORT));
        self.asm.store(Size::Half, (Fp, stack::KEY + 16), R1);
        self.asm.load(Size::Word, R1, (R6, context::PROTOCOL));
        self.asm.store(Size::Byte, (Fp, stack::KEY + 18), R1);
        self.asm.store_number(Size::Byte, (Fp, stack::KEY + 19), 0);
        self.look_up(self.parts.entries, stack::BITS);
        self.asm.go_unless_zero(R0, found);
        self.asm.store_number(Size::Word, (Fp, stack::KEY + 12), 0);
        self.look_up(self.parts.entries, stack::BITS);
        self.asm.go_if_zero(R0, self.out);
        self.asm.place(found);
        self.asm.copy(R8, R0);
    }

    fn look_up(&mut self, map: u32, key: i16) {
        self.asm.map(R1, map);
        self.asm.stack(R2, key);
        self.asm.call(Helper::MapLookup);
    }

    /// Goes on only where the socket can reach a container of that family this way.
    fn check_family(&mut self) {
        self.asm.load(Size::Word, R1, (R8, 8));
        match self.hook {
            Hook::Connect4 | Hook::Send4 => self.asm.go_unless(R1, MAPPED, self.out),
            Hook::Send6 => self.asm.go_if(R1, MAPPED, self.out),
            _ => {}
        }
    }

    /// Begins the key of a flow: the socket's cookie, and zeroes behind the port.
    fn flow_key(&mut self) {
        self.asm.copy(R1, R6);
        self.asm.call(Helper::SocketCookie);
        self.asm.store(Size::Double, (Fp, stack::FLOW), R0);
        self.asm.store_number(Size::Double, (Fp, stack::FLOW + 24), 0);
    }

    /// Notes for the way back which address the socket asked for. Should the note be lost, the socket sees
    /// the container's address.
    fn note_flow(&mut self) {
        self.flow_key();
        self.move_address((R8, 0), (Fp, stack::FLOW + 8));
        self.asm.load(Size::Half, R1, (R8, PORT));
        self.asm.store(Size::Half, (Fp, stack::FLOW + 24), R1);
        self.asm.store_number(Size::Double, (Fp, stack::ORIGIN), 0);
        self.asm.store(Size::Word, (Fp, stack::ORIGIN + 8), R9);
        self.asm.store(Size::Word, (Fp, stack::ORIGIN + 12), R7);
        self.asm.store_number(Size::Word, (Fp, stack::ORIGIN + 16), 0);
        self.asm.load(Size::Half, R1, (Fp, stack::KEY + 16));
        self.asm.store(Size::Half, (Fp, stack::ORIGIN + PORT), R1);
        self.asm.map(R1, self.parts.flows);
        self.asm.stack(R2, stack::FLOW);
        self.asm.stack(R3, stack::ORIGIN);
        self.asm.set(R4, 0);
        self.asm.call(Helper::MapUpdate);
    }

    /// Puts the address and the port at `from` into the socket's address.
    fn replace(&mut self, from: Reg) {
        if self.is_v4() {
            self.move_word((from, 12), (R6, context::IP4));
        } else {
            self.move_address((from, 0), (R6, context::IP6));
        }
        self.asm.load(Size::Half, R1, (from, PORT));
        self.asm.store(Size::Word, (R6, context::PORT), R1);
    }

    fn move_address(&mut self, from: (Reg, i16), to: (Reg, i16)) {
        for offset in [0, 4, 8, 12] {
            self.move_word((from.0, from.1 + offset), (to.0, to.1 + offset));
        }
    }

    fn move_word(&mut self, from: (Reg, i16), to: (Reg, i16)) {
        self.asm.load(Size::Word, R1, from);
        self.asm.store(Size::Word, to, R1);
    }
}
