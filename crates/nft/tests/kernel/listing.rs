//! What `nft` prints of what we made.

use qiao_nft::*;

use crate::netns::{Kernel, in_namespace, listing_of, nft};
use crate::rules::{self, TABLE};

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn a_rule_set_prints_as_if_nft_had_loaded_it() {
    in_namespace("listing::a_rule_set_prints_as_if_nft_had_loaded_it", || {
        Kernel::new().change(&rules::changes());
        assert_eq!(nft(&["list", "ruleset"]), listing_of(rules::TEXT));
    });
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn rules_are_inserted_replaced_and_deleted() {
    in_namespace("listing::rules_are_inserted_replaced_and_deleted", || {
        let mut kernel = Kernel::new();
        kernel.change(&rules::changes());
        let with = |verdict| rules::rule("other", vec![Expr::verdict(verdict)]);
        kernel.change(&[Change::NewRule(with(Verdict::Accept)), Change::InsertRule(with(Verdict::Return))]);
        assert_eq!(others(), ["return", "accept"]);

        let handles = handles(&mut kernel);
        let replaced = Rule { handle: Some(handles[0]), ..with(Verdict::Continue) };
        let after_it = Rule { position: Some(handles[0]), ..with(Verdict::Drop) };
        kernel.change(&[Change::NewRule(after_it), Change::ReplaceRule(replaced)]);
        assert_eq!(others(), ["continue", "drop", "accept"]);

        let (table, chain) = (TABLE.to_owned(), "other".to_owned());
        let gone = Change::DelRule { family: Family::Inet, table, chain, handle: handles[1] };
        kernel.change(std::slice::from_ref(&gone));
        assert_eq!(others(), ["continue", "drop"]);
        assert_eq!(kernel.refused(&gone, false), 2);
        let (table, name) = (TABLE.to_owned(), "other".to_owned());
        kernel.change(&[Change::FlushChain { family: Family::Inet, table, name }]);
        assert!(others().is_empty());
    });
}

/// The rules of the chain "other", as `nft` prints them.
fn others() -> Vec<String> {
    let text = nft(&["list", "chain", "inet", TABLE, "other"]);
    let rules = text.lines().filter(|line| line.starts_with("\t\t") && !line.contains("comment"));
    rules.map(|line| line.trim().to_owned()).collect()
}

fn handles(kernel: &mut Kernel) -> Vec<u64> {
    let (table, chain) = (Some(TABLE.to_owned()), Some("other".to_owned()));
    let rules = kernel.query(&Query::Rules { family: Some(Family::Inet), table, chain });
    rules
        .into_iter()
        .map(|reply| match reply {
            Reply::Rule(Rule { handle: Some(handle), .. }) => handle,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn what_is_deleted_is_gone() {
    in_namespace("listing::what_is_deleted_is_gone", || {
        let mut kernel = Kernel::new();
        kernel.change(&rules::changes());
        let (family, table) = (Family::Inet, || TABLE.to_owned());
        let flush = |name: &str| Change::FlushSet { family, table: table(), name: name.into() };
        kernel.change(&[flush("names"), flush("pairs")]);
        assert!(!nft(&["list", "set", "inet", TABLE, "names"]).contains("eth"));
        let chain = |name: &str| Change::FlushChain { family, table: table(), name: name.into() };
        let set = |name: &str| Change::DelSet { family, table: table(), name: name.into() };
        assert_eq!(kernel.refused(&set("names"), false), 16);
        kernel.change(&[chain("forward"), set("names")]);
        assert!(!nft(&["list", "ruleset"]).contains("set names"));
        kernel
            .change(&[flush("verdicts"), Change::DelChain { family, table: table(), name: "other".into() }]);
        assert!(!nft(&["list", "ruleset"]).contains("chain other"));

        let element = Element::new(key().u32_host(0x1122_3344).build());
        let (marks, elements) = (SetRef::new(family, TABLE, "marks"), vec![element]);
        let del = Change::DelElements { set: marks.clone(), elements: elements.clone() };
        kernel.change(&[del.clone(), Change::DestroyElements { set: marks, elements }]);
        assert_eq!(kernel.refused(&del, false), 2);

        kernel.change(&[
            Change::DelTable { family, name: table() },
            Change::DestroyTable { family, name: table() },
        ]);
        assert_eq!(nft(&["list", "ruleset"]), "");
        assert_eq!(kernel.refused(&Change::DelTable { family, name: table() }, false), 2);
    });
}

#[test]
#[ignore = "needs root and nft: cargo xtask test"]
fn the_target_of_a_neighbour_advertisement_is_looked_up() {
    in_namespace("listing::the_target_of_a_neighbour_advertisement_is_looked_up", || {
        let family = Family::Bridge;
        let set = Set { id: 1, ..Set::new(family, TABLE, "ip6s", [DataType::Ifname, DataType::Ipv6Addr]) };
        let first = Register::quad(1);
        // iifname . icmpv6 taddr != @ip6s drop; `nft` 1.0.6 cannot parse "taddr".
        let exprs = vec![
            Expr::Meta { key: MetaKey::IifName, dreg: first },
            Expr::Payload { base: PayloadBase::Transport, offset: 8, len: 16, dreg: Register::quad(2) },
            Expr::Lookup { set: "ip6s".into(), set_id: None, sreg: first, dreg: None, inverted: true },
            Expr::verdict(Verdict::Drop),
        ];
        Kernel::new().change(&[
            Change::NewTable(Table::new(family, TABLE)),
            Change::NewSet(set),
            Change::NewChain(Chain::new(family, TABLE, "from_ip6")),
            Change::NewRule(Rule { exprs, ..Rule::new(family, TABLE, "from_ip6") }),
        ]);
        let wanted = "\
  [ meta load iifname => reg 1 ]
  [ payload load 16b @ transport header + 8 => reg 2 ]
  [ lookup reg 1 set ip6s 0x1 ]
  [ immediate reg 0 drop ]\n";
        let text = nft(&["--debug=netlink", "list", "ruleset"]);
        assert!(text.contains(wanted), "{text}");
    });
}
