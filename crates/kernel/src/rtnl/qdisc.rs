//! Queueing disciplines: token buckets, and what leads to an `ifb` device (linux/pkt_sched.h, linux/pkt_cls.h).

use super::{Mode, Request};
use crate::netlink::Message as Received;
use crate::netlink::attribute::{attributes, number, number_at, text};
use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::tc::{TcAttribute as Attribute, TcHandle, TcMessage};
use qiao_core::shape::Bucket;

/// The handle of our buckets and the preference of our filters: `q` in ASCII, as the protocol of our routes. Neither
/// can bear another mark.
const MARK: u16 = 0x71;
const HANDLE: TcHandle = TcHandle { major: MARK, minor: 0 };
/// Where filters of what comes in are, of an `ingress` qdisc as of a `clsact` one.
const INCOMING: TcHandle = TcHandle { major: 0xffff, minor: 0xfff2 };
/// `struct tcmsg`.
const HEADER: usize = 20;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
const LINKLAYER_ETHERNET: u8 = 1;
/// Nanoseconds of a tick (`PSCHED_SHIFT`, net/pkt_sched.h).
const TICK: u128 = 64;

fn message(index: u32, (handle, parent): (TcHandle, TcHandle)) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    (message.header.handle, message.header.parent) = (handle, parent);
    message
}

/// An attribute (`struct nlattr`).
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn options(value: Vec<u8>) -> Attribute {
    Attribute::Other(DefaultNla::new(TCA_OPTIONS, value))
}

/// Makes what a link sends wait for tokens.
pub fn set_bucket(index: u32, bucket: Bucket, mode: Mode) -> Request {
    let mut message = message(index, (HANDLE, TcHandle::ROOT));
    let rate = u32::try_from(bucket.rate).unwrap_or(u32::MAX);
    let mut parms = Vec::with_capacity(36); // struct tc_tbf_qopt
    for spec in [rate, 0] {
        let layer = if spec == 0 { 0 } else { LINKLAYER_ETHERNET };
        parms.extend([0, layer, 0, 0, 0, 0, 0, 0]); // struct tc_ratespec: no table is needed where the layer is known
        parms.extend(spec.to_ne_bytes());
    }
    [bucket.limit(), ticks(bucket) as u32, 0].iter().for_each(|word| parms.extend(word.to_ne_bytes()));
    let mut value = attribute(TCA_TBF_PARMS, &parms);
    value.extend(attribute(TCA_TBF_BURST, &bucket.burst.to_ne_bytes()));
    if bucket.rate > u64::from(u32::MAX) {
        value.extend(attribute(TCA_TBF_RATE64, &bucket.rate.to_ne_bytes()));
    }
    message.attributes = vec![Attribute::Kind("tbf".into()), options(value)];
    Request::change(Message::NewQueueDiscipline(message), mode)
}

/// How long a full bucket lasts, in ticks. The kernel tells the lower 32 bits of it.
fn ticks(bucket: Bucket) -> u128 {
    u128::from(bucket.burst) * 1_000_000_000 / u128::from(bucket.rate.max(1)) / TICK
}

/// Takes our bucket off a link.
pub fn delete_bucket(index: u32) -> Request {
    Request::change(Message::DelQueueDiscipline(message(index, (HANDLE, TcHandle::ROOT))), Mode::Change)
}

/// Asks what a link sends waits for. Where it waits for nothing the answer is an error.
pub fn get_root(index: u32) -> Request {
    Request::echo(Message::GetQueueDiscipline(message(index, (TcHandle::UNSPEC, TcHandle::ROOT))))
}

/// The same of what comes in.
pub fn get_incoming(index: u32) -> Request {
    Request::echo(Message::GetQueueDiscipline(message(index, (TcHandle::UNSPEC, TcHandle::INGRESS))))
}

/// Whether there is something for what comes in.
pub fn has_incoming(messages: &[Received]) -> bool {
    qdisc(messages).is_some()
}

/// What a link sends waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// Our bucket.
    Ours(Bucket),
    /// Something of somebody else's.
    Foreign,
}

/// Reads what a link sends waits for; none where nobody has chosen it. A bucket that is as `wanted` is that: the kernel
/// tells times where sizes were given.
pub fn read_root(messages: &[Received], wanted: Bucket) -> Option<Root> {
    let (handle, kind, options) = qdisc(messages)?;
    if handle == 0 {
        return None;
    }
    if (handle >> 16, handle & 0xffff, kind.as_str()) != (MARK.into(), 0, "tbf") {
        return Some(Root::Foreign);
    }
    Some(Root::Ours(read_bucket(options, wanted).unwrap_or(Bucket { rate: 0, burst: 0 })))
}

fn read_bucket(options: &[u8], wanted: Bucket) -> Option<Bucket> {
    let value = |of| attributes(options).find_map(|(kind, value)| (kind == of).then_some(value));
    let parms = value(TCA_TBF_PARMS)?;
    let large =
        value(TCA_TBF_RATE64).and_then(|value| value.first_chunk()).map(|bytes| u64::from_ne_bytes(*bytes));
    let rate = large.unwrap_or(number_at(parms, 8)?.into());
    let (limit, time) = (number_at(parms, 24)?, number_at(parms, 28)?);
    let expected = ticks(wanted);
    // Its arithmetic is a multiplication and a shift, ours a division.
    let near = u128::from((expected as u32).abs_diff(time)) <= 1 + expected / 1000;
    if near && (rate, limit) == (wanted.rate, wanted.limit()) {
        return Some(wanted);
    }
    let burst = u128::from(time) * TICK * u128::from(rate) / 1_000_000_000;
    Some(Bucket { rate, burst: u32::try_from(burst).unwrap_or(u32::MAX) })
}

/// Handle, kind and options of a qdisc.
fn qdisc(messages: &[Received]) -> Option<(u32, String, &[u8])> {
    let (_, payload) = messages.iter().find(|(kind, _)| *kind == libc::RTM_NEWQDISC)?;
    let value = |of| attributes(&payload[HEADER..]).find_map(|(kind, value)| (kind == of).then_some(value));
    payload.get(HEADER..)?;
    Some((number_at(payload, 8)?, text(value(TCA_KIND)?), value(TCA_OPTIONS).unwrap_or_default()))
}

/// Makes a place for filters of what comes in.
pub fn new_incoming(index: u32) -> Request {
    let mut message = message(index, (TcHandle { major: 0xffff, minor: 0 }, TcHandle::INGRESS));
    message.attributes = vec![Attribute::Kind("ingress".into())];
    Request::change(Message::NewQueueDiscipline(message), Mode::Create)
}

/// Takes it away, with all that is there.
pub fn delete_incoming(index: u32) -> Request {
    Request::change(
        Message::DelQueueDiscipline(message(index, (TcHandle::UNSPEC, TcHandle::INGRESS))),
        Mode::Change,
    )
}

/// The preference and the protocol (`ETH_P_ALL`) of our filter (`TC_H_MAKE`, linux/pkt_sched.h).
const OURS: u32 = (MARK as u32) << 16 | (libc::ETH_P_ALL as u16).to_be() as u32;

/// Leads all that comes in at a link to an `ifb` device.
pub fn new_redirect(index: u32, to: u32) -> Request {
    let mut message = message(index, (TcHandle::UNSPEC, INCOMING));
    message.header.info = OURS;
    message.attributes = vec![Attribute::Kind("u32".into()), options(all_to(to))];
    Request::change(Message::NewTrafficFilter(message), Mode::Create)
}

/// Takes our filter away.
pub fn delete_redirect(index: u32) -> Request {
    let mut message = message(index, (TcHandle::UNSPEC, INCOMING));
    message.header.info = OURS;
    Request::change(Message::DelTrafficFilter(message), Mode::Change)
}

/// `u32 match u32 0 0 action mirred egress redirect`: `struct tc_u32_sel` with one key, `struct tc_mirred`.
fn all_to(index: u32) -> Vec<u8> {
    const TERMINAL: u8 = 1;
    const STOLEN: i32 = 4;
    const EGRESS_REDIR: i32 = 1;
    let mut selector = vec![TERMINAL, 0, 1, 0];
    selector.resize(16 + 16, 0);
    let mut mirred: Vec<u8> =
        [0, 0, STOLEN, 0, 0, EGRESS_REDIR].into_iter().flat_map(i32::to_ne_bytes).collect();
    mirred.extend(index.to_ne_bytes());
    let action = [
        attribute(TCA_ACT_KIND, b"mirred\0"),
        attribute(TCA_ACT_OPTIONS, &attribute(TCA_MIRRED_PARMS, &mirred)),
    ];
    let actions = attribute(1, &action.concat());
    [attribute(TCA_U32_SEL, &selector), attribute(TCA_U32_ACT, &actions)].concat()
}

/// Asks for the filters of what comes in at a link.
pub fn get_filters(index: u32) -> Request {
    Request::dump(Message::GetTrafficFilter(message(index, (TcHandle::UNSPEC, INCOMING))))
}

/// The filters of what comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Somebody else has some.
    pub foreign: bool,
    /// The index of the link that ours leads to; 0 for one that leads nowhere.
    pub ours: Option<u32>,
}

/// Reads them.
pub fn read_filters(messages: &[Received]) -> Filters {
    let mut found = Filters::default();
    for (_, payload) in messages.iter().filter(|(kind, _)| *kind == libc::RTM_NEWTFILTER) {
        match (number_at(payload, 16), payload.get(HEADER..)) {
            (Some(OURS), Some(body)) => found.ours = Some(redirected(body).or(found.ours).unwrap_or(0)),
            _ => found.foreign = true,
        }
    }
    found
}

/// Where a filter leads.
fn redirected(body: &[u8]) -> Option<u32> {
    fn value(bytes: &[u8], of: u16) -> Option<&[u8]> {
        attributes(bytes).find_map(|(kind, value)| (kind == of).then_some(value))
    }
    let actions = value(value(body, TCA_OPTIONS)?, TCA_U32_ACT)?;
    let mirred = value(value(value(actions, 1)?, TCA_ACT_OPTIONS)?, TCA_MIRRED_PARMS)?;
    mirred.get(24..).and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_told_in_ticks_and_known_again() {
        let wanted = Bucket { rate: 1_000_000, burst: 100_000 };
        let parms = |rate: u32, limit: u32, time: u32| {
            let mut parms = vec![0; 36];
            parms[8..12].copy_from_slice(&rate.to_ne_bytes());
            parms[24..28].copy_from_slice(&limit.to_ne_bytes());
            parms[28..32].copy_from_slice(&time.to_ne_bytes());
            attribute(TCA_TBF_PARMS, &parms)
        };
        let read = |rate, limit, time| read_bucket(&parms(rate, limit, time), wanted).unwrap();
        assert_eq!(ticks(wanted), 1_562_500);
        assert_eq!(read(1_000_000, 125_000, 1_562_499), wanted);
        assert_eq!(read(1_000_000, 125_000, 781_250).burst, 50_000);
        assert_eq!(read(2_000_000, 125_000, 1_562_500).rate, 2_000_000);
        assert_eq!(read_bucket(&[], wanted), None);
    }

    #[test]
    fn a_filter_of_ours_tells_where_it_leads() {
        let filter = |info: u32, body: &[u8]| {
            let mut payload = vec![0; HEADER];
            payload[16..20].copy_from_slice(&info.to_ne_bytes());
            payload.extend(attribute(TCA_OPTIONS, body));
            (libc::RTM_NEWTFILTER, payload)
        };
        assert_eq!(read_filters(&[filter(OURS, &all_to(7))]), Filters { foreign: false, ours: Some(7) });
        assert_eq!(read_filters(&[filter(OURS, &[])]).ours, Some(0));
        assert_eq!(read_filters(&[filter(1, &all_to(7))]), Filters { foreign: true, ours: None });
        assert_eq!(read_filters(&[]), Filters::default());
    }
}
