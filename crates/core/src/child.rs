//! Macvlan, ipvlan and VLAN networks: each endpoint has an interface of its own on one of the host's, past the host's
//! rules. Who is there is the neighbours' affair, not the host's.

use crate::name::{IfName, quoted};
use crate::network::{Pool, check_mtu, check_pools};
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The settings of a macvlan, ipvlan or VLAN network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    /// The interface of the host: an existing one, or `PARENT.ID` for a VLAN of one.
    pub parent: IfName,
    /// Whom the children reach.
    pub mode: Mode,
    /// The pools, at most one of each family. Their gateways are the neighbourhood's.
    pub pools: Vec<Pool>,
    /// The MTU in bytes, at most the parent's; or none for the parent's.
    pub mtu: Option<u32>,
    /// No default route.
    pub internal: bool,
    /// The parent is not the host's: it is in the sandbox.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inside: bool,
    /// What becomes of broadcast frames for macvlan children.
    #[serde(default)]
    pub broadcasts: Broadcasts,
    /// The addresses are those that a DHCP server of the neighbourhood gives; there are no pools.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dhcp: bool,
    /// Its door describes it anew with every request, and it is kept for as long as it has members.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inline: bool,
}

/// What becomes of broadcast frames for a macvlan child (`linux/if_link.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broadcasts {
    /// How many wait at most, or none for the kernel's default (`IFLA_MACVLAN_BC_QUEUE_LEN`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Frames for a multicast address are handed out at once while at most this many children want them, and else wait
    /// in the queue; -1 for never the queue, none for the kernel's default, 1 (`IFLA_MACVLAN_BC_CUTOFF`, Linux 6.4).
    /// It is the parent's: of several children the last one that was made decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutoff: Option<i32>,
}

impl Broadcasts {
    /// As `ip link` spells them, with a blank before each.
    pub fn words(self) -> String {
        let queue = self.queue.map(|queue| format!(" bcqueuelen {queue}"));
        let cutoff = self.cutoff.map(|cutoff| format!(" bclim {cutoff}"));
        queue.into_iter().chain(cutoff).collect()
    }
}

impl Child {
    /// Refuses settings that contradict one another.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.parent.as_str() == "lo" {
            return Err(Refusal::invalid("the loopback interface is no parent of others"));
        }
        match self.dhcp || self.inline && self.pools.is_empty() {
            // A server, or its door, has the addresses.
            true => self.mtu.map_or(Ok(()), |mtu| check_mtu(mtu, false)),
            false => check_pools(&self.pools, self.mtu),
        }
    }
}

/// Whom a child reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A macvlan child (`linux/if_link.h`, `enum macvlan_mode`).
    Macvlan(MacvlanMode),
    /// An ipvlan child (`enum ipvlan_mode`, and the flag beside it).
    Ipvlan(IpvlanMode, IpvlanFlag),
    /// The VLAN of this id, 0 to 4094 (IEEE 802.1Q). A parent has one child of each id.
    Vlan(u16),
}

impl Mode {
    /// The kernel's name for the kind of link.
    pub fn kind(self) -> &'static str {
        match self {
            Mode::Macvlan(_) => "macvlan",
            Mode::Ipvlan(..) => "ipvlan",
            Mode::Vlan(_) => "vlan",
        }
    }

    /// Whether the child takes the parent for itself, hardware address and all.
    pub fn is_passthru(self) -> bool {
        self == Mode::Macvlan(MacvlanMode::Passthru)
    }

    /// Refuses a hardware address of a child's own where it has the parent's.
    pub fn check_mac(self) -> Result<(), Refusal> {
        match self.is_passthru() || !matches!(self, Mode::Macvlan(_)) {
            true => {
                Err(Refusal::invalid("the hardware address is the parent's").why(format!("it is {self}")))
            }
            false => Ok(()),
        }
    }

    /// Whether children have neighbours. On others, packets go out by the parent's routes, and nobody is asked
    /// for a hardware address.
    pub fn has_neighbours(self) -> bool {
        !matches!(self, Mode::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _))
    }

    /// The mode's name.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Macvlan(MacvlanMode::Bridge) => "bridge",
            Mode::Macvlan(MacvlanMode::Private) => "private",
            Mode::Macvlan(MacvlanMode::Vepa) => "vepa",
            Mode::Macvlan(MacvlanMode::Passthru) => "passthru",
            Mode::Macvlan(MacvlanMode::Source) => "source",
            Mode::Ipvlan(IpvlanMode::L2, _) => "l2",
            Mode::Ipvlan(IpvlanMode::L3, _) => "l3",
            Mode::Ipvlan(IpvlanMode::L3s, _) => "l3s",
            Mode::Vlan(_) => "802.1q",
        }
    }

    /// Reads a macvlan mode.
    pub fn macvlan(text: &str) -> Result<Self, Refusal> {
        let mode = match text {
            "bridge" => MacvlanMode::Bridge,
            "private" => MacvlanMode::Private,
            "vepa" => MacvlanMode::Vepa,
            "passthru" => MacvlanMode::Passthru,
            _ => {
                return Err(Refusal::invalid(format!("{} is not a mode of macvlan", quoted(text)))
                    .why("bridge, private, vepa and passthru are"));
            }
        };
        Ok(Mode::Macvlan(mode))
    }

    /// Reads an ipvlan mode and its flag; none for `bridge`.
    pub fn ipvlan(text: &str, flag: Option<&str>) -> Result<Self, Refusal> {
        let mode = match text {
            "l2" => IpvlanMode::L2,
            "l3" => IpvlanMode::L3,
            "l3s" => IpvlanMode::L3s,
            _ => {
                return Err(Refusal::invalid(format!("{} is not a mode of ipvlan", quoted(text)))
                    .why("l2, l3 and l3s are"));
            }
        };
        let flag = match flag.unwrap_or("bridge") {
            "bridge" => IpvlanFlag::Bridge,
            "private" => IpvlanFlag::Private,
            "vepa" => IpvlanFlag::Vepa,
            other => {
                return Err(Refusal::invalid(format!("{} is not a flag of ipvlan", quoted(other)))
                    .why("bridge, private and vepa are"));
            }
        };
        Ok(Mode::Ipvlan(mode, flag))
    }
}

impl fmt::Display for Mode {
    /// In `ip`'s words: `macvlan mode bridge`, `ipvlan mode l2 private`, `vlan id 10`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Mode::Vlan(id) = self {
            return write!(f, "vlan id {id}");
        }
        write!(f, "{} mode {}", self.kind(), self.name())?;
        match self {
            Mode::Ipvlan(_, IpvlanFlag::Private) => f.write_str(" private"),
            Mode::Ipvlan(_, IpvlanFlag::Vepa) => f.write_str(" vepa"),
            _ => Ok(()),
        }
    }
}

/// Whom a macvlan child reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Its siblings and the neighbourhood.
    Bridge,
    /// The neighbourhood alone.
    Private,
    /// The neighbourhood, and its siblings where a switch sends frames back.
    Vepa,
    /// The neighbourhood, as the only child.
    Passthru,
    /// They hear only the hardware addresses that somebody adds to their lists (`ip link set … macaddr add`).
    Source,
}

/// What an ipvlan child is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// A host of the neighbourhood, under the parent's hardware address.
    L2,
    /// Behind the parent, which routes.
    L3,
    /// The same, and the host's connections are tracked and its rules heeded.
    L3s,
}

/// Whom an ipvlan child reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanFlag {
    /// Its siblings too.
    Bridge,
    /// Not its siblings.
    Private,
    /// Its siblings where a switch sends frames back.
    Vepa,
}

/// A VLAN of an interface (IEEE 802.1Q).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    /// The interface that carries the tagged frames.
    pub parent: IfName,
    /// The VLAN's id, 1 to 4094.
    pub id: u16,
}

impl Vlan {
    /// What `eth0.10` means where there is no interface of that name.
    pub fn of_name(name: &IfName) -> Option<Self> {
        let (parent, id) = name.as_str().rsplit_once('.')?;
        let id = id.parse().ok().filter(|id| (1..=4094).contains(id))?;
        Some(Self { parent: IfName::new(parent).ok()?, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_vlans() {
        let vlan = |name: &str| Vlan::of_name(&name.parse().unwrap()).map(|v| (v.parent.to_string(), v.id));
        assert_eq!(vlan("eth0.10"), Some(("eth0".into(), 10)));
        assert_eq!(vlan("bond0.2.4094"), Some(("bond0.2".into(), 4094)));
        for name in ["eth0", "eth0.0", "eth0.4095", "eth0.x", "eth0.99999"] {
            assert_eq!(vlan(name), None, "{name}");
        }
    }

    #[test]
    fn modes_round_trip() {
        for mode in ["bridge", "private", "vepa", "passthru"] {
            assert_eq!(Mode::macvlan(mode).unwrap().name(), mode);
        }
        for mode in ["l2", "l3", "l3s"] {
            let private = Mode::ipvlan(mode, Some("private")).unwrap();
            assert_eq!(private.to_string(), format!("ipvlan mode {mode} private"));
        }
        assert!(Mode::macvlan("l2").is_err() && Mode::ipvlan("bridge", None).is_err());
        assert!(Mode::ipvlan("l2", Some("passthru")).is_err());
    }
}
