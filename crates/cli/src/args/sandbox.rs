//! `qiao attach`, `qiao detach` and what is about namespaces.

use super::option::OnOff;
use super::{
    Changing,
    container::{Naming, Publishing},
};
use clap::Args;
use qiao_core::{IfName, Mac, NetworkName, SandboxName};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Attach a network namespace to a network.
#[derive(Debug, Args)]
pub struct Attach {
    /// The name it shall have here
    pub name: SandboxName,
    /// The path of its network namespace, such as /run/netns/web or /proc/PID/ns/net
    #[arg(long, value_name = "PATH")]
    pub netns: Option<String>,
    /// The network [default: bridge]
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<NetworkName>,
    /// The interface's name inside [default: the next eth…]
    #[arg(long, value_name = "NAME")]
    pub ifname: Option<IfName>,
    /// Its IPv4 address
    #[arg(long)]
    pub ip: Option<Ipv4Addr>,
    /// Its IPv6 address
    #[arg(long)]
    pub ip6: Option<Ipv6Addr>,
    /// Its hardware address
    #[arg(long, visible_alias = "mac", value_name = "MAC")]
    pub mac_address: Option<Mac>,
    /// What else it is called.
    #[command(flatten)]
    pub naming: Naming,
    /// Ports to publish.
    #[command(flatten)]
    pub publishing: Publishing,
    /// Let it send only what belongs to it [default: the network's setting]
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    pub guard: Option<OnOff>,
    /// An address that it may send from besides its own
    #[arg(long, value_name = "IP")]
    pub allow_address: Vec<IpAddr>,
    /// Dry run and explanation.
    #[command(flatten)]
    pub changing: Changing,
}

/// Detach it again.
#[derive(Debug, Args)]
pub struct Detach {
    /// Its name
    pub name: SandboxName,
    /// Only from this network
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<NetworkName>,
    /// Only this interface
    #[arg(long, value_name = "NAME")]
    pub ifname: Option<IfName>,
    /// No error where it is not attached
    #[arg(long)]
    pub if_exists: bool,
    /// Dry run and explanation.
    #[command(flatten)]
    pub changing: Changing,
}

/// Published ports.
#[derive(Debug, Args)]
pub struct Port {
    /// Only of this container
    pub name: Option<SandboxName>,
    /// Only this port of the container: PORT[/PROTOCOL]
    pub port: Option<String>,
}

/// Run a command of the host in a container's network.
#[derive(Debug, Args)]
pub struct Netns {
    /// The container
    pub name: SandboxName,
    /// The command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}
