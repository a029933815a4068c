//! Rules that tell which table routes a packet (linux/fib_rules.h).

use super::{Mode, PROTOCOL, Request};
use crate::netlink::Message as Received;
use crate::netlink::attribute::{attributes, ip, number, number_at};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute as Attribute, RuleMessage};
use qiao_core::source::Selector;
use qiao_core::subnet::Family;
use std::net::IpAddr;

const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_PROTOCOL: u16 = 21;
/// `FR_ACT_TO_TBL` and `FIB_RULE_INVERT`.
const TO_TABLE: u8 = 1;
const INVERT: u32 = 2;
/// `struct fib_rule_hdr`.
const HEADER: usize = 12;

fn message(selector: Selector) -> RuleMessage {
    let Selector { from, table } = selector;
    let mut message = RuleMessage::default();
    message.header.family = super::address::family(from);
    message.header.src_len = Family::of(from).bits();
    message.header.table = u8::try_from(table).unwrap_or(0);
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        Attribute::Source(from),
        Attribute::Table(table),
        Attribute::Protocol(RouteProtocol::Other(PROTOCOL)),
    ];
    message
}

/// A rule; the kernel gives it the priority before that of the last one.
pub fn add(selector: Selector) -> Request {
    Request::change(Message::NewRule(message(selector)), Mode::Create)
}

/// Takes a rule of ours away.
pub fn delete(selector: Selector) -> Request {
    Request::change(Message::DelRule(message(selector)), Mode::Change)
}

/// Asks for all rules of a family.
pub fn get_all(of: Family) -> Request {
    let mut message = RuleMessage::default();
    message.header.family = super::address::family(of.address(0));
    Request::dump(Message::GetRule(message))
}

/// A rule as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The one address that packets come from, if it is about one.
    pub from: Option<IpAddr>,
    /// Whether it asks for nothing but that, and leads to the table: any attribute besides narrows it.
    pub plain: bool,
    /// The table.
    pub table: u32,
    /// Whether it bears our mark.
    pub ours: bool,
}

/// Reads the rules out of an answer.
pub fn read(messages: &[Received]) -> Vec<Rule> {
    let rules = messages.iter().filter(|(kind, _)| *kind == libc::RTM_NEWRULE);
    rules.filter_map(|(_, payload)| read_one(payload)).collect()
}

fn read_one(payload: &[u8]) -> Option<Rule> {
    let header: &[u8; HEADER] = payload.first_chunk()?;
    let [_, to, length, tos, table, _, _, action, ..] = *header;
    let whole = (to, tos, action) == (0, 0, TO_TABLE) && number_at(header, 8)? & INVERT == 0;
    let mut rule = Rule { from: None, plain: whole, table: u32::from(table), ours: false };
    for (kind, value) in attributes(&payload[HEADER..]) {
        match kind {
            FRA_SRC => rule.from = ip(value).filter(|ip| Family::of(*ip).bits() == length),
            FRA_TABLE => rule.table = number(value)?,
            FRA_PROTOCOL => rule.ours = value.first() == Some(&PROTOCOL),
            FRA_PRIORITY => {}
            FRA_SUPPRESS_PREFIXLEN if number(value) == Some(u32::MAX) => {}
            _ => rule.plain = false,
        }
    }
    Some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(header: [u8; HEADER], more: &[(u16, &[u8])]) -> Rule {
        let mut payload = header.to_vec();
        for (kind, value) in [(FRA_SRC, &[10, 0, 0, 1][..])].iter().chain(more) {
            payload.extend(((4 + value.len()) as u16).to_ne_bytes());
            payload.extend(kind.to_ne_bytes());
            payload.extend(*value);
        }
        read(&[(libc::RTM_NEWRULE, payload)])[0]
    }

    /// What has an attribute that we have no type for does not do the same as a rule of ours.
    #[test]
    fn b1_a_rule_that_asks_for_more_is_another_one() {
        const FWMARK: u16 = 10;
        let plain = [2, 0, 32, 0, 7, 0, 0, TO_TABLE, 0, 0, 0, 0];
        let all = (FRA_SUPPRESS_PREFIXLEN, &u32::MAX.to_ne_bytes()[..]);
        let priority = (FRA_PRIORITY, &[1, 0, 0, 0][..]);
        assert!(told(plain, &[all, priority, (FRA_PROTOCOL, &[PROTOCOL, 0, 0, 0])]).plain);
        assert!(!told(plain, &[(FWMARK, &[1, 0, 0, 0])]).plain);
        assert!(!told(plain, &[(FRA_SUPPRESS_PREFIXLEN, &[0; 4])]).plain);
        for (at, value) in [(1, 24), (3, 8), (7, 7), (8, 2)] {
            let mut header = plain;
            header[at] = value;
            assert!(!told(header, &[]).plain, "byte {at}");
        }
    }
}
