//! `qiao dns …`.

use clap::{Args, Subcommand};
use qiao_core::{NetworkName, SandboxName};
use std::net::IpAddr;

/// Names.
#[derive(Debug, Subcommand)]
pub enum Dns {
    /// List the names of containers, and what was added
    #[command(visible_alias = "list")]
    Ls(DnsLs),
    /// Ask for a name as a container would, and show who answers and why
    Query(Query),
    /// Show every question as it comes
    Log,
    /// Add a record, or say who is asked about a domain
    Add(Add),
    /// Take it away again
    #[command(visible_alias = "remove")]
    Rm(DnsRm),
    /// Serve the names of all networks until the last container is gone (attaching starts it by itself)
    Serve,
}

/// List names.
#[derive(Debug, Args)]
pub struct DnsLs {
    /// Only of this network
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<NetworkName>,
}

/// Ask for a name.
#[derive(Debug, Args)]
pub struct Query {
    /// The name
    pub name: String,
    /// The type of record [default: A and AAAA]
    #[arg(value_name = "TYPE")]
    pub rtype: Option<String>,
    /// The container that asks [default: the first there is]
    #[arg(long, value_name = "CONTAINER")]
    pub from: Option<SandboxName>,
}

/// Add a record or a forward.
#[derive(Debug, Args)]
pub struct Add {
    /// The name, or the domain with --forward
    pub name: String,
    /// A, AAAA, PTR, MX, TXT or SRV
    #[arg(value_name = "TYPE", required_unless_present = "forward", conflicts_with = "forward")]
    pub rtype: Option<String>,
    /// The value, as in a zone file
    #[arg(value_name = "VALUE", required_unless_present = "forward")]
    pub value: Vec<String>,
    /// Ask these about the domain and what is in it
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    pub forward: Vec<IpAddr>,
    /// Only members of this network see it
    #[arg(long, value_name = "NETWORK", conflicts_with = "forward")]
    pub network: Option<NetworkName>,
}

/// Take a record or a forward away.
#[derive(Debug, Args)]
pub struct DnsRm {
    /// The name
    pub name: String,
    /// Only records of this type
    #[arg(value_name = "TYPE")]
    pub rtype: Option<String>,
}
