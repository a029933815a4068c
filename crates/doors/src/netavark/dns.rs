//! The files that a name server reads: one a network, one line a container (aardvark-dns 2.x).
//!
//! ```text
//! 10.89.0.1,fd00::1 1.1.1.1,8.8.8.8
//! 6192f5bcd37e… 10.89.0.2 fd00::2 web,www,6192f5bcd37e 9.9.9.9
//! ```

use super::failure::Failure;
use super::options::{Network, Options, PerNetwork};
use ipnet::IpNet;
use std::fmt::Display;
use std::net::IpAddr;

/// A container's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The container.
    pub id: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its names.
    pub names: Vec<String>,
    /// Who resolves names of others for it.
    pub upstreams: Vec<IpAddr>,
}

/// Why a name cannot stand in a file, if it cannot.
pub fn is_no_word(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("name is empty"),
        name if name.contains([',', ' ', '\n', '\t', '\r', '\0']) => Some("name contains invalid chars"),
        _ => None,
    }
}

/// What a container is called on a network.
pub fn names<'a>(options: &'a Options, own: &'a PerNetwork) -> impl Iterator<Item = &'a String> {
    std::iter::once(&options.container_name).chain(own.aliases.iter().flatten())
}

/// Refuses a network that cannot have a file, and servers for names of others that would ask themselves: `listening` are the
/// networks of a call whose names are resolved, with where that is.
pub fn check(options: &Options, listening: &[(&Network, &[IpAddr])]) -> Result<(), Failure> {
    if let Some((network, _)) = listening.iter().find(|(network, _)| !is_file_name(&network.name)) {
        return Err(Failure(format!("the network {:?} cannot have names: it is no file name", network.name)));
    }
    let owner =
        |ip: &&IpAddr| listening.iter().find(|(_, ips)| ips.contains(ip)).map(|(network, _)| &network.name);
    let refuse = |servers: &Option<Vec<IpAddr>>, what: &str, is: &str| match servers
        .iter()
        .flatten()
        .find_map(|ip| Some((ip, owner(&ip)?)))
    {
        None => Ok(()),
        Some((ip, owner)) => Err(Failure(format!(
            "error while applying dns entries: {what} {ip} {is} the gateway of network {owner:?}; using it would \
                 cause aardvark-dns to forward queries to itself."
        ))),
    };
    refuse(&options.dns_servers, "DNS server", "is")?;
    let mut networks = listening.iter().map(|(network, _)| &network.network_dns_servers);
    networks.try_for_each(|own| refuse(own, "network DNS server", "matches"))
}

impl Entry {
    /// A container's line on a network; names that cannot stand in it are left out.
    pub fn new(options: &Options, own: &PerNetwork, addresses: &[IpNet]) -> Self {
        Self {
            id: options.container_id.clone(),
            addresses: addresses.iter().map(IpNet::addr).collect(),
            names: names(options, own).filter(|name| is_no_word(name).is_none()).cloned().collect(),
            upstreams: options.dns_servers.clone().unwrap_or_default(),
        }
    }

    fn line(&self) -> String {
        let of = |v4: bool| commas(self.addresses.iter().filter(move |ip| ip.is_ipv4() == v4));
        let line = format!("{} {} {} {}", self.id, of(true), of(false), self.names.join(","));
        match self.upstreams.is_empty() {
            true => line,
            false => format!("{line} {}", commas(self.upstreams.iter())),
        }
    }
}

fn commas<T: Display>(all: impl Iterator<Item = T>) -> String {
    all.map(|one| one.to_string()).collect::<Vec<_>>().join(",")
}

/// Whether a network of this name can have a file: one that nobody hides, in the folder and nowhere else.
pub fn is_file_name(network: &str) -> bool {
    !network.contains('/') && !network.starts_with('.')
}

/// The name of a network's file. The server forwards nothing for an internal one, which it tells by that.
pub fn file(name: &str, internal: bool) -> String {
    if internal { format!("{name}%int") } else { name.to_owned() }
}

/// The first line: where the server listens, and who resolves names of others.
pub fn header(listen: &[IpAddr], upstreams: &[IpAddr]) -> String {
    let listen = commas(listen.iter());
    if upstreams.is_empty() { listen } else { format!("{listen} {}", commas(upstreams.iter())) }
}

/// Whose line it is.
fn id(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// The file with a container's line, in place of any that it had.
pub fn with(text: &str, header: &str, entry: &Entry) -> String {
    let others = text.lines().skip(1).filter(|line| !line.is_empty() && id(line) != entry.id);
    let lines = std::iter::once(header).chain(others).map(str::to_owned).chain([entry.line()]);
    lines.fold(String::new(), |all, line| all + &line + "\n")
}

/// The file without a container's line; none where no line is left.
pub fn without(text: &str, container: &str) -> Option<String> {
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let left: Vec<&str> = lines.filter(|line| !line.is_empty() && id(line) != container).collect();
    if left.is_empty() {
        return None;
    }
    Some(std::iter::once(header).chain(left).fold(String::new(), |all, line| all + line + "\n"))
}

/// The file with others who resolve names of others.
pub fn with_upstreams(text: &str, upstreams: &[IpAddr]) -> String {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let listen = id(first);
    let first = if upstreams.is_empty() {
        listen.to_owned()
    } else {
        format!("{listen} {}", commas(upstreams.iter()))
    };
    format!("{first}\n{rest}")
}

/// Reads what `update` was told: addresses with commas between them.
pub fn servers(text: &str) -> Result<Vec<IpAddr>, Failure> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let parse = |word: &str| {
        word.parse().map_err(|error| Failure(format!("unable to parse ip address {word}: {error}")))
    };
    words.map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, addresses: &[&str]) -> Entry {
        Entry {
            id: id.into(),
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            names: vec!["web".into(), id.into()],
            upstreams: Vec::new(),
        }
    }

    #[test]
    fn a_container_has_one_line() {
        let one = with("", "10.0.0.1", &entry("aaaa", &["10.0.0.2"]));
        assert_eq!(one, "10.0.0.1\naaaa 10.0.0.2  web,aaaa\n");
        let two = with(&one, "10.0.0.1", &entry("bbbb", &["fd00::2", "10.0.0.3"]));
        assert_eq!(two, "10.0.0.1\naaaa 10.0.0.2  web,aaaa\nbbbb 10.0.0.3 fd00::2 web,bbbb\n");
        let again = with(&two, "10.0.0.1", &entry("aaaa", &["10.0.0.9"]));
        assert_eq!(again, "10.0.0.1\nbbbb 10.0.0.3 fd00::2 web,bbbb\naaaa 10.0.0.9  web,aaaa\n");
        assert_eq!(without(&one, "aaaa"), None);
    }

    /// Defect K: netavark takes away every line in which the id occurs.
    #[test]
    fn an_id_in_another_line_is_not_that_container() {
        let text = "10.0.0.1\naaaa 10.0.0.2  web,b\nb 10.0.0.3  db,aaaa\n";
        assert_eq!(without(text, "b").as_deref(), Some("10.0.0.1\naaaa 10.0.0.2  web,b\n"));
        assert_eq!(without(text, "aa").as_deref(), Some(text));
    }

    #[test]
    fn upstreams_come_and_go() {
        let text = "10.0.0.1,fd00::1 9.9.9.9\naaaa 10.0.0.2  web,b\n";
        let with = with_upstreams(text, &servers("1.1.1.1,8.8.8.8").unwrap());
        assert_eq!(with, "10.0.0.1,fd00::1 1.1.1.1,8.8.8.8\naaaa 10.0.0.2  web,b\n");
        assert_eq!(with_upstreams(&with, &servers("").unwrap()), "10.0.0.1,fd00::1\naaaa 10.0.0.2  web,b\n");
        assert!(servers("1.1.1.1,nonsense").is_err());
    }
}
