//! What the kernel says about messages, as bytes.

use super::*;
use crate::wire::Writer;
use crate::wire::message::Header;

/// A message with this type, these flags, and a body.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
    bytes.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    bytes.extend([7_u32.to_ne_bytes(), [0; 4]].concat());
    bytes.extend(body);
    bytes
}

fn replies(bytes: &[u8]) -> Vec<Result<Reply, DecodeError>> {
    parse(bytes)
        .map(|item| {
            item.map(|(sequence, reply)| {
                assert_eq!(sequence, 7);
                reply
            })
        })
        .collect()
}

/// The error's number, the quoted request, and attributes.
fn error_body(code: i32, quoted: usize) -> Vec<u8> {
    let mut request = (16 + 8_u32).to_ne_bytes().to_vec();
    request.resize(quoted, 0xff);
    let mut attributes = Writer::default();
    attributes.put(NLMSGERR_ATTR_MSG, b"no\0").unwrap();
    attributes.put(NLMSGERR_ATTR_OFFS, &40_u32.to_ne_bytes()).unwrap();
    [code.to_ne_bytes().to_vec(), request, attributes.bytes].concat()
}

#[test]
fn an_acknowledgement_is_an_error_of_zero() {
    let body = [0; 20];
    assert_eq!(replies(&message(NLMSG_ERROR, 0, &body)), [Ok(Reply::Ack)]);
    assert_eq!(replies(&message(NLMSG_ERROR, NLM_F_CAPPED, &body)), [Ok(Reply::Ack)]);
}

#[test]
fn an_error_has_its_text_after_the_whole_request_or_its_header() {
    let wanted = Reply::Error { errno: 17, text: Some("no".into()), offset: Some(40) };
    let whole = message(NLMSG_ERROR, NLM_F_ACK_TLVS, &error_body(-17, 24));
    assert_eq!(replies(&whole), [Ok(wanted.clone())]);
    let capped = message(NLMSG_ERROR, NLM_F_ACK_TLVS | NLM_F_CAPPED, &error_body(-17, 16));
    assert_eq!(replies(&capped), [Ok(wanted)]);
    let without = Reply::Error { errno: 17, text: None, offset: None };
    assert_eq!(replies(&message(NLMSG_ERROR, 0, &error_body(-17, 24))), [Ok(without)]);
}

#[test]
fn an_error_that_is_too_short_is_an_error() {
    let short = DecodeError::Message { length: 20, available: 18 };
    assert_eq!(replies(&message(NLMSG_ERROR, 0, &[0; 2])), [Err(short)]);
    let least = Reply::Error { errno: i32::MAX, text: None, offset: None };
    assert_eq!(replies(&message(NLMSG_ERROR, NLM_F_ACK_TLVS, &i32::MIN.to_ne_bytes())), [Ok(least)]);
}

#[test]
fn a_dump_ends_well_or_with_an_error() {
    assert_eq!(replies(&message(NLMSG_DONE, 2, &[0; 4])), [Ok(Reply::Done)]);
    assert_eq!(replies(&message(NLMSG_DONE, 2, &[])), [Ok(Reply::Done)]);
    let error = Reply::Error { errno: 4, text: None, offset: None };
    assert_eq!(replies(&message(NLMSG_DONE, 2, &(-4_i32).to_ne_bytes())), [Ok(error)]);
}

#[test]
fn an_interrupted_dump_says_so_before_anything_else() {
    let wanted = [Ok(Reply::Interrupted), Ok(Reply::Done)];
    assert_eq!(replies(&message(NLMSG_DONE, 2 | NLM_F_DUMP_INTR, &[0; 4])), wanted);
}

#[test]
fn a_bad_message_between_good_ones_is_one_error() {
    let done = message(NLMSG_DONE, 0, &[]);
    let nameless = message(0xa00, 0, &[1, 0, 0, 0]);
    let wanted = [Ok(Reply::Done), Err(DecodeError::Missing("NFTA_TABLE_NAME")), Ok(Reply::Done)];
    assert_eq!(replies(&[done.clone(), nameless, done].concat()), wanted);
}

#[test]
fn nothing_follows_a_message_of_a_wrong_length() {
    let done = message(NLMSG_DONE, 0, &[]);
    for length in [0_u32, 15, 33, u32::MAX] {
        let bytes = [&length.to_ne_bytes()[..], &done[4..], &done].concat();
        let wrong = DecodeError::Message { length: length as usize, available: 32 };
        assert_eq!(replies(&bytes), [Err(wrong)]);
    }
}

#[test]
fn the_generation_and_handles_are_read() {
    let mut writer = Writer::default();
    let header = |kind| Header { kind, sequence: 7, family: 1, ..Header::default() };
    writer.message(header(0xa0f), |writer| writer.put(NFTA_GEN_ID, &[0, 0, 1, 2])).unwrap();
    let handle = 9_u64.to_be_bytes();
    writer
        .message(header(0xa00), |writer| {
            writer.put(1, b"t\0")?;
            writer.put(4, &handle)
        })
        .unwrap();
    let table = Table { handle: Some(9), ..Table::new(Family::Inet, "t") };
    assert_eq!(replies(&writer.bytes), [Ok(Reply::Generation(258)), Ok(Reply::Table(table))]);
}

#[test]
fn a_message_of_another_family_or_type_is_other_or_an_error() {
    assert_eq!(replies(&message(0xa00, 0, &[99, 0, 0, 0])), [Err(DecodeError::Family(99))]);
    assert_eq!(replies(&message(0xa12, 0, &[99, 0, 0, 0])), [Ok(Reply::Other(0xa12))]);
    assert_eq!(replies(&message(0xa12, 0, &[1, 0, 0, 0])), [Ok(Reply::Other(0xa12))]);
    assert_eq!(replies(&message(0x110, 0, &[])), [Ok(Reply::Other(0x110))]);
}

/// A chain at these devices, one of which the kernel may also name alone, before or after the list.
fn chain_at(before: &[&[u8]], list: &[&[u8]], after: &[&[u8]]) -> Result<Reply, DecodeError> {
    let mut writer = Writer::default();
    let header = Header { kind: 0xa03, sequence: 7, family: 5, ..Header::default() };
    let chain = |writer: &mut Writer| {
        writer.put(1, b"t\0")?;
        writer.put(3, b"c\0")?;
        writer.put(5, &[0, 0, 0, 1])?;
        writer.put(7, b"filter\0")?;
        writer.nest(4, |writer| {
            writer.put(1, &[0; 4])?;
            writer.put(2, &[0; 4])?;
            before.iter().try_for_each(|device| writer.put(3, device))?;
            writer.nest(4, |writer| list.iter().try_for_each(|device| writer.put(1, device)))?;
            after.iter().try_for_each(|device| writer.put(3, device))
        })
    };
    writer.message(header, chain).unwrap();
    replies(&writer.bytes).remove(0)
}

#[test]
fn a_chain_at_several_devices_is_other_and_at_one_is_not() {
    assert_eq!(chain_at(&[], &[b"a\0", b"b\0"], &[]), Ok(Reply::Other(0xa03)));
    let one: [&[u8]; 1] = [b"a\0"];
    for reply in [chain_at(&[], &one, &[]), chain_at(&one, &one, &[]), chain_at(&[], &one, &one)] {
        let Ok(Reply::Chain(chain)) = reply else { panic!("{reply:?}") };
        assert_eq!(chain.hook.and_then(|hook| hook.device), Some("a".into()));
    }
}
