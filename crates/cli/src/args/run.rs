//! `qiao run` and what is done with its containers.

use super::container::{Naming, Publishing};
use super::option::{NetworkOption, key_value, network_option};
use clap::Args;
use qiao_container::Volume;
use qiao_core::name::quoted;
use qiao_core::{Mac, Refusal, SandboxName};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Run a command in a container of its own.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Run {
    /// Print help; `-h` is the host name, as Docker's
    #[arg(long, action = clap::ArgAction::Help)]
    pub help: Option<bool>,
    /// A directory that is the root [default: the host's own root]; it is never written to
    #[arg(value_name = "ROOTFS")]
    pub rootfs: Option<String>,
    /// The command
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Run in the background, print the id, keep the output for `qiao logs`
    #[arg(short, long)]
    pub detach: bool,
    /// Forget the container when it has ended
    #[arg(long)]
    pub rm: bool,
    /// Its name [default: two words]
    #[arg(long)]
    pub name: Option<SandboxName>,
    /// A network: NAME[:ip=IP,ip6=IP,mac=MAC,ifname=NAME], `host` or `none` [default: bridge]
    #[arg(long, visible_alias = "net", value_name = "NETWORK", value_parser = network_option)]
    pub network: Vec<NetworkOption>,
    /// Its IPv4 address on the first network
    #[arg(long)]
    pub ip: Option<Ipv4Addr>,
    /// Its IPv6 address on the first network
    #[arg(long)]
    pub ip6: Option<Ipv6Addr>,
    /// Its hardware address on the first network
    #[arg(long, value_name = "MAC")]
    pub mac_address: Option<Mac>,
    /// What else it is called.
    #[command(flatten)]
    pub naming: Naming,
    /// Ports to publish.
    #[command(flatten)]
    pub publishing: Publishing,
    /// What it sees of the host.
    #[command(flatten)]
    pub inside: Inside,
    /// Accepted for habit's sake: standard input and the terminal are the command's unless -d is given
    #[arg(short, long)]
    pub interactive: bool,
    /// Accepted for habit's sake
    #[arg(short, long)]
    pub tty: bool,
}

/// What a command finds inside.
#[derive(Debug, Args)]
pub struct Inside {
    /// A file or directory of the host: /SOURCE:/TARGET or /SOURCE:/TARGET:ro
    #[arg(short, long, value_name = "VOLUME")]
    pub volume: Vec<Volume>,
    /// A variable: NAME=VALUE, or NAME for its value here
    #[arg(short, long, value_name = "VARIABLE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// The host name [default: the beginning of the id]
    #[arg(short = 'h', short_alias = 'H', long, value_name = "NAME", value_parser = hostname)]
    pub hostname: Option<String>,
    /// Who is asked for names that no container has [default: the host's resolvers]
    #[arg(long, value_name = "IP")]
    pub dns: Vec<IpAddr>,
    /// A domain that short names are looked up in
    #[arg(long, value_name = "DOMAIN", value_parser = word)]
    pub dns_search: Vec<String>,
    /// A line of /etc/hosts: NAME:IP; `host-gateway` is the host
    #[arg(long, value_name = "NAME:IP", value_parser = add_host)]
    pub add_host: Vec<(String, HostIp)>,
    /// The working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User and group by their numbers: UID or UID:GID
    #[arg(short, long, value_name = "UID", value_parser = user)]
    pub user: Option<(u32, u32)>,
}

/// An address of `--add-host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostIp {
    /// This one.
    Ip(IpAddr),
    /// The host, as seen from inside.
    Gateway,
}

/// Run another command in a container.
#[derive(Debug, Args)]
pub struct Exec {
    /// The container
    pub name: String,
    /// The command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// A variable: NAME=VALUE, or NAME for its value here
    #[arg(short, long, value_name = "VARIABLE", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// The working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User and group by their numbers: UID or UID:GID
    #[arg(short, long, value_name = "UID", value_parser = user)]
    pub user: Option<(u32, u32)>,
    /// Accepted for habit's sake
    #[arg(short, long)]
    pub interactive: bool,
    /// Accepted for habit's sake
    #[arg(short, long)]
    pub tty: bool,
}

/// Stop containers.
#[derive(Debug, Args)]
pub struct Stop {
    /// The containers
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Seconds until a container that does not end by itself is killed
    #[arg(short, long, default_value_t = 10)]
    pub time: u64,
}

/// Remove containers.
#[derive(Debug, Args)]
pub struct Remove {
    /// The containers
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Also those that run; no error for those that do not exist
    #[arg(short, long)]
    pub force: bool,
}

/// Show what a container in the background has said.
#[derive(Debug, Args)]
pub struct Logs {
    /// The container
    pub name: String,
    /// Go on showing what it says
    #[arg(short, long)]
    pub follow: bool,
    /// Begin each line with its time
    #[arg(short, long)]
    pub timestamps: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub tail: Option<usize>,
}

fn variable(text: &str) -> Result<(String, String), Refusal> {
    let (key, value) = key_value(text)?;
    let value = if text.contains('=') { value } else { std::env::var(&key).unwrap_or_default() };
    Ok((key, value))
}

fn hostname(text: &str) -> Result<String, Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if text.is_empty() || text.len() > 63 || !text.chars().all(plain) || text.starts_with(['-', '.']) {
        return Err(Refusal::invalid(format!("{} is not a host name", quoted(text)))
            .why("up to 63 letters, digits, `-` and `.` (RFC 1123)"));
    }
    Ok(text.to_owned())
}

fn word(text: &str) -> Result<String, Refusal> {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Refusal::invalid(format!("{} is not a domain", quoted(text))));
    }
    Ok(text.to_owned())
}

fn add_host(text: &str) -> Result<(String, HostIp), Refusal> {
    let bad = || Refusal::invalid(format!("{} is not NAME:IP", quoted(text)));
    let (name, ip) = text.split_once(['=', ':']).ok_or_else(bad)?;
    let ip = match ip {
        "host-gateway" => HostIp::Gateway,
        ip => HostIp::Ip(ip.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| bad())?),
    };
    Ok((word(name).map_err(|_| bad())?, ip))
}

fn user(text: &str) -> Result<(u32, u32), Refusal> {
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    let number = |text: &str| text.parse().ok().filter(|number| *number != u32::MAX);
    number(user).zip(number(group)).ok_or_else(|| {
        Refusal::invalid(format!("{} is not UID[:GID]", quoted(text))).why("users are given by number")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read() {
        assert_eq!(add_host("db:10.0.0.1").unwrap().1, HostIp::Ip("10.0.0.1".parse().unwrap()));
        assert_eq!(add_host("db:[fd00::1]").unwrap().1, HostIp::Ip("fd00::1".parse().unwrap()));
        assert_eq!(add_host("up=host-gateway").unwrap().1, HostIp::Gateway);
        for bad in ["db", "db:", ":1.2.3.4", "a b:1.2.3.4", "db:1.2.3.4\n6.6.6.6 evil"] {
            assert!(add_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_names_and_users_are_checked() {
        assert!(hostname("web-1.example").is_ok());
        for bad in ["", "-x", "a_b", "a b", "a\nb", &"x".repeat(64)] {
            assert!(hostname(bad).is_err(), "{bad}");
        }
        assert_eq!(user("1000:5").unwrap(), (1000, 5));
        assert!(user("root").is_err() && user("4294967295").is_err());
    }
}
