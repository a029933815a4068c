//! Timeouts that rules give to elements.

use crate::error::Encoded;
use crate::wire::{Value, Writer};

/// A timeout in milliseconds; 0 stands for the set's own. The kernel says 0 and does not take it back for a set
/// without timeouts, so that it is not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeout(pub u64);

impl Value for Timeout {
    fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
        if self.0 == 0 { Ok(()) } else { self.0.put(writer, attribute) }
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        u64::get(bytes).map(Self)
    }

    fn absent() -> Option<Self> {
        Some(Self(0))
    }
}
