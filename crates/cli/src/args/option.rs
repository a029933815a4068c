//! Options that are words of their own: `on|off`, `name=address`, `-o key=value`.

use clap::ValueEnum;
use qiao_core::child::Mode;
use qiao_core::name::quoted;
use qiao_core::request::{BridgeOptions, Kind};
use qiao_core::{IfName, NetworkName, Refusal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// Yes.
    On,
    /// No.
    Off,
}

impl OnOff {
    /// Whether it is on.
    pub fn is_on(self) -> bool {
        self == OnOff::On
    }
}

/// `on`, `off`, or who is asked for other names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dns {
    /// Members have names; other names are asked from these, or from the host's resolvers where there are none.
    On(Vec<IpAddr>),
    /// Members have no names.
    Off,
}

/// Reads `--dns` of a network.
pub fn dns(text: &str) -> Result<Dns, Refusal> {
    let bad = |_| {
        Refusal::invalid(format!("{} is not on, off or addresses with commas between them", quoted(text)))
    };
    match text {
        "on" => Ok(Dns::On(Vec::new())),
        "off" => Ok(Dns::Off),
        list => Ok(Dns::On(list.split(',').map(str::parse).collect::<Result<_, _>>().map_err(bad)?)),
    }
}

/// `name=address`.
pub fn name_ip(text: &str) -> Result<(String, IpAddr), Refusal> {
    let bad = || Refusal::invalid(format!("{} is not NAME=ADDRESS", quoted(text)));
    let (name, ip) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(bad)?;
    Ok((name.to_owned(), ip.parse().map_err(|_| bad())?))
}

/// `key=value`, split.
pub fn key_value(text: &str) -> Result<(String, String), Refusal> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() || text.contains(['\n', '\0']) {
        return Err(Refusal::invalid(format!("{} is not KEY=VALUE", quoted(text))));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// A network of `--network`, with what is wished for on it: `NAME[:ip=…,ip6=…,mac=…,ifname=…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOption {
    /// The network.
    pub name: NetworkName,
    /// The IPv4 address.
    pub ip: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub ip6: Option<Ipv6Addr>,
    /// The hardware address.
    pub mac: Option<qiao_core::Mac>,
    /// The interface's name.
    pub ifname: Option<IfName>,
}

/// Reads a network of `--network`.
pub fn network_option(text: &str) -> Result<NetworkOption, Refusal> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let mut option = NetworkOption { name: name.parse()?, ip: None, ip6: None, mac: None, ifname: None };
    for word in rest.split(',').filter(|word| !word.is_empty()) {
        let (key, value) = key_value(word)?;
        match key.as_str() {
            "ip" => option.ip = Some(parse(&key, &value)?),
            "ip6" => option.ip6 = Some(parse(&key, &value)?),
            "mac" | "mac-address" => option.mac = Some(value.parse()?),
            "ifname" | "interface_name" => option.ifname = Some(value.parse()?),
            _ => {
                return Err(Refusal::invalid(format!("{} is not an option of a network", quoted(&key)))
                    .why("ip, ip6, mac and ifname are"));
            }
        }
    }
    Ok(option)
}

fn parse<T: FromStr>(key: &str, value: &str) -> Result<T, Refusal> {
    value.parse().map_err(|_| Refusal::invalid(format!("{} is not a value of `{key}`", quoted(value))))
}

fn flag(key: &str, value: &str) -> Result<bool, Refusal> {
    match value {
        "true" | "on" | "1" | "" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => {
            Err(Refusal::invalid(format!("{} is not a value of `{key}`", quoted(value))).why("true or false"))
        }
    }
}

/// Reads the options of a bridge network: our short names, and Docker's long ones.
pub fn bridge_options(options: &[(String, String)]) -> Result<BridgeOptions, Refusal> {
    let mut read = BridgeOptions::default();
    for (key, value) in options {
        let short = key.strip_prefix("com.docker.network.").unwrap_or(key);
        match short {
            "bridge.name" | "name" => read.device = Some(value.parse()?),
            "driver.mtu" | "mtu" => read.mtu = Some(parse(key, value)?),
            "bridge.enable_icc" | "icc" => read.icc = Some(flag(key, value)?),
            "bridge.enable_ip_masquerade" | "masquerade" => read.masquerade = Some(flag(key, value)?),
            "bridge.host_binding_ipv4" | "publish-address" => read.publish_address = Some(parse(key, value)?),
            "isolate" => read.isolate = Some(flag(key, value)?),
            "guard" => read.guard = Some(flag(key, value)?),
            "host-access" => read.host_access = Some(flag(key, value)?),
            _ => return Err(unknown(key)),
        }
    }
    Ok(read)
}

/// The options of a macvlan or ipvlan network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChildOptions {
    /// The interface of the host.
    pub parent: Option<IfName>,
    /// Whom the children reach.
    pub mode: Option<Mode>,
    /// The MTU in bytes.
    pub mtu: Option<u32>,
}

/// Reads the options of a macvlan or ipvlan network: our names, which are Podman's, and Docker's.
pub fn child_options(kind: Kind, options: &[(String, String)]) -> Result<ChildOptions, Refusal> {
    let mut read = ChildOptions::default();
    let (mut mode, mut flag) = (None, None);
    for (key, value) in options {
        match (key.strip_prefix("com.docker.network.").unwrap_or(key), kind) {
            ("parent", _) => read.parent = Some(value.parse()?),
            ("driver.mtu" | "mtu", _) => read.mtu = Some(parse(key, value)?),
            ("mode", _) | ("macvlan_mode", Kind::Macvlan) | ("ipvlan_mode", Kind::Ipvlan) => {
                mode = Some(value.as_str());
            }
            ("flag" | "ipvlan_flag", Kind::Ipvlan) => flag = Some(value.as_str()),
            _ => return Err(unknown_of_child(key, kind)),
        }
    }
    read.mode = match (kind, mode) {
        (Kind::Macvlan, Some(mode)) => Some(Mode::macvlan(mode)?),
        (Kind::Ipvlan, _) => Some(Mode::ipvlan(mode.unwrap_or("l2"), flag)?),
        _ => None,
    };
    Ok(read)
}

fn unknown_of_child(key: &str, kind: Kind) -> Refusal {
    let also = if kind == Kind::Ipvlan { "parent, mode, flag and mtu" } else { "parent, mode and mtu" };
    Refusal::invalid(format!("{} is not an option of a {} network", quoted(key), kind.as_str()))
        .why(format!("{also} are, and Docker's {0}_mode", kind.as_str()))
}

fn unknown(key: &str) -> Refusal {
    Refusal::invalid(format!("{} is not an option of a bridge network", quoted(key)))
        .why("name, mtu, icc, masquerade, publish-address, isolate, guard and host-access are, and Docker's com.docker.network.* for the first five")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_carry_wishes() {
        let option = network_option("front:ip=10.0.0.5,mac=02:00:00:00:00:05,ifname=eth7").unwrap();
        assert_eq!((option.name.as_str(), option.ip.unwrap().to_string().as_str()), ("front", "10.0.0.5"));
        assert_eq!(option.ifname.unwrap().as_str(), "eth7");
        for bad in ["", ":ip=1.2.3.4", "front:ip=x", "front:colour=red", "a b"] {
            assert!(network_option(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parents_have_the_options_of_docker_and_podman() {
        let read = |kind, pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            child_options(kind, &pairs)
        };
        let docker = read(Kind::Macvlan, &[("parent", "eth0.10"), ("macvlan_mode", "vepa")]).unwrap();
        let podman = read(Kind::Macvlan, &[("parent", "eth0.10"), ("mode", "vepa")]).unwrap();
        assert_eq!(
            (docker.parent.clone().unwrap().as_str(), docker.mode.unwrap().name()),
            ("eth0.10", "vepa")
        );
        assert_eq!(docker, podman);
        let l3 = read(Kind::Ipvlan, &[("ipvlan_mode", "l3"), ("ipvlan_flag", "private")]).unwrap();
        assert_eq!(l3.mode.unwrap().to_string(), "ipvlan mode l3 private");
        for bad in
            [("ipvlan_mode", "l2"), ("mode", "l2"), ("icc", "true"), ("parent", "a b"), ("flag", "vepa")]
        {
            assert!(read(Kind::Macvlan, &[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn dockers_options_mean_ours() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let read =
            bridge_options(&[pair("com.docker.network.bridge.enable_icc", "false"), pair("mtu", "1400")])
                .unwrap();
        assert_eq!((read.icc, read.mtu), (Some(false), Some(1400)));
        assert!(bridge_options(&[pair("com.docker.network.bridge.colour", "red")]).is_err());
        assert!(bridge_options(&[pair("isolate", "maybe")]).is_err());
    }
}
