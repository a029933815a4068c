//! Whether a table outlives `nft flush ruleset`, which decides how much rules are worth without a daemon.

use crate::netns::{Kernel, in_namespace, nft};
use crate::rules::TABLE;
use qiao_nft::*;

fn owned(flags: u32) -> Change {
    Change::NewTable(Table { flags, ..Table::new(Family::Inet, TABLE) })
}

fn is_there() -> bool {
    nft(&["list", "tables"]).contains(TABLE)
}

/// A flush spares a table while its owner lives; no other program can change the table meanwhile. When the owner is
/// gone, a persistent table stays, without an owner: the next flush takes it, and everybody may change it. So it
/// helps a daemon, and no process that ends. (Linux 6.9 and later know `persist`.)
#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn d7_a_persistent_table_outlives_a_flush_only_while_its_owner_lives() {
    in_namespace("owner::d7_a_persistent_table_outlives_a_flush_only_while_its_owner_lives", || {
        let mut plain = Kernel::new();
        plain.change(&[owned(0)]);
        nft(&["flush", "ruleset"]);
        assert!(!is_there(), "the control: a flush takes an ordinary table");

        let mut owner = Kernel::new();
        let mut batch = Batch::new(1);
        batch.push(&owned(Table::OWNER | Table::PERSIST)).unwrap();
        if owner
            .commit(&batch.finish())
            .iter()
            .any(|(_, reply)| matches!(reply, Reply::Error { errno: 95, .. }))
        {
            eprintln!("this kernel has no persistent tables: nothing was looked at");
            return;
        }
        nft(&["flush", "ruleset"]);
        assert!(is_there(), "the owner lives");
        let chain = Change::NewChain(Chain::new(Family::Inet, TABLE, "other"));
        assert_eq!(plain.refused(&chain, false), 1, "nobody else may change it (EPERM)");
        owner.change(std::slice::from_ref(&chain));

        drop(owner);
        assert!(is_there(), "it persists");
        plain.change(&[Change::NewChain(Chain::new(Family::Inet, TABLE, "another"))]);
        let mut heir = Kernel::new();
        heir.change(&[owned(Table::OWNER | Table::PERSIST)]);
        nft(&["flush", "ruleset"]);
        assert!(is_there(), "it was adopted, and the heir lives");
        drop(heir);
        nft(&["flush", "ruleset"]);
        assert!(!is_there(), "an orphan goes with the flush");
    });
}
