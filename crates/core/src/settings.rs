//! The settings: `qiao.toml`, with the defaults of a host that has none.

use crate::network::Pool;
use crate::refusal::Refusal;
use crate::subnet::{Family, Subnet};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// The settings of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The default network's bridge address with its prefix length.
    pub bip: Option<IpNet>,
    /// The part of the default network's subnet that addresses are given out from.
    pub fixed_cidr: Option<Subnet>,
    /// The default network's IPv6 subnet.
    pub fixed_cidr_v6: Option<Subnet>,
    /// Where the subnets of other networks are taken from.
    pub default_address_pools: Vec<AddressPool>,
    /// Subnets that are never chosen, such as those of a VPN that is not up yet.
    pub avoid_subnets: Vec<Subnet>,
    /// The MTU of new networks: `"auto"` for that of the default route's device, or bytes.
    pub mtu: MtuSetting,
    /// Whether members of a network reach one another.
    pub icc: bool,
    /// Whether networks are kept apart.
    pub isolate: Toggle,
    /// Whether new networks have IPv6; `"auto"` where the host has an IPv6 default route.
    pub ipv6: AutoToggle,
    /// Where `-p` without an address publishes.
    pub publish_address: IpAddr,
    /// The resolvers that containers get; empty for the host's own.
    pub dns: Vec<IpAddr>,
    /// Labels of this engine, as `qiao info` shows them.
    pub labels: Vec<String>,
    /// How 127.0.0.1 and ::1 are published.
    pub loopback: LoopbackMethod,
    /// Whether packets pass through the host that are of no container, where forwarding is on by our doing.
    pub transit: TransitSetting,
    /// How long a DHCP server is waited for, in seconds.
    pub dhcp_timeout: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bip: None,
            fixed_cidr: None,
            fixed_cidr_v6: None,
            default_address_pools: docker_pools(),
            avoid_subnets: Vec::new(),
            mtu: MtuSetting::Auto,
            icc: true,
            isolate: Toggle::On,
            ipv6: AutoToggle::Auto,
            publish_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            dns: Vec::new(),
            labels: Vec::new(),
            loopback: LoopbackMethod::Auto,
            transit: TransitSetting::Auto,
            dhcp_timeout: 20,
        }
    }
}

/// A block that subnets are cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressPool {
    /// The block.
    pub base: Subnet,
    /// The prefix length of the subnets cut from it.
    pub size: u8,
}

/// The pools that Docker has: 172.17/16 to 172.31/16, then 192.168.0.0/16 in /20s.
fn docker_pools() -> Vec<AddressPool> {
    let pool = |base: [u8; 4], len, size| AddressPool {
        base: Subnet::around(IpNet::new_assert(Ipv4Addr::from(base).into(), len)),
        size,
    };
    vec![
        pool([172, 17, 0, 0], 16, 16),
        pool([172, 18, 0, 0], 16, 16),
        pool([172, 19, 0, 0], 16, 16),
        pool([172, 20, 0, 0], 14, 16),
        pool([172, 24, 0, 0], 14, 16),
        pool([172, 28, 0, 0], 14, 16),
        pool([192, 168, 0, 0], 16, 20),
    ]
}

/// The subnet of the default network unless `bip` says otherwise.
pub fn default_subnet() -> Subnet {
    Subnet::around(IpNet::new_assert(Ipv4Addr::new(172, 17, 0, 0).into(), 16))
}

impl Settings {
    /// Refuses settings that contradict themselves.
    pub fn check(&self) -> Result<(), Refusal> {
        if let Some(pool) = self.bip_pool() {
            let ranged = Pool { range: self.fixed_cidr, ..pool };
            ranged.check().map_err(|r| r.context("the settings `bip` and `fixed-cidr`"))?;
        }
        for pool in &self.default_address_pools {
            let most = pool.base.family().bits() - 2;
            if !(pool.base.prefix_len()..=most).contains(&pool.size) {
                let what = format!(
                    "the setting `default-address-pools`: {} cannot be cut into /{}",
                    pool.base, pool.size
                );
                return Err(
                    Refusal::invalid(what).why(format!("a size is {} to {most}", pool.base.prefix_len()))
                );
            }
        }
        match self.mtu {
            MtuSetting::Auto => Ok(()),
            MtuSetting::Bytes(mtu) => {
                crate::network::check_mtu(mtu, false).map_err(|r| r.context("the setting `mtu`"))
            }
        }
    }

    /// The pool that `bip` asks for.
    pub fn bip_pool(&self) -> Option<Pool> {
        self.bip.map(|net| Pool { gateway: net.addr(), ..Pool::new(Subnet::around(net)) })
    }

    /// The pools of a family.
    pub fn pools(&self, family: Family) -> impl Iterator<Item = &AddressPool> {
        self.default_address_pools.iter().filter(move |pool| pool.base.family() == family)
    }

    /// The fixed MTU of new networks, or none for that of the default route's device.
    pub fn fixed_mtu(&self) -> Option<u32> {
        match self.mtu {
            MtuSetting::Auto => None,
            MtuSetting::Bytes(mtu) => Some(mtu),
        }
    }
}

/// `"on"` or `"off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Toggle {
    /// Yes.
    On,
    /// No.
    Off,
}

/// `"auto"`, `"on"` or `"off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AutoToggle {
    /// As the host suggests.
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// `"auto"` or a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "MtuText", into = "MtuText")]
pub enum MtuSetting {
    /// That of the default route's device.
    Auto,
    /// This many bytes.
    Bytes(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum MtuText {
    Bytes(u32),
    Word(String),
}

impl TryFrom<MtuText> for MtuSetting {
    type Error = Refusal;
    fn try_from(text: MtuText) -> Result<Self, Refusal> {
        match text {
            MtuText::Bytes(bytes) => Ok(MtuSetting::Bytes(bytes)),
            MtuText::Word(word) if word == "auto" => Ok(MtuSetting::Auto),
            MtuText::Word(word) => {
                Err(Refusal::invalid(format!("{} is not an MTU", crate::name::quoted(&word)))
                    .why("`auto` or bytes"))
            }
        }
    }
}

impl From<MtuSetting> for MtuText {
    fn from(setting: MtuSetting) -> MtuText {
        match setting {
            MtuSetting::Auto => MtuText::Word("auto".into()),
            MtuSetting::Bytes(bytes) => MtuText::Bytes(bytes),
        }
    }
}

/// How the loopback addresses are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoopbackMethod {
    /// `bpf` where the kernel allows it, else `proxy`.
    Auto,
    /// Connections are translated when they are made (cgroup hooks).
    Bpf,
    /// One process passes the bytes on.
    Proxy,
    /// Not at all.
    Off,
}

/// What becomes of packets that merely pass through a host which forwards by our doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransitSetting {
    /// They are dropped, unless others let them through.
    Auto,
    /// They are dropped.
    Drop,
    /// They pass, as far as others let them.
    Allow,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold() {
        Settings::default().check().unwrap();
        assert_eq!(Settings::default().default_address_pools.len(), 7);
    }

    #[test]
    fn contradictions_are_refused() {
        let mut settings = Settings { bip: Some("172.17.0.0/16".parse().unwrap()), ..Settings::default() };
        assert!(settings.check().is_err(), "a network address is no bridge address");
        settings.bip = Some("172.17.0.1/16".parse().unwrap());
        settings.check().unwrap();
        settings.default_address_pools[0].size = 8;
        assert!(settings.check().is_err());
    }
}
