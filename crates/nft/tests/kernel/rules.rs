//! A rule set as our changes, and the same as text.

use std::net::Ipv4Addr;

use qiao_nft::*;

/// The table of all tests.
pub const TABLE: &str = "example";

/// What [`changes`] make.
pub const TEXT: &str = r#"
table inet example {
	comment "a table"
	set names { type ifname; comment "a set"; elements = { "eth0" comment "first", "eth1" }; }
	set pairs { type ifname . ifname; elements = { "eth0" . "eth1" }; }
	set nets { type ifname . ipv4_addr; flags interval; elements = { "eth0" . 10.0.0.0/8 comment "private" }; }
	set marks { type mark; size 9; elements = { 0x11223344 }; }
	map names_of { type ipv4_addr : ifname; elements = { 10.0.0.1 : "eth0" }; }
	map verdicts { type nf_proto : verdict; elements = { ipv4 comment "old" : jump other, ipv6 : drop }; }
	map ranges { type inet_proto . inet_service : ipv4_addr; flags interval; }
	map published { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service;
		elements = { tcp . 192.0.2.1 . 80 comment "web" : 10.0.0.1 . 8080 }; }
	chain other { comment "a chain"; }
	chain forward {
		type filter hook forward priority -10; policy drop;
		iifname @names counter accept comment "a rule"
		iifname . oifname @pairs goto other
		meta nfproto vmap @verdicts
	}
	chain translate {
		type nat hook prerouting priority -100;
		dnat ip to meta l4proto . ip daddr . th dport map @published
	}
}
"#;

pub fn table() -> Change {
    Change::NewTable(Table::new(Family::Inet, TABLE))
}

pub fn hook() -> Hook {
    Hook { kind: ChainType::Filter, number: Hook::FORWARD, priority: -10, policy: Policy::Drop, device: None }
}

/// A set with this name and number.
fn set(name: &str, id: u32, key: impl Into<DataTypes>) -> Set {
    Set { id, ..Set::new(Family::Inet, TABLE, name, key) }
}

fn map(name: &str, id: u32, (key, value): (DataTypes, MapValue)) -> Set {
    Set { flags: SetFlags::MAP, value: Some(value), ..set(name, id, key) }
}

pub fn ranges() -> Set {
    let types = (
        DataTypes::from([DataType::InetProto, DataType::InetService]),
        MapValue::Value(DataType::Ipv4Addr.into()),
    );
    Set { flags: SetFlags::MAP | SetFlags::INTERVAL | SetFlags::CONCAT, ..map("ranges", 7, types) }
}

pub fn accept_map() -> Set {
    map("verdicts", 6, (DataType::NfProto.into(), MapValue::Verdict))
}

fn published() -> Set {
    let key = DataTypes::from([DataType::InetProto, DataType::Ipv4Addr, DataType::InetService]);
    let value = MapValue::Value([DataType::Ipv4Addr, DataType::InetService].into());
    map("published", 8, (key, value))
}

fn sets() -> Vec<(Set, Vec<Element>)> {
    let name = |name| key().ifname(name).unwrap();
    let names =
        vec![Element::new(name("eth0").build()).with_comment("first"), Element::new(name("eth1").build())];
    let nets = Set {
        flags: SetFlags::INTERVAL | SetFlags::CONCAT,
        ..set("nets", 3, [DataType::Ifname, DataType::Ipv4Addr])
    };
    let net = Element::new(name("eth0").ipv4(Ipv4Addr::new(10, 0, 0, 0)).build()).with_comment("private");
    let net = net.with_end(name("eth0").ipv4(Ipv4Addr::new(10, 255, 255, 255)).build()).unwrap();
    let web = key().u8(6).ipv4(Ipv4Addr::new(192, 0, 2, 1)).u16_be(80).build();
    let target = key().ipv4(Ipv4Addr::new(10, 0, 0, 1));
    let names_of = (DataType::Ipv4Addr.into(), MapValue::Value(DataType::Ifname.into()));
    let verdicts = vec![
        Element::new([2]).with_value(Verdict::Jump("other".into())).with_comment("old"),
        Element::new([10]).with_value(Verdict::Drop),
    ];
    vec![
        (Set { comment: Some("a set".into()), ..set("names", 1, DataType::Ifname) }, names),
        (
            set("pairs", 2, [DataType::Ifname, DataType::Ifname]),
            vec![Element::new(name("eth0").ifname("eth1").unwrap().build())],
        ),
        (nets, vec![net]),
        (
            Set { size: Some(9), ..set("marks", 4, DataType::Mark) },
            vec![Element::new(key().u32_host(0x1122_3344).build())],
        ),
        (
            map("names_of", 5, names_of),
            vec![Element::new(target.clone().build()).with_value(name("eth0").build())],
        ),
        (accept_map(), verdicts),
        (ranges(), vec![]),
        (published(), vec![Element::new(web).with_value(target.u16_be(8080).build()).with_comment("web")]),
    ]
}

pub fn rule(chain: &str, exprs: Vec<Expr>) -> Rule {
    Rule { exprs, ..Rule::new(Family::Inet, TABLE, chain) }
}

pub fn lookup(set: &str, dreg: Option<Register>) -> Expr {
    Expr::Lookup { set: set.into(), set_id: None, sreg: Register::quad(1), dreg, inverted: false }
}

fn rules() -> Vec<Rule> {
    let meta = |key, number| Expr::Meta { key, dreg: Register::quad(number) };
    let named = vec![
        meta(MetaKey::IifName, 1),
        lookup("names", None),
        Expr::counter(),
        Expr::verdict(Verdict::Accept),
    ];
    let pairs = vec![
        meta(MetaKey::IifName, 1),
        meta(MetaKey::OifName, 2),
        lookup("pairs", None),
        Expr::verdict(Verdict::Goto("other".into())),
    ];
    vec![
        Rule { comment: Some("a rule".into()), ..rule("forward", named) },
        rule("forward", pairs),
        rule("forward", vec![meta(MetaKey::NfProto, 1), lookup("verdicts", Some(Register::VERDICT))]),
        rule("translate", translation()),
    ]
}

fn translation() -> Vec<Expr> {
    let (first, second) = (Register::quad(1), Some(Register::word(1)));
    let load = |base, offset, len, dreg| Expr::Payload { base, offset, len, dreg: Register::word(dreg) };
    vec![
        Expr::Meta { key: MetaKey::NfProto, dreg: first },
        Expr::equal(first, [2]),
        Expr::Meta { key: MetaKey::L4Proto, dreg: first },
        load(PayloadBase::Network, 16, 4, 1),
        load(PayloadBase::Transport, 2, 2, 2),
        lookup("published", Some(first)),
        Expr::Nat {
            kind: NatKind::Dnat,
            family: Family::Ip,
            addr_min: Some(first),
            addr_max: Some(first),
            proto_min: second,
            proto_max: second,
            flags: NatFlags::default(),
        },
    ]
}

fn chains() -> Vec<Chain> {
    let nat = Hook {
        kind: ChainType::Nat,
        number: Hook::PREROUTING,
        priority: -100,
        policy: Policy::Accept,
        ..hook()
    };
    let chain = |name| Chain::new(Family::Inet, TABLE, name);
    vec![
        Chain { comment: Some("a chain".into()), ..chain("other") },
        Chain { hook: Some(hook()), ..chain("forward") },
        Chain { hook: Some(nat), ..chain("translate") },
    ]
}

/// Makes what [`TEXT`] says.
pub fn changes() -> Vec<Change> {
    let table = Table { comment: Some("a table".into()), ..Table::new(Family::Inet, TABLE) };
    let mut changes = vec![Change::NewTable(table)];
    changes.extend(chains().into_iter().map(Change::NewChain));
    for (set, elements) in sets() {
        let reference = set.reference();
        changes.push(Change::NewSet(set));
        if !elements.is_empty() {
            changes.push(Change::AddElements { set: reference, elements });
        }
    }
    changes.extend(rules().into_iter().map(Change::NewRule));
    changes
}
