//! What a server's message gives, as far as it can be used: whatever it says, a container gets an address for a
//! host, routers that are on its link, and names that are names.

use crate::message::Message;
use crate::option::{Options, code};
use ipnet::Ipv4Net;
use qiao_core::dhcp::Terms;
use std::net::Ipv4Addr;

/// "For ever" (RFC 2131 section 3.3).
const FOR_EVER: u32 = u32::MAX;
/// More routes than this are no configuration.
const MOST_ROUTES: usize = 256;
/// The smallest MTU of IPv4 (RFC 791), and so of option 26.
const LEAST_MTU: u16 = 68;

/// The terms of an offer or an acknowledgement; why it cannot be used otherwise.
pub fn terms(message: &Message) -> Result<Terms, &'static str> {
    let options = &message.options;
    let address = address(message)?;
    let server = options.address(code::SERVER_IDENTIFIER).filter(|ip| is_hosts(*ip));
    let seconds = options.number(code::LEASE_TIME).filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or("it does not say for how long")?;
    let on_link = |ip: &Ipv4Addr| address.contains(ip) && *ip != address.addr() && is_hosts(*ip);
    let (mut routers, mut routes) = (options.addresses(code::ROUTERS), Vec::new());
    if let Some(listed) = options.get(code::CLASSLESS_ROUTES).and_then(classless) {
        routers.clear(); // RFC 3442: the list is instead of the routers
        for (to, via) in listed {
            match (to.prefix_len(), via) {
                (0, Some(via)) => routers.push(via),
                _ => routes.push((to, via)),
            }
        }
    }
    routers.retain(on_link);
    routes.retain(|(to, via)| via.as_ref().is_none_or(on_link) && is_reachable(*to));
    Ok(Terms {
        address,
        server: server.ok_or("it does not say which server it is of")?,
        routers,
        routes,
        dns: options.addresses(code::NAME_SERVERS).into_iter().filter(|ip| is_hosts(*ip)).collect(),
        domain: domain(options),
        mtu: options
            .get(code::MTU)
            .and_then(|content| content.try_into().ok())
            .map(u16::from_be_bytes)
            .filter(|mtu| *mtu >= LEAST_MTU)
            .map(u32::from),
        seconds: Some(seconds).filter(|seconds| *seconds != FOR_EVER),
    })
}

fn address(message: &Message) -> Result<Ipv4Net, &'static str> {
    let ip = message.yiaddr;
    if !is_hosts(ip) {
        return Err("its address is not one that a host may have");
    }
    let mask = message.options.address(code::SUBNET_MASK).unwrap_or_else(|| of_its_class(ip));
    let net = Ipv4Net::with_netmask(ip, mask).map_err(|_| "its subnet mask is none")?;
    if net.prefix_len() == 0 {
        return Err("its subnet mask is none");
    }
    if net.prefix_len() < 31 && (ip == net.network() || ip == net.broadcast()) {
        return Err("its address is that of the subnet itself");
    }
    Ok(net)
}

/// An address that a host can have and be reached at.
fn is_hosts(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    !(first == 0 || first == 127 || first >= 224)
}

fn is_reachable(net: Ipv4Net) -> bool {
    net.prefix_len() > 0 && is_hosts(net.network()) && is_hosts(net.broadcast())
}

/// What there was before masks (RFC 950): for servers that send none.
fn of_its_class(ip: Ipv4Addr) -> Ipv4Addr {
    match ip.octets()[0] {
        0..128 => Ipv4Addr::new(255, 0, 0, 0),
        128..192 => Ipv4Addr::new(255, 255, 0, 0),
        _ => Ipv4Addr::new(255, 255, 255, 0),
    }
}

/// Option 121 (RFC 3442): prefix length, as many bytes of the destination as that needs, gateway. None where any
/// of it makes no sense.
fn classless(mut bytes: &[u8]) -> Option<Vec<(Ipv4Net, Option<Ipv4Addr>)>> {
    let mut routes = Vec::new();
    while let Some((prefix, rest)) = bytes.split_first() {
        let (significant, rest) = rest.split_at_checked(usize::from(prefix.div_ceil(8)))?;
        let (via, rest) = rest.split_first_chunk::<4>()?;
        let mut to = [0; 4];
        to.get_mut(..significant.len())?.copy_from_slice(significant);
        let via = Ipv4Addr::from(*via);
        routes.push((
            Ipv4Net::new(to.into(), *prefix).ok()?.trunc(),
            Some(via).filter(|ip| !ip.is_unspecified()),
        ));
        bytes = rest;
    }
    Some(routes).filter(|routes| !routes.is_empty() && routes.len() <= MOST_ROUTES)
}

/// A domain that may stand in a resolv.conf.
fn domain(options: &Options) -> Option<String> {
    let text = options.text(code::DOMAIN_NAME)?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (text.len() < 254 && text.chars().all(is_name)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ip: [u8; 4], extra: &[(u8, &[u8])]) -> Message {
        let mut options = Options::default();
        options.put(code::SUBNET_MASK, &[255, 255, 255, 0]);
        options.put(code::SERVER_IDENTIFIER, &[192, 0, 2, 1]);
        options.put(code::LEASE_TIME, &[0, 0, 1, 0]);
        extra.iter().for_each(|(code, content)| options.put(*code, content));
        Message {
            reply: true,
            xid: 1,
            secs: 0,
            broadcast: true,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: ip.into(),
            chaddr: "02:00:00:00:00:07".parse().unwrap(),
            options,
        }
    }

    #[test]
    fn a_good_offer() {
        let more: [(u8, &[u8]); 4] = [
            (code::ROUTERS, &[192, 0, 2, 1, 198, 51, 100, 1]),
            (code::NAME_SERVERS, &[9, 9, 9, 9]),
            (code::DOMAIN_NAME, b"example.org\0"),
            (code::MTU, &[5, 120]),
        ];
        let terms = terms(&message([192, 0, 2, 7], &more)).unwrap();
        assert_eq!(terms.address.to_string(), "192.0.2.7/24");
        assert_eq!(terms.routers, [Ipv4Addr::new(192, 0, 2, 1)], "only what is on the link");
        assert_eq!(
            (terms.domain.as_deref(), terms.mtu, terms.seconds),
            (Some("example.org"), Some(1400), Some(256))
        );
    }

    #[test]
    fn offers_outside_are_refused() {
        for ip in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [192, 0, 2, 0], [192, 0, 2, 255]] {
            assert!(terms(&message(ip, &[])).is_err(), "{ip:?}");
        }
        let ok = [192, 0, 2, 7];
        for bad in [
            (code::SUBNET_MASK, &[255, 0, 255, 0]),
            (code::SUBNET_MASK, &[0, 0, 0, 0]),
            (code::LEASE_TIME, &[0, 0, 0, 0]),
            (code::SERVER_IDENTIFIER, &[224, 0, 0, 1]),
        ] {
            assert!(terms(&message(ok, &[(bad.0, bad.1)])).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_of_the_rest_is_left_out() {
        let more: [(u8, &[u8]); 4] = [
            (code::ROUTERS, &[192, 0, 2, 7, 224, 0, 0, 1]),
            (code::DOMAIN_NAME, b"x\nnameserver 6.6.6.6"),
            (code::MTU, &[0, 1]),
            (code::CLASSLESS_ROUTES, &[33, 1, 2, 3, 4, 5, 192, 0, 2, 1]),
        ];
        let terms = terms(&message([192, 0, 2, 7], &more)).unwrap();
        assert_eq!((terms.routers.len(), &terms.domain, terms.mtu, terms.routes.len()), (0, &None, None, 0));
    }

    #[test]
    fn classless_routes_are_instead_of_routers() {
        let listed = [24, 198, 51, 100, 192, 0, 2, 9, 0, 192, 0, 2, 1, 32, 203, 0, 113, 5, 0, 0, 0, 0];
        let more: [(u8, &[u8]); 2] = [(code::ROUTERS, &[192, 0, 2, 3]), (code::CLASSLESS_ROUTES, &listed)];
        let terms = terms(&message([192, 0, 2, 7], &more)).unwrap();
        assert_eq!(terms.routers, [Ipv4Addr::new(192, 0, 2, 1)]);
        let routes: Vec<String> = terms.routes.iter().map(|(to, via)| format!("{to} {via:?}")).collect();
        assert_eq!(routes, ["198.51.100.0/24 Some(192.0.2.9)", "203.0.113.5/32 None"]);
    }
}
