//! Registers (`enum nft_registers`).

use crate::error::Encoded;
use crate::wire::{Value, Writer};

/// Where expressions leave and find values. The 16 registers of 4 bytes and the 4 of 16 bytes are the same memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Register(pub u32);

impl Register {
    /// Holds the verdict (`NFT_REG_VERDICT`).
    pub const VERDICT: Self = Self(0);

    /// The `n`th register of 4 bytes, 0 to 15 (`NFT_REG32_00` + n); a greater `n` stands for 15.
    pub const fn word(n: u32) -> Self {
        Self(8 + if n < 15 { n } else { 15 })
    }

    /// The `n`th register of 16 bytes, 1 to 4 (`NFT_REG_1` to `NFT_REG_4`); another `n` stands for the nearest.
    pub const fn quad(n: u32) -> Self {
        Self(match n {
            0 => 1,
            1..=4 => n,
            _ => 4,
        })
    }
}

impl Value for Register {
    fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
        self.0.put(writer, attribute)
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        u32::get(bytes).map(Self)
    }
}
