//! What is encoded is decoded again as it was, and no bytes make the decoder panic.

use proptest::prelude::*;

use crate::sample::Sample;
use crate::*;

fn change() -> BoxedStrategy<Change> {
    let elements = || (SetRef::sample(), prop::collection::vec(Element::sample(), 1..8));
    let removal = (Family::sample(), String::sample(), String::sample(), any::<u64>(), 0..6);
    prop_oneof![
        Table::sample().prop_map(Change::NewTable),
        Chain::sample().prop_map(Change::NewChain),
        Rule::sample().prop_map(Change::NewRule),
        Set::sample().prop_map(Change::NewSet),
        elements().prop_map(|(set, elements)| Change::AddElements { set, elements }),
        elements().prop_map(|(set, elements)| Change::DelElements { set, elements }),
        removal.prop_map(|(family, table, name, handle, kind)| match kind {
            0 => Change::DelTable { family, name },
            1 => Change::DelChain { family, table, name },
            2 => Change::FlushChain { family, table, name },
            3 => Change::DelRule { family, table, chain: name, handle },
            4 => Change::DelSet { family, table, name },
            _ => Change::FlushSet { family, table, name },
        }),
    ]
    .boxed()
}

/// What [`parse`] is to make of a change.
fn expected(change: Change) -> Reply {
    match change {
        Change::NewTable(table) => Reply::Table(table),
        Change::NewChain(chain) => Reply::Chain(chain),
        Change::NewRule(rule) => Reply::Rule(rule),
        Change::NewSet(set) => Reply::Set(set),
        Change::AddElements { set, elements } => Reply::Elements { set, elements },
        removal => Reply::Deleted(removal),
    }
}

fn replies(bytes: &[u8]) -> Vec<(u32, Reply)> {
    parse(bytes).collect::<Result<_, _>>().unwrap()
}

proptest! {
    #[test]
    fn a_batch_is_read_as_it_was_written(changes in prop::collection::vec(change(), 0..6)) {
        let mut batch = Batch::new(7).generation(9);
        let mut wanted = vec![(7, Reply::Other(16))];
        for change in changes {
            wanted.push((batch.push(&change).unwrap(), expected(change)));
        }
        wanted.push((wanted.len() as u32 + 7, Reply::Other(17)));
        prop_assert_eq!(replies(&batch.finish()), wanted);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        parse(&bytes).for_each(drop);
    }

    #[test]
    fn no_attributes_make_the_decoder_panic(kind in 0..34_u8, bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut message = (20 + bytes.len() as u32).to_ne_bytes().to_vec();
        message.extend([kind, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        parse(&[message, bytes].concat()).for_each(drop);
    }

    #[test]
    fn no_change_of_some_bytes_makes_the_decoder_panic(
        change in change(),
        changed in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut batch = Batch::new(0);
        batch.push(&change).unwrap();
        let mut bytes = batch.finish();
        for (index, byte) in changed {
            let place = index.index(bytes.len());
            bytes[place] = byte;
        }
        parse(&bytes).for_each(drop);
    }

    #[test]
    fn every_shortened_message_is_an_error(change in change(), index in any::<prop::sample::Index>()) {
        let mut batch = Batch::new(0);
        batch.push(&change).unwrap();
        let bytes = batch.finish();
        let cut = &bytes[..index.index(bytes.len())];
        let whole = replies(&bytes).len();
        let read = parse(cut).filter(Result::is_ok).count();
        prop_assert!(read < whole);
    }
}
