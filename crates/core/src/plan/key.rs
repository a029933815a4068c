//! What can exist. The order of the variants is the order of dependency: a plan adds from the top and
//! deletes from the bottom.

use super::Setting;
use super::Value;
use crate::condition::Except;
use crate::endpoint::Tunable;
use crate::mac::Mac;
use crate::name::{IfName, SandboxName};
use crate::owner::Owner;
use crate::port::Listen;
use crate::source::Selector;
use crate::subnet::{Family, Subnet};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One object of the kernel that qiao may make or change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// The constant rule set: the tables `inet qiao` and `bridge qiao`.
    Ruleset,
    /// A network's place in the rule set.
    Member(Member),
    /// A setting of the host's network namespace: the host forwards only when the rules stand.
    Sysctl(Sysctl),
    /// A bridge device.
    Bridge(IfName),
    /// A bridge that is in a VRF.
    BridgeVrf(IfName, IfName),
    /// A bridge that tells VLANs apart.
    VlanFiltering(IfName),
    /// An address of a bridge.
    BridgeAddress(IfName, IpNet),
    /// A bridge that is up.
    BridgeUp(IfName),
    /// A VLAN interface of the host, up.
    Vlan(IfName),
    /// A VLAN that a bridge itself is in. It bears no mark: it is ours where the VLAN's interface is.
    BridgeVlan(IfName, u16),
    /// An address of a VLAN interface of the host.
    VlanAddress(IfName, IpNet),
    /// What a port may send.
    Guard(Guard),
    /// A pair of interfaces, by the name of the host's end.
    Veth(IfName),
    /// A sandbox's interface that is the child of one of the host's.
    Child(SandboxName, IfName),
    /// A sandbox's interface that hangs on nothing: a dummy, a tap.
    Lone(SandboxName, IfName),
    /// A device of the host's that is lent to a sandbox, by its name there.
    Lent(SandboxName, IfName),
    /// The settings of a host end: of a bridge port, or of a port of a routed network.
    Port(IfName),
    /// The VLANs of a port, on a bridge that tells them apart.
    PortVlans(IfName),
    /// A setting of a bridge port that another program made, switched on.
    Switch(IfName, Switch),
    /// A setting of a bridge or a port that another program changed. It is never wanted: deleting it restores the
    /// value.
    Setting(Setting, IfName),
    /// The forwarding entry of a port's hardware address.
    Fdb(IfName, Mac),
    /// The forwarding entry of a bridge's own hardware address: what is sent to it is the host's. The kernel makes it
    /// with the bridge.
    OwnFdb(IfName, Mac),
    /// The host's neighbour entry for a container, on its bridge or on its port.
    Neighbour(IfName, IpAddr),
    /// An `ifb` device, up: what comes in elsewhere is made to wait there.
    Ifb(IfName),
    /// What a link sends waits for tokens of a bucket.
    Shape(IfName),
    /// What comes in at a link goes through an `ifb` device first.
    Redirect(IfName),
    /// A sandbox's loopback interface that is up.
    SandboxLoopback(SandboxName),
    /// A sandbox's interface heeds no router advertisements.
    NoAdvertisements(SandboxName, IfName),
    /// A setting of a sandbox's network namespace, by its path below `/proc/sys`.
    SandboxSysctl(SandboxName, String),
    /// The hardware address of a sandbox's interface, where it is not the one it was made with.
    SandboxMac(SandboxName, IfName),
    /// Another setting of a sandbox's interface.
    Tuned(SandboxName, IfName, Tunable),
    /// A `vrf` device of a sandbox, up.
    Vrf(SandboxName, IfName),
    /// Which device a sandbox's interface is behind.
    Master(SandboxName, IfName),
    /// An address of a sandbox's interface.
    SandboxAddress(SandboxName, IfName, IpNet),
    /// A sandbox's interface that is up.
    SandboxUp(SandboxName, IfName),
    /// A sandbox's neighbour entry, on its interface.
    SandboxNeighbour(SandboxName, IfName, IpAddr),
    /// A route of a sandbox's main table that is not ours, whether it has a gateway, and which: those that have one
    /// need those that have none.
    Native(SandboxName, bool, RouteId),
    /// A route of a sandbox, by its destination.
    Route(SandboxName, IpNet),
    /// A route of a sandbox that is told by more than its destination.
    Way(SandboxName, RouteId),
    /// A table that routes what comes from an address of a sandbox.
    Rule(SandboxName, Selector),
    /// A host end that is up: the last thing before packets pass.
    HostUp(IfName),
    /// A route of the host to a container, by its destination.
    HostRoute(IpNet),
    /// An interface whose packets pass `iptables`' chain FORWARD, where that drops what nobody lets through.
    Open(Family, IfName),
    /// A gateway at which an interface's names are answered, past `iptables`' chain INPUT, where that drops so.
    Names(IfName, IpAddr),
    /// A published port.
    Publish(Listen),
    /// A published port for clients of 127.0.0.1 or ::1 on the host.
    Loopback(Listen),
}

/// Which route: the kernel has one for each destination, table and priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteId {
    /// The destination.
    pub net: IpNet,
    /// The table.
    pub table: u32,
    /// The priority: of several the lowest counts. IPv6 has no 0, it means 1024 there (`IP6_RT_PRIO_USER`).
    pub priority: u32,
}

impl RouteId {
    /// The main table (`RT_TABLE_MAIN`).
    pub const MAIN: u32 = 254;

    /// The route to a destination; without a table it is in the main one.
    pub fn new(net: IpNet, (table, priority): (Option<u32>, Option<u32>)) -> Self {
        let default = if net.addr().is_ipv4() { 0 } else { 1024 };
        let priority = priority.filter(|priority| *priority != 0).unwrap_or(default);
        Self { net, table: table.filter(|table| *table != 0).unwrap_or(Self::MAIN), priority }
    }
}

/// A setting of a bridge port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// Frames do not pass to other isolated ports.
    Isolated,
    /// Frames may go out where they came in.
    Hairpin,
}

impl Switch {
    /// As `ip link set … type bridge_slave` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Switch::Isolated => "isolated",
            Switch::Hairpin => "hairpin",
        }
    }
}

/// A setting of the host's network namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sysctl {
    /// `net.ipv6.conf.IFNAME.accept_ra`: 2 keeps router advertisements although the host forwards. It comes
    /// first: switching forwarding on drops the default routes of all others (`rt6_purge_dflt_routers`).
    AcceptRa(IfName),
    /// `net.ipv4.ip_forward`.
    Forward4,
    /// `net.ipv6.conf.all.forwarding`.
    Forward6,
}

impl Sysctl {
    /// The forwarding switch of a family.
    pub fn forward(family: Family) -> Self {
        match family {
            Family::V4 => Sysctl::Forward4,
            Family::V6 => Sysctl::Forward6,
        }
    }

    /// The path below `/proc/sys`.
    pub fn path(&self) -> String {
        match self {
            Sysctl::Forward4 => "net/ipv4/ip_forward".into(),
            Sysctl::Forward6 => "net/ipv6/conf/all/forwarding".into(),
            Sysctl::AcceptRa(link) => format!("net/ipv6/conf/{link}/accept_ra"),
        }
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sysctl::Forward4 => f.write_str("net.ipv4.ip_forward"),
            Sysctl::Forward6 => f.write_str("net.ipv6.conf.all.forwarding"),
            // sysctl(8) takes the dots of an interface name as slashes.
            Sysctl::AcceptRa(link) => {
                write!(f, "net.ipv6.conf.{}.accept_ra", link.as_str().replace('.', "/"))
            }
        }
    }
}

/// A network's place in the rule set: which of its sets the network's bridge or subnet is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Member {
    /// An interface that containers are behind: a bridge of ours, or a port of a routed network.
    Downlink(IfName),
    /// A subnet of ours.
    Subnet(Subnet),
    /// A subnet that is reached by its own bridge.
    Own(Subnet, IfName),
    /// A subnet that nobody outside reaches directly.
    Hidden(Subnet),
    /// An address that is behind a port of a routed network.
    Home(IpAddr, IfName),
    /// Where a routed subnet's members may send to: the subnet itself, or its gateway alone.
    Peers(Subnet, Subnet),
    /// Whose address a member bears that reaches itself by a published port, in a routed subnet.
    Gateway(Subnet, IpAddr),
    /// Whose address members of a subnet bear outside, where it is not just any of the host's.
    Outbound(Subnet, IpAddr),
    /// Two bridges that are one network (the same one twice).
    Pair(IfName, IfName),
    /// A subnet whose packets carry the host's address outside.
    Masquerade(Subnet),
    /// An interface that nothing passes in or out of.
    Internal(IfName),
    /// An interface whose containers do not reach the host.
    Closed(IfName),
    /// An interface that is not isolated from others like it.
    Friend(IfName),
    /// The subnet of such an interface.
    FriendSubnet(Subnet),
    /// A bridge that is kept apart from others like it, and from nobody else.
    Apart(IfName),
    /// An address whose published ports know clients from a subnet by the host's address.
    Near(IpAddr, Subnet),
    /// Packets to published ports that are not translated.
    Except(Box<Except>),
    /// An address whose published ports know every client by its own address.
    Plain(IpAddr),
    /// A family that the host forwards only because we switched forwarding on: other traffic stays out.
    NoTransit(Family),
    /// A pair of interfaces between which the rules of other programs let such traffic through.
    Transit(Family, IfName, IfName),
}

/// What a port may send: one element of the guard's sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guard {
    /// The port is guarded.
    Port(IfName),
    /// Frames from this hardware address.
    Mac(IfName, Mac),
    /// ARP that says this address is at this hardware address.
    Arp(IfName, Mac, Ipv4Addr),
    /// IPv4 from this address.
    Ip4(IfName, Ipv4Addr),
    /// IPv6 from this address, and neighbour advertisements for it.
    Ip6(IfName, Ipv6Addr),
    /// The port of a routed network is guarded: it sends from what is at home there.
    Routed(IfName),
    /// Packets from this hardware address, at a port of a routed network.
    Sender(IfName, Mac),
}

impl Guard {
    /// The port.
    pub fn port(&self) -> &IfName {
        match self {
            Guard::Port(port)
            | Guard::Mac(port, _)
            | Guard::Arp(port, ..)
            | Guard::Ip4(port, _)
            | Guard::Ip6(port, _)
            | Guard::Routed(port)
            | Guard::Sender(port, _) => port,
        }
    }
}

/// A table of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// `inet qiao`: what is routed.
    Inet,
    /// `bridge qiao`: what ports send.
    Bridge,
}

impl Table {
    /// The family as nft writes it.
    pub fn family(self) -> &'static str {
        match self {
            Table::Inet => "inet",
            Table::Bridge => "bridge",
        }
    }
}

/// A set or map of the rule set: its table and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set {
    /// The table.
    pub table: Table,
    /// The name.
    pub name: &'static str,
}

impl Key {
    /// The set that the object is an element of, if it is one.
    pub fn set(&self) -> Option<Set> {
        match self {
            Key::Member(member) => Some(inet(member_set(member))),
            Key::Guard(guard) => Some(guard_set(guard)),
            Key::Publish(listen) => Some(inet(publish_map(listen))),
            _ => None,
        }
    }

    /// Whether it is refused to make one that is there: the endpoint's interface, and its elements.
    pub fn is_made_once(&self, owner: &Owner) -> bool {
        let element = self.set().is_some() && matches!(owner, Owner::Endpoint(_));
        element || matches!(self, Key::Veth(_))
    }

    /// Whether it is of the host as a whole, and no interface is needed for it: a setting, the rule set, and what
    /// is in it.
    pub fn is_firewall(&self) -> bool {
        matches!(self, Key::Sysctl(_) | Key::Ruleset) || self.is_opening() || self.set().is_some()
    }

    /// Whether it is a rule of ours among those of `iptables`.
    pub fn is_opening(&self) -> bool {
        matches!(self, Key::Open(..) | Key::Names(..))
    }

    /// The link of the host that an object hangs on: it goes when the link goes.
    pub fn hangs_on<'a>(&'a self, value: &'a Value) -> Option<&'a IfName> {
        match (self, value) {
            (
                Key::BridgeAddress(link, _)
                | Key::VlanFiltering(link)
                | Key::BridgeVrf(link, _)
                | Key::BridgeUp(link)
                | Key::BridgeVlan(link, _)
                | Key::VlanAddress(link, _)
                | Key::Port(link)
                | Key::PortVlans(link)
                | Key::Switch(link, _)
                | Key::Setting(_, link)
                | Key::Fdb(link, _)
                | Key::OwnFdb(link, _)
                | Key::Neighbour(link, _)
                | Key::Shape(link)
                | Key::Redirect(link)
                | Key::HostUp(link),
                _,
            ) => Some(link),
            (Key::HostRoute(_), Value::Route { dev, .. }) => Some(dev),
            _ => None,
        }
    }

    /// The sandbox whose namespace the object is in; none for the host's.
    pub fn sandbox(&self) -> Option<&SandboxName> {
        match self {
            Key::SandboxLoopback(s)
            | Key::SandboxSysctl(s, _)
            | Key::SandboxMac(s, _)
            | Key::Tuned(s, ..)
            | Key::SandboxAddress(s, ..)
            | Key::SandboxUp(s, _)
            | Key::SandboxNeighbour(s, ..)
            | Key::Child(s, _)
            | Key::Lone(s, _)
            | Key::Lent(s, _)
            | Key::NoAdvertisements(s, _)
            | Key::Native(s, ..)
            | Key::Vrf(s, _)
            | Key::Master(s, _)
            | Key::Rule(s, _)
            | Key::Way(s, _)
            | Key::Route(s, _) => Some(s),
            _ => None,
        }
    }
}

fn inet(name: &'static str) -> Set {
    Set { table: Table::Inet, name }
}

fn by_family(family: Family, v4: &'static str, v6: &'static str) -> &'static str {
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

fn member_set(member: &Member) -> &'static str {
    match member {
        Member::Downlink(_) => "downlinks",
        Member::Pair(..) => "pairs",
        Member::Internal(_) => "internal",
        Member::Closed(_) => "closed",
        Member::Friend(_) => "friends",
        Member::Apart(_) => "apart",
        Member::Near(ip, _) => by_family(Family::of(*ip), "near4", "near6"),
        Member::Except(except) => by_family(except.family(), "except4", "except6"),
        Member::Plain(ip) => by_family(Family::of(*ip), "plain4", "plain6"),
        Member::NoTransit(_) => "no_transit",
        Member::Transit(..) => "transit",
        Member::Subnet(net) => by_family(net.family(), "subnets4", "subnets6"),
        Member::Own(net, _) => by_family(net.family(), "own4", "own6"),
        Member::Home(ip, _) => by_family(Family::of(*ip), "homes4", "homes6"),
        Member::Peers(net, _) => by_family(net.family(), "peers4", "peers6"),
        Member::Gateway(net, _) => by_family(net.family(), "gateways4", "gateways6"),
        Member::Outbound(net, _) => by_family(net.family(), "outbound4", "outbound6"),
        Member::Hidden(net) => by_family(net.family(), "hidden4", "hidden6"),
        Member::Masquerade(net) => by_family(net.family(), "masquerade4", "masquerade6"),
        Member::FriendSubnet(net) => by_family(net.family(), "friends4", "friends6"),
    }
}

fn guard_set(guard: &Guard) -> Set {
    let bridge = |name| Set { table: Table::Bridge, name };
    match guard {
        Guard::Port(_) => bridge("ports"),
        Guard::Mac(..) => bridge("macs"),
        Guard::Arp(..) => bridge("arps"),
        Guard::Ip4(..) => bridge("ip4s"),
        Guard::Ip6(..) => bridge("ip6s"),
        Guard::Routed(_) => inet("routed"),
        Guard::Sender(..) => inet("senders"),
    }
}

fn publish_map(listen: &Listen) -> &'static str {
    let family = listen.host.family();
    let any = matches!(listen.host, crate::port::HostAddr::Any(_));
    match (any, listen.ports.count() > 1) {
        (false, false) => by_family(family, "publish4", "publish6"),
        (true, false) => by_family(family, "publish_any4", "publish_any6"),
        (false, true) => by_family(family, "ranges4", "ranges6"),
        (true, true) => by_family(family, "ranges_any4", "ranges_any6"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan is lists and trees of these, which are moved as they are: a large variant, boxed, costs only those who
    /// have it.
    #[test]
    fn a_key_is_no_larger_than_what_is_in_most_of_them() {
        assert!(size_of::<Key>() <= 64, "{}", size_of::<Key>());
        assert!(size_of::<Value>() <= 64, "{}", size_of::<Value>());
    }
}
