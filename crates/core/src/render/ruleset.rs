//! The constant rule set as text, and the digest by which it is recognised.

use crate::owner::fnv;

/// The rule set in nft's words (nft 1.0.8 or later reads all of it).
pub const RULESET: &str = include_str!("ruleset.nft");

/// The rule set's digest: another rule set has another one.
pub const DIGEST: u32 = fnv(RULESET, 0) as u32;

/// The rule set without its heading.
pub fn ruleset() -> &'static str {
    RULESET.split_once("\n\n").map_or(RULESET, |(_, body)| body)
}
