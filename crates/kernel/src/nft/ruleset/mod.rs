//! The constant rule set as expressions. `core::render::RULESET` is the same in nft's words, and a test holds
//! the two together. `build.rs` reads these files too: they use no other crate of ours than `nft`.

mod build;
mod exprs;
mod inet;
mod ports;
mod sets;

use build::Builder;
use qiao_nft::{Change, Family, Table};

/// The name of both tables.
pub const TABLE: &str = "qiao";
/// The changes that make the rule set where there is none: tables, sets, chains, rules.
pub fn ruleset() -> Vec<Change> {
    let mut changes = Vec::new();
    for (family, comment, fill) in TABLES {
        let table = Table { comment: Some(comment.to_owned()), ..Table::new(family, TABLE) };
        changes.push(Change::NewTable(table));
        let mut builder = Builder::new(family);
        fill(&mut builder);
        changes.extend(builder.finish());
    }
    changes
}

type Fill = fn(&mut Builder);

const TABLES: [(Family, &str, Fill); 2] = [
    (
        Family::Bridge,
        "qiao: what a container's port may send and get; made by qiao, repaired by `qiao repair`",
        |builder| {
            sets::bridge(builder);
            ports::chains(builder);
        },
    ),
    (
        Family::Inet,
        "qiao: networks and published ports; made by qiao, repaired by `qiao repair`",
        |builder| {
            sets::inet(builder);
            inet::chains(builder);
        },
    ),
];
