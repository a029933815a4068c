//! An assembler for the few instructions that our programs are made of (RFC 9669).

/// A register. `R1` to `R5` are lost in a call, `R6` to `R9` are kept, `Fp` is the end of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reg {
    R0 = 0,
    R1,
    R2,
    R3,
    R4,
    R6 = 6,
    R7,
    R8,
    R9,
    Fp,
}

/// How much is loaded or stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Size {
    /// Four bytes.
    Word = 0x00,
    /// Two.
    Half = 0x08,
    /// One.
    Byte = 0x10,
    /// Eight.
    Double = 0x18,
}

/// A function of the kernel (`enum bpf_func_id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Helper {
    MapLookup = 1,
    MapUpdate = 2,
    SocketCookie = 46,
    NetnsCookie = 122,
}

/// A place in a program to jump to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// One instruction: `struct bpf_insn`, as it lies in memory.
pub type Insn = [u8; 8];

/// Classes, modes and operations (RFC 9669, sections 3 and 4).
mod code {
    pub const LD_IMM64: u8 = 0x18;
    pub const LDX_MEM: u8 = 0x61;
    pub const ST_MEM: u8 = 0x62;
    pub const STX_MEM: u8 = 0x63;
    pub const MOV64_REG: u8 = 0xbf;
    pub const MOV64_IMM: u8 = 0xb7;
    pub const ADD64_IMM: u8 = 0x07;
    pub const RSH64_IMM: u8 = 0x77;
    pub const TO_BE: u8 = 0xdc;
    pub const JA: u8 = 0x05;
    pub const JEQ_REG: u8 = 0x1d;
    pub const JEQ_IMM: u8 = 0x15;
    pub const JNE_IMM: u8 = 0x55;
    /// The same on the lower 32 bits.
    pub const JEQ32_IMM: u8 = 0x16;
    pub const JNE32_IMM: u8 = 0x56;
    pub const CALL: u8 = 0x85;
    pub const EXIT: u8 = 0x95;
    /// In the source register of `LD_IMM64`: the number is a map's descriptor.
    pub const PSEUDO_MAP_FD: u8 = 1;
}

/// A program that is being written.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<Insn>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

fn encode(code: u8, (dst, src): (u8, u8), offset: i16, imm: i32) -> Insn {
    let registers = if cfg!(target_endian = "little") { src << 4 | dst } else { dst << 4 | src };
    let (o, i) = (offset.to_ne_bytes(), imm.to_ne_bytes());
    [code, registers, o[0], o[1], i[0], i[1], i[2], i[3]]
}

impl Assembler {
    fn push(&mut self, code: u8, registers: (u8, u8), (offset, imm): (i16, i32)) {
        self.code.push(encode(code, registers, offset, imm));
    }

    /// A label to be placed later.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places a label here.
    pub fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    fn jump(&mut self, code: u8, registers: (u8, u8), (imm, to): (i32, Label)) {
        self.jumps.push((self.code.len(), to));
        self.push(code, registers, (0, imm));
    }

    /// `dst = src`.
    pub fn copy(&mut self, dst: Reg, src: Reg) {
        self.push(code::MOV64_REG, (dst as u8, src as u8), (0, 0));
    }

    /// `dst = number`.
    pub fn set(&mut self, dst: Reg, number: i32) {
        self.push(code::MOV64_IMM, (dst as u8, 0), (0, number));
    }

    /// `dst = number`, of 64 bits.
    pub fn set64(&mut self, dst: Reg, number: u64) {
        self.wide((dst as u8, 0), (number as u32 as i32, (number >> 32) as u32 as i32));
    }

    /// `dst = map`, by its descriptor.
    pub fn map(&mut self, dst: Reg, fd: u32) {
        self.wide((dst as u8, code::PSEUDO_MAP_FD), (fd as i32, 0));
    }

    fn wide(&mut self, registers: (u8, u8), (low, high): (i32, i32)) {
        self.push(code::LD_IMM64, registers, (0, low));
        self.push(0, (0, 0), (0, high));
    }

    /// `dst = stack + offset`.
    pub fn stack(&mut self, dst: Reg, offset: i16) {
        self.copy(dst, Reg::Fp);
        self.push(code::ADD64_IMM, (dst as u8, 0), (0, i32::from(offset)));
    }

    /// `dst = *(base + offset)`.
    pub fn load(&mut self, size: Size, dst: Reg, (base, offset): (Reg, i16)) {
        self.push(code::LDX_MEM | size as u8, (dst as u8, base as u8), (offset, 0));
    }

    /// `*(base + offset) = src`.
    pub fn store(&mut self, size: Size, (base, offset): (Reg, i16), src: Reg) {
        self.push(code::STX_MEM | size as u8, (base as u8, src as u8), (offset, 0));
    }

    /// `*(base + offset) = number`.
    pub fn store_number(&mut self, size: Size, (base, offset): (Reg, i16), number: i32) {
        self.push(code::ST_MEM | size as u8, (base as u8, 0), (offset, number));
    }

    /// `dst = the first byte of dst`, a word in the order of the network.
    pub fn first_octet(&mut self, dst: Reg) {
        self.push(code::TO_BE, (dst as u8, 0), (0, 32));
        self.push(code::RSH64_IMM, (dst as u8, 0), (0, 24));
    }

    /// Goes to a label.
    pub fn go(&mut self, to: Label) {
        self.jump(code::JA, (0, 0), (0, to));
    }

    /// Goes to a label if two registers are equal.
    pub fn go_if_same(&mut self, (a, b): (Reg, Reg), to: Label) {
        self.jump(code::JEQ_REG, (a as u8, b as u8), (0, to));
    }

    /// Goes to a label if a register is zero.
    pub fn go_if_zero(&mut self, reg: Reg, to: Label) {
        self.jump(code::JEQ_IMM, (reg as u8, 0), (0, to));
    }

    /// Goes to a label if a register is not zero.
    pub fn go_unless_zero(&mut self, reg: Reg, to: Label) {
        self.jump(code::JNE_IMM, (reg as u8, 0), (0, to));
    }

    /// Goes to a label if the lower half of a register is `number`.
    pub fn go_if(&mut self, reg: Reg, number: u32, to: Label) {
        self.jump(code::JEQ32_IMM, (reg as u8, 0), (number as i32, to));
    }

    /// Goes to a label if the lower half of a register is not `number`.
    pub fn go_unless(&mut self, reg: Reg, number: u32, to: Label) {
        self.jump(code::JNE32_IMM, (reg as u8, 0), (number as i32, to));
    }

    /// Calls a function of the kernel.
    pub fn call(&mut self, helper: Helper) {
        self.push(code::CALL, (0, 0), (0, helper as i32));
    }

    /// Ends the program with what is in `R0`.
    pub fn exit(&mut self) {
        self.push(code::EXIT, (0, 0), (0, 0));
    }

    /// The finished program. A label that was never placed leads to the end.
    pub fn finish(mut self) -> Vec<Insn> {
        for (at, label) in std::mem::take(&mut self.jumps) {
            let to = self.labels[label.0].unwrap_or(self.code.len());
            let distance = (to as i64 - at as i64 - 1) as i16;
            self.code[at][2..4].copy_from_slice(&distance.to_ne_bytes());
        }
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_lead_to_their_labels() {
        let mut asm = Assembler::default();
        let end = asm.label();
        asm.set(Reg::R0, 1);
        asm.go_if(Reg::R0, 7, end);
        asm.set64(Reg::R1, 0x1_0000_0002);
        asm.place(end);
        asm.exit();
        let code = asm.finish();
        assert_eq!(code.len(), 5, "a wide number takes two places");
        assert_eq!(i16::from_ne_bytes([code[1][2], code[1][3]]), 2);
        assert_eq!(i32::from_ne_bytes(code[3][4..].try_into().unwrap()), 1, "the upper half");
        assert_eq!((code[0][0], code[4][0]), (0xb7, 0x95));
    }
}
