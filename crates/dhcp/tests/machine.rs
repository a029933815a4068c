//! The client against a server that is a function: every way in which a lease is got, kept and lost.

use qiao_core::Mac;
use qiao_dhcp::frame::{Heard, To};
use qiao_dhcp::machine::{Config, Machine, Output, Timing};
use qiao_dhcp::message::{Kind, Message};
use qiao_dhcp::option::code;
use std::net::Ipv4Addr;

const IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const HOP: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn mac() -> Mac {
    "02:00:00:00:00:07".parse().unwrap()
}

fn config() -> Config {
    Config {
        mac: mac(),
        identifier: b"\0web/lan/".to_vec(),
        wish: None,
        provide: vec![(code::HOST_NAME, b"web".to_vec())],
        request: vec![code::SUBNET_MASK, code::ROUTERS],
        broadcast: true,
        only_offer: false,
        timing: Timing { first: 1000, longest: 8000, give_up: 20_000 },
    }
}

fn client() -> Machine {
    Machine::begin(config(), (0, 4711))
}

fn sent(output: Option<Output>) -> (To, Message) {
    match output {
        Some(Output::Send(to, message)) => (to, message),
        other => panic!("nothing was sent: {other:?}"),
    }
}

/// A server's answer to a message.
fn answer(to: &Message, kind: Kind, more: &[(u8, &[u8])]) -> Message {
    let mut answer = Message { reply: true, yiaddr: IP, ..to.clone() };
    answer.options = Default::default();
    let base: [(u8, &[u8]); 4] = [
        (code::MESSAGE_TYPE, &[kind as u8]),
        (code::SUBNET_MASK, &[255, 255, 255, 0]),
        (code::SERVER_IDENTIFIER, &SERVER.octets()),
        (code::LEASE_TIME, &[0, 0, 0, 80]),
    ];
    base.iter().chain(more).for_each(|(code, content)| answer.options.put(*code, content));
    answer
}

fn lost_because(why: &str) -> Output {
    Output::Lost("192.0.2.50/24".parse().unwrap(), why.into())
}

fn hear(machine: &mut Machine, now: u64, message: &Message) -> Option<Output> {
    machine.hear(now, &Heard { from: HOP, payload: &message.encode() })
}

/// A client with a lease of 80 s, taken at 0.
fn bound() -> Machine {
    let mut machine = client();
    let (_, discover) = sent(machine.tick(0));
    let (_, request) = sent(hear(&mut machine, 0, &answer(&discover, Kind::Offer, &[])));
    assert_eq!(hear(&mut machine, 0, &answer(&request, Kind::Ack, &[])), Some(Output::Bound));
    machine
}

#[test]
fn a_lease_is_asked_for_as_the_rfc_says() {
    let mut machine = client();
    let (to, discover) = sent(machine.tick(0));
    assert_eq!((to, discover.kind(), discover.broadcast), (To::All, Some(Kind::Discover), true));
    assert_eq!(discover.options.get(code::CLIENT_IDENTIFIER), Some(&b"\0web/lan/"[..]));
    assert_eq!(discover.options.text(code::HOST_NAME), Some("web"));
    let (to, request) = sent(hear(&mut machine, 5, &answer(&discover, Kind::Offer, &[])));
    assert_eq!((to, request.kind(), request.xid), (To::All, Some(Kind::Request), discover.xid));
    assert_eq!(request.options.address(code::REQUESTED_ADDRESS), Some(IP));
    assert_eq!(request.options.address(code::SERVER_IDENTIFIER), Some(SERVER));
    assert_eq!(request.ciaddr, Ipv4Addr::UNSPECIFIED);
    assert_eq!(hear(&mut machine, 9, &answer(&request, Kind::Ack, &[])), Some(Output::Bound));
    let lease = machine.bound().unwrap();
    assert_eq!((lease.renew, lease.rebind, lease.expire), (Some(40_009), Some(70_009), Some(80_009)));
    assert!(!machine.listens() && machine.due() == Some(40_009));
}

#[test]
fn nobody_answers() {
    let (mut machine, mut times, mut now) = (client(), Vec::new(), 0);
    loop {
        match machine.tick(now) {
            Some(Output::Send(..)) => times.push(now),
            Some(Output::Failed(why)) => {
                assert_eq!(why, "no server answered within 20 s");
                break;
            }
            other => panic!("{other:?}"),
        }
        now = machine.due().unwrap();
    }
    assert_eq!((now, machine.due()), (20_000, None));
    assert!((4..=6).contains(&times.len()), "{times:?}");
    assert!(times.windows(3).all(|t| t[2] - t[1] > t[1] - t[0]), "each time later: {times:?}");
}

#[test]
fn answers_to_others_and_answers_without_sense_change_nothing() {
    let mut machine = client();
    let (_, discover) = sent(machine.tick(0));
    let good = answer(&discover, Kind::Offer, &[]);
    let other_mac = "02:00:00:00:00:08".parse().unwrap();
    let outside: [(u8, &[u8]); 1] = [(code::SUBNET_MASK, &[1, 2, 3, 4])];
    let bad = [
        Message { xid: good.xid ^ 1, ..good.clone() },
        Message { chaddr: other_mac, ..good.clone() },
        Message { reply: false, ..good.clone() },
        answer(&discover, Kind::Ack, &[]),
        answer(&discover, Kind::Nak, &[]),
        answer(&discover, Kind::Offer, &outside),
        Message { yiaddr: Ipv4Addr::new(224, 0, 0, 1), ..good.clone() },
    ];
    bad.iter().for_each(|message| assert_eq!(hear(&mut machine, 1, message), None, "{message:?}"));
    assert!(hear(&mut machine, 2, &good).is_some(), "the control");
}

#[test]
fn what_could_not_be_used_is_told_in_the_end() {
    let mut machine = client();
    let (_, discover) = sent(machine.tick(0));
    let outside: [(u8, &[u8]); 1] = [(code::LEASE_TIME, &[0, 0, 0, 0])];
    hear(&mut machine, 1, &answer(&discover, Kind::Offer, &outside));
    let Some(Output::Failed(why)) = machine.tick(20_000) else { panic!("it goes on") };
    assert_eq!(why, "what a server offered cannot be used: it does not say for how long");
}

#[test]
fn an_acknowledgement_of_another_server_or_address_is_none() {
    let mut machine = client();
    let (_, discover) = sent(machine.tick(0));
    let (_, request) = sent(hear(&mut machine, 0, &answer(&discover, Kind::Offer, &[])));
    let rogue: [(u8, &[u8]); 1] = [(code::SERVER_IDENTIFIER, &[192, 0, 2, 66])];
    assert_eq!(hear(&mut machine, 1, &answer(&request, Kind::Ack, &rogue)), None);
    assert_eq!(hear(&mut machine, 1, &answer(&request, Kind::Nak, &rogue)), None);
    let other = Message { yiaddr: Ipv4Addr::new(192, 0, 2, 51), ..answer(&request, Kind::Ack, &[]) };
    assert_eq!(hear(&mut machine, 1, &other), None);
    assert_eq!(hear(&mut machine, 1, &answer(&request, Kind::Ack, &[])), Some(Output::Bound));
}

#[test]
fn it_is_renewed_with_its_server_and_then_with_any() {
    let mut machine = bound();
    assert_eq!(machine.tick(39_999), None);
    let (to, renew) = sent(machine.tick(40_000));
    assert_eq!((to, renew.ciaddr, renew.broadcast), (To::One(HOP, SERVER), IP, false));
    assert_eq!(
        (renew.options.get(code::REQUESTED_ADDRESS), renew.options.get(code::SERVER_IDENTIFIER)),
        (None, None)
    );
    let mut now = machine.due().unwrap();
    while now < 70_000 {
        assert_eq!(sent(machine.tick(now)).0, To::One(HOP, SERVER));
        now = machine.due().unwrap();
    }
    let (to, rebind) = sent(machine.tick(now));
    assert_eq!((now, to, rebind.ciaddr), (70_000, To::All, IP));
    assert_eq!(hear(&mut machine, 71_000, &answer(&rebind, Kind::Ack, &[])), Some(Output::Bound));
    assert_eq!(machine.bound().unwrap().expire, Some(151_000));
}

#[test]
fn it_expires_and_the_same_address_is_asked_for() {
    let (mut machine, mut now) = (bound(), 40_000);
    let lost = loop {
        match machine.tick(now) {
            Some(Output::Send(..)) => now = machine.due().unwrap(),
            other => break other,
        }
    };
    assert_eq!((now, lost), (80_000, Some(lost_because("it was not renewed in time"))));
    assert!(machine.bound().is_none());
    let (_, discover) = sent(machine.tick(machine.due().unwrap()));
    assert_eq!(discover.options.address(code::REQUESTED_ADDRESS), Some(IP));
    assert!(!matches!(machine.tick(10_000_000), Some(Output::Failed(_))), "for as long as it takes");
}

#[test]
fn a_refusal_of_its_own_server_ends_it() {
    let mut machine = bound();
    let (_, renew) = sent(machine.tick(40_000));
    let rogue: [(u8, &[u8]); 1] = [(code::SERVER_IDENTIFIER, &[192, 0, 2, 66])];
    assert_eq!(hear(&mut machine, 40_001, &answer(&renew, Kind::Nak, &rogue)), None);
    let words: [(u8, &[u8]); 1] = [(code::MESSAGE, b"moved\n")];
    let lost = hear(&mut machine, 40_002, &answer(&renew, Kind::Nak, &words));
    assert_eq!(lost, Some(lost_because("the server refused it: moved")));
}

/// The address is on an interface, with the prefix that it was given with: it has to be found there again.
#[test]
fn a_renewal_does_not_change_the_prefix() {
    let mut machine = bound();
    let (_, renew) = sent(machine.tick(40_000));
    let wider: [(u8, &[u8]); 1] = [(code::SUBNET_MASK, &[255, 255, 0, 0])];
    assert_eq!(hear(&mut machine, 40_001, &answer(&renew, Kind::Ack, &wider)), Some(Output::Bound));
    assert_eq!(machine.bound().unwrap().terms.address.to_string(), "192.0.2.50/24");
    assert_eq!(machine.bound().unwrap().expire, Some(120_001), "the control: it is renewed");
}

#[test]
fn times_that_make_no_sense_are_not_heeded() {
    let mut machine = client();
    let (_, discover) = sent(machine.tick(0));
    let (_, request) = sent(hear(&mut machine, 0, &answer(&discover, Kind::Offer, &[])));
    let zero: [(u8, &[u8]); 2] = [(code::RENEWAL_TIME, &[0; 4]), (code::REBINDING_TIME, &[0, 0, 0, 1])];
    hear(&mut machine, 0, &answer(&request, Kind::Ack, &zero));
    assert_eq!(machine.bound().unwrap().renew, Some(1000), "no server keeps us busy");
    let for_ever: [(u8, &[u8]); 1] = [(code::LEASE_TIME, &[255; 4])];
    let mut machine = client();
    let (_, discover) = sent(machine.tick(0));
    let (_, request) = sent(hear(&mut machine, 0, &answer(&discover, Kind::Offer, &[])));
    hear(&mut machine, 0, &answer(&request, Kind::Ack, &for_ever));
    assert_eq!((machine.due(), machine.bound().unwrap().expire), (None, None));
}

#[test]
fn releasing_names_server_and_address() {
    let mut machine = bound();
    let (to, release) = sent(machine.release());
    assert_eq!((to, release.kind(), release.ciaddr), (To::One(HOP, SERVER), Some(Kind::Release), IP));
    assert_eq!(release.options.address(code::SERVER_IDENTIFIER), Some(SERVER));
    assert_eq!((machine.release(), machine.due()), (None, None));
}

#[test]
fn a_lease_is_taken_up_again_after_a_restart() {
    let lease = bound().bound().unwrap().clone();
    let mut late = Machine::resume(config(), lease.clone(), 5);
    assert_eq!(sent(late.tick(50_000)).0, To::One(HOP, SERVER), "what was missed is done at once");
    let mut too_late = Machine::resume(config(), lease, 5);
    assert!(matches!(too_late.tick(90_000), Some(Output::Lost(..))));
}

#[test]
fn an_offer_is_enough_for_a_plan() {
    let mut machine = Machine::begin(Config { only_offer: true, ..config() }, (0, 4711));
    let (_, discover) = sent(machine.tick(0));
    let offered = hear(&mut machine, 1, &answer(&discover, Kind::Offer, &[]));
    assert!(matches!(offered, Some(Output::Offered(terms)) if terms.address.addr() == IP));
    assert_eq!((machine.due(), machine.release()), (None, None), "nothing was taken");
}
