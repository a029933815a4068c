//! `host-local`: addresses out of ranges, kept in the reference's directory.

use super::door::{Door, failure};
use qiao_doors::cni::ipam::{self, Range};
use qiao_doors::cni::{Answer, Failure};
use qiao_store::{HostLocal, StoreError};
use serde_json::{Map, Value};
use std::net::IpAddr;

fn io(error: StoreError) -> Failure {
    failure(error.into())
}

/// Gives an address of each set.
pub fn add(door: &Door, busy: &dyn Fn(IpAddr) -> bool) -> Result<(Answer, Vec<IpAddr>), Failure> {
    let wanted = ipam::HostLocal::parse(&door.config, &door.call.args)?;
    wanted.check()?;
    let resolvers = wanted.resolv_conf.as_deref().map(resolvers).transpose()?.unwrap_or_default();
    let leases = HostLocal::lock(&wanted.dir).map_err(io)?;
    let (container, ifname) = door.tenant();
    if leases.has_some(door.tenant()).map_err(io)? {
        return Err(Failure::new(106, format!("{container} has an address for its {ifname} already")));
    }
    let mut given = Vec::new();
    let mut taken = || -> Result<Vec<IpAddr>, Failure> {
        leases.begin(door.tenant()).map_err(io)?;
        for place in 0..wanted.sets.len() {
            given.push(take(&leases, (&wanted, place), (door.tenant(), busy))?);
        }
        let taken: Vec<IpAddr> = given.iter().map(|(ip, _)| *ip).collect();
        leases.note(door.tenant(), &taken).map_err(io)?;
        Ok(taken)
    };
    match taken() {
        Ok(taken) => Ok((wanted.answer(&given, resolvers), taken)),
        Err(failure) => {
            // Nothing comes of it: what was given goes back.
            given.iter().for_each(|(ip, _)| drop(leases.give_back(*ip, door.tenant())));
            let _ = leases.end(door.tenant());
            Err(failure)
        }
    }
}

fn take(
    leases: &HostLocal,
    (wanted, place): (&ipam::HostLocal, usize),
    (tenant, busy): ((&str, &str), &dyn Fn(IpAddr) -> bool),
) -> Result<(IpAddr, Range), Failure> {
    let set = &wanted.sets[place];
    for ip in &wanted.wishes {
        let Some(range) = set.iter().find(|range| range.has(*ip)) else { continue };
        if !range.gives(*ip) {
            let whose = if range.gateway == *ip { "the gateway's" } else { "not for a host" };
            return Err(Failure::new(106, format!("the address {ip} that is asked for is {whose}")));
        }
        if leases.take(*ip, tenant).map_err(io)? {
            return Ok((*ip, *range));
        }
        let by = leases.tenant(*ip).map_err(io)?.map(|(container, _)| container).unwrap_or_default();
        return Err(Failure::new(106, format!("the address {ip} that is asked for is taken by {by}")));
    }
    for (ip, range) in ipam::candidates(set, leases.last(place)) {
        if !busy(ip) && leases.take(ip, tenant).map_err(io)? {
            let noted = leases.set_last(place, ip);
            noted.inspect_err(|_| drop(leases.give_back(ip, tenant))).map_err(io)?;
            return Ok((ip, range));
        }
    }
    Err(full(set))
}

fn full(set: &[Range]) -> Failure {
    let ranges: Vec<String> = set.iter().map(|range| format!("{}-{}", range.first, range.last)).collect();
    Failure::new(101, format!("no IP addresses available in range set: {}", ranges.join(", ")))
        .because("GC gives back those of containers that are gone")
}

/// Gives back what an attachment has. Without a record of ours every lease is looked at.
pub fn give_back(door: &Door, known: &[IpAddr]) -> Result<(), Failure> {
    give_back_of(door, door.tenant(), known)
}

/// The same for another attachment of the network.
pub fn give_back_of(door: &Door, tenant: (&str, &str), known: &[IpAddr]) -> Result<(), Failure> {
    let dir = ipam::HostLocal::dir(&door.config)?;
    let Some(leases) = HostLocal::lock_known(&dir).map_err(io)? else { return Ok(()) };
    leases.give_all_back(tenant, known).map_err(io)
}

/// Whether every address of the result is reserved.
pub fn check(door: &Door) -> Result<(), Failure> {
    let wanted = ipam::HostLocal::parse(&door.config, &door.call.args)?;
    let leases = HostLocal::lock_known(&wanted.dir).map_err(io)?;
    let (container, _) = door.tenant();
    let has = |ip: IpAddr| -> Result<bool, Failure> {
        let tenant = leases.as_ref().map_or(Ok(None), |leases| leases.tenant(ip)).map_err(io)?;
        Ok(tenant.is_some_and(|(c, i)| c == container && (i == door.tenant().1 || i.is_empty())))
    };
    let of_ours = |ip: &IpAddr| wanted.sets.iter().flatten().any(|range| range.has(*ip));
    let ips: Vec<IpAddr> =
        door.config.prev.iter().flat_map(|prev| &prev.ips).map(|ip| ip.net.addr()).collect();
    let mut ours = ips.into_iter().filter(of_ours).peekable();
    if ours.peek().is_none() {
        return Err(Failure::new(110, format!("no address of {container} is reserved")));
    }
    ours.try_for_each(|ip| match has(ip)? {
        true => Ok(()),
        false => Err(Failure::new(110, format!("the address {ip} is not reserved for {container}"))),
    })
}

/// Whether each set has an address to give.
pub fn status(door: &Door) -> Result<(), Failure> {
    let not_now = |failure: Failure| Failure::new(50, failure.msg).because(failure.details);
    let wanted = ipam::HostLocal::parse(&door.config, &door.call.args).map_err(not_now)?;
    wanted.check().map_err(not_now)?;
    let Some(leases) = HostLocal::lock_known(&wanted.dir).map_err(|e| not_now(io(e)))? else { return Ok(()) };
    let taken = leases.addresses().map_err(|error| not_now(io(error)))?;
    let is_full = |set: &&Vec<Range>| {
        let given = |ip: &&IpAddr| set.iter().any(|range| range.has(**ip) && range.gateway != **ip);
        set.iter().map(Range::count).sum::<u128>() <= taken.iter().filter(given).count() as u128
    };
    wanted.sets.iter().find(is_full).map_or(Ok(()), |set| Err(not_now(full(set))))
}

/// Gives back what belongs to no attachment that lives.
pub fn collect(door: &Door) -> Result<(), Failure> {
    let Some(valid) = door.config.valid()? else { return Ok(()) };
    let dir = ipam::HostLocal::dir(&door.config)?;
    let Some(leases) = HostLocal::lock_known(&dir).map_err(io)? else { return Ok(()) };
    let lives = |container: &str, ifname: &str| {
        valid.iter().any(|(c, i)| c == container && (i == ifname || ifname.is_empty()))
    };
    leases.collect(&lives).map(drop).map_err(io)
}

/// The resolvers of a file (resolv.conf(5)).
fn resolvers(path: &str) -> Result<Map<String, Value>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(5, format!("`resolvConf`: cannot read {path}: {error}")))?;
    let mut dns = Map::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (word, rest): (_, Vec<&str>) = (words.next().unwrap_or_default(), words.collect());
        let key = match word {
            "nameserver" => "nameservers",
            "search" | "options" => word,
            "domain" => {
                dns.insert("domain".into(), rest.join(" ").into());
                continue;
            }
            _ => continue,
        };
        if let Value::Array(list) = dns.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
            list.extend(rest.into_iter().map(Value::from));
        }
    }
    Ok(dns)
}
