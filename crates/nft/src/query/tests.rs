//! What a query consists of.

use super::*;
use crate::wire::message::Messages;

fn encoded(query: &Query) -> (u16, u16, Vec<u8>) {
    let bytes = query.encode(3).unwrap();
    let message = Messages(&bytes).next().unwrap().unwrap();
    assert_eq!((message.sequence, bytes.len()), (3, 16 + message.body.len()));
    (message.kind, message.flags, message.body.to_vec())
}

#[test]
fn queries_are_dumps_or_of_one_object() {
    assert_eq!(encoded(&Query::Generation), (0xa10, 1, vec![0; 4]));
    assert_eq!(encoded(&Query::Tables(None)), (0xa01, 0x301, vec![0; 4]));
    assert_eq!(encoded(&Query::Chains(Some(Family::Bridge))), (0xa04, 0x301, vec![7, 0, 0, 0]));
    let table = Query::Table { family: Family::Ip, name: "t".into() };
    assert_eq!(encoded(&table), (0xa01, 1, vec![2, 0, 0, 0, 6, 0, 1, 0, b't', 0, 0, 0]));
}

#[test]
fn rules_are_of_a_chain_if_so_wished() {
    let rules = |table: Option<&str>, chain: Option<&str>| {
        let (table, chain) = (table.map(str::to_owned), chain.map(str::to_owned));
        encoded(&Query::Rules { family: Some(Family::Inet), table, chain })
    };
    assert_eq!(rules(None, None), (0xa07, 0x301, vec![1, 0, 0, 0]));
    let both = [[1, 0, 0, 0, 6, 0, 1, 0], [b't', 0, 0, 0, 6, 0, 2, 0], [b'c', 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(rules(Some("t"), Some("c")), (0xa07, 0x301, both[..20].to_vec()));
}

#[test]
fn more_keys_than_an_attribute_holds_are_refused() {
    let query = |count| Query::Element {
        set: SetRef::new(Family::Inet, "t", "s"),
        keys: vec![Element::new([1, 2, 3, 4]); count],
    };
    // Each takes 4 + 4 + 8 bytes.
    assert!(query(4095).encode(1).is_ok());
    assert!(matches!(query(4096).encode(1), Err(EncodeError::AttributeTooLong { attribute: 3, .. })));
}
