//! What a batch consists of.

use super::*;
use crate::wire::message::{Message, Messages, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE};
use crate::{
    Chain, DataType, DecodeError, Element, Expr, Family, Reply, Rule, Set, SetRef, Table, key, parse,
};

fn messages(bytes: &[u8]) -> Vec<Message<'_>> {
    Messages(bytes).collect::<Result<_, _>>().unwrap()
}

fn table() -> Change {
    Change::NewTable(Table::new(Family::Bridge, "t"))
}

fn set() -> SetRef {
    SetRef::new(Family::Inet, "t", "s")
}

/// Elements of so many bytes each on the wire: 4 for the list's element, 8 for the key, 4 and 3 for the comment.
fn elements(count: u16, comment: usize) -> Vec<Element> {
    (0..count).map(|number| Element::new(number.to_be_bytes()).with_comment("x".repeat(comment))).collect()
}

fn add(elements: Vec<Element>) -> Change {
    Change::AddElements { set: set(), elements }
}

/// The elements of each message.
fn split(change: &Change) -> Vec<Vec<Element>> {
    let mut batch = Batch::new(1);
    assert_eq!(batch.push(change), Ok(2));
    let count = batch.messages();
    let replies: Vec<_> = parse(&batch.finish()).collect::<Result<_, DecodeError>>().unwrap();
    let lists = replies.into_iter().filter_map(|(sequence, reply)| match reply {
        Reply::Elements { set: of, elements } => {
            assert_eq!((sequence, of), (2, set()));
            Some(elements)
        }
        _ => None,
    });
    let lists: Vec<_> = lists.collect();
    assert_eq!(lists.len(), count);
    lists
}

#[test]
fn a_batch_begins_and_ends_and_numbers_its_changes() {
    let mut batch = Batch::new(41).generation(0x0102_0304);
    assert_eq!((batch.push(&table()), batch.push(&table())), (Ok(42), Ok(43)));
    let bytes = batch.finish();
    let found: Vec<_> = messages(&bytes).iter().map(|m| (m.kind, m.flags, m.sequence)).collect();
    let (begin, new) = ((0x10, 1, 41), (0xa00, 0x405, 42));
    assert_eq!(found, [begin, new, (0xa00, 0x405, 43), (0x11, 1, 44)]);
    assert_eq!(messages(&bytes)[0].body, [0, 0, 0, 10, 8, 0, 1, 0, 1, 2, 3, 4]);
    assert_eq!(messages(&bytes)[1].body[0], 7);
    assert_eq!(messages(&bytes)[3].body, [0, 0, 0, 10]);
}

#[test]
fn each_change_has_its_flags() {
    let rule = || Rule { handle: Some(5), ..Rule::new(Family::Inet, "t", "c") };
    let request = NLM_F_REQUEST | NLM_F_ACK;
    let cases = [
        (Change::NewChain(Chain::new(Family::Inet, "t", "c")), NLM_F_CREATE, NLM_F_EXCL),
        (Change::NewSet(Set::new(Family::Inet, "t", "s", DataType::Mark)), NLM_F_CREATE, NLM_F_EXCL),
        (add(elements(1, 0)), NLM_F_CREATE, NLM_F_EXCL),
        (Change::NewRule(rule()), NLM_F_CREATE | NLM_F_APPEND, 0),
        (Change::InsertRule(rule()), NLM_F_CREATE, 0),
        (Change::ReplaceRule(rule()), NLM_F_REPLACE, 0),
        (Change::DelTable { family: Family::Inet, name: "t".into() }, 0, 0),
    ];
    for (change, flags, exclusive) in cases {
        let mut batch = Batch::new(0);
        batch.push(&change).unwrap();
        batch.push_exclusive(&change).unwrap();
        let bytes = batch.finish();
        let found: Vec<u16> = messages(&bytes)[1..3].iter().map(|message| message.flags).collect();
        assert_eq!(found, [request | flags, request | flags | exclusive], "{change:?}");
    }
}

#[test]
fn a_change_that_cannot_be_written_leaves_the_batch_as_it_was() {
    let mut batch = Batch::new(1);
    batch.push(&table()).unwrap();
    let before = batch.clone().finish();
    let long = Expr::Unknown { name: "x".into(), attributes: vec![0; 70_000] };
    let rule = Rule { exprs: vec![long], ..Rule::new(Family::Inet, "t", "c") };
    let refused = batch.push(&Change::NewRule(rule));
    assert!(matches!(refused, Err(EncodeError::AttributeTooLong { attribute: 2, length: 70_004 })));
    let last_is_bad = [elements(5000, 9), vec![Element::new([0; 65])]].concat();
    assert_eq!(batch.push(&add(last_is_bad)), Err(EncodeError::ValueLength { length: 65 }));
    assert_eq!((batch.messages(), batch.clone().finish()), (1, before));
    assert_eq!(batch.push(&table()), Ok(3));
}

#[test]
fn elements_are_split_over_messages_of_at_most_64_kib() {
    let all = elements(20_000, 30);
    let lists = split(&add(all.clone()));
    assert!(lists.len() > 10);
    assert_eq!(lists.concat(), all);
}

#[test]
fn a_list_of_65535_bytes_is_one_message_and_a_longer_one_two() {
    // 4 + 4 + 8 bytes around the key, 4 + 2 + 1 with the comment, and padding.
    let of_64_bytes = 64 - 16 - 4 - 3;
    assert_eq!(split(&add(elements(1023, of_64_bytes))).len(), 1);
    assert_eq!(split(&add([elements(1022, of_64_bytes), elements(1, of_64_bytes + 40)].concat())).len(), 1);
    let lists = split(&add(elements(1024, of_64_bytes)));
    assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [1023, 1]);
}

#[test]
fn an_interval_is_never_split() {
    for odd in [0, 1] {
        let mut all = elements(odd, 0);
        for number in 0..5000_u32 {
            let key = key().u32_be(2 * number).build();
            all.extend(Element::new(key.clone()).interval(&key).unwrap());
        }
        let lists = split(&Change::DelElements { set: set(), elements: vec![] });
        assert!(lists.is_empty());
        let lists = split(&add(all.clone()));
        assert!(lists.len() > 1);
        assert!(lists.iter().all(|list| !list[0].is_interval_end()));
        assert_eq!(lists.concat(), all);
    }
}

#[test]
fn elements_that_no_message_holds_are_refused() {
    let of = |length| {
        let exprs = vec![Expr::Unknown { name: "x".into(), attributes: vec![0; length] }];
        Element { exprs, ..Element::new([1]) }
    };
    let end = Element { flags: Element::INTERVAL_END, ..of(40_000) };
    for elements in [vec![of(65_520)], vec![of(65_500)], vec![of(40_000), end]] {
        let refused = Batch::new(1).push(&add(elements));
        assert!(matches!(refused, Err(EncodeError::AttributeTooLong { .. })), "{refused:?}");
    }
    assert_eq!(split(&add(vec![of(65_496)])).len(), 1);
    assert_eq!(split(&add(vec![of(40_000), of(40_000)])).len(), 2);
}

#[test]
fn only_the_last_message_is_acknowledged_if_so_wished() {
    let mut batch = Batch::new(1).acknowledge_last();
    assert_eq!(batch.acknowledgements(), 0);
    batch.push(&table()).unwrap();
    batch.push(&add(elements(3000, 20))).unwrap();
    batch.push(&add(vec![])).unwrap();
    assert_eq!(batch.acknowledgements(), 1);
    let (bytes, count) = (batch.clone().finish(), batch.messages());
    let flags: Vec<bool> = messages(&bytes).iter().map(|m| m.flags & NLM_F_ACK != 0).collect();
    assert!(count > 2);
    assert_eq!(flags.iter().position(|acknowledged| *acknowledged), Some(count));
    assert_eq!(flags.len(), count + 2);
    let mut batch = Batch::new(1);
    batch.push(&table()).unwrap();
    assert_eq!(batch.acknowledgements(), 1);
}

#[test]
fn what_was_encoded_before_is_what_would_be_encoded() {
    let changes = [table(), add(elements(3, 1)), table()];
    let kept = encode(&changes).unwrap();
    for (quiet, begin) in [(true, Batch::new(41).acknowledge_last()), (false, Batch::new(41))] {
        let (mut whole, mut each) = (begin.clone(), begin);
        assert_eq!((whole.push(&table()), each.push(&table())), (Ok(42), Ok(42)));
        assert_eq!(whole.push_encoded(&kept), Ok(43));
        for change in &changes {
            each.push(change).unwrap();
        }
        assert_eq!(whole.push(&table()), Ok(44));
        each.push(&table()).unwrap();
        assert_eq!((whole.messages(), whole.acknowledgements()), (5, if quiet { 1 } else { 5 }));
        let (whole, each) = (whole.finish(), each.finish());
        let numbers: Vec<u32> = messages(&whole).iter().map(|m| m.sequence).collect();
        assert_eq!(numbers, [41, 42, 43, 43, 43, 44, 45]);
        let plain = |bytes: &[u8]| {
            messages(bytes).iter().map(|m| (m.kind, m.flags, m.body.to_vec())).collect::<Vec<_>>()
        };
        assert_eq!(plain(&whole), plain(&each));
    }
}

#[test]
fn what_is_no_whole_message_is_refused() {
    let kept = encode(&[table()]).unwrap();
    let mut batch = Batch::new(1);
    for length in 1..kept.len() {
        assert_eq!(batch.push_encoded(&kept[..length]), Err(EncodeError::NoMessages), "{length}");
    }
    assert_eq!((batch.messages(), batch.push_encoded(&[])), (0, Ok(2)));
}
