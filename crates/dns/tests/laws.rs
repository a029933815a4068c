//! What holds for every message, every set of names and every file.

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;
use qiao_dns::forward::judge::{Verdict, judge};
use qiao_dns::forward::reply::{Question, Reply};
use qiao_dns::records::Records;
use qiao_dns::snapshot::{Asker, Outcome, Snapshot};
use qiao_dns::source::aardvark::parse;
use qiao_dns::wire::name::{key, reverse, reversed, text};
use qiao_dns::wire::query::Query;
use qiao_dns::zone::{ContainerId, Member, MemberKey, Zone};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn message(name: &str, rtype: u16, edns: Option<u16>) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
    message.extend(key(name).expect("a name").iter());
    message.push(0);
    message.extend(rtype.to_be_bytes());
    message.extend([0, 1]);
    if let Some(size) = edns {
        message.extend([0, 0, 41]);
        message.extend(size.to_be_bytes());
        message.extend([0; 6]);
    }
    message
}

/// A network: members with up to three names of few letters, so that they meet.
fn members() -> impl Strategy<Value = Vec<Member>> {
    let member = (vec("[a-c]{1,2}", 1..4), any::<bool>()).prop_map(|(names, v6)| (names, v6));
    vec(member, 1..40).prop_map(|all| {
        let member = |(number, (names, v6)): (usize, (Vec<String>, bool))| {
            let mut addresses = vec![IpAddr::from([10, 0, 1, number as u8])];
            if v6 {
                addresses.push(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number as u16).into());
            }
            Member { id: format!("id{number}"), addresses, names, ..Member::default() }
        };
        all.into_iter().enumerate().map(member).collect()
    })
}

fn zone(name: &str, members: &[Member], internal: bool) -> Zone {
    let mut zone = Zone::new(name, vec![GATEWAY], (internal, &[]));
    for member in members {
        zone.add(MemberKey::new(&member.id), member);
    }
    zone
}

fn ask(snapshot: &Snapshot, message: &[u8], (source, limit): (IpAddr, usize)) -> (Outcome, Vec<u8>) {
    let (mut answer, mut found) = (Vec::new(), Vec::new());
    let query = Query::parse(message).expect("a question");
    let asker = Asker { zone: 0, source, limit, turn: 5 };
    let outcome = snapshot.answer(&query, &asker, (&mut answer, &mut found));
    (outcome, answer)
}

proptest! {
    #[test]
    fn no_message_is_too_strange(bytes in vec(any::<u8>(), 0..300), at in 0usize..40, byte: u8) {
        let _ = Query::parse(&bytes);
        let mut nearly = message("web.front", 1, Some(1232));
        let at = at % nearly.len();
        nearly[at] = byte;
        if let Ok(query) = Query::parse(&nearly) {
            prop_assert!(query.udp_limit() <= 10 * nearly.len() && query.udp_limit() <= 1232);
            let question = Question::of(&query);
            let _ = judge(&bytes, (0x1234, &question));
            let mut answer = nearly.clone();
            answer[2] |= 0x80;
            answer.extend(&bytes);
            let _ = judge(&answer, (query.id, &question));
        }
    }

    #[test]
    fn a_zone_finds_what_a_list_does(members in members(), wanted in "[a-c]{1,2}") {
        let zone = zone("front", &members, false);
        let mut list: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for member in &members {
            let mut names = member.names.clone();
            names.sort();
            names.dedup();
            // A member's own name of two letters is a country's only where there is a dot before it.
            names.into_iter().for_each(|name| list.entry(name).or_default().extend(&member.addresses));
        }
        let mut found = Vec::new();
        let known = zone.find(&key(&wanted).unwrap(), &mut found);
        let mut expected = list.get(&wanted).cloned().unwrap_or_default();
        found.sort();
        expected.sort();
        prop_assert_eq!(known, list.contains_key(&wanted));
        prop_assert_eq!(found, expected);
    }

    /// Members come and go: what is left is what there would be had nobody else been there.
    #[test]
    fn a_zone_that_was_changed_is_as_one_made_anew(
        members in members(), gone in vec(any::<prop::sample::Index>(), 0..40), back in 0usize..10,
    ) {
        let mut changed = zone("front", &members, false);
        let mut left: BTreeMap<String, Member> =
            members.iter().map(|member| (member.id.clone(), member.clone())).collect();
        for index in &gone {
            let member = index.get(&members);
            let was = left.remove(&member.id).is_some();
            prop_assert_eq!(changed.remove(MemberKey::new(&member.id)), was);
        }
        for member in members.iter().take(back) {
            let is_new = left.insert(member.id.clone(), member.clone()).is_none();
            prop_assert_eq!(changed.add(MemberKey::new(&member.id), member), is_new);
        }
        let anew = zone("front", &left.values().cloned().collect::<Vec<_>>(), false);
        prop_assert_eq!(changed.is_empty(), anew.is_empty());
        let find = |zone: &Zone, name: &str| {
            let mut found = Vec::new();
            let known = zone.find(&key(name).unwrap(), &mut found);
            found.sort();
            (known, found)
        };
        for member in &members {
            for name in &member.names {
                prop_assert_eq!(find(&changed, name), find(&anew, name), "{}", name);
            }
            let ip = member.addresses[0];
            let names = |zone: &Zone| zone.names_of(ip).map(<[u8]>::to_vec).collect::<Vec<_>>();
            prop_assert_eq!(names(&changed), names(&anew));
            prop_assert_eq!(changed.member(ip).map(|m| changed.id(m)), anew.member(ip).map(|m| anew.id(m)));
            prop_assert_eq!(changed.member_of(ContainerId::new(&member.id)).is_some(), left.contains_key(&member.id));
        }
    }

    #[test]
    fn answers_fit(members in members(), wanted in "[a-c]{1,2}", limit in 40usize..600) {
        let snapshot = Snapshot::new(vec![Rc::new(zone("front", &members, true))], Rc::new(Records::default()), None);
        let message = message(&wanted, 1, None);
        let (outcome, answer) = ask(&snapshot, &message, (GATEWAY, limit));
        prop_assert!(matches!(outcome, Outcome::Answered(_)), "an internal network asks nobody");
        prop_assert!(answer.len() <= limit.max(message.len()));
        prop_assert_eq!(&answer[12..message.len()], &message[12..]);
        let count = usize::from(u16::from_be_bytes([answer[6], answer[7]]));
        prop_assert_eq!(answer.len(), message.len() + 16 * count);
    }

    #[test]
    fn strangers_get_nothing(members in members(), wanted in "[a-c]{1,2}", stranger: [u8; 4]) {
        let ip = IpAddr::from(stranger);
        prop_assume!(ip != GATEWAY && members.iter().all(|member| !member.addresses.contains(&ip)));
        let snapshot = Snapshot::new(vec![Rc::new(zone("front", &members, false))], Rc::new(Records::default()), None);
        let (outcome, answer) = ask(&snapshot, &message(&wanted, 1, None), (ip, 512));
        prop_assert_eq!(outcome, Outcome::Stranger);
        prop_assert!(answer.is_empty());
    }

    /// The domain behind containers' names is nobody else's, who might say what he likes about it.
    #[test]
    fn nobody_else_is_asked_about_the_containers_domain(members in members(), wanted in "[a-c]{1,3}") {
        let known = members.iter().any(|member| member.names.contains(&wanted));
        let zones = vec![Rc::new(zone("front", &members, false))];
        let snapshot = Snapshot::new(zones, Rc::new(Records::default()), key("dns.podman"));
        let (outcome, answer) = ask(&snapshot, &message(&format!("{wanted}.DNS.podman"), 1, None), (GATEWAY, 1232));
        prop_assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
        prop_assert_eq!(answer[3] & 15, if known { 0 } else { 3 });
        for name in [wanted.as_str(), "podman", "x.dns.podman.test", "xdns.podman"] {
            let (outcome, _) = ask(&snapshot, &message(name, 1, None), (GATEWAY, 1232));
            prop_assert_eq!(matches!(outcome, Outcome::Ask(_)), !known || name != wanted, "the control: {}", name);
        }
    }

    #[test]
    fn others_networks_are_not_seen(members in members(), wanted in "[a-c]{1,2}") {
        let other = Member {
            id: "other".into(),
            addresses: vec![IpAddr::from([10, 9, 9, 9])],
            names: vec![wanted.clone(), "only".into()],
            ..Member::default()
        };
        let zones = vec![
            Rc::new(zone("front", &members, true)),
            Rc::new(Zone::new("back", vec![IpAddr::from([10, 9, 0, 1])], (true, &[]))),
            Rc::new({
                let mut zone = Zone::new("third", vec![IpAddr::from([10, 9, 1, 1])], (true, &[]));
                zone.add(MemberKey::new("other"), &other);
                zone
            }),
        ];
        let snapshot = Snapshot::new(zones, Rc::new(Records::default()), None);
        for name in [wanted.as_str(), "only", "only.third"] {
            let (_, answer) = ask(&snapshot, &message(name, 1, None), (members[0].addresses[0], 1232));
            prop_assert!(!answer.windows(4).any(|four| four == [10, 9, 9, 9]), "{name}");
        }
    }

    #[test]
    fn addresses_and_their_reverse_names_agree(v4: [u8; 4], v6: u128) {
        let name = v4.iter().rev().map(ToString::to_string).collect::<Vec<_>>().join(".") + ".in-addr.arpa";
        prop_assert_eq!(reverse(&key(&name).unwrap()), Some(IpAddr::from(v4)));
        prop_assert_eq!(text(&reversed(IpAddr::from(v4))), name);
        let digits: Vec<String> = (0..32).map(|n| format!("{:x}", v6 >> (4 * n) & 15)).collect();
        let name = digits.join(".") + ".ip6.arpa";
        prop_assert_eq!(reverse(&key(&name).unwrap()), Some(IpAddr::from(v6.to_be_bytes())));
        prop_assert_eq!(text(&reversed(IpAddr::from(v6.to_be_bytes()))), name);
    }

    #[test]
    fn names_are_what_they_were(name in "[a-z0-9_-]{1,20}(\\.[a-z0-9_-]{1,20}){0,5}") {
        prop_assert_eq!(text(&key(&name).unwrap()), name);
    }

    #[test]
    fn no_file_is_too_strange(file in ".{0,200}(\n.{0,80}){0,6}") {
        let _ = parse("front", &format!("10.89.0.1\n{file}"));
        let _ = parse("front%int", &file);
    }
}

/// A compressed name that leads to itself, in the answer of an upstream: it ends, and is no answer.
#[test]
fn loops_end() {
    let message = message("web", 1, None);
    let query = Query::parse(&message).unwrap();
    let mut answer = message.clone();
    answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    let at = answer.len() as u16;
    answer.extend((0xc000 | at).to_be_bytes());
    answer.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]);
    assert!(matches!(judge(&answer, (query.id, &Question::of(&query))), Verdict::Useless));
    // The same with a name that is none of this: the record is taken.
    let end = message.len();
    answer[end..end + 2].copy_from_slice(&[0xc0, 12]);
    assert!(matches!(judge(&answer, (query.id, &Question::of(&query))), Verdict::Good(_)));
}

/// A name of 255 octets is a name; one of 256 is none.
#[test]
fn the_longest_name() {
    let label = |length: usize| [vec![length as u8], vec![b'a'; length]].concat();
    let long = |last: usize| {
        let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        [63, 63, 63, last].into_iter().for_each(|length| message.extend(label(length)));
        message.extend([0, 0, 1, 0, 1]);
        message
    };
    assert!(Query::parse(&long(61)).is_ok());
    assert!(Query::parse(&long(62)).is_err());
}

/// An answer to `web A` with these records behind the question; its answers and authorities are counted.
fn answered(code: u8, (answers, authorities): (u16, u16), records: &[u8]) -> Option<Reply> {
    let message = message("web", 1, None);
    let query = Query::parse(&message).unwrap();
    let mut answer = message.clone();
    answer[2..4].copy_from_slice(&[0x81, 0x80 | code]);
    answer[6..8].copy_from_slice(&answers.to_be_bytes());
    answer[8..10].copy_from_slice(&authorities.to_be_bytes());
    answer.extend(records);
    match judge(&answer, (query.id, &Question::of(&query))) {
        Verdict::Good(reply) => Some(reply),
        _ => None,
    }
}

/// What a client gets of it.
fn passed_on(reply: &Reply) -> Vec<u8> {
    let message = message("web", 1, None);
    let mut answer = Vec::new();
    reply.write(&mut answer, &Query::parse(&message).unwrap(), (0, 1232));
    answer
}

fn record(owner: &[u8], (rtype, ttl): (u8, u32), data: &[u8]) -> Vec<u8> {
    let mut record = [owner, &[0, rtype, 0, 1], &ttl.to_be_bytes()].concat();
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    record
}

const OWN: &[u8] = &[0xc0, 12];

/// Records about names that were not asked for, and to which those that were do not lead, are not passed on.
#[test]
fn only_records_about_what_was_asked_are_believed() {
    let bank = record(b"\x04bank\0", (1, 60), &[6, 6, 6, 6]);
    let own = record(OWN, (1, 60), &[9, 9, 9, 9]);
    let alias = record(OWN, (5, 60), b"\x03www\0");
    let target = record(b"\x03WWW\0", (1, 60), &[9, 9, 9, 8]);
    assert!(answered(0, (1, 0), &bank).is_none(), "it is no answer");
    let both = answered(0, (2, 0), &[own, bank].concat()).expect("an answer");
    let told = passed_on(&both);
    assert!(told.windows(4).any(|four| four == [9, 9, 9, 9]) && !told.windows(4).any(|four| four == b"bank"));
    assert_eq!(told[6..8], [0, 1]);
    for chain in [[alias.clone(), target.clone()].concat(), [target, alias].concat()] {
        let told = passed_on(&answered(0, (2, 0), &chain).expect("in whatever order"));
        assert_eq!((told[7], &told[told.len() - 4..].len()), (2, &4));
    }
}

/// That there is no such name is said by whose it is, for as long as he says.
#[test]
fn absence_is_remembered_as_its_zone_says() {
    let soa = |owner: &[u8], ttl| record(owner, (6, ttl), &[&b"\0\0"[..], &[0; 16], &[0, 0, 0, 30]].concat());
    let ttl = |records: &[u8]| answered(3, (0, 1), records).expect("an answer").ttl;
    assert_eq!((ttl(&soa(b"\0", 20)), ttl(&soa(b"\0", 90)), ttl(&soa(OWN, 90))), (20, 30, 30));
    assert_eq!(ttl(&soa(b"\x05other\0", 20)), 0, "somebody else's");
    assert_eq!(ttl(&record(b"\0", (2, 20), b"\0")), 0, "a referral denies nothing");
    assert_eq!(answered(3, (0, 0), &[]).unwrap().ttl, 0, "nobody says for how long");
    let told = passed_on(&answered(3, (0, 1), &record(b"\0", (2, 20), b"\x04bank\0")).unwrap());
    assert!(!told.windows(4).any(|four| four == b"bank"), "nor is it passed on");
    assert_eq!(answered(0, (1, 0), &record(OWN, (1, 1 << 31), &[1; 4])).unwrap().ttl, 0, "RFC 2181");
}

/// Names that point at names that point at names: reading a message takes time in proportion to its length.
#[test]
fn no_message_is_more_work_than_it_is_long() {
    let mut records = record(OWN, (16, 60), &[1; 250]); // labels of one octet: 125 steps from its beginning
    let at = (message("web", 1, None).len() + 12) as u16;
    (0..2000).for_each(|_| records.extend(record(&(0xc000 | at).to_be_bytes(), (1, 60), &[1; 4])));
    let few = answered(0, (1, 0), &records);
    assert!(few.is_some(), "the record itself is one");
    let chain: Vec<u8> = (0..2000).flat_map(|_| record(OWN, (5, 60), &(0xc000 | at).to_be_bytes())).collect();
    let all = [record(OWN, (16, 60), &[[1u8; 250].as_slice(), &[0]].concat()), chain].concat();
    assert!(answered(0, (2001, 0), &all).is_none(), "too many steps");
    // What a client sends has one OPT record, and hardly anything besides.
    let mut question = message("web", 1, Some(1232));
    question.extend(record(OWN, (16, 0), &[0]));
    question[11] = 2;
    assert!(Query::parse(&question).is_ok());
    question.extend_from_slice(&message("web", 1, Some(1232))[21..]);
    question[11] = 3;
    assert!(Query::parse(&question).is_err(), "two OPT records");
    let mut question = message("web", 1, None);
    (0..60).for_each(|_| question.extend(record(OWN, (16, 0), &[0])));
    question[11] = 60;
    assert!(Query::parse(&question).is_err(), "more than anybody needs");
}

proptest! {
    /// The question that is kept for those who wait asks the same.
    #[test]
    fn a_question_that_waits_is_the_same(name in "[a-z]{1,9}(\\.[A-Z]{1,9}){0,3}", edns: Option<u16>, rubbish in vec(any::<u8>(), 0..200)) {
        let mut bytes = message(&name, 28, edns);
        bytes.extend(rubbish);
        let query = Query::parse(&bytes).unwrap();
        let plain = query.plain();
        let again = Query::parse(&plain).unwrap();
        prop_assert!(plain.len() <= 12 + query.question.len() + 11);
        prop_assert_eq!((again.id, again.flags, again.question, again.edns), (query.id, query.flags, query.question, query.edns));
    }
}

/// So many come and go that the arrays are packed: nothing of it is seen, and they do not grow for ever.
#[test]
fn a_zone_does_not_grow_with_those_who_left() {
    let mut zone = Zone::new("front", vec![GATEWAY], (false, &[]));
    let member = |n: u32| Member {
        id: format!("id{n}"),
        addresses: vec![IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + n))],
        names: vec![format!("n{n}"), "pool".into()],
        upstreams: vec![IpAddr::from([9, 9, 9, (n % 3) as u8])],
        ports: vec![(n as u16, "tcp".into())],
    };
    for n in 0..5000 {
        zone.add(MemberKey::new(&format!("id{n}")), &member(n));
        if n >= 10 {
            assert!(zone.remove(MemberKey::new(&format!("id{}", n - 10))));
        }
    }
    let mut found = Vec::new();
    assert!(zone.find(&key("pool").unwrap(), &mut found));
    assert_eq!(found.len(), 10);
    for n in 4990..5000 {
        let own = zone.member(IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + n)));
        assert_eq!(zone.upstreams(own)[0], IpAddr::from([9, 9, 9, (n % 3) as u8]));
        assert!(zone.offers(&key(&format!("n{n}")).unwrap(), (n as u16, "tcp")));
    }
    assert!(!zone.offers(&key("n4999").unwrap(), (4998, "tcp")));
    assert!(format!("{zone:?}").len() < 60_000, "what left is not kept: {}", format!("{zone:?}").len());
}

/// A name of many who offer much: whether one of them offers a port is found without comparing all with all.
#[test]
fn what_many_offer_is_found_quickly() {
    let mut zone = Zone::new("front", vec![GATEWAY], (false, &[]));
    for n in 0..4000u32 {
        zone.add(
            MemberKey::new(&n.to_string()),
            &Member {
                id: n.to_string(),
                addresses: vec![IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + n))],
                names: vec![format!("n{n}"), "pool".into()],
                ports: vec![(n as u16, "tcp".into()), (n as u16, "udp".into())],
                ..Member::default()
            },
        );
    }
    let begun = std::time::Instant::now();
    assert!((0..20).all(|_| !zone.offers(&key("pool").unwrap(), (9999, "tcp"))));
    assert!(
        zone.offers(&key("pool").unwrap(), (3999, "tcp")) && zone.offers(&key("n7").unwrap(), (7, "udp"))
    );
    assert!(!zone.offers(&key("n7").unwrap(), (8, "udp")));
    // All with all would be 640 million comparisons.
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// A container in these networks, with an address in each: 10.0.N.2, asked at 10.0.N.1.
fn in_all(networks: &[(&str, bool)]) -> Snapshot {
    let zone = |(n, (name, internal)): (usize, &(&str, bool))| {
        let ip = |last| IpAddr::from([10, 0, n as u8, last]);
        let mut zone = Zone::new(name, vec![ip(1)], (*internal, &[IpAddr::from([192, 0, 2, n as u8])]))
            .with_subnets(vec![IpNet::new_assert(ip(1), 24)]);
        let names = vec!["web".into(), "localhost".into(), "db.localhost".into()];
        let web = Member { id: "web".into(), addresses: vec![ip(2)], names, ..Member::default() };
        zone.add(MemberKey::new("web"), &web);
        let only = Member { id: format!("only{n}"), addresses: vec![ip(3)], ..Member::default() };
        zone.add(MemberKey::new("only"), &only);
        Rc::new(zone)
    };
    Snapshot::new(networks.iter().enumerate().map(zone).collect(), Rc::new(Records::default()), None)
}

/// Resolvers ask whichever gateway they like, or all at once: who is in an internal network and in another must not
/// be told by the one that there is no such name as the other one finds.
#[test]
fn an_internal_network_keeps_nobody_from_his_other_ones() {
    let outcome = |snapshot: &Snapshot, last: u8| {
        ask(snapshot, &message("example.org", 1, None), (IpAddr::from([10, 0, 0, last]), 512))
    };
    let both = in_all(&[("inner", true), ("front", false)]);
    let (asked, answer) = outcome(&both, 2);
    assert_eq!(asked, Outcome::Ask([IpAddr::from([192, 0, 2, 1])].into()), "the other network's upstreams");
    assert!(answer.is_empty());
    let (_, known) = ask(&both, &message("web", 1, None), (IpAddr::from([10, 0, 0, 2]), 512));
    assert_eq!(known[3] & 0x80, 0x80, "recursion is available to it");
    // The controls: who is in nothing but internal networks, and the host.
    let inner = in_all(&[("inner", true), ("inner2", true)]);
    for (snapshot, last) in [(&both, 3), (&both, 1), (&inner, 2)] {
        let (asked, answer) = outcome(snapshot, last);
        assert!(matches!(asked, Outcome::Answered(_)) && answer[3] == 3, "{asked:?} {last}");
    }
}

/// What is the same everywhere, and what only containers here could have, is nobody else's business.
#[test]
fn nobody_else_is_asked_about_what_he_cannot_know() {
    let snapshot = in_all(&[("front", false)]);
    let ask =
        |name: &str, rtype| ask(&snapshot, &message(name, rtype, None), (IpAddr::from([10, 0, 0, 2]), 512));
    let ends = |name: &str, (rtype, end): (u16, &[u8])| {
        let (outcome, answer) = ask(name, rtype);
        assert!(matches!(outcome, Outcome::Answered(_)), "{name}: {outcome:?}");
        assert!(answer[3] & 15 == 0 && answer[7] == 1 && answer.ends_with(end), "{name}: {answer:?}");
    };
    for name in ["localhost", "LOCALHOST", "db.localhost"] {
        ends(name, (1, &[0, 4, 127, 0, 0, 1])); // whatever a container is called
        ends(name, (28, &[0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
    }
    assert_eq!(ask("localhost", 15).1[3..8], [0x80, 0, 1, 0, 0], "no such record");
    ends("1.0.0.127.in-addr.arpa", (12, b"\x09localhost\0"));
    ends("2.0.0.10.in-addr.arpa", (12, b"\x03web\0"));
    for absent in ["x.invalid", "abc.onion", "77.0.0.10.in-addr.arpa", "1.0.0.10.in-addr.arpa"] {
        let (outcome, answer) = ask(absent, 12);
        assert!(matches!(outcome, Outcome::Answered(_)) && answer[3] & 15 == 3, "{absent}: {outcome:?}");
    }
    for others in ["localhost.example", "invalid.example", "1.1.0.10.in-addr.arpa", "0.0.10.in-addr.arpa"] {
        assert!(matches!(ask(others, 12).0, Outcome::Ask(_)), "{others}");
    }
    // Who wrote down whom to ask is obeyed.
    let mut records = Records::default();
    records.forward(key("10.in-addr.arpa").unwrap(), &[IpAddr::from([9, 9, 9, 9])]);
    let told = Snapshot::new(snapshot.zones().to_vec(), Rc::new(records), None);
    let (outcome, _) =
        self::ask(&told, &message("77.0.0.10.in-addr.arpa", 12, None), (IpAddr::from([10, 0, 0, 2]), 512));
    assert_eq!(outcome, Outcome::Ask([IpAddr::from([9, 9, 9, 9])].into()));
}

/// Who refuses is no authority (RFC 1035 section 4.1.1).
#[test]
fn only_what_is_known_is_said_with_authority() {
    let snapshot = in_all(&[("front", true)]);
    let answer =
        |name, rtype| ask(&snapshot, &message(name, rtype, None), (IpAddr::from([10, 0, 0, 2]), 512)).1;
    assert_eq!(answer("web", 1)[2..4], [0x85, 0]);
    assert_eq!(answer("web", 28)[2..4], [0x85, 0], "nothing of this type");
    assert_eq!(answer("nobody", 1)[2..4], [0x85, 3]);
    assert_eq!(answer("web", 252)[2..4], [0x81, 5], "a transfer");
}

/// Each question looking through all networks would be 100 million looks.
#[test]
fn many_networks_make_no_question_slower() {
    let names: Vec<String> = (0..5000).map(|n| format!("net{n}")).collect();
    let networks: Vec<(&str, bool)> = names.iter().map(|name| (name.as_str(), false)).collect();
    let snapshot = in_all(&networks[..200]);
    let mut zones = snapshot.zones().to_vec();
    zones.extend(networks[200..].iter().map(|(name, _)| Rc::new(Zone::new(name, Vec::new(), (false, &[])))));
    let snapshot = Snapshot::new(zones, Rc::new(Records::default()), None);
    let begun = std::time::Instant::now();
    for _ in 0..20_000 {
        let (_, answer) = ask(&snapshot, &message("web", 1, None), (IpAddr::from([10, 0, 0, 3]), 512));
        assert!(answer.len() > 30);
    }
    let (_, all) = ask(&snapshot, &message("web", 1, None), (IpAddr::from([10, 0, 0, 2]), 65535));
    assert_eq!(u16::from_be_bytes([all[6], all[7]]), 200, "who is in many sees all of them");
    assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// What is asked for otherwise than by an ordinary question (RFC 6891 section 6.1.3, RFC 8482, RFC 5936).
#[test]
fn extraordinary_questions_get_the_code_that_is_theirs() {
    let snapshot = in_all(&[("front", false)]);
    let answer = |change: fn(&mut Vec<u8>), edns| {
        let mut message = message("web", 1, edns);
        change(&mut message);
        ask(&snapshot, &message, (IpAddr::from([10, 0, 0, 2]), 512))
    };
    let code = |change: fn(&mut Vec<u8>)| answer(change, None).1[3] & 15;
    assert_eq!(code(|_| ()), 0, "the control");
    assert_eq!(code(|message| message[20] = 3), 5, "CHAOS");
    assert_eq!(code(|message| message[20] = 255), 5, "any class");
    for rtype in [0, 41, 249, 251, 252, 253, 254] {
        let mut message = message("web", rtype, None);
        message[2] |= 1;
        let (_, answer) = ask(&snapshot, &message, (IpAddr::from([10, 0, 0, 2]), 512));
        assert_eq!((answer[3] & 15, answer[7]), (5, 0), "type {rtype}");
    }
    let (_, any) = ask(&snapshot, &message("web", 255, None), (IpAddr::from([10, 0, 0, 2]), 512));
    assert_eq!((any[3] & 15, any[7]), (0, 1), "any type: what there is");
    // Version 1 of EDNS: the code's upper part is in the OPT record, and ours is version 0.
    let (outcome, version) = answer(|message| message[27] = 1, Some(1232));
    assert!(matches!(outcome, Outcome::Answered(_)));
    assert_eq!(
        (version[3] & 15, &version[version.len() - 11..]),
        (0, &[0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0][..])
    );
    let (_, version) = answer(|_| (), Some(1232));
    assert_eq!(version[version.len() - 6..version.len() - 4], [0, 0], "the control");
    // Octets that are no letters are passed on as they are.
    let (outcome, _) = answer(|message| message[13..16].copy_from_slice(&[0xff, 0, b'Z']), None);
    assert!(matches!(outcome, Outcome::Ask(_)));
    let odd = [&message("web", 1, None)[..13], &[0xc3, 0x84, b'Z'], &message("web", 1, None)[16..]].concat();
    let question = Question::of(&Query::parse(&odd).unwrap());
    assert_eq!(question.bytes[..5], [3, 0xc3, 0x84, b'z', 0]);
}
