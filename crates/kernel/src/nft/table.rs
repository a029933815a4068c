//! Our tables, and the messages that make them.

use qiao_core::plan::Table;
use qiao_nft::Family;

/// The families of our tables.
pub const FAMILIES: [Family; 2] = [Family::Bridge, Family::Inet];

/// The netlink family of a table of ours.
pub fn family_of(table: Table) -> Family {
    match table {
        Table::Inet => Family::Inet,
        Table::Bridge => Family::Bridge,
    }
}

/// The messages that make the rule set where there is none. `build.rs` wrote them down: to make them takes 0.6 ms, which
/// a host's first container would wait for.
pub const RULESET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ruleset"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::ruleset::ruleset;

    #[test]
    fn what_was_written_down_is_the_rule_set() {
        assert!(qiao_nft::encode(&ruleset()).unwrap() == RULESET);
    }
}
