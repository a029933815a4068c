//! Sets of all kinds and their elements.

use std::net::Ipv4Addr;
use std::time::Instant;

use qiao_nft::*;

use crate::netns::{Kernel, in_namespace, nft};
use crate::rules::{TABLE, ranges, table};

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn plain_intervals_are_added_found_and_deleted() {
    in_namespace("sets::plain_intervals_are_added_found_and_deleted", || {
        let mut kernel = Kernel::new();
        let flags = SetFlags::INTERVAL;
        let set = Set { id: 1, flags, ..Set::new(Family::Inet, TABLE, "ranges", DataType::Ipv4Addr) };
        let reference = SetRef::new(Family::Inet, TABLE, "ranges");
        let interval = |first: [u8; 4], last: [u8; 4]| Element::new(first).interval(&last).unwrap();
        let ten = interval([10, 0, 0, 0], [10, 255, 255, 255]);
        let others = [
            interval([11, 0, 0, 0], [11, 255, 255, 255]),
            interval([224, 0, 0, 0], [255; 4]),
            interval([0; 4], [0, 0, 0, 9]),
        ];
        let elements = [ten.clone(), others.concat()].concat();
        kernel.change(&[
            table(),
            Change::NewSet(set),
            Change::AddElements { set: reference.clone(), elements },
        ]);
        let text = nft(&["list", "ruleset"]);
        let listed = "{ 0.0.0.0-0.0.0.9, 10.0.0.0/8,\n\t\t\t     11.0.0.0/8, 224.0.0.0/3 }";
        assert!(text.contains(listed), "{text}");

        let one = Query::Element { set: reference.clone(), keys: vec![Element::new([10, 1, 2, 3])] };
        let found = kernel.query(&one);
        let Reply::Elements { set, elements } = &found[0] else { panic!("{found:?}") };
        assert_eq!((set, elements), (&reference, &vec![Element::new([10, 0, 0, 0])]));

        kernel.change(&[Change::DelElements { set: reference.clone(), elements: ten }]);
        assert!(matches!(kernel.query(&one)[..], [Reply::Error { errno: 2, .. }]));
        let elements = dump(&mut kernel, reference);
        assert_eq!(elements.len(), 5);
        assert!(others.iter().flatten().all(|element| elements.contains(element)), "{elements:?}");
    });
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn concatenated_intervals_are_added_found_and_deleted() {
    in_namespace("sets::concatenated_intervals_are_added_found_and_deleted", || {
        let mut kernel = Kernel::new();
        let set = ranges();
        let reference = set.reference();
        let range = |protocol, from, to, host| {
            let end = |port| key().u8(protocol).u16_be(port).build();
            Element::new(end(from))
                .with_end(end(to))
                .unwrap()
                .with_value(key().ipv4(Ipv4Addr::new(10, 0, 0, host)).build())
        };
        let elements =
            vec![range(6, 80, 89, 1).with_comment("some"), range(6, 90, 90, 2), range(17, 80, 80, 3)];
        let add = Change::AddElements { set: reference.clone(), elements: elements.clone() };
        kernel.change(&[table(), Change::NewSet(set), add]);
        let text = nft(&["list", "ruleset"]);
        assert!(text.contains("tcp . 80-89 comment \"some\" : 10.0.0.1"), "{text}");
        assert!(text.contains("tcp . 90 : 10.0.0.2") && text.contains("udp . 80 : 10.0.0.3"), "{text}");

        let keys = vec![Element::new(key().u8(6).u16_be(85).build())];
        let found = kernel.query(&Query::Element { set: SetRef { id: None, ..reference.clone() }, keys });
        assert!(
            matches!(&found[..], [Reply::Elements { elements: found, .. }] if *found == elements[..1]),
            "{found:?}"
        );

        let gone = vec![elements[0].clone()];
        kernel
            .change(&[Change::DelElements { set: SetRef { id: None, ..reference.clone() }, elements: gone }]);
        assert_eq!(dump(&mut kernel, SetRef { id: None, ..reference }).len(), 2);
    });
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn ten_thousand_elements_go_in_one_batch() {
    in_namespace("sets::ten_thousand_elements_go_in_one_batch", || {
        let mut kernel = Kernel::new().with_send_buffer(4 << 20);
        let types = [DataType::Ifname, DataType::EtherAddr, DataType::Ipv4Addr];
        // Without a size the kernel resizes the set while it is dumped, and gives some elements twice, others never.
        let set = Set { id: 1, size: Some(20_000), ..Set::new(Family::Inet, TABLE, "many", types) };
        let element = |number: u32| {
            let [_, a, b, c] = number.to_be_bytes();
            let name = key().ifname(&format!("q{number}")).unwrap();
            Element::new(name.ether([2, 0, 0, a, b, c]).ipv4(Ipv4Addr::from(number)).build())
                .with_comment("container")
        };
        let elements: Vec<Element> = (0..10_000).map(element).collect();
        let start = Instant::now();
        let mut batch = Batch::new(1);
        batch.push(&table()).unwrap();
        batch.push(&Change::NewSet(set.clone())).unwrap();
        batch.push(&Change::AddElements { set: set.reference(), elements: elements.clone() }).unwrap();
        let (messages, bytes) = (batch.messages(), batch.finish());
        let encoded = start.elapsed();
        let replies = kernel.commit(&bytes);
        println!(
            "10,000 elements: {} bytes, {messages} messages, encoded in {encoded:?}, loaded {:?} after",
            bytes.len(),
            start.elapsed() - encoded
        );
        assert_eq!(replies.len(), messages);
        assert!(messages > 3 && replies.iter().all(|(_, reply)| *reply == Reply::Ack), "{replies:?}");

        let start = Instant::now();
        let mut dumped = dump(&mut kernel, SetRef { id: None, ..set.reference() });
        println!("dumped and decoded in {:?}", start.elapsed());
        dumped.sort_by(|one, other| {
            one.key[20..].cmp(&other.key[20..]).then(one.key[24..].cmp(&other.key[24..]))
        });
        assert!(dumped == elements);
    });
}

/// All elements of a set; the kernel sends them in as many messages as it likes.
fn dump(kernel: &mut Kernel, set: SetRef) -> Vec<Element> {
    let elements = |reply| match reply {
        Reply::Elements { elements, .. } => elements,
        other => panic!("{other:?}"),
    };
    kernel.query(&Query::Elements(set)).into_iter().flat_map(elements).collect()
}
