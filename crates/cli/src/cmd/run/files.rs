//! `/etc/hosts` and `/etc/resolv.conf` of a container.

use crate::args::{HostIp, Inside};
use qiao_container::Spec;
use qiao_core::Endpoint;
use qiao_core::dhcp::Terms;
use qiao_core::settings::Settings;
use std::fmt::Write;
use std::net::IpAddr;

const LOCAL: &str = "\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// Who is who: itself, and what was asked for.
pub fn hosts(inside: &Inside, spec: &Spec, endpoints: &[Endpoint]) -> String {
    let mut text = LOCAL.to_owned();
    for (name, ip) in &inside.add_host {
        let ip = match ip {
            HostIp::Ip(ip) => Some(*ip),
            HostIp::Gateway => gateway(endpoints),
        };
        if let Some(ip) = ip {
            let _ = writeln!(text, "{ip}\t{name}");
        }
    }
    let own = if spec.hostname == spec.name.as_str() {
        spec.hostname.clone()
    } else {
        format!("{} {}", spec.hostname, spec.name)
    };
    for address in endpoints.iter().flat_map(Endpoint::addresses) {
        let _ = writeln!(text, "{}\t{own}", address.addr());
    }
    text
}

/// The host as a container sees it; on the host's own network, the host is itself.
fn gateway(endpoints: &[Endpoint]) -> Option<IpAddr> {
    let mut wires = endpoints.iter().filter_map(|endpoint| endpoint.wire.as_ref()).peekable();
    if wires.peek().is_none() {
        return Some(IpAddr::from([127, 0, 0, 1]));
    }
    let gateways: Vec<IpAddr> = wires.flat_map(|wire| wire.gateways.iter().copied()).collect();
    gateways.iter().find(|ip| ip.is_ipv4()).or(gateways.first()).copied()
}

/// Where the host's resolvers are read: the second is systemd-resolved's list of the real ones.
const SOURCES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Who is asked for names, and a warning where nobody can be.
pub fn resolv(
    (inside, settings): (&Inside, &Settings),
    endpoints: &[Endpoint],
    on_host: bool,
) -> (String, Option<String>) {
    let texts = SOURCES.map(|path| std::fs::read_to_string(path).unwrap_or_default());
    if on_host && inside.dns.is_empty() && inside.dns_search.is_empty() {
        return (texts[0].clone(), None);
    }
    let leased: Vec<&Terms> = endpoints.iter().filter_map(Endpoint::leased).collect();
    let of_lease = leased.iter().flat_map(|terms| &terms.dns).map(|ip| IpAddr::V4(*ip)).collect();
    let ways = [inside.dns.clone(), settings.dns.clone(), of_lease, reachable(&texts)];
    let servers = ways.into_iter().find(|servers| !servers.is_empty()).unwrap_or_default();
    let mut text: String = servers.iter().map(|ip| format!("nameserver {ip}\n")).collect();
    let of_lease: Vec<String> = leased.iter().filter_map(|terms| terms.domain.clone()).collect();
    let ways = [inside.dns_search.clone(), of_lease, searched(&texts[0])];
    let search = ways.into_iter().find(|names| !names.is_empty()).unwrap_or_default();
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    let warning = servers.is_empty().then(|| {
        "the host's resolvers are on its loopback, where no container reaches them; --dns names one"
            .to_owned()
    });
    (text, warning)
}

/// The same where networks have names: their gateways are asked, and know whom to ask. Names are looked up as they
/// are before a domain is put behind them, or those of containers would be asked from others first; who has another
/// wish writes it.
pub fn named_resolv(inside: &Inside, gateways: &[IpAddr]) -> String {
    const MOST: usize = 3; // MAXNS, resolv.h
    let host = std::fs::read_to_string(SOURCES[0]).unwrap_or_default();
    let mut text: String = gateways.iter().take(MOST).map(|ip| format!("nameserver {ip}\n")).collect();
    let search = if inside.dns_search.is_empty() { searched(&host) } else { inside.dns_search.clone() };
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    text + "options ndots:0\n"
}

/// The host's resolvers that a container can reach: those that are not on the host's loopback.
fn reachable(texts: &[String]) -> Vec<IpAddr> {
    let of = |text: &String| -> Vec<IpAddr> {
        let words = lines_of(text, "nameserver").filter_map(|mut words| words.next()?.parse().ok());
        words.filter(|ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified()).collect()
    };
    texts.iter().map(of).find(|servers| !servers.is_empty()).unwrap_or_default()
}

fn searched(text: &str) -> Vec<String> {
    lines_of(text, "search").last().map(|words| words.map(str::to_owned).collect()).unwrap_or_default()
}

fn lines_of<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = std::str::SplitWhitespace<'a>> {
    text.lines().filter_map(move |line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(word)).then_some(words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_on_the_loopback_is_never_handed_on() {
        let stub = "nameserver 127.0.0.53\noptions edns0\nsearch lan\n".to_owned();
        let real = "nameserver 192.0.2.1\nnameserver ::1\n".to_owned();
        assert_eq!(reachable(&[stub.clone(), real]), [IpAddr::from([192, 0, 2, 1])]);
        assert!(reachable(std::slice::from_ref(&stub)).is_empty());
        assert_eq!(searched(&stub), ["lan"]);
    }
}
