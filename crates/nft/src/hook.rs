//! Where packets enter a chain (`enum nft_hook_attributes`).

use crate::error::{DecodeError, Encoded};
use crate::wire::number::numbered;
use crate::wire::{Attributes, NFTA_LIST_ELEM, Value, Writer};

const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;
const NFTA_HOOK_DEVS: u16 = 4;

/// What a base chain is for; the kernel goes by its name (`struct nft_chain_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainType {
    /// Filters packets.
    Filter,
    /// Sees the first packet of each connection, and may translate its addresses.
    Nat,
    /// Routes a packet anew if the chain changed it.
    Route,
}

impl ChainType {
    /// All there are.
    pub const ALL: &[Self] = &[Self::Filter, Self::Nat, Self::Route];

    /// The kernel's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

numbered! {
    /// What becomes of a packet at the end of a base chain (`NFTA_CHAIN_POLICY`).
    pub enum Policy: u32 {
        /// It is dropped (`NF_DROP`).
        Drop = 0,
        /// It goes on (`NF_ACCEPT`).
        Accept = 1,
    }
}

/// A base chain's place among the packet hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What the chain is for.
    pub kind: ChainType,
    /// The hook: one of this type's constants (`NF_INET_*`, `NF_BR_*`), or `NF_NETDEV_INGRESS` (0), `NF_NETDEV_EGRESS`
    /// (1), `NF_INET_INGRESS` (5).
    pub number: u32,
    /// The order among the chains at this hook, the smallest first.
    pub priority: i32,
    /// What becomes of a packet that no rule decides about.
    pub policy: Policy,
    /// The device, for ingress and egress. A chain with several of them is a [`Reply::Other`](crate::Reply::Other).
    pub device: Option<String>,
}

impl Hook {
    /// Before routing (`NF_INET_PRE_ROUTING`, `NF_BR_PRE_ROUTING`).
    pub const PREROUTING: u32 = 0;
    /// To this host (`NF_INET_LOCAL_IN`, `NF_BR_LOCAL_IN`).
    pub const INPUT: u32 = 1;
    /// Through this host (`NF_INET_FORWARD`, `NF_BR_FORWARD`).
    pub const FORWARD: u32 = 2;
    /// From this host (`NF_INET_LOCAL_OUT`, `NF_BR_LOCAL_OUT`).
    pub const OUTPUT: u32 = 3;
    /// After routing (`NF_INET_POST_ROUTING`, `NF_BR_POST_ROUTING`).
    pub const POSTROUTING: u32 = 4;

    pub(crate) fn put(&self, writer: &mut Writer, attribute: u16) -> Encoded {
        writer.nest(attribute, |writer| {
            self.number.put(writer, NFTA_HOOK_HOOKNUM)?;
            self.priority.put(writer, NFTA_HOOK_PRIORITY)?;
            self.device.put(writer, NFTA_HOOK_DEV)
        })
    }
}

/// What a chain's attributes say about its hook, as far as they are read.
#[derive(Debug, Default)]
pub(crate) struct HookAttributes {
    number: Option<u32>,
    priority: Option<i32>,
    devices: Vec<String>,
    wildcard: bool,
    pub(crate) kind: Option<String>,
    pub(crate) policy: Option<Policy>,
}

impl HookAttributes {
    pub(crate) fn read(&mut self, attributes: Attributes<'_>) -> Result<(), DecodeError> {
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.number {
                NFTA_HOOK_HOOKNUM => self.number = Some(attribute.read()?),
                NFTA_HOOK_PRIORITY => self.priority = Some(attribute.read()?),
                // The kernel sends a single device both alone and in the list.
                NFTA_HOOK_DEV if self.devices.is_empty() => self.devices.push(attribute.read()?),
                NFTA_HOOK_DEVS => self.read_devices(attribute.nested())?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_devices(&mut self, list: Attributes<'_>) -> Result<(), DecodeError> {
        self.devices.clear();
        for device in list {
            let device = device?;
            self.wildcard |= device.number != NFTA_LIST_ELEM;
            self.devices.push(device.read()?);
        }
        Ok(())
    }

    /// Whether the chain has a hook.
    pub(crate) fn is_there(&self) -> bool {
        self.number.is_some()
    }

    /// `None` if [`Hook`] cannot say it.
    pub(crate) fn finish(mut self) -> Option<Hook> {
        let device = self.devices.pop();
        if self.wildcard || !self.devices.is_empty() {
            return None;
        }
        let kind = ChainType::from_name(&self.kind?)?;
        Some(Hook { kind, number: self.number?, priority: self.priority?, policy: self.policy?, device })
    }
}
