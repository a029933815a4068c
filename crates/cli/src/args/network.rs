//! `qiao network …`.

use super::option::{Dns as DnsOption, OnOff, dns, key_value, name_ip};
use super::{
    Changing,
    container::{Naming, Publishing},
};
use clap::{Args, Subcommand};
use qiao_core::{IfName, Mac, NetworkName, SandboxName, Subnet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks.
#[derive(Debug, Subcommand)]
pub enum Network {
    /// Create a network
    Create(Box<Create>),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Show networks, with their members
    Inspect(Inspect),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(Rm),
    /// Remove all networks without members
    Prune(Prune),
    /// Connect a container to a network
    Connect(Box<Connect>),
    /// Disconnect a container from a network
    Disconnect(Disconnect),
    /// Tell by the exit code whether a network exists (0 or 1)
    Exists(Exists),
    /// List who has which address
    Allocations(Allocations),
}

/// Create a network.
#[derive(Debug, Args)]
pub struct Create {
    /// The network's name
    pub name: NetworkName,
    /// The kind of network: bridge, routed, macvlan or ipvlan
    #[arg(short, long, default_value = "bridge")]
    pub driver: String,
    /// A subnet, at most one of each family [default: a free one]
    #[arg(long, value_name = "CIDR")]
    pub subnet: Vec<Subnet>,
    /// A subnet's gateway [default: its first address]
    #[arg(long, value_name = "IP")]
    pub gateway: Vec<IpAddr>,
    /// The part of a subnet that addresses are given out from
    #[arg(long, value_name = "CIDR")]
    pub ip_range: Vec<Subnet>,
    /// An address that is never given out
    #[arg(long, value_name = "NAME=IP", value_parser = name_ip)]
    pub aux_address: Vec<(String, IpAddr)>,
    /// Nothing in or out except members
    #[arg(long)]
    pub internal: bool,
    /// IPv4
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ipv4: Option<bool>,
    /// IPv6, with a unique local /64 unless a subnet is given
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ipv6: Option<bool>,
    /// The interface that a macvlan or ipvlan network is on, or PARENT.ID for a VLAN of one [default: that of the
    /// default route]
    #[arg(long, value_name = "INTERFACE")]
    pub parent: Option<IfName>,
    /// Who gives out the addresses: default, or dhcp for a macvlan network on whose parent a DHCP server is
    #[arg(long, value_name = "DRIVER", default_value = "default")]
    pub ipam_driver: String,
    /// The MTU in bytes [default: that of the default route's device]
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u32>,
    /// Keep other networks out [default: on]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    pub isolate: Option<OnOff>,
    /// Let members reach one another [default: on]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    pub icc: Option<OnOff>,
    /// Let each container send only what belongs to it [default: on]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    pub guard: Option<OnOff>,
    /// Names for members, asked at the gateway: on, off, or the resolvers that other names are asked from
    /// [default: on]
    #[arg(long, value_name = "on|off|IP,…", value_parser = dns)]
    pub dns: Option<DnsOption>,
    /// An option of the driver, also Docker's com.docker.network.*
    #[arg(short, long = "opt", value_name = "KEY=VALUE", value_parser = key_value)]
    pub opt: Vec<(String, String)>,
    /// A label
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub label: Vec<(String, String)>,
    /// Create it although a route or a resolver of the host is in the way
    #[arg(long)]
    pub force: bool,
    /// Do nothing if the network exists
    #[arg(long)]
    pub if_not_exists: bool,
    /// Dry run and explanation.
    #[command(flatten)]
    pub changing: Changing,
}

/// List networks.
#[derive(Debug, Args)]
pub struct Ls {
    /// Only those that match: name=, id=, driver=, label=, scope=, type=
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub filter: Vec<(String, String)>,
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
    /// Whole ids
    #[arg(long)]
    pub no_trunc: bool,
    /// `json`, `table COLUMN…`, or a template such as '{{.Name}}'
    #[arg(long)]
    pub format: Option<String>,
}

/// Show networks.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Names or ids
    #[arg(required = true)]
    pub networks: Vec<String>,
    /// `json`, or a template such as '{{.Id}}'
    #[arg(short, long)]
    pub format: Option<String>,
    /// With the objects in the kernel
    #[arg(short, long)]
    pub verbose: bool,
}

/// Remove networks.
#[derive(Debug, Args)]
pub struct Rm {
    /// Names or ids
    #[arg(required = true)]
    pub networks: Vec<String>,
    /// A network that does not exist is no error
    #[arg(short, long)]
    pub force: bool,
    /// Dry run and explanation.
    #[command(flatten)]
    pub changing: Changing,
}

/// Remove all networks without members.
#[derive(Debug, Args)]
pub struct Prune {
    /// Accepted for habit's sake: there is no question to answer
    #[arg(short, long)]
    pub force: bool,
    /// Only those that match: label=, label!=
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub filter: Vec<(String, String)>,
}

/// Connect a container to a network.
#[derive(Debug, Args)]
pub struct Connect {
    /// The network's name or id
    pub network: String,
    /// The container
    pub container: SandboxName,
    /// Its IPv4 address
    #[arg(long)]
    pub ip: Option<Ipv4Addr>,
    /// Its IPv6 address
    #[arg(long)]
    pub ip6: Option<Ipv6Addr>,
    /// Its hardware address
    #[arg(long, visible_alias = "mac", value_name = "MAC")]
    pub mac_address: Option<Mac>,
    /// Its interface's name [default: the next eth…]
    #[arg(long)]
    pub ifname: Option<IfName>,
    /// What else it is called.
    #[command(flatten)]
    pub naming: Naming,
    /// Ports to publish.
    #[command(flatten)]
    pub publishing: Publishing,
    /// Dry run and explanation.
    #[command(flatten)]
    pub changing: Changing,
}

/// Disconnect a container from a network.
#[derive(Debug, Args)]
pub struct Disconnect {
    /// The network's name or id
    pub network: String,
    /// The container
    pub container: SandboxName,
    /// A container that is not connected is no error
    #[arg(short, long)]
    pub force: bool,
    /// Dry run and explanation.
    #[command(flatten)]
    pub changing: Changing,
}

/// Whether a network exists.
#[derive(Debug, Args)]
pub struct Exists {
    /// The network's name or id
    pub network: String,
}

/// Who has which address.
#[derive(Debug, Args)]
pub struct Allocations {
    /// Only of this network
    #[arg(short, long)]
    pub network: Option<String>,
}
