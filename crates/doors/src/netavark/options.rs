//! What standard input says, as Podman writes it.

use super::Failure;
use ipnet::IpNet;
use qiao_core::route::Kind;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// What a container's networks shall be. (What is no such thing is called as netavark calls it.)
#[derive(Clone, Debug, Deserialize)]
#[serde(rename = "NetworkOptions")]
pub struct Options {
    /// The container.
    pub container_id: String,
    /// Its first name.
    pub container_name: String,
    /// Its host name.
    #[serde(default)]
    pub container_hostname: Option<String>,
    /// The networks, in the order in which they are joined.
    #[serde(deserialize_with = "networks")]
    pub networks: Vec<(String, PerNetwork)>,
    /// What the networks are.
    pub network_info: BTreeMap<String, Network>,
    /// The published ports.
    #[serde(default)]
    pub port_mappings: Option<Vec<PortMapping>>,
    /// Who resolves names of others for this container.
    #[serde(default)]
    pub dns_servers: Option<Vec<IpAddr>>,
}

/// What a container has on one network.
#[derive(Clone, Debug, Deserialize)]
pub struct PerNetwork {
    /// Other names.
    #[serde(default)]
    pub aliases: Option<Vec<String>>,
    /// The interface in it.
    pub interface_name: String,
    /// Its addresses.
    #[serde(default)]
    pub static_ips: Option<Vec<IpAddr>>,
    /// Its hardware address.
    #[serde(default)]
    pub static_mac: Option<String>,
    /// Further options.
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
}

/// A network.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Network {
    /// When it was created (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Whether names are resolved for it.
    pub dns_enabled: bool,
    /// The kind of network.
    pub driver: String,
    /// The id: 64 hexadecimal digits.
    pub id: String,
    /// Nothing in or out.
    pub internal: bool,
    /// Whether it has IPv6.
    pub ipv6_enabled: bool,
    /// The name.
    pub name: String,
    /// The bridge, or the interface of the host that others hang on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_interface: Option<String>,
    /// The driver's options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<BTreeMap<String, String>>,
    /// Who gives addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// The subnets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnets: Option<Vec<Subnet>>,
    /// Routes of its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<Route>>,
    /// Who resolves names of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_dns_servers: Option<Vec<IpAddr>>,
    /// The user's labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// A subnet.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Subnet {
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Where addresses are taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_range: Option<LeaseRange>,
    /// The prefix.
    pub subnet: IpNet,
}

/// A part of a subnet. Only `create` looks at it: whoever gives out addresses heeds it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct LeaseRange {
    /// The last address.
    pub end_ip: Option<String>,
    /// The first address.
    pub start_ip: Option<String>,
}

/// A route.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Route {
    /// The gateway; only a unicast route has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The destination.
    pub destination: IpNet,
    /// The metric.
    #[serde(default)]
    pub metric: Option<u32>,
    /// The type; none is unicast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_type: Option<String>,
}

/// A published port, or several in a row.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct PortMapping {
    /// The container's first port.
    pub container_port: u16,
    /// The address of the host; empty for all of them.
    pub host_ip: String,
    /// The host's first port.
    pub host_port: u16,
    /// The protocol.
    pub protocol: String,
    /// How many; 0 is one.
    pub range: u16,
}

impl Options {
    /// Reads what was sent.
    pub fn parse(text: &[u8]) -> Result<Self, Failure> {
        read(text).map_err(|error| Failure(format!("failed to load network options: IO error: {error}")))
    }

    /// Every network that is joined, with what it is.
    pub fn joined(&self) -> Result<Vec<(&PerNetwork, &Network)>, Failure> {
        self.networks.iter().map(|(name, own)| Ok((own, self.info(name)?))).collect()
    }

    /// Every network that is joined and of which it is said what it is, and what is wrong with the others.
    pub fn known(&self) -> (Vec<(&PerNetwork, &Network)>, Vec<Failure>) {
        let (mut known, mut failures) = (Vec::new(), Vec::new());
        for (name, own) in &self.networks {
            match self.info(name) {
                Ok(network) => known.push((own, network)),
                Err(failure) => failures.push(failure),
            }
        }
        (known, failures)
    }

    fn info(&self, name: &str) -> Result<&Network, Failure> {
        let missing = || Failure(format!("network info for network {name} not found"));
        self.network_info.get(name).ok_or_else(missing)
    }
}

/// Reads a document; what is wrong with one is said as netavark says it, which reads from a stream.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    let parsed = serde_json::from_slice(text).or_else(|_| serde_json::from_reader(text))?;
    crate::json::read_any(text).map(|_| parsed)
}

impl Route {
    /// Its type. A unicast route has a gateway, of its own family; no other has one.
    pub fn kind(&self) -> Result<Kind, Failure> {
        let kind = match self.route_type.as_deref() {
            None | Some("" | "unicast") => Kind::Unicast,
            Some("blackhole") => Kind::Blackhole,
            Some("unreachable") => Kind::Unreachable,
            Some("prohibit") => Kind::Prohibit,
            Some(other) => return Err(Failure(format!("invalid route type {other:?}"))),
        };
        let to = self.destination;
        let is_v4 = to.addr().is_ipv4();
        let family = |is_v4| if is_v4 { "ipv4" } else { "ipv6" };
        match (kind, self.gateway) {
            (Kind::Unicast, None) => Err(Failure(format!("route {to} requires a gateway for type unicast"))),
            (Kind::Unicast, Some(via)) if via.is_ipv4() != is_v4 => Err(Failure(format!(
                "route with {} destination and {} gateway ({to} via {via})",
                family(is_v4),
                family(!is_v4)
            ))),
            (Kind::Unicast, Some(_)) | (_, None) => Ok(kind),
            (_, Some(_)) => {
                Err(Failure(format!("route {to} must not have a gateway for type {}", kind.as_str())))
            }
        }
    }
}

impl Network {
    /// An option of its driver.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.as_ref()?.get(name).map(String::as_str)
    }

    /// Who gives addresses: `host-local`, `none` or `dhcp`.
    pub fn ipam(&self) -> &str {
        let driver = self.ipam_options.as_ref().and_then(|options| options.get("driver"));
        driver.map_or("host-local", String::as_str)
    }

    /// The subnets.
    pub fn subnets(&self) -> &[Subnet] {
        self.subnets.as_deref().unwrap_or_default()
    }

    /// The subnets' gateways.
    pub fn gateways(&self) -> Vec<IpAddr> {
        self.subnets().iter().filter_map(|subnet| subnet.gateway).collect()
    }
}

/// A map (Podman 4 and 5) or a list with names (Podman 6). A map has no order: the interfaces' names give it one.
fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, PerNetwork)>, D::Error> {
    struct Networks;

    #[derive(Deserialize)]
    #[serde(rename = "NamedPerNetworkOptions")]
    struct Named {
        name: String,
        #[serde(flatten)]
        own: PerNetwork,
    }

    impl<'de> Visitor<'de> for Networks {
        type Value = Vec<(String, PerNetwork)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("array of network options or map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(entry) = map.next_entry::<String, PerNetwork>()? {
                all.push(entry);
            }
            all.sort_by(|(_, a), (_, b)| {
                let key = |own: &PerNetwork| (own.interface_name.len(), own.interface_name.clone());
                key(a).cmp(&key(b))
            });
            Ok(all)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(Named { name, own }) = list.next_element()? {
                all.push((name, own));
            }
            Ok(all)
        }
    }

    from.deserialize_any(Networks)
}
