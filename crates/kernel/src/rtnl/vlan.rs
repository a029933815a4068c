//! VLANs of bridges and of their ports (IEEE 802.1Q, `IFLA_BRIDGE_VLAN_INFO`).

use super::link::{BRIDGE_VLAN_PROTOCOL, named};
use super::{Mode as How, Request};
use crate::netlink::Message as Received;
use crate::netlink::attribute::{attributes, number_at, number16};
use netlink_packet_core::DefaultNla;
use netlink_packet_route::link::{
    AfSpecBridge, BridgeFlag, BridgeVlanInfo, BridgeVlanInfoFlags as Flags, InfoBridge, InfoData, InfoKind,
    LinkAttribute as Attribute, LinkExtentMask, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use qiao_core::IfName;
use qiao_core::endpoint::PortVlans;

/// Lets a bridge tell VLANs apart, or not.
pub fn filtering(bridge: &IfName, on: bool) -> Request {
    let info = vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(on)])),
    ];
    // RTM_SETLINK ignores IFLA_LINKINFO; RTM_NEWLINK without NLM_F_CREATE does not (rtnetlink.c).
    Request::change(Message::NewLink(named(bridge, vec![Attribute::LinkInfo(info)])), How::Change)
}

/// Asks for a bridge that cannot be: with a protocol of VLANs that is none, which only a kernel with
/// `CONFIG_BRIDGE_VLAN_FILTERING` looks at (`br_validate`: `EPROTONOSUPPORT`), and with more queues than there may be.
pub fn probe() -> Request {
    let protocol = InfoBridge::Other(DefaultNla::new(BRIDGE_VLAN_PROTOCOL, vec![0, 0]));
    let mut message = LinkMessage::default();
    message.attributes = vec![
        Attribute::NumTxQueues(1 << 16),
        Attribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(vec![protocol])),
        ]),
    ];
    Request::change(Message::NewLink(message), How::Create)
}

fn message(index: u32, attributes: Vec<AfSpecBridge>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = index;
    message.attributes = vec![Attribute::AfSpecBridge(attributes)];
    message
}

fn info(vid: u16, flags: Flags) -> AfSpecBridge {
    AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid })
}

/// Puts a bridge itself into a VLAN, or takes it out.
pub fn own(index: u32, vid: u16, member: bool) -> Request {
    let attributes = vec![AfSpecBridge::Flags(BridgeFlag::LowerDev), info(vid, Flags::Brentry)];
    let message = message(index, attributes);
    match member {
        true => Request::change(Message::SetLink(message), How::Change),
        false => Request::change(Message::DelLink(message), How::Change),
    }
}

/// Gives a port its VLANs, and takes those away that it had besides.
pub fn set_port(index: u32, had: &PortVlans, wanted: &PortVlans) -> Vec<Request> {
    let flags = |vid: u16| {
        let untagged = if wanted.untagged.contains(&vid) { Flags::Untagged } else { Flags::empty() };
        untagged | if wanted.native == Some(vid) { Flags::Pvid } else { Flags::empty() }
    };
    let ids = |vlans: &PortVlans| vlans.untagged.union(&vlans.tagged).copied().collect::<Vec<_>>();
    let (has, shall) = (ids(had), ids(wanted));
    let add: Vec<AfSpecBridge> = shall.iter().map(|vid| info(*vid, flags(*vid))).collect();
    let surplus = has.iter().filter(|vid| !shall.contains(vid));
    let del: Vec<AfSpecBridge> = surplus.map(|vid| info(*vid, Flags::empty())).collect();
    // A message carries 16 bits of length: 4094 entries of 8 bytes fit.
    let add = (!add.is_empty()).then(|| Request::change(Message::SetLink(message(index, add)), How::Change));
    let del = (!del.is_empty()).then(|| Request::change(Message::DelLink(message(index, del)), How::Change));
    add.into_iter().chain(del).collect()
}

/// Asks for the VLANs of all bridges and ports.
pub fn get_all() -> Request {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.attributes = vec![Attribute::ExtMask(vec![LinkExtentMask::Brvlan])];
    Request::dump(Message::GetLink(message))
}

/// Reads the VLANs of a bridge or a port out of an answer; a bridge's port is there as its own, too.
pub fn read(messages: &[Received], index: u32) -> Option<PortVlans> {
    const IFLA_AF_SPEC: u16 = 26;
    const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
    let of = |(_, payload): &&Received| number_at(payload, 4) == Some(index);
    let (_, payload) = messages.iter().find(of)?;
    let mut vlans = PortVlans::default();
    let specs = attributes(payload.get(16..)?).filter(|(kind, _)| *kind == IFLA_AF_SPEC);
    for (_, value) in
        specs.flat_map(|(_, spec)| attributes(spec)).filter(|(kind, _)| *kind == IFLA_BRIDGE_VLAN_INFO)
    {
        let (Some(flags), Some(vid)) = (number16(value), value.get(2..).and_then(number16)) else { continue };
        let flags = Flags::from_bits_retain(flags);
        vlans.native = vlans.native.or(flags.contains(Flags::Pvid).then_some(vid));
        match flags.contains(Flags::Untagged) {
            true => vlans.untagged.insert(vid),
            false => vlans.tagged.insert(vid),
        };
    }
    Some(vlans)
}
