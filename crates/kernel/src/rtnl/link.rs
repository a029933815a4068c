//! Links: making bridges and pairs, their ports, and reading them back.

use super::{Mode as How, Request, child, setting};
use crate::netlink::Message as Received;
use crate::netlink::attribute::{attributes, number, number_at, number16, text};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, InfoVrf, LinkAttribute as Attribute, LinkExtentMask, LinkFlags, LinkInfo,
    LinkMessage,
};
use qiao_core::child::{Broadcasts, Mode};
use qiao_core::endpoint::Tunable;
use qiao_core::plan::{Setting, Switch};
use qiao_core::solo::Tap;
use qiao_core::{EngineId, IfName, Mac};
use rustix::fd::RawFd;

/// A bridge to make.
#[derive(Clone, Copy, Debug)]
pub struct NewBridge<'a> {
    /// Its name.
    pub name: &'a IfName,
    /// Its hardware address; none for the one it has, or that the kernel gives it.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whose it is.
    pub engine: EngineId,
}

/// A pair of interfaces to make.
#[derive(Clone, Copy, Debug)]
pub struct NewVeth<'a> {
    /// The name of the host's end.
    pub host_if: &'a IfName,
    /// The name of the other end.
    pub peer: &'a IfName,
    /// The other end's namespace.
    pub netns: RawFd,
    /// The hardware address of the other end.
    pub mac: Mac,
    /// The MTU in bytes.
    pub mtu: u32,
    /// The index of the bridge, if the host's end is to be a port of one.
    pub bridge: Option<u32>,
    /// Whose it is.
    pub engine: EngineId,
}

/// Makes a bridge, down. Multicast snooping is off: with it, every new port costs a pass over all of them.
pub fn new_bridge(bridge: NewBridge<'_>) -> Request {
    let info = vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)])),
    ];
    let own = [Attribute::Group(bridge.engine.group()), Attribute::LinkInfo(info)];
    new([Attribute::IfName(bridge.name.to_string())]
        .into_iter()
        .chain(of_bridge(bridge.mac, bridge.mtu))
        .chain(own)
        .collect())
}

fn of_bridge(mac: Option<Mac>, mtu: u32) -> impl Iterator<Item = Attribute> {
    let mac = mac.map(|mac| Attribute::Address(mac.octets().to_vec()));
    mac.into_iter().chain([Attribute::Mtu(mtu)])
}

/// Makes a pair, down, under its final names, the host's end a port of its bridge, the other end in its
/// namespace: one message. Moving or renaming an end later makes the kernel wait 15 to 20 ms for RCU while
/// everyone else waits for it; with more than one queue it waits too (`veth_init_queues`).
pub fn new_veth(veth: NewVeth<'_>) -> Request {
    let mut peer = LinkMessage::default();
    peer.attributes = end(veth.peer, veth.mac, veth);
    peer.attributes.push(Attribute::NetNsFd(veth.netns));
    let mut attributes = end(veth.host_if, veth.mac.other_end(veth.bridge.is_some()), veth);
    attributes.extend(veth.bridge.map(Attribute::Controller));
    attributes.push(Attribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    new(attributes)
}

/// Makes a pair that is nobody's in particular: no mark, no master.
pub fn plain_pair(own: &IfName, peer: &IfName, netns: RawFd) -> Request {
    let mut other = LinkMessage::default();
    other.attributes = vec![Attribute::IfName(peer.to_string()), Attribute::NetNsFd(netns)];
    let data = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other)));
    let info = Attribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), data]);
    new(vec![Attribute::IfName(own.to_string()), info])
}

fn end(name: &IfName, mac: Mac, of: NewVeth<'_>) -> Vec<Attribute> {
    vec![
        Attribute::IfName(name.to_string()),
        Attribute::Address(mac.octets().to_vec()),
        Attribute::Mtu(of.mtu),
        Attribute::NumTxQueues(1),
        Attribute::NumRxQueues(1),
        Attribute::Group(of.engine.group()),
    ]
}

pub(super) fn new(attributes: Vec<Attribute>) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    Request::change(Message::NewLink(message), How::Create)
}

/// A change of the link called `name`.
pub(super) fn set(name: &IfName, attributes: Vec<Attribute>) -> Request {
    Request::change(Message::SetLink(named(name, attributes)), How::Change)
}

pub(super) fn named(name: &IfName, attributes: Vec<Attribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![Attribute::IfName(name.to_string())];
    message.attributes.extend(attributes);
    message
}

/// Writes the owner's mark on a link.
pub fn mark(name: &IfName, mark: &str) -> Request {
    set(name, vec![Attribute::IfAlias(mark.to_owned())])
}

/// Keeps a link from giving itself IPv6 addresses; to be sent before it comes up. Without it each new port
/// of a bridge floods all the others, and an IPv4 network has IPv6 after all.
pub fn no_automatic_addresses(name: &IfName) -> Request {
    let none = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    set(name, vec![Attribute::AfSpecUnspec(vec![none])])
}

/// Gives a link a hardware address.
pub fn set_mac(name: &IfName, mac: Mac) -> Request {
    set(name, vec![Attribute::Address(mac.octets().to_vec())])
}

/// Brings a link up or down.
pub fn up(name: &IfName, up: bool) -> Request {
    flag(name, (LinkFlags::Up, up))
}

fn flag(name: &IfName, (flag, on): (LinkFlags, bool)) -> Request {
    let mut message = named(name, Vec::new());
    message.header.flags = if on { flag } else { LinkFlags::empty() };
    message.header.change_mask = flag;
    Request::change(Message::SetLink(message), How::Change)
}

/// Changes a setting of a link that is a number.
pub fn tune(name: &IfName, what: &Tunable, number: u32) -> Request {
    match what {
        Tunable::Promiscuous => flag(name, (LinkFlags::Promisc, number != 0)),
        Tunable::AllMulticast => flag(name, (LinkFlags::Allmulti, number != 0)),
        Tunable::QueueLength => set(name, vec![Attribute::TxQueueLen(number)]),
        Tunable::Mtu | Tunable::Mac | Tunable::Sysctl(_) => set_mtu(name, number),
    }
}

/// Switches a setting of a bridge port on or off.
pub fn switch(name: &IfName, (which, on): (Switch, bool)) -> Request {
    let setting = match which {
        Switch::Isolated => InfoBridgePort::Isolated(on),
        Switch::Hairpin => InfoBridgePort::HairpinMode(on),
    };
    change_port(name, vec![setting])
}

/// Gives a link a master and an MTU.
pub fn set_master(name: &IfName, master: u32, mtu: u32) -> Request {
    set(name, vec![Attribute::Mtu(mtu), Attribute::Controller(master)])
}

/// Gives a link a master; 0 for none.
pub fn enslave(name: &IfName, master: u32) -> Request {
    set(name, vec![Attribute::Controller(master)])
}

/// Gives a link an MTU.
pub fn set_mtu(name: &IfName, mtu: u32) -> Request {
    set(name, vec![Attribute::Mtu(mtu)])
}

/// Makes a link a port of nothing that heeds no ARP: it neither asks nor is asked, nor learns.
pub fn point_to_point(name: &IfName) -> Request {
    let mut message = named(name, vec![Attribute::Controller(0)]);
    message.header.flags = LinkFlags::Noarp;
    message.header.change_mask = LinkFlags::Noarp;
    Request::change(Message::SetLink(message), How::Change)
}

/// Gives a bridge a hardware address and an MTU.
pub fn set_bridge(name: &IfName, (mac, mtu): (Option<Mac>, u32)) -> Request {
    set(name, of_bridge(mac, mtu).collect())
}

/// The groups of bridges, 01:80:c2:00:00:0x, except that of pauses, which are dropped (`br_handle_frame`).
pub const BRIDGE_GROUPS: u16 = 0xfffd;

/// Settles what a bridge port may do: it learns nothing, and gets no frames for addresses that nobody has. Frames
/// to the groups of bridges take the way of all others: else they would go to the host as the port's own, past
/// the guard, with whatever source and of whatever protocol. Where it is not known who is behind a port, it learns.
pub fn port(name: &IfName, fixed: bool, (isolated, hairpin): (bool, bool)) -> Request {
    let port = vec![
        InfoBridgePort::Learning(!fixed),
        InfoBridgePort::UnicastFlood(!fixed),
        InfoBridgePort::HairpinMode(hairpin),
        InfoBridgePort::Isolated(isolated),
        InfoBridgePort::GroupFwdMask(BRIDGE_GROUPS),
    ];
    change_port(name, port)
}

fn change_port(name: &IfName, port: Vec<InfoBridgePort>) -> Request {
    let info =
        vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(InfoPortData::BridgePort(port))];
    // RTM_SETLINK ignores IFLA_LINKINFO; RTM_NEWLINK without NLM_F_CREATE does not (rtnetlink.c).
    Request::change(Message::NewLink(named(name, vec![Attribute::LinkInfo(info)])), How::Change)
}

/// Where a link goes, and what it is there.
#[derive(Clone, Copy, Debug)]
pub struct Moved<'a> {
    /// Its name: a pattern such as `dev%d` is the first that is free; none for the one it has.
    pub name: Option<&'a str>,
    /// Its alias; an empty one is none.
    pub alias: &'a str,
    /// The namespace; none for where it is.
    pub netns: Option<RawFd>,
}

/// Moves a link, renames it and gives it an alias, in one message. The kernel closes a link that it moves
/// (`__dev_change_net_namespace`), so that it may be renamed.
pub fn set_moved(index: u32, to: Moved<'_>) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![Attribute::IfAlias(to.alias.to_owned())];
    message.attributes.extend(to.name.map(|name| Attribute::IfName(name.to_owned())));
    message.attributes.extend(to.netns.map(Attribute::NetNsFd));
    Request::change(Message::SetLink(message), How::Change)
}

/// Brings a link down, by its index.
pub fn down_at(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.change_mask = LinkFlags::Up;
    Request::change(Message::SetLink(message), How::Change)
}

/// Makes a `vrf` device, down, in the namespace of the socket.
pub fn new_vrf(name: &IfName, table: u32, engine: EngineId) -> Request {
    let data = InfoData::Vrf(vec![InfoVrf::TableId(table)]);
    let info = vec![LinkInfo::Kind(InfoKind::Vrf), LinkInfo::Data(data)];
    let group = Attribute::Group(engine.group());
    new(vec![Attribute::IfName(name.to_string()), group, Attribute::LinkInfo(info)])
}

/// Puts a link behind a device, or behind none (0).
pub fn put_behind(name: &IfName, master: u32) -> Request {
    set(name, vec![Attribute::Controller(master)])
}

/// Makes an `ifb` device, down.
pub fn new_ifb(name: &IfName, mtu: u32, engine: EngineId) -> Request {
    let info = vec![LinkInfo::Kind(InfoKind::Ifb)];
    new(vec![
        Attribute::IfName(name.to_string()),
        Attribute::Mtu(mtu),
        Attribute::Group(engine.group()),
        Attribute::LinkInfo(info),
    ])
}

/// Makes an interface that leads nowhere, down, in the namespace of the socket.
pub fn new_dummy(name: &IfName, (mac, mtu): (Mac, u32), engine: EngineId) -> Request {
    let info = vec![LinkInfo::Kind(InfoKind::Dummy)];
    new(vec![
        Attribute::IfName(name.to_string()),
        Attribute::Address(mac.octets().to_vec()),
        Attribute::Mtu(mtu),
        Attribute::Group(engine.group()),
        Attribute::LinkInfo(info),
    ])
}

/// What a link by itself gets.
#[derive(Clone, Copy, Debug)]
pub struct Lone {
    /// Its hardware address.
    pub mac: Mac,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The index of its master, where it shall have one.
    pub master: Option<u32>,
    /// Whose it is.
    pub engine: EngineId,
}

/// Gives a link by itself its mark, a hardware address, an MTU, and a master.
pub fn set_lone(name: &IfName, lone: Lone) -> Request {
    let mut attributes = vec![
        Attribute::Address(lone.mac.octets().to_vec()),
        Attribute::Mtu(lone.mtu),
        Attribute::Group(lone.engine.group()),
    ];
    attributes.extend(lone.master.map(Attribute::Controller));
    set(name, attributes)
}

/// Deletes a link by its index: a name could be somebody else's by now.
pub fn delete(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    Request::change(Message::DelLink(message), How::Change)
}

/// Asks for one link.
pub fn get(name: &IfName) -> Request {
    Request::get(Message::GetLink(named(name, vec![without_statistics()])))
}

/// Asks for one link by its index.
pub fn get_at(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![without_statistics()];
    Request::get(Message::GetLink(message))
}

/// Asks for all links.
pub fn get_all() -> Request {
    let mut message = LinkMessage::default();
    message.attributes = vec![without_statistics()];
    Request::dump(Message::GetLink(message))
}

fn without_statistics() -> Attribute {
    Attribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// What we read of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, if it has six bytes.
    pub mac: Option<[u8; 6]>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// Whether it heeds ARP.
    pub arp: bool,
    /// Whether somebody wants it to take frames that are not for it.
    pub promiscuous: bool,
    /// Whether somebody wants it to take the frames of all groups.
    pub all_multicast: bool,
    /// The length of its queue in packets.
    pub queue_length: u32,
    /// Its kind: `bridge`, `veth`; none for a device of hardware.
    pub kind: Option<String>,
    /// The index of its master.
    pub master: Option<u32>,
    /// Its group.
    pub group: u32,
    /// Its alias.
    pub alias: Option<String>,
    /// Of a bridge: whether it tells VLANs apart.
    pub filtering: bool,
    /// How it is as a bridge port.
    pub port: Option<BridgePort>,
    /// Whether packets pass (`IFF_RUNNING`).
    pub running: bool,
    /// The settings of it as a bridge, as a port and as an interface that have another value than they are made with.
    pub settings: Vec<(Setting, u32)>,
    /// The index of the other end of a pair, or of the parent, in the other's namespace.
    pub peer_index: Option<u32>,
    /// The mode of a macvlan, ipvlan or VLAN child.
    pub mode: Option<Mode>,
    /// The id of a VLAN.
    pub vlan: Option<u16>,
    /// The table of a `vrf` device.
    pub table: Option<u32>,
    /// What becomes of broadcast frames for a macvlan child.
    pub broadcasts: Broadcasts,
    /// Who may open a tap.
    pub tap: Option<Tap>,
    /// The number that the link's namespace has for the other end's; a namespace that is being destroyed has none.
    pub peer_netns: Option<i32>,
}

/// What we read of a bridge port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgePort {
    /// It takes addresses from what it receives.
    pub learning: bool,
    /// It gets frames for unknown addresses.
    pub flood: bool,
    /// Frames may go out where they came in.
    pub hairpin: bool,
    /// Frames do not pass to other isolated ports.
    pub isolated: bool,
    /// The groups of bridges whose frames are forwarded.
    pub groups: u16,
}

impl Link {
    /// Its hardware address, if that is one that an interface can be reached at.
    pub fn unicast(&self) -> Option<Mac> {
        self.mac.and_then(|mac| Mac::new(mac).ok())
    }

    /// Whether it is the child of an interface of another namespace.
    pub fn is_child_of_host(&self) -> bool {
        self.mode.is_some() && self.peer_netns.is_some()
    }
}

/// Reads the links out of an answer.
pub fn read(messages: &[Received]) -> Vec<Link> {
    let links = messages.iter().filter(|(kind, _)| *kind == libc::RTM_NEWLINK);
    links.filter_map(|(_, payload)| read_one(payload)).collect()
}

/// Reads a `struct ifinfomsg` and what follows it.
fn read_one(payload: &[u8]) -> Option<Link> {
    let flags = number_at(payload, 8)?;
    let has = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
    let (up, arp) = (has(libc::IFF_UP), !has(libc::IFF_NOARP));
    let (promiscuous, all_multicast) = (has(libc::IFF_PROMISC), has(libc::IFF_ALLMULTI));
    let index = number_at(payload, 4)?;
    let running = has(libc::IFF_RUNNING);
    let mut link = Link { index, up, arp, running, promiscuous, all_multicast, ..Link::default() };
    attributes(payload.get(16..)?).for_each(|(kind, value)| read_attribute(&mut link, kind, value));
    Some(link)
}

fn read_attribute(link: &mut Link, kind: u16, value: &[u8]) {
    match kind {
        libc::IFLA_IFNAME => link.name = text(value),
        libc::IFLA_ADDRESS => link.mac = value.try_into().ok(),
        libc::IFLA_MTU => link.mtu = number(value).unwrap_or_default(),
        libc::IFLA_TXQLEN => link.queue_length = number(value).unwrap_or_default(),
        libc::IFLA_MASTER => link.master = number(value),
        libc::IFLA_GROUP => link.group = number(value).unwrap_or_default(),
        libc::IFLA_IFALIAS => link.alias = Some(text(value)),
        libc::IFLA_LINK => link.peer_index = number(value),
        libc::IFLA_LINK_NETNSID => link.peer_netns = number(value).map(u32::cast_signed),
        libc::IFLA_AF_SPEC => link.settings.extend(setting::of_interface(value)),
        libc::IFLA_LINKINFO => attributes(value).for_each(|(kind, value)| read_info(link, kind, value)),
        _ => {}
    }
}

fn read_info(link: &mut Link, kind: u16, value: &[u8]) {
    match kind {
        libc::IFLA_INFO_KIND => link.kind = Some(text(value)),
        // The kind comes before what is told of it (`rtnl_link_fill`).
        libc::IFLA_INFO_DATA => {
            (link.mode, link.vlan) = child::read(link.kind.as_deref(), value);
            if link.kind.as_deref() == Some("bridge") {
                link.filtering = is_filtering(value);
                link.settings.extend(setting::of_bridge(value));
            }
            link.table = (link.kind.as_deref() == Some("vrf")).then(|| read_table(value)).flatten();
            link.tap = (link.kind.as_deref() == Some("tun")).then(|| read_tap(value));
            if matches!(link.mode, Some(Mode::Macvlan(_))) {
                link.broadcasts = child::read_broadcasts(value);
            }
        }
        libc::IFLA_INFO_SLAVE_KIND if text(value) == "bridge" => link.port = Some(BridgePort::default()),
        libc::IFLA_INFO_SLAVE_DATA if link.port.is_some() => {
            link.port.iter_mut().for_each(|port| read_port(port, value));
            link.settings.extend(setting::of_port(value));
        }
        _ => {}
    }
}

/// `IFLA_BR_VLAN_PROTOCOL` (linux/if_link.h).
pub const BRIDGE_VLAN_PROTOCOL: u16 = 8;

fn is_filtering(data: &[u8]) -> bool {
    /// `IFLA_BR_VLAN_FILTERING`.
    const FILTERING: u16 = 7;
    attributes(data).any(|(kind, value)| kind == FILTERING && value.first().is_some_and(|on| *on != 0))
}

/// `IFLA_VRF_TABLE` (linux/if_link.h).
fn read_table(data: &[u8]) -> Option<u32> {
    const TABLE: u16 = 1;
    attributes(data).find_map(|(kind, value)| (kind == TABLE).then(|| number(value)).flatten())
}

/// Who may open a tap (`IFLA_TUN_…`, linux/if_link.h); `tun_fill_info` leaves out who is nobody.
fn read_tap(data: &[u8]) -> Tap {
    const OWNER: u16 = 1;
    const GROUP: u16 = 2;
    const MULTI_QUEUE: u16 = 7;
    let mut tap = Tap::default();
    for (kind, value) in attributes(data) {
        match kind {
            OWNER => tap.owner = number(value),
            GROUP => tap.group = number(value),
            MULTI_QUEUE => tap.multi_queue = value.first().is_some_and(|on| *on != 0),
            _ => {}
        }
    }
    tap
}

fn read_port(port: &mut BridgePort, data: &[u8]) {
    for (kind, value) in attributes(data) {
        let on = value.first().is_some_and(|on| *on != 0);
        match kind {
            brport::LEARNING => port.learning = on,
            brport::UNICAST_FLOOD => port.flood = on,
            brport::MODE => port.hairpin = on,
            brport::ISOLATED => port.isolated = on,
            brport::GROUP_FWD_MASK => port.groups = number16(value).unwrap_or_default(),
            _ => {}
        }
    }
}

/// Attributes of a bridge's port (`IFLA_BRPORT_…`, linux/if_link.h).
mod brport {
    pub const MODE: u16 = 4;
    pub const LEARNING: u16 = 8;
    pub const UNICAST_FLOOD: u16 = 9;
    pub const GROUP_FWD_MASK: u16 = 31;
    pub const ISOLATED: u16 = 33;
}
