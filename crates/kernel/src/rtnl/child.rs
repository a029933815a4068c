//! Links on other links: macvlan, ipvlan and VLAN children, VLANs of the host.

use super::link::{named, new, set};
use super::{Mode as How, Request};
use crate::netlink::attribute::{attributes, number, number16};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVlan, IpVlanFlags, IpVlanMode,
    LinkAttribute as Attribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use qiao_core::child::{Broadcasts, IpvlanFlag, IpvlanMode, MacvlanMode, Mode};
use qiao_core::{EngineId, IfName, Mac};
use rustix::fd::RawFd;

/// A child to make.
#[derive(Clone, Copy, Debug)]
pub struct NewChild<'a> {
    /// Its name.
    pub name: &'a IfName,
    /// Its namespace; none for that of the socket.
    pub netns: Option<RawFd>,
    /// The index of its parent, in the namespace of the socket.
    pub parent: u32,
    /// Whom it reaches.
    pub mode: Mode,
    /// Its hardware address, where it has one of its own.
    pub mac: Option<Mac>,
    /// The MTU in bytes.
    pub mtu: u32,
    /// What becomes of broadcast frames for it.
    pub broadcasts: Broadcasts,
    /// Whose it is.
    pub engine: EngineId,
}

/// Makes a child, down, in its namespace and under its final name: one message. The kernel looks for the parent
/// in the namespace of the socket, and makes the child in the one that is named (`rtnl_newlink`).
pub fn new_child(child: NewChild<'_>) -> Request {
    let mut attributes = vec![
        Attribute::IfName(child.name.to_string()),
        Attribute::Link(child.parent),
        Attribute::Mtu(child.mtu),
        Attribute::Group(child.engine.group()),
    ];
    attributes.extend(child.netns.map(Attribute::NetNsFd));
    attributes.extend(child.mac.map(|mac| Attribute::Address(mac.octets().to_vec())));
    attributes.push(Attribute::LinkInfo(of_mode(child.mode, child.broadcasts)));
    new(attributes)
}

/// Gives a child its mode, its hardware address and its MTU.
pub fn set_child(
    name: &IfName,
    (mode, broadcasts): (Mode, Broadcasts),
    (mac, mtu): (Option<Mac>, u32),
) -> Vec<Request> {
    let mut attributes = vec![Attribute::Mtu(mtu)];
    attributes.extend(mac.map(|mac| Attribute::Address(mac.octets().to_vec())));
    let mut requests = vec![set(name, attributes)];
    if !matches!(mode, Mode::Vlan(_)) {
        // RTM_SETLINK ignores IFLA_LINKINFO; RTM_NEWLINK without NLM_F_CREATE does not (rtnetlink.c).
        let info = named(name, vec![Attribute::LinkInfo(of_mode(mode, broadcasts))]);
        requests.push(Request::change(Message::NewLink(info), How::Change));
    }
    requests
}

fn of_mode(mode: Mode, broadcasts: Broadcasts) -> Vec<LinkInfo> {
    match mode {
        Mode::Vlan(id) => {
            vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(id)]))]
        }
        Mode::Macvlan(mode) => {
            let mode = match mode {
                MacvlanMode::Bridge => MacVlanMode::Bridge,
                MacvlanMode::Private => MacVlanMode::Private,
                MacvlanMode::Vepa => MacVlanMode::Vepa,
                MacvlanMode::Passthru => MacVlanMode::Passthrough,
                MacvlanMode::Source => MacVlanMode::Source,
            };
            let mut data = vec![InfoMacVlan::Mode(mode)];
            data.extend(broadcasts.queue.map(InfoMacVlan::BcQueueLen));
            data.extend(broadcasts.cutoff.map(InfoMacVlan::BcCutoff));
            let data = InfoData::MacVlan(data);
            vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(data)]
        }
        Mode::Ipvlan(mode, flag) => {
            let mode = match mode {
                IpvlanMode::L2 => IpVlanMode::L2,
                IpvlanMode::L3 => IpVlanMode::L3,
                IpvlanMode::L3s => IpVlanMode::L3S,
            };
            let flags = match flag {
                IpvlanFlag::Bridge => IpVlanFlags::empty(),
                IpvlanFlag::Private => IpVlanFlags::Private,
                IpvlanFlag::Vepa => IpVlanFlags::Vepa,
            };
            let data = InfoData::IpVlan(vec![InfoIpVlan::Mode(mode), InfoIpVlan::Flags(flags)]);
            vec![LinkInfo::Kind(InfoKind::IpVlan), LinkInfo::Data(data)]
        }
    }
}

/// The mode of a child and the id of a VLAN as they are read (`IFLA_INFO_DATA`); none for other links, and for
/// modes that we do not make.
pub fn read(kind: Option<&str>, data: &[u8]) -> (Option<Mode>, Option<u16>) {
    /// `IFLA_MACVLAN_MODE`, `IFLA_IPVLAN_MODE` and `IFLA_VLAN_ID`.
    const FIRST: u16 = 1;
    /// `IFLA_IPVLAN_FLAGS`.
    const FLAGS: u16 = 2;
    let value = |of| attributes(data).find_map(|(kind, value)| (kind == of).then_some(value));
    let first = || value(FIRST);
    match kind {
        Some("macvlan") => (first().and_then(number).and_then(macvlan_mode), None),
        Some("ipvlan") => {
            let flags = value(FLAGS).and_then(number16).unwrap_or_default();
            (first().and_then(number16).and_then(|mode| ipvlan_mode(mode, flags)), None)
        }
        Some("vlan") => {
            let id = first().and_then(number16);
            (id.map(Mode::Vlan), id)
        }
        _ => (None, None),
    }
}

/// What becomes of broadcast frames for a macvlan child.
pub fn read_broadcasts(data: &[u8]) -> Broadcasts {
    /// `IFLA_MACVLAN_BC_QUEUE_LEN`.
    const QUEUE: u16 = 7;
    /// `IFLA_MACVLAN_BC_CUTOFF`: the default is not told (`macvlan_fill_info`).
    const CUTOFF: u16 = 9;
    const DEFAULT_CUTOFF: i32 = 1;
    let value = |of| attributes(data).find_map(|(kind, value)| (kind == of).then(|| number(value)).flatten());
    let cutoff = value(CUTOFF).map_or(DEFAULT_CUTOFF, u32::cast_signed);
    Broadcasts { queue: value(QUEUE), cutoff: Some(cutoff) }
}

fn macvlan_mode(mode: u32) -> Option<Mode> {
    let mode = match MacVlanMode::from(mode) {
        MacVlanMode::Bridge => MacvlanMode::Bridge,
        MacVlanMode::Private => MacvlanMode::Private,
        MacVlanMode::Vepa => MacvlanMode::Vepa,
        MacVlanMode::Passthrough => MacvlanMode::Passthru,
        MacVlanMode::Source => MacvlanMode::Source,
        _ => return None,
    };
    Some(Mode::Macvlan(mode))
}

fn ipvlan_mode(mode: u16, flags: u16) -> Option<Mode> {
    let mode = match IpVlanMode::from(mode) {
        IpVlanMode::L2 => IpvlanMode::L2,
        IpVlanMode::L3 => IpvlanMode::L3,
        IpVlanMode::L3S => IpvlanMode::L3s,
        _ => return None,
    };
    let flags = IpVlanFlags::from_bits_retain(flags);
    let flag = match (flags.contains(IpVlanFlags::Private), flags.contains(IpVlanFlags::Vepa)) {
        (true, _) => IpvlanFlag::Private,
        (_, true) => IpvlanFlag::Vepa,
        _ => IpvlanFlag::Bridge,
    };
    Some(Mode::Ipvlan(mode, flag))
}

/// Makes a VLAN interface, down.
pub fn new_vlan(name: &IfName, (parent, id): (u32, u16), engine: EngineId) -> Request {
    new(vec![
        Attribute::IfName(name.to_string()),
        Attribute::Link(parent),
        Attribute::Group(engine.group()),
        Attribute::LinkInfo(of_mode(Mode::Vlan(id), Broadcasts::default())),
    ])
}

/// Asks for a link of a kind that cannot be, since it has no parent: a kernel that does not know the kind says
/// so (`EOPNOTSUPP`), one that does finds the fault.
pub fn probe(kind: &str) -> Request {
    let kind = match kind {
        "macvlan" => InfoKind::MacVlan,
        "ipvlan" => InfoKind::IpVlan,
        "vlan" => InfoKind::Vlan,
        "dummy" => InfoKind::Dummy,
        other => InfoKind::Other(other.to_owned()),
    };
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::empty();
    // An address of one byte: a kind that needs no parent would be made else (`dummy_validate`).
    message.attributes = vec![Attribute::Address(vec![0]), Attribute::LinkInfo(vec![LinkInfo::Kind(kind)])];
    Request::change(Message::NewLink(message), How::Create)
}
