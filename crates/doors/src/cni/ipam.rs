//! Address managements of our own: `host-local` and `static`.

use super::answer::{Address, Answer, Fields, Route, route};
use super::call::Args;
use super::config::Config;
use super::doc::{Doc, wrong};
use super::failure::Failure;
use ipnet::IpNet;
use qiao_core::Subnet;
use qiao_core::subnet::{Family, number};
use serde_json::Value;
use std::net::IpAddr;

/// Where host-local keeps its leases unless told otherwise: a directory for each network.
pub const DATA_DIR: &str = "/var/lib/cni/networks";

/// `host-local`.
#[derive(Clone, Debug)]
pub struct HostLocal {
    /// The directory of the network's leases.
    pub dir: String,
    /// From each of these sets one address is given.
    pub sets: Vec<Vec<Range>>,
    /// The addresses that are wished for, each in one of the sets.
    pub wishes: Vec<IpAddr>,
    /// The routes.
    pub routes: Vec<Route>,
    /// The file whose resolvers the result has.
    pub resolv_conf: Option<String>,
}

/// Addresses in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The subnet that they are in.
    pub subnet: Subnet,
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
    /// Never given out.
    pub gateway: IpAddr,
}

impl HostLocal {
    /// Reads the `ipam` of a configuration.
    pub fn parse(config: &Config, args: &Args) -> Result<Self, Failure> {
        let ipam = config.ipam()?.ok_or_else(|| Failure::config("`ipam` is missing"))?;
        let dir = ipam.text("dataDir")?.unwrap_or(DATA_DIR);
        let mut routes = Vec::new();
        for entry in ipam.objects("routes")? {
            routes.push(route(entry)?);
        }
        Ok(Self {
            dir: format!("{dir}/{}", config.name),
            sets: sets(config, ipam)?,
            wishes: wishes(config, args)?.iter().map(|net| net.addr()).collect(),
            routes,
            resolv_conf: ipam.text("resolvConf")?.map(str::to_owned),
        })
    }

    /// Where the leases are: all that DEL needs to know.
    pub fn dir(config: &Config) -> Result<String, Failure> {
        let dir = config.ipam()?.map_or(Ok(None), |ipam| ipam.text("dataDir"))?;
        Ok(format!("{}/{}", dir.unwrap_or(DATA_DIR), config.name))
    }

    /// Refuses sets that no address can be given from.
    pub fn check(&self) -> Result<(), Failure> {
        if self.sets.is_empty() {
            return Err(Failure::config("`ipam` has no IP ranges: neither `ranges` nor `subnet`"));
        }
        let in_a_set = |ip: &&IpAddr| !self.sets.iter().flatten().any(|range| range.has(**ip));
        match self.wishes.iter().find(in_a_set) {
            Some(ip) => {
                Err(Failure::new(106, format!("the address {ip} that is asked for is in none of the ranges")))
            }
            None => Ok(()),
        }
    }

    /// The result for the addresses that were given.
    pub fn answer(&self, given: &[(IpAddr, Range)], resolvers: Fields) -> Answer {
        let address = |(ip, range): &(IpAddr, Range)| Address {
            net: range.subnet.with_host(*ip),
            gateway: Some(range.gateway),
            interface: None,
            rest: Fields::new(),
        };
        let ips = given.iter().map(address).collect();
        Answer { ips, routes: self.routes.clone(), dns: resolvers, ..Answer::default() }
    }
}

impl Range {
    /// Whether an address is in it.
    pub fn has(&self, ip: IpAddr) -> bool {
        let same = ip.is_ipv4() == self.first.is_ipv4();
        same && (number(self.first)..=number(self.last)).contains(&number(ip))
    }

    /// Whether it gives an address of it to a host: neither the gateway nor the subnet's own, nor its broadcast address.
    pub fn gives(&self, ip: IpAddr) -> bool {
        ip != self.gateway && self.subnet.usable(ip)
    }

    /// How many addresses it can give.
    pub fn count(&self) -> u128 {
        let (low, high) = self.subnet.host_range();
        let (first, last) = (number(self.first).max(low), number(self.last).min(high));
        let all = (last + 1).saturating_sub(first);
        let gateway = number(self.gateway);
        all - u128::from(self.has(self.gateway) && (first..=last).contains(&gateway))
    }
}

/// The addresses of a set in the order in which they are tried: behind the last one that was given, and around.
pub fn candidates(set: &[Range], last: Option<IpAddr>) -> impl Iterator<Item = (IpAddr, Range)> {
    let at = last.and_then(|ip| set.iter().position(|range| range.has(ip)).map(|at| (at, ip)));
    let (at, behind) = at.map_or((0, None), |(at, ip)| (at, Some(number(ip))));
    let part = |range: Range, from: u128, to: u128| {
        let family = Family::of(range.first);
        let ips = (from..to).map(move |n| (family.address(n), range));
        ips.filter(move |(ip, _)| range.gives(*ip))
    };
    let all = |range: &Range| (number(range.first), number(range.last) + 1);
    let current = set.get(at).map(|range| (*range, all(range)));
    let tail = current
        .into_iter()
        .flat_map(move |(range, (low, high))| part(range, behind.map_or(low, |behind| behind + 1), high));
    let head = current.into_iter().flat_map(move |(range, (low, high))| {
        part(range, low, behind.map_or(low, |behind| (behind + 1).min(high)))
    });
    let others: Vec<Range> =
        set.iter().cycle().skip(at + 1).take(set.len().saturating_sub(1)).copied().collect();
    let rest =
        others.into_iter().flat_map(move |range| part(range, number(range.first), number(range.last) + 1));
    tail.chain(rest).chain(head)
}

/// The sets: those of the runtime first, as the reference has them.
fn sets(config: &Config, ipam: Doc<'_>) -> Result<Vec<Vec<Range>>, Failure> {
    let mut sets = Vec::new();
    if ipam.get("subnet").is_some() {
        sets.push(vec![range(ipam)?]);
    }
    for list in [config.runtime()?.list("ipRanges")?, ipam.list("ranges")?] {
        for set in list {
            let entries = set.as_array().ok_or_else(|| wrong("ranges", set, "a list of ranges"))?;
            let set = entries.iter().map(|value| range(entry(value)?)).collect::<Result<Vec<_>, _>>()?;
            if set.is_empty() {
                return Err(Failure::config("`ranges`: a set of no ranges"));
            }
            sets.push(set);
        }
    }
    check_sets(&sets)?;
    Ok(sets)
}

fn entry(value: &Value) -> Result<Doc<'_>, Failure> {
    value.as_object().map(Doc).ok_or_else(|| wrong("ranges", value, "a range"))
}

fn check_sets(sets: &[Vec<Range>]) -> Result<(), Failure> {
    let overlap = |a: &Range, b: &Range| a.has(b.first) || a.has(b.last) || b.has(a.first);
    let all: Vec<(usize, &Range)> =
        sets.iter().enumerate().flat_map(|(at, set)| set.iter().map(move |range| (at, range))).collect();
    for (place, (set, a)) in all.iter().enumerate() {
        for (other, b) in &all[place + 1..] {
            if set == other && a.first.is_ipv4() != b.first.is_ipv4() {
                return Err(Failure::config(format!(
                    "`ranges`: {} and {} are in one set",
                    a.subnet, b.subnet
                )));
            }
            if overlap(a, b) {
                let what = format!("`ranges`: {}-{} and {}-{} overlap", a.first, a.last, b.first, b.last);
                return Err(Failure::config(what));
            }
        }
    }
    Ok(())
}

fn range(doc: Doc<'_>) -> Result<Range, Failure> {
    let net: IpNet =
        doc.parsed("subnet", "a subnet")?.ok_or_else(|| Failure::config("`subnet` of a range is missing"))?;
    let subnet = Subnet::new(net).map_err(Failure::from)?;
    let family = subnet.family();
    if family.bits() - subnet.prefix_len() < 2 {
        return Err(Failure::config(format!("`subnet`: {subnet} is too small to give addresses from")));
    }
    let (low, high) = subnet.host_range();
    let inside = |key: &str, other: u128| match doc.parsed::<IpAddr>(key, "an address")? {
        Some(ip) if subnet.contains(ip) && Family::of(ip) == family => Ok(ip),
        Some(ip) => Err(Failure::config(format!("`{key}`: {ip} is not in {subnet}"))),
        None => Ok(family.address(other)),
    };
    let (first, last) = (inside("rangeStart", low)?, inside("rangeEnd", high)?);
    if number(first) > number(last) {
        return Err(Failure::config(format!("`rangeStart`: {first} is behind `rangeEnd` {last}")));
    }
    Ok(Range { subnet, first, last, gateway: inside("gateway", low)? })
}

/// The addresses that the user or the runtime wishes for, perhaps with their prefix lengths.
fn wishes(config: &Config, args: &Args) -> Result<Vec<IpNet>, Failure> {
    let net = |text: &str| {
        let ip = text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or(ip).map_err(|_| Failure::config(format!("`ips`: {text} is not an address")))
    };
    let mut found = Vec::new();
    let user = config.user()?.texts("ips")?;
    let given = args.iter().filter(|(key, _)| user.is_empty() && key.eq_ignore_ascii_case("IP"));
    for text in given.flat_map(|(_, value)| value.split(',')).filter(|text| !text.is_empty()) {
        found.push(net(text.trim())?);
    }
    for text in user.into_iter().chain(config.runtime()?.texts("ips")?) {
        found.push(net(text)?);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// What `static` gives: what is written down.
pub fn fixed(config: &Config, args: &Args) -> Result<Answer, Failure> {
    let ipam = config.ipam()?.ok_or_else(|| Failure::config("`ipam` is missing"))?;
    let mut answer = Answer::default();
    for doc in ipam.objects("addresses")? {
        let net = doc.parsed("address", "an address with its prefix length")?;
        let net = net.ok_or_else(|| Failure::config("`address` is missing"))?;
        let gateway = doc.parsed("gateway", "an address")?;
        answer.ips.push(Address { net, gateway, interface: None, rest: Fields::new() });
    }
    let asked = wishes(config, args)?;
    if !asked.is_empty() {
        let address = |net| Address { net, gateway: None, interface: None, rest: Fields::new() };
        answer.ips = asked.into_iter().map(address).collect();
        let gateways = args.iter().filter(|(key, _)| key.eq_ignore_ascii_case("GATEWAY"));
        for text in gateways.flat_map(|(_, value)| value.split(',')).filter(|text| !text.is_empty()) {
            let ip: IpAddr = text
                .parse()
                .map_err(|_| Failure::environment(format!("GATEWAY: {text} is not an address")))?;
            let of = |net: &IpNet| net.contains(&ip);
            answer.ips.iter_mut().filter(|address| of(&address.net)).for_each(|a| a.gateway = Some(ip));
        }
    }
    for entry in ipam.objects("routes")? {
        answer.routes.push(route(entry)?);
    }
    answer.dns = ipam.object("dns")?.map(|dns| dns.0.clone()).unwrap_or_default();
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(subnet: &str, (first, last): (&str, &str)) -> Range {
        let ip = |text: &str| text.parse().unwrap();
        let subnet: Subnet = subnet.parse().unwrap();
        Range {
            subnet,
            first: ip(first),
            last: ip(last),
            gateway: subnet.family().address(subnet.host_range().0),
        }
    }

    fn tried(set: &[Range], last: Option<&str>) -> Vec<String> {
        candidates(set, last.map(|ip| ip.parse().unwrap())).map(|(ip, _)| ip.to_string()).collect()
    }

    #[test]
    fn every_address_is_tried_once_behind_the_last_one_first() {
        let set =
            [range("10.1.0.0/29", ("10.1.0.1", "10.1.0.4")), range("10.2.0.0/29", ("10.2.0.5", "10.2.0.6"))];
        let all = ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.2.0.5", "10.2.0.6"];
        assert_eq!(tried(&set, None), all);
        assert_eq!(
            tried(&set, Some("10.1.0.3")),
            ["10.1.0.4", "10.2.0.5", "10.2.0.6", "10.1.0.2", "10.1.0.3"]
        );
        assert_eq!(
            tried(&set, Some("10.2.0.6")),
            ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.2.0.5", "10.2.0.6"]
        );
        assert_eq!(tried(&set, Some("192.0.2.1")), all, "an address of no range begins anew");
    }
}
