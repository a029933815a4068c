//! Elements of the rule set's sets and maps, as nft writes them.

use crate::condition::Except;
use crate::plan::{Guard, Key, Member, Object, Value};
use crate::port::{HostAddr, Listen};
use crate::subnet::Family;

/// The element without its braces: `tcp . 8080 comment "…" : 172.30.0.2 . 80`. None for what is no element.
pub fn element(key: &Key, object: &Object) -> Option<String> {
    let text = match key {
        Key::Member(member) => member_element(member),
        Key::Guard(guard) => guard_element(guard),
        Key::Publish(listen) => listen_element(*listen),
        _ => return None,
    };
    let comment = object.owner.mark();
    Some(format!("{text} comment \"{comment}\"{}", value_element(key, &object.value)))
}

fn member_element(member: &Member) -> String {
    match member {
        Member::Downlink(link)
        | Member::Internal(link)
        | Member::Closed(link)
        | Member::Friend(link)
        | Member::Apart(link) => {
            format!("\"{link}\"")
        }
        Member::Pair(a, b) => format!("\"{a}\" . \"{b}\""),
        Member::Own(net, link) => format!("{net} . \"{link}\""),
        Member::Home(ip, link) => format!("{ip} . \"{link}\""),
        Member::Peers(from, to) => format!("{from} . {to}"),
        Member::Near(ip, net) => format!("{ip} . {net}"),
        Member::Except(except) => {
            let Except { protocol, to, ports, from } = &**except;
            format!("{protocol} . {to} . {ports} . {from}")
        }
        Member::Plain(ip) => ip.to_string(),
        Member::Gateway(net, _) | Member::Outbound(net, _) => net.to_string(),
        Member::Subnet(net) | Member::Hidden(net) | Member::Masquerade(net) | Member::FriendSubnet(net) => {
            net.to_string()
        }
        Member::NoTransit(family) => by_family(*family).into(),
        Member::Transit(family, from, to) => {
            format!("{} . \"{from}\" . \"{to}\"", by_family(*family))
        }
    }
}

fn by_family(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

fn guard_element(guard: &Guard) -> String {
    match guard {
        Guard::Port(port) | Guard::Routed(port) => format!("\"{port}\""),
        Guard::Mac(port, mac) | Guard::Sender(port, mac) => format!("\"{port}\" . {mac}"),
        Guard::Arp(port, mac, ip) => format!("\"{port}\" . {mac} . {ip}"),
        Guard::Ip4(port, ip) => format!("\"{port}\" . {ip}"),
        Guard::Ip6(port, ip) => format!("\"{port}\" . {ip}"),
    }
}

fn listen_element(listen: Listen) -> String {
    let Listen { protocol, host, ports } = listen;
    match host {
        HostAddr::Any(_) => format!("{protocol} . {ports}"),
        HostAddr::One(ip) => format!("{protocol} . {ip} . {ports}"),
    }
}

fn value_element(key: &Key, value: &Value) -> String {
    match (key, value) {
        (Key::Member(Member::NoTransit(_)), _) => " : drop".into(),
        (Key::Member(Member::Gateway(_, ip) | Member::Outbound(_, ip)), _) => format!(" : {ip}"),
        (Key::Publish(listen), Value::Backend(backend)) if listen.ports.count() > 1 => {
            format!(" : {}", backend.ip)
        }
        (_, Value::Backend(backend)) => format!(" : {} . {}", backend.ip, backend.port),
        _ => String::new(),
    }
}
