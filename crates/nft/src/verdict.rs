//! Verdicts, and the values that registers, keys and elements hold (`enum nft_data_attributes`).

use crate::error::{EncodeError, Encoded};
use crate::wire::{Attributes, Value, Writer};

const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
/// `NFT_DATA_VALUE_MAXLEN`, in bytes.
const VALUE_LIMIT: usize = 64;

/// What becomes of a packet, or which chain is next (`enum nft_verdicts`, `NF_*` of linux/netfilter.h).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The packet may pass this hook (`NF_ACCEPT`).
    Accept,
    /// The packet goes no further (`NF_DROP`).
    Drop,
    /// On with the next expression (`NFT_CONTINUE`).
    Continue,
    /// On with the next rule (`NFT_BREAK`).
    Break,
    /// Back to the chain that jumped here (`NFT_RETURN`).
    Return,
    /// To this chain, and back when it ends (`NFT_JUMP`).
    Jump(String),
    /// To this chain, for good (`NFT_GOTO`).
    Goto(String),
    /// Another code, for example `NF_QUEUE` (3) with a queue's number in its upper 16 bits.
    Other(i32),
}

impl Verdict {
    fn code(&self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Continue => -1,
            Self::Break => -2,
            Self::Jump(_) => -3,
            Self::Goto(_) => -4,
            Self::Return => -5,
            Self::Other(code) => *code,
        }
    }

    fn chain(&self) -> Option<&String> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            _ => None,
        }
    }

    fn from_code(code: i32, chain: Option<String>) -> Option<Self> {
        Some(match code {
            0 => Self::Drop,
            1 => Self::Accept,
            -1 => Self::Continue,
            -2 => Self::Break,
            -3 => Self::Jump(chain?),
            -4 => Self::Goto(chain?),
            -5 => Self::Return,
            code => Self::Other(code),
        })
    }

    fn from_attributes(attributes: Attributes<'_>) -> Option<Self> {
        let (mut code, mut chain) = (None, None);
        for attribute in attributes {
            let attribute = attribute.ok()?;
            match attribute.number {
                NFTA_VERDICT_CODE => code = Some(attribute.read().ok()?),
                NFTA_VERDICT_CHAIN => chain = Some(attribute.read().ok()?),
                _ => {}
            }
        }
        Self::from_code(code?, chain)
    }
}

/// What a map has for a key, and what an immediate expression puts into a register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ElementValue {
    /// A verdict.
    Verdict(Verdict),
    /// Bytes, 1 to 64 of them, laid out as [`KeyBuilder`](crate::KeyBuilder) does.
    Bytes(Vec<u8>),
}

impl From<Verdict> for ElementValue {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl From<Vec<u8>> for ElementValue {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl Value for ElementValue {
    fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
        match self {
            Self::Bytes(bytes) => bytes.put(writer, attribute),
            Self::Verdict(verdict) => writer.nest(attribute, |writer| {
                writer.nest(NFTA_DATA_VERDICT, |writer| {
                    verdict.code().put(writer, NFTA_VERDICT_CODE)?;
                    verdict.chain().cloned().put(writer, NFTA_VERDICT_CHAIN)
                })
            }),
        }
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        let attribute = Attributes(bytes).next()?.ok()?;
        match attribute.number {
            NFTA_DATA_VALUE => Some(Self::Bytes(attribute.value.to_vec())),
            NFTA_DATA_VERDICT => Verdict::from_attributes(attribute.nested()).map(Self::Verdict),
            _ => None,
        }
    }
}

/// The bytes of a key, or to compare with.
impl Value for Vec<u8> {
    fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
        if !(1..=VALUE_LIMIT).contains(&self.len()) {
            return Err(EncodeError::ValueLength { length: self.len() });
        }
        writer.nest(attribute, |writer| writer.put(NFTA_DATA_VALUE, self))
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        match ElementValue::get(bytes)? {
            ElementValue::Bytes(bytes) => Some(bytes),
            ElementValue::Verdict(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_1_to_64_bytes_long() {
        for length in [0, 65] {
            let refused = EncodeError::ValueLength { length };
            assert_eq!(vec![0; length].put(&mut Writer::default(), 1), Err(refused));
        }
        assert_eq!(vec![0; 64].put(&mut Writer::default(), 1), Ok(()));
    }

    #[test]
    fn a_jump_without_a_chain_is_none() {
        let mut writer = Writer::default();
        let verdict = ElementValue::Verdict(Verdict::Other(-3));
        assert_eq!(verdict.put(&mut writer, 1), Ok(()));
        assert_eq!(ElementValue::get(&writer.bytes[4..]), None);
    }
}
