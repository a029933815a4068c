//! What can be asked of the engine. Every front door's wire format becomes one of these.

use crate::child::Mode;
use crate::condition::Condition;
use crate::endpoint::{Clients, Extras, Names, Tunable};
use crate::mac::Mac;
use crate::name::{IfName, NetworkName, SandboxName};
use crate::network::Network;
use crate::plan::Value;
use crate::port::PublishSpec;
use crate::refusal::{Code, Refusal};
use crate::shape::Limits;
use crate::source::Sources;
use crate::subnet::{Family, Subnet};
use crate::vrf::Behind;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Attach a sandbox to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The sandbox.
    pub sandbox: SandboxName,
    /// The path of its network namespace, or none to use the one it is already attached with.
    pub netns: Option<String>,
    /// The network, or none for the default one.
    pub network: Option<NetworkName>,
    /// The interface inside the sandbox, or none for the first free `eth…`.
    pub ifname: Option<IfName>,
    /// What is wished for.
    pub wish: Wish,
    /// The ports to publish.
    pub publish: Vec<PublishSpec>,
    /// Whether the port is guarded, or none for the network's setting.
    pub guard: Option<bool>,
    /// Addresses the port may send from besides its own.
    pub allow: Vec<IpAddr>,
    /// What else it is called on the network, and who answers its other questions.
    pub names: Names,
    /// The network and what it gives, where the door knows them and the engine does not.
    pub given: Option<Box<Given>>,
}

/// A network that the request describes itself, and what its own address management gave the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The network.
    pub network: Network,
    /// The sandbox's addresses.
    pub addresses: Vec<IpNet>,
    /// What else the endpoint has.
    pub extras: Extras,
    /// The name of the host's end of the pair; none leaves it to the engine.
    pub host_if: Option<IfName>,
    /// Whether default routes lead to the network's gateways; else what is asked for is among the extras.
    pub default_routes: bool,
    /// The client holds published ports with sockets of its own, and asks for them again on each network that the
    /// sandbox joins: neither is in its way.
    pub held: bool,
    /// What a DHCP server is told that the container is called; none for the sandbox's name.
    pub hostname: Option<String>,
}

impl Given {
    /// A network without default routes of its own, for a client that leaves the rest to the engine.
    pub fn new(network: Network, addresses: Vec<IpNet>, extras: Extras) -> Self {
        let extras = Extras { no_default: true, ..extras };
        Self { network, addresses, extras, host_if: None, default_routes: false, held: false, hostname: None }
    }
}

/// Addresses that are asked for rather than given out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The IPv4 address.
    pub ip: Option<Ipv4Addr>,
    /// The IPv6 address.
    pub ip6: Option<Ipv6Addr>,
    /// The hardware address.
    pub mac: Option<Mac>,
}

impl Attach {
    /// A request that leaves everything to the engine.
    pub fn new(sandbox: SandboxName) -> Self {
        Self {
            sandbox,
            netns: None,
            network: None,
            ifname: None,
            wish: Wish::default(),
            publish: Vec::new(),
            guard: None,
            allow: Vec::new(),
            names: Names::default(),
            given: None,
        }
    }
}

/// Whom the members of a network do not hear, but for answers and for clients of published ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// Nobody.
    Open,
    /// Those of other networks like it.
    SameBridge,
    /// All others like it.
    Isolated,
}

/// Change an endpoint that is attached: plugins of a chain come one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amend {
    /// The sandbox.
    pub sandbox: SandboxName,
    /// The interface in it.
    pub ifname: IfName,
    /// The published ports from now on; none leaves them.
    pub publish: Option<Vec<PublishSpec>>,
    /// Who is kept out from now on; none leaves that.
    pub ingress: Option<Ingress>,
    /// The families in which `iptables` drops what the host forwards, unless the endpoint is let through; none leaves
    /// that.
    pub open: Option<Vec<Family>>,
    /// The zone of a firewall that is a program in which its addresses are from now on, if any; none leaves that.
    pub zone: Option<Option<String>>,
    /// Which clients of published ports are known by the host's address; none leaves that.
    pub clients: Option<Clients>,
    /// What must hold of packets to published ports from now on; none leaves that.
    pub conditions: Option<Vec<Condition>>,
    /// The settings of the sandbox from now on. Those that were changed and are not among them become again what
    /// they were; none leaves all.
    pub tune: Option<Vec<(Tunable, Value)>>,
    /// How fast it may send and receive from now on; none leaves that.
    pub limits: Option<Limits>,
    /// Which of its addresses are routed by themselves from now on; none leaves that.
    pub sources: Option<Sources>,
    /// The device that its interface is behind from now on, if one; none leaves that.
    pub behind: Option<Option<Behind>>,
    /// As in [`Given`].
    pub held: bool,
}

impl Amend {
    /// A request that leaves everything as it is.
    pub fn new(sandbox: SandboxName, ifname: IfName) -> Self {
        Self {
            sandbox,
            ifname,
            publish: None,
            ingress: None,
            open: None,
            zone: None,
            clients: None,
            conditions: None,
            tune: None,
            limits: None,
            sources: None,
            behind: None,
            held: false,
        }
    }
}

/// Detach a sandbox from one network, or from all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detach {
    /// The sandbox.
    pub sandbox: SandboxName,
    /// The network, or none for all of them.
    pub network: Option<NetworkName>,
    /// The interface, where a sandbox could have two on one network.
    pub ifname: Option<IfName>,
}

/// Create a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateNetwork {
    /// The name.
    pub name: NetworkName,
    /// The kind of network.
    pub kind: Kind,
    /// The subnets, at most one of each family; what is missing is chosen.
    pub subnets: Vec<Subnet>,
    /// The gateways of the subnets.
    pub gateways: Vec<IpAddr>,
    /// Where addresses are taken from.
    pub ranges: Vec<Subnet>,
    /// Addresses that are never given out.
    pub aux: BTreeMap<String, IpAddr>,
    /// Whether the network has IPv4; none for yes.
    pub ipv4: Option<bool>,
    /// Whether the network has IPv6; none for the settings' default.
    pub ipv6: Option<bool>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// The driver's settings; of those a macvlan or ipvlan network has the MTU and `internal`.
    pub options: BridgeOptions,
    /// The interface of the host that a macvlan or ipvlan network is on; none for that of the default route.
    pub parent: Option<IfName>,
    /// Whom the children of a macvlan or ipvlan network reach; none for the kind's default.
    pub mode: Option<Mode>,
    /// Addresses are those that a DHCP server of the parent's neighbourhood gives.
    pub dhcp: bool,
    /// Create it although something of the host is in the way.
    pub force: bool,
}

impl CreateNetwork {
    /// A request that leaves everything to the engine.
    pub fn new(name: NetworkName) -> Self {
        Self {
            name,
            kind: Kind::Bridge,
            subnets: Vec::new(),
            gateways: Vec::new(),
            ranges: Vec::new(),
            aux: BTreeMap::new(),
            ipv4: None,
            ipv6: None,
            labels: BTreeMap::new(),
            options: BridgeOptions::default(),
            parent: None,
            mode: None,
            dhcp: false,
            force: false,
        }
    }
}

/// The kinds of network that can be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A bridge of the host.
    Bridge,
    /// A pair of interfaces and a route for each endpoint.
    Routed,
    /// Interfaces with hardware addresses of their own on one of the host's.
    Macvlan,
    /// Interfaces with addresses of their own on one of the host's.
    Ipvlan,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Bridge, Kind::Routed, Kind::Macvlan, Kind::Ipvlan];

    /// Whether its endpoints' interfaces are children of one of the host's.
    pub fn is_child(self) -> bool {
        matches!(self, Kind::Macvlan | Kind::Ipvlan)
    }

    /// The driver's name, as [`crate::Driver::as_str`] has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Bridge => "bridge",
            Kind::Routed => "routed",
            Kind::Macvlan => "macvlan",
            Kind::Ipvlan => "ipvlan",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = Refusal;
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| {
            let all = Kind::ALL.map(Kind::as_str).join(", ");
            Refusal::new(Code::Unsupported, format!("there is no driver {}", crate::name::quoted(text)))
                .why(format!("networks that can be created are of the drivers {all}"))
        })
    }
}

/// The settings of a bridge or routed network that a request may carry; none of a setting leaves its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeOptions {
    /// The bridge device's name.
    pub device: Option<IfName>,
    /// The MTU in bytes.
    pub mtu: Option<u32>,
    /// Nothing in or out except members.
    pub internal: bool,
    /// Whether members of an internal network reach the host.
    pub host_access: Option<bool>,
    /// Whether members reach one another.
    pub icc: Option<bool>,
    /// Whether other networks are kept out.
    pub isolate: Option<bool>,
    /// Whether packets to the outside carry the host's address.
    pub masquerade: Option<bool>,
    /// Whether each port may send only what belongs to it.
    pub guard: Option<bool>,
    /// Where `-p` without an address publishes.
    pub publish_address: Option<IpAddr>,
    /// Whether members have names.
    pub dns: Option<bool>,
    /// Whom their other questions go to.
    pub dns_upstreams: Vec<IpAddr>,
}
