//! Settings of bridges and ports that have one right value, which they are made with. They are no part of plans but
//! where another program changed one: then it is an object that is not wanted, and deleting it restores the value.

use serde::{Deserialize, Serialize};

/// A setting. Those of bridges come last, and so are given back first: what a port may have hangs on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// Of a port: whether it forwards (`BR_STATE_*`).
    State,
    /// Of a port: it takes no frames of the spanning tree protocol.
    Guard,
    /// Of a port: it never leads to the root of the spanning tree.
    RootBlock,
    /// Of a port: a group is left without asking others.
    FastLeave,
    /// Of a port: the bridge answers ARP for others.
    ProxyArp,
    /// Of a port: the same as IEEE 802.11 wants it.
    ProxyArpWifi,
    /// Of a port: whether it leads to multicast routers.
    PortMulticastRouter,
    /// Of a port: it gets multicast frames of unknown groups.
    MulticastFlood,
    /// Of a port: multicast frames are sent to each member by itself.
    MulticastToUnicast,
    /// Of a port: VLANs are mapped to tunnels.
    VlanTunnel,
    /// Of a port: it gets broadcast frames.
    BroadcastFlood,
    /// Of a port: the bridge answers ARP and neighbour solicitations for others.
    NeighSuppress,
    /// Of a port: where its frames go when it is down.
    BackupPort,
    /// Of a port: it takes no frames of addresses that have no entry.
    Locked,
    /// Of a port: such addresses get entries that wait.
    Mab,
    /// Of a port: how many groups it may be in.
    MulticastMaxGroups,
    /// Of a port: the bridge answers for others in some VLANs.
    NeighVlanSuppress,
    /// Of a bridge: which groups of bridges it forwards.
    GroupForward,
    /// Of a bridge: multicast frames go to members only.
    Snooping,
    /// Of a bridge: it asks who is a member.
    Querier,
    /// Of a bridge: its frames pass `iptables`.
    NfCallIptables,
    /// Of a bridge: its frames pass `ip6tables`.
    NfCallIp6tables,
    /// Of a bridge: its frames pass `arptables`.
    NfCallArptables,
    /// Of a bridge: further switches (`enum br_boolopt_id`).
    Options,
    /// Of a bridge: how many addresses it may learn.
    MaxLearned,
    /// Of a bridge: it answers ARP for what the host routes elsewhere.
    InterfaceProxyArp,
    /// Of a bridge: the same within its subnet.
    InterfaceProxyArpPvlan,
    /// Of a bridge: it speaks the spanning tree protocol.
    Stp,
}

impl Setting {
    /// The word that `ip link set` and `bridge link set` have for it, or the sysctl.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Guard => "guard",
            Self::RootBlock => "root_block",
            Self::FastLeave => "fastleave",
            Self::ProxyArp => "proxy_arp",
            Self::ProxyArpWifi => "proxy_arp_wifi",
            Self::PortMulticastRouter => "mcast_router",
            Self::MulticastFlood => "mcast_flood",
            Self::MulticastToUnicast => "mcast_to_unicast",
            Self::VlanTunnel => "vlan_tunnel",
            Self::BroadcastFlood => "bcast_flood",
            Self::NeighSuppress => "neigh_suppress",
            Self::BackupPort => "backup_port",
            Self::Locked => "locked",
            Self::Mab => "mab",
            Self::MulticastMaxGroups => "mcast_max_groups",
            Self::NeighVlanSuppress => "neigh_vlan_suppress",
            Self::GroupForward => "group_fwd_mask",
            Self::Snooping => "mcast_snooping",
            Self::Querier => "mcast_querier",
            Self::NfCallIptables => "nf_call_iptables",
            Self::NfCallIp6tables => "nf_call_ip6tables",
            Self::NfCallArptables => "nf_call_arptables",
            Self::Options => "boolopt",
            Self::MaxLearned => "fdb_max_learned",
            Self::InterfaceProxyArp => "proxy_arp",
            Self::InterfaceProxyArpPvlan => "proxy_arp_pvlan",
            Self::Stp => "stp_state",
        }
    }

    /// The value that it is made with.
    #[must_use]
    pub fn usual(self) -> u32 {
        const FORWARDING: u32 = 3;
        match self {
            Self::State => FORWARDING,
            Self::PortMulticastRouter | Self::MulticastFlood | Self::BroadcastFlood => 1,
            _ => 0,
        }
    }

    /// Whether it is a port's, not a bridge's.
    #[must_use]
    pub fn is_of_port(self) -> bool {
        self <= Self::NeighVlanSuppress
    }

    /// The command that gives it a value.
    #[must_use]
    pub fn command(self, link: &str, number: u32) -> String {
        let word = self.as_str();
        match self {
            Self::InterfaceProxyArp | Self::InterfaceProxyArpPvlan => {
                format!("sysctl -w net.ipv4.conf.{link}.{word}={number}")
            }
            Self::BackupPort if number == 0 => format!("ip link set {link} type bridge_slave nobackup_port"),
            _ if self.is_of_port() => format!("ip link set {link} type bridge_slave {word} {number}"),
            _ => format!("ip link set {link} type bridge {word} {number}"),
        }
    }
}
