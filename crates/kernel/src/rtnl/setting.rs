//! Settings of bridges and ports that have one right value: reading those that have another, and giving them theirs back.

use super::{Mode as How, Request, link};
use crate::netlink::attribute::{attributes, number};
use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecUnspec, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind,
    LinkAttribute as Attribute, LinkInfo,
};
use qiao_core::IfName;
use qiao_core::plan::Setting;

/// The attribute of a setting, and its length in bytes.
type Place = (Setting, u16, usize);

/// `IFLA_BR_*` (linux/if_link.h).
const BRIDGE: [Place; 9] = [
    (Setting::Stp, 5, 4),
    (Setting::GroupForward, 9, 2),
    (Setting::Snooping, 23, 1),
    (Setting::Querier, 25, 1),
    (Setting::NfCallIptables, 36, 1),
    (Setting::NfCallIp6tables, 37, 1),
    (Setting::NfCallArptables, 38, 1),
    (Setting::Options, 46, 4),
    (Setting::MaxLearned, 49, 4),
];

/// `IFLA_BRPORT_*` (linux/if_link.h).
const PORT: [Place; 17] = [
    (Setting::State, 1, 1),
    (Setting::Guard, 5, 1),
    (Setting::RootBlock, 6, 1),
    (Setting::FastLeave, 7, 1),
    (Setting::ProxyArp, 10, 1),
    (Setting::ProxyArpWifi, 12, 1),
    (Setting::PortMulticastRouter, 25, 1),
    (Setting::MulticastFlood, 27, 1),
    (Setting::MulticastToUnicast, 28, 1),
    (Setting::VlanTunnel, 29, 1),
    (Setting::BroadcastFlood, 30, 1),
    (Setting::NeighSuppress, 32, 1),
    (Setting::BackupPort, 34, 4),
    (Setting::Locked, 39, 1),
    (Setting::Mab, 40, 1),
    (Setting::MulticastMaxGroups, 42, 4),
    (Setting::NeighVlanSuppress, 43, 1),
];

/// `IPV4_DEVCONF_*` (linux/ip.h).
const INTERFACE: [(Setting, u16); 2] =
    [(Setting::InterfaceProxyArp, 3), (Setting::InterfaceProxyArpPvlan, 25)];

/// The switches of [`Setting::Options`] that are known: which addresses of groups it learns, and how VLANs and trees go
/// together.
const OPTIONS: u32 = 0b111;

/// The settings in a bridge's or a port's attributes that do not have their value.
fn unusual(places: &'static [Place], data: &[u8]) -> impl Iterator<Item = (Setting, u32)> {
    attributes(data).filter_map(|(kind, value)| {
        let (setting, _, length) = places.iter().find(|(_, place, _)| *place == kind)?;
        let number = match length {
            1 => u32::from(*value.first()?),
            2 => u32::from(u16::from_ne_bytes(*value.first_chunk()?)),
            _ => number(value)?,
        };
        let number = if *setting == Setting::Options { number & OPTIONS } else { number };
        (number != setting.usual()).then_some((*setting, number))
    })
}

/// The settings of a bridge that do not have their value.
pub fn of_bridge(data: &[u8]) -> impl Iterator<Item = (Setting, u32)> {
    unusual(&BRIDGE, data)
}

/// The settings of a port that do not have their value.
pub fn of_port(data: &[u8]) -> impl Iterator<Item = (Setting, u32)> {
    unusual(&PORT, data)
}

/// The same of an interface that has IPv4 addresses (`IFLA_AF_SPEC`): an array of the values, the first of which has the
/// number 1.
pub fn of_interface(data: &[u8]) -> impl Iterator<Item = (Setting, u32)> {
    const CONF: u16 = 1;
    let families = attributes(data).filter(|(family, _)| *family == libc::AF_INET as u16);
    let conf = families.flat_map(|(_, value)| attributes(value)).find(|(kind, _)| *kind == CONF);
    let values = conf.map(|(_, value)| value).unwrap_or_default();
    INTERFACE.into_iter().filter_map(move |(setting, id)| {
        let at = 4 * (usize::from(id) - 1);
        let number = number(values.get(at..at + 4)?)?;
        (number != setting.usual()).then_some((setting, number))
    })
}

/// Gives a setting back the value that it is made with; `was` is what it has.
pub fn give_back(name: &IfName, setting: Setting, was: u32) -> Request {
    set(name, setting, (setting.usual(), was))
}

/// Gives a setting a value. Of switches that are told together, those in the mask are changed: the kernel refuses some of the
/// others.
pub fn set(name: &IfName, setting: Setting, (number, mask): (u32, u32)) -> Request {
    if let Some((_, id)) = INTERFACE.iter().find(|(known, _)| *known == setting) {
        return link::set(name, vec![Attribute::AfSpecUnspec(vec![interface(*id, number)])]);
    }
    let place = BRIDGE.iter().chain(&PORT).find(|(known, ..)| *known == setting);
    let (kind, length) = place.map_or((0, 0), |(_, kind, length)| (*kind, *length));
    let bytes = match length {
        1 => vec![number as u8],
        2 => (number as u16).to_ne_bytes().to_vec(),
        _ if setting == Setting::Options => [number, mask].iter().flat_map(|n| n.to_ne_bytes()).collect(),
        _ => number.to_ne_bytes().to_vec(),
    };
    let attribute = DefaultNla::new(kind, bytes);
    let info = match setting.is_of_port() {
        true => vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Other(attribute)])),
        ],
        false => vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::Other(attribute)])),
        ],
    };
    // RTM_SETLINK ignores IFLA_LINKINFO; RTM_NEWLINK without NLM_F_CREATE does not (rtnetlink.c).
    Request::change(Message::NewLink(link::named(name, vec![Attribute::LinkInfo(info)])), How::Change)
}

/// To be set, each value is an attribute of its number (`inet_set_link_af`).
fn interface(id: u16, number: u32) -> AfSpecUnspec {
    const CONF: u16 = 1;
    const NESTED: u16 = 1 << 15;
    let mut value = 8u16.to_ne_bytes().to_vec();
    value.extend(id.to_ne_bytes());
    value.extend(number.to_ne_bytes());
    AfSpecUnspec::Inet(vec![AfSpecInet::Other(DefaultNla::new(CONF | NESTED, value))])
}
