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
    /// Take records or a forward of your own away again
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
#[command(after_help = "\
Examples:
  qiao dns query web                      the addresses of `web`
  qiao dns query 172.18.0.2               whose address that is
  qiao dns query _80._tcp.web SRV         whether `web` publishes port 80
  qiao dns query example.org --from web   whom `web` would hear it from")]
pub struct Query {
    /// The name; for an address, its names are asked for
    pub name: String,
    /// The type of record [default: A and AAAA; PTR for an address]
    #[arg(value_name = "TYPE")]
    pub rtype: Option<String>,
    /// The container that asks [default: the first there is]
    #[arg(long, value_name = "CONTAINER")]
    pub from: Option<SandboxName>,
}

/// Add a record or a forward.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  qiao dns add nas.lan A 192.0.2.7
  qiao dns add nas.lan TXT \"behind the printer\"
  qiao dns add lan MX 10 mail.lan
  qiao dns add _ldap._tcp.lan SRV 0 0 389 nas.lan
  qiao dns add 7.2.0.192.in-addr.arpa PTR nas.lan
  qiao dns add corp.example --forward 10.8.0.53")]
pub struct Add {
    /// The name, or the domain with --forward
    pub name: String,
    /// A, AAAA, PTR, MX, TXT or SRV
    #[arg(value_name = "TYPE", required_unless_present = "forward", conflicts_with = "forward")]
    pub rtype: Option<String>,
    /// The value; another one of the same type is added to it
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
    /// The name, or the domain of a forward
    pub name: String,
    /// Only records of this type
    #[arg(value_name = "TYPE")]
    pub rtype: Option<String>,
    /// Only the record with this value
    #[arg(value_name = "VALUE")]
    pub value: Vec<String>,
}
