//! What the kernel answers to batches.

use qiao_nft::*;

use crate::netns::{Kernel, in_namespace, load, nft};
use crate::rules::{TABLE, accept_map, hook, table};

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn a_batch_on_another_generation_is_refused() {
    in_namespace("batches::a_batch_on_another_generation_is_refused", || {
        let mut kernel = Kernel::new();
        let [Reply::Generation(generation)] = kernel.query(&Query::Generation)[..] else { panic!() };
        let first = |generation| {
            let mut batch = Batch::new(100).generation(generation);
            batch.push(&table()).unwrap();
            batch.finish()
        };
        assert_eq!(kernel.commit(&first(generation)), [(101, Reply::Ack)]);
        let refused = kernel.commit(&first(generation));
        assert!(matches!(refused[..], [(100, Reply::Error { errno: 85, .. })]), "{refused:?}");
    });
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn what_is_exclusive_fails_if_it_is_there_and_what_is_not_does_not() {
    in_namespace("batches::what_is_exclusive_fails_if_it_is_there_and_what_is_not_does_not", || {
        let mut kernel = Kernel::new();
        let set = accept_map();
        let element = Element::new([Family::Ip.number() as u8]).with_value(Verdict::Accept);
        let add =
            Change::AddElements { set: SetRef { id: None, ..set.reference() }, elements: vec![element] };
        let chain =
            Change::NewChain(Chain { hook: Some(hook()), ..Chain::new(Family::Inet, TABLE, "forward") });
        let changes = [table(), chain, Change::NewSet(set), add];
        kernel.change(&changes);
        kernel.change(&changes);
        for change in &changes {
            assert_eq!(kernel.refused(change, true), 17, "{change:?}");
        }
    });
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn an_error_says_which_change_it_is_of_and_why() {
    in_namespace("batches::an_error_says_which_change_it_is_of_and_why", || {
        let kernel = Kernel::new();
        for capped in [false, true] {
            kernel.socket.set_cap_ack(capped).unwrap();
            let mut batch = Batch::new(1);
            batch.push(&table()).unwrap();
            let rule = Rule::new(Family::Inet, TABLE, "nowhere");
            let failing = batch.push(&Change::NewRule(rule)).unwrap();
            let replies = kernel.commit(&batch.finish());
            // The table's change is acknowledged, yet not carried out.
            assert_eq!(replies[0], (2, Reply::Ack));
            assert!(
                matches!(replies[1], (sequence, Reply::Error { errno: 2, offset: Some(_), .. }) if sequence == failing),
                "{replies:?}"
            );
            assert_eq!(nft(&["list", "ruleset"]), "");
        }
    });
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn the_last_acknowledgement_alone_is_enough() {
    in_namespace("batches::the_last_acknowledgement_alone_is_enough", || {
        let kernel = Kernel::new();
        let batch_of = |last: &str| {
            let mut batch = Batch::new(1).acknowledge_last();
            batch.push(&table()).unwrap();
            let chain = Chain::new(Family::Inet, TABLE, "chain");
            batch.push(&Change::NewChain(chain)).unwrap();
            for _ in 0..3000 {
                batch.push(&Change::NewRule(Rule::new(Family::Inet, TABLE, "chain"))).unwrap();
            }
            (batch.push(&Change::NewRule(Rule::new(Family::Inet, TABLE, last))).unwrap(), batch.finish())
        };
        let (last, bytes) = batch_of("chain");
        assert_eq!(kernel.commit(&bytes), [(last, Reply::Ack)]);
        let (last, bytes) = batch_of("nowhere");
        let replies = kernel.commit(&bytes);
        assert!(
            matches!(replies[..], [(sequence, Reply::Error { errno: 2, .. })] if sequence == last),
            "{replies:?}"
        );
    });
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn who_listens_learns_what_is_made_and_deleted() {
    in_namespace("batches::who_listens_learns_what_is_made_and_deleted", || {
        let listener = Kernel::new();
        listener.socket.add_membership(7).unwrap();
        load("table inet t { set s { type mark; elements = { 1 }; }; chain c { counter; }; }");
        nft(&["delete", "element", "inet", "t", "s", "{ 1 }"]);
        nft(&["flush", "chain", "inet", "t", "c"]);
        nft(&["delete", "table", "inet", "t"]);
        let replies = listener.events();
        let made =
            replies.iter().filter(|reply| matches!(reply, Reply::Rule(_) | Reply::Set(_) | Reply::Table(_)));
        assert_eq!(made.count(), 3);
        let deleted: Vec<_> = replies
            .iter()
            .filter_map(|reply| match reply {
                Reply::Deleted(change) => Some(change),
                _ => None,
            })
            .collect();
        println!("{deleted:#?}");
        assert!(deleted.contains(&&Change::DelTable { family: Family::Inet, name: "t".into() }));
    });
}
