//! Links: the requests that create and change bridges, pairs and ports.

mod read;

pub use read::{BRIDGE_VLAN_PROTOCOL, BridgePort, Link, read};

use super::{Mode as How, Request};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, InfoVrf, LinkAttribute as Attribute, LinkExtentMask, LinkFlags, LinkInfo,
    LinkMessage,
};
use qiao_core::endpoint::Tunable;
use qiao_core::plan::Switch;
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
