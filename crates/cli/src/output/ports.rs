//! Lists of published ports: neighbours are one range, as Docker shows them.

use qiao_core::Publish;
use qiao_core::port::{Backend, Listen, PortRange};

/// Published ports with neighbours joined, in the order in which the first of each was published.
pub fn joined(publish: &[Publish]) -> Vec<Publish> {
    let mut sorted: Vec<(usize, Publish)> = publish.iter().copied().enumerate().collect();
    sorted.sort_by_key(|(_, p)| (p.listen.protocol, p.listen.host, p.backend.ip, p.listen.ports.first()));
    let mut found: Vec<(usize, Publish)> = Vec::new();
    for (at, next) in sorted {
        match found.last_mut().and_then(|last| Some((join(last.1, next)?, last))) {
            Some((both, last)) => *last = (last.0.min(at), both),
            None => found.push((at, next)),
        }
    }
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, publish)| publish).collect()
}

/// Both as one, where the second begins behind the first on both sides.
fn join(first: Publish, second: Publish) -> Option<Publish> {
    let of =
        |Publish { listen: Listen { protocol, host, .. }, backend }: Publish| (protocol, host, backend.ip);
    let follows = |port: u16, next: u16| port.checked_add(first.listen.ports.count()) == Some(next);
    let (ports, more) = (first.listen.ports, second.listen.ports);
    let fits = of(first) == of(second)
        && follows(ports.first(), more.first())
        && follows(first.backend.port, second.backend.port);
    let ports = PortRange::new(ports.first(), more.last()).ok().filter(|_| fits)?;
    let listen = Listen { ports, ..first.listen };
    Some(Publish { listen, backend: Backend { ..first.backend } })
}

/// The list as text.
pub fn text(publish: &[Publish]) -> String {
    joined(publish).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// As much of a list as fits in so many characters, at least its first entry, and how many are left out.
pub fn cut(text: &str, width: usize) -> String {
    let entries: Vec<&str> = text.split(", ").collect();
    let mut length = 0;
    let fitting = entries.iter().take_while(|entry| {
        length += entry.chars().count() + 2;
        length <= width + 2
    });
    let shown = fitting.count().max(1);
    match entries.len() - shown.min(entries.len()) {
        0 => text.to_owned(),
        more => format!("{}, … {more} more", entries[..shown].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qiao_core::port::{HostAddr, Protocol};
    use qiao_core::subnet::Family;

    fn publish(protocol: Protocol, (host, container): ((u16, u16), u16)) -> Publish {
        let ports = PortRange::new(host.0, host.1).unwrap();
        let listen = Listen { protocol, host: HostAddr::Any(Family::V4), ports };
        Publish { listen, backend: Backend { ip: "10.0.0.2".parse().unwrap(), port: container } }
    }

    fn tcp(host: u16, container: u16) -> Publish {
        publish(Protocol::Tcp, ((host, host), container))
    }

    #[test]
    fn f2_neighbours_are_joined() {
        let row: Vec<Publish> = (0..1400).map(|n| tcp(2000 + n, 3000 + n)).rev().collect();
        assert_eq!(text(&row), "0.0.0.0:2000-3399->3000-4399/tcp");
        assert_eq!(
            text(&[tcp(90, 1), tcp(80, 90), tcp(81, 91)]),
            "0.0.0.0:90->1/tcp, 0.0.0.0:80-81->90-91/tcp"
        );
        // Neighbours on one side only, of another protocol, at the end of all ports.
        for apart in [[tcp(80, 80), tcp(81, 80)], [tcp(80, 80), tcp(82, 81)], [tcp(65535, 1), tcp(1, 2)]] {
            assert_eq!(joined(&apart).len(), 2, "{apart:?}");
        }
        let udp = publish(Protocol::Udp, ((81, 90), 81));
        assert_eq!(text(&[tcp(80, 80), udp]), "0.0.0.0:80->80/tcp, 0.0.0.0:81-90->81-90/udp");
        let range = publish(Protocol::Tcp, ((81, 90), 81));
        assert_eq!(text(&[range, tcp(80, 80)]), "0.0.0.0:80-90->80-90/tcp");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn f2_long_lists_are_cut() {
        let list = ["a"; 5].join(", ");
        assert_eq!(
            (cut(&list, 13), cut(&list, 12), cut("", 5)),
            (list.clone(), "a, a, a, a, … 1 more".into(), "".into())
        );
        assert_eq!(cut(&list, 0), "a, … 4 more");
    }
}
