//! Links as the kernel reports them, attribute by attribute.

use crate::netlink::Message as Received;
use crate::netlink::attribute::{attributes, number, number_at, number16, text};
use crate::rtnl::{child, setting};
use qiao_core::Mac;
use qiao_core::child::{Broadcasts, Mode};
use qiao_core::plan::Setting;
use qiao_core::solo::Tap;

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
