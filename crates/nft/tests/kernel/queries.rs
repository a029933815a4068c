//! What the kernel answers to queries.

use qiao_nft::*;

use crate::netns::{Kernel, in_namespace, load};
use crate::rules::{self, TABLE};

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn one_object_is_the_same_as_in_a_dump() {
    in_namespace("queries::one_object_is_the_same_as_in_a_dump", || {
        let mut kernel = Kernel::new();
        load(rules::TEXT);
        let (family, table) = (Family::Inet, || TABLE.to_owned());
        let sets = Query::Sets { family: Some(family), table: Some(table()) };
        let rules =
            Query::Rules { family: Some(family), table: Some(table()), chain: Some("forward".into()) };
        let rules_of_chain = kernel.query(&rules);
        assert_eq!(rules_of_chain.len(), 3);
        let Reply::Rule(Rule { handle: Some(handle), .. }) = rules_of_chain[1] else { panic!() };
        let pairs = [
            (Query::Table { family, name: table() }, kernel.query(&Query::Tables(Some(family)))),
            (Query::Set(SetRef::new(family, TABLE, "ranges")), kernel.query(&sets)),
            (
                Query::Chain { family, table: table(), name: "forward".into() },
                kernel.query(&Query::Chains(None)),
            ),
            (Query::Rule { family, table: table(), chain: "forward".into(), handle }, rules_of_chain),
        ];
        for (query, dump) in pairs {
            let answer = kernel.query(&query);
            let [one] = answer.as_slice() else { panic!("{answer:?}") };
            // A rule on its own comes without the one before it.
            let found =
                dump.into_iter().map(without_position).any(|reply| reply == without_position(one.clone()));
            assert!(found, "{one:?}");
        }
        assert!(kernel.query(&Query::Tables(Some(Family::Ip6))).is_empty());
    });
}

fn without_position(reply: Reply) -> Reply {
    match reply {
        Reply::Rule(rule) => Reply::Rule(Rule { position: None, ..rule }),
        other => other,
    }
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn a_set_that_nft_made_is_read_as_we_would_have_made_it() {
    in_namespace("queries::a_set_that_nft_made_is_read_as_we_would_have_made_it", || {
        let mut kernel = Kernel::new();
        load(rules::TEXT);
        let answer = kernel.query(&Query::Sets { family: None, table: None });
        let read: Vec<Set> = answer
            .into_iter()
            .map(|reply| match reply {
                Reply::Set(set) => set,
                other => panic!("{other:?}"),
            })
            .collect();
        let made = rules::changes().into_iter().filter_map(|change| match change {
            Change::NewSet(set) => Some(set),
            _ => None,
        });
        let made: Vec<Set> = made.collect();
        assert_eq!(read.len(), made.len());
        for (read, made) in read.into_iter().zip(made) {
            assert_eq!(Set { id: made.id, handle: None, ..read }, made);
        }
    });
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn several_keys_are_answered_one_by_one_up_to_the_first_that_is_not_there() {
    let name = "queries::several_keys_are_answered_one_by_one_up_to_the_first_that_is_not_there";
    in_namespace(name, || {
        let kernel = Kernel::new();
        load("table inet t { set s { type mark; elements = { 1, 2 comment \"two\" }; }; }");
        let element = |number| Element::new(key().u32_host(number).build());
        let keys = [1, 2, 3, 1].map(element).to_vec();
        let set = SetRef::new(Family::Inet, "t", "s");
        let query = Query::Element { set: set.clone(), keys };
        let found = |elements| (9, Reply::Elements { set: set.clone(), elements });
        let replies = kernel.commit(&query.encode(9).unwrap());
        assert_eq!(replies[..2], [found(vec![element(1)]), found(vec![element(2).with_comment("two")])]);
        assert!(matches!(replies[2..], [(9, Reply::Error { errno: 2, .. })]), "{replies:?}");
    });
}
