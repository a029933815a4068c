//! Networks whose endpoints each have an interface that hangs on nothing of the host's: one that leads nowhere, one
//! that a program serves, or a device of the host's that is lent to them.

use crate::mac::Mac;
use crate::name::IfName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The settings of such a network. Its door describes it anew with every request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solo {
    /// What is sent there goes nowhere.
    Dummy,
    /// A program sends and receives there what the kernel does.
    Tap(Tap),
    /// A device of the host's, which comes back.
    Device(Select),
}

/// The settings of a tap (`linux/if_tun.h`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tap {
    /// A program may open it more than once (`IFF_MULTI_QUEUE`).
    pub multi_queue: bool,
    /// The user who may open it besides root (`TUNSETOWNER`), by number.
    pub owner: Option<u32>,
    /// The group that may (`TUNSETGROUP`), by number.
    pub group: Option<u32>,
    /// The bridge in the sandbox that it is a port of.
    pub bridge: Option<IfName>,
    /// The MTU in bytes, or none for that of Ethernet.
    pub mtu: Option<u32>,
}

/// Which device of the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// The one of this name.
    Name(IfName),
    /// The one with this hardware address.
    Mac(Mac),
    /// The one below this path of `/sys`.
    Path(String),
    /// The one of this device on the PCI bus: `0000:00:1f.6`.
    Pci(String),
    /// The one of this device on the auxiliary bus: `mlx5_core.sf.4`.
    Auxiliary(String),
}

/// How a device was on the host before it was lent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lent {
    /// Its name.
    pub device: IfName,
    /// Its hardware address, where it has one of six bytes.
    pub mac: Option<Mac>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its alias.
    pub alias: Option<String>,
    /// Whether it was up.
    pub up: bool,
}

impl Solo {
    /// What CNI calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Solo::Dummy => "dummy",
            Solo::Tap(_) => "tap",
            Solo::Device(_) => "host-device",
        }
    }

    /// Whether its interfaces were there before.
    pub fn is_device(&self) -> bool {
        matches!(self, Solo::Device(_))
    }
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Select::Name(name) => write!(f, "`{name}`"),
            Select::Mac(mac) => write!(f, "with the hardware address {mac}"),
            Select::Path(path) => write!(f, "below {path}"),
            Select::Pci(id) => write!(f, "of the PCI device {id}"),
            Select::Auxiliary(id) => write!(f, "of the auxiliary device {id}"),
        }
    }
}
