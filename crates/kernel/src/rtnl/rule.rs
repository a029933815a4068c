//! Rules that tell which table routes a packet (linux/fib_rules.h).

use super::{Mode, PROTOCOL, Request};
use crate::netlink::Message as Received;
use crate::netlink::attribute::{attributes, ip, number};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute as Attribute, RuleMessage};
use qiao_core::source::Selector;
use qiao_core::subnet::Family;
use std::net::IpAddr;

const FRA_SRC: u16 = 2;
const FRA_TABLE: u16 = 15;
const FRA_PROTOCOL: u16 = 21;
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
    let (length, table) = (header[2], u32::from(header[4]));
    let mut rule = Rule { from: None, table, ours: false };
    for (kind, value) in attributes(&payload[HEADER..]) {
        match kind {
            FRA_SRC => rule.from = ip(value).filter(|ip| Family::of(*ip).bits() == length),
            FRA_TABLE => rule.table = number(value)?,
            FRA_PROTOCOL => rule.ours = value.first() == Some(&PROTOCOL),
            _ => {}
        }
    }
    Some(rule)
}
