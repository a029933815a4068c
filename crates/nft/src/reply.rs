//! What the kernel answers.

use crate::chain::Chain;
use crate::change::{Change, elements, removal};
use crate::element::Element;
use crate::error::DecodeError;
use crate::family::Family;
use crate::nft_message::{NEWCHAIN, NEWGEN, NEWRULE, NEWSET, NEWSETELEM, NEWTABLE, NFTA_GEN_ID};
use crate::rule::Rule;
use crate::set::{Set, SetRef};
use crate::table::Table;
use crate::wire::message::{
    HEADER, Message, Messages, NFNL_SUBSYS_NFTABLES, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR,
};
use crate::wire::{Attributes, array_at};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;

/// A message of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// A message was understood; in a batch, it is carried out only if all are (`NLMSG_ERROR` with 0).
    Ack,
    /// A message was refused, and its whole batch with it (`NLMSG_ERROR`).
    Error {
        /// Why, as in errno.h; positive.
        errno: i32,
        /// Why, in English, if the socket asks for it (`NETLINK_EXT_ACK`; `NLMSGERR_ATTR_MSG`).
        text: Option<String>,
        /// Where in the message the offending attribute is, in bytes (`NLMSGERR_ATTR_OFFS`).
        offset: Option<u32>,
    },
    /// A dump is complete (`NLMSG_DONE`).
    Done,
    /// The rule set changed during this dump: what it gives fits no moment, and it should be begun anew
    /// (`NLM_F_DUMP_INTR`). Comes before what the message itself says.
    Interrupted,
    /// The rule set's generation (`NFT_MSG_NEWGEN`).
    Generation(u32),
    /// A table (`NFT_MSG_NEWTABLE`).
    Table(Table),
    /// A chain (`NFT_MSG_NEWCHAIN`).
    Chain(Chain),
    /// A rule (`NFT_MSG_NEWRULE`).
    Rule(Rule),
    /// A set, without its elements (`NFT_MSG_NEWSET`).
    Set(Set),
    /// Elements of a set (`NFT_MSG_NEWSETELEM`).
    Elements {
        /// The set.
        set: SetRef,
        /// The elements.
        elements: Vec<Element>,
    },
    /// To those who listen (`NFNLGRP_NFTABLES`): something was deleted (`NFT_MSG_DEL*`).
    Deleted(Change),
    /// A message of another type, or a chain with a hook that [`Hook`](crate::Hook) cannot say; the header's type.
    Other(u16),
}

/// Reads the messages in a datagram: for each, the sequence number of what it answers, and what it says.
///
/// A message that is itself in order but holds something that is not gives an error, and the next message follows;
/// after an error in a message's length nothing follows. Work and memory are proportional to the datagram's length.
pub fn parse(datagram: &[u8]) -> impl Iterator<Item = Result<(u32, Reply), DecodeError>> {
    Messages(datagram).flat_map(|message| {
        match message {
            Ok(message) => [interruption(&message), Some(reply(&message))],
            Err(error) => [None, Some(Err(error))],
        }
        .into_iter()
        .flatten()
    })
}

fn interruption(message: &Message<'_>) -> Option<Result<(u32, Reply), DecodeError>> {
    (message.flags & NLM_F_DUMP_INTR != 0).then_some(Ok((message.sequence, Reply::Interrupted)))
}

fn reply(message: &Message<'_>) -> Result<(u32, Reply), DecodeError> {
    let reply = match message.kind {
        NLMSG_ERROR => error(message)?,
        NLMSG_DONE => done(message),
        kind if kind >> 8 == NFNL_SUBSYS_NFTABLES => object(message)?,
        kind => Reply::Other(kind),
    };
    Ok((message.sequence, reply))
}

/// A dump that fails ends with its error; earlier kernels send no number.
fn done(message: &Message<'_>) -> Reply {
    match array_at(message.body, 0).map(i32::from_ne_bytes) {
        Some(code) if code < 0 => Reply::Error { errno: code.saturating_neg(), text: None, offset: None },
        _ => Reply::Done,
    }
}

fn error(message: &Message<'_>) -> Result<Reply, DecodeError> {
    let short = DecodeError::Message { length: HEADER + 4, available: HEADER + message.body.len() };
    let code = i32::from_ne_bytes(array_at(message.body, 0).ok_or(short)?);
    if code == 0 {
        return Ok(Reply::Ack);
    }
    let (mut text, mut offset) = (None, None);
    for attribute in error_attributes(message) {
        let attribute = attribute?;
        match attribute.number {
            NLMSGERR_ATTR_MSG => text = Some(attribute.read()?),
            // Unlike nf_tables' numbers this is in the host's byte order.
            NLMSGERR_ATTR_OFFS => {
                offset = attribute.read::<u32>().map(|number| Some(u32::from_be(number)))?
            }
            _ => {}
        }
    }
    Ok(Reply::Error { errno: code.saturating_neg(), text, offset })
}

/// What follows the number and the request it quotes, whole or cut to its header.
fn error_attributes<'a>(message: &Message<'a>) -> Attributes<'a> {
    let request = array_at(message.body, 4).map_or(HEADER, |length| u32::from_ne_bytes(length) as usize);
    let whole = request.min(message.body.len()).next_multiple_of(4);
    let quoted = if message.flags & NLM_F_CAPPED != 0 { HEADER } else { whole };
    let attributes = message.body.get(4..).and_then(|rest| rest.get(quoted..));
    let there = message.flags & NLM_F_ACK_TLVS != 0;
    Attributes(attributes.filter(|_| there).unwrap_or_default())
}

fn object(message: &Message<'_>) -> Result<Reply, DecodeError> {
    let (family, bytes) = message.family_and_attributes()?;
    let attributes = Attributes(bytes);
    let [_, number] = message.kind.to_be_bytes();
    if number == NEWGEN {
        return generation(attributes);
    }
    let other = Reply::Other(message.kind);
    let family = Family::try_from(family);
    Ok(match number {
        NEWTABLE => Reply::Table(Table::decode(family?, attributes)?),
        NEWCHAIN => Chain::decode(family?, attributes)?.map_or(other, Reply::Chain),
        NEWRULE => Reply::Rule(Rule::decode(family?, attributes)?),
        NEWSET => Reply::Set(Set::decode(family?, attributes)?),
        NEWSETELEM => {
            let (set, elements) = elements::decode(family?, attributes)?;
            Reply::Elements { set, elements: elements.unwrap_or_default() }
        }
        _ => match family {
            Ok(family) => removal::decode(number, family, attributes)?.map_or(other, Reply::Deleted),
            Err(_) => other,
        },
    })
}

fn generation(attributes: Attributes<'_>) -> Result<Reply, DecodeError> {
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.number == NFTA_GEN_ID {
            return attribute.read().map(Reply::Generation);
        }
    }
    Err(DecodeError::Missing("NFTA_GEN_ID"))
}

#[cfg(test)]
mod tests;
