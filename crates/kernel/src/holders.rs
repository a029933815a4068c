//! Which processes of the host have a port, for those who are told that it is taken.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The processes whose sockets are in the way of listening at an address, by UDP or TCP: `dnsmasq (process 812)`. Empty
/// where there is none, or none that can be seen (proc(5), `/proc/net/udp`, `/proc/PID/fd`).
pub fn holders(address: SocketAddr) -> Vec<String> {
    let tables =
        ["udp", "udp6", "tcp", "tcp6"].map(|of| fs::read_to_string(format!("/proc/thread-self/net/{of}")));
    let sockets: HashSet<String> = tables
        .iter()
        .flatten()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| socket(line, address))
        .collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|number| has(*number, &sockets)).map(named).collect()
}

/// What a server says of a port that it cannot have (`cannot listen on ADDRESS: …`), and who has it.
pub fn explain(why: &str) -> String {
    let address =
        why.strip_prefix("cannot listen on ").and_then(|rest| rest.split_once(": ")?.0.parse().ok());
    match address.map(holders).unwrap_or_default() {
        nobody if nobody.is_empty() => why.to_owned(),
        all => format!("{why}: {} has the port", all.join(", ")),
    }
}

/// What a line's socket is called in `/proc/PID/fd`, if it has the address or all of them.
fn socket(line: &str, address: SocketAddr) -> Option<String> {
    const LISTENS: &str = "0A";
    const UNCONNECTED: &str = "07";
    let words: Vec<&str> = line.split_whitespace().collect();
    let (own, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    let (ip, port) = own.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip = self::address(ip)?;
    let meets = ip.is_unspecified() || ip.to_canonical() == address.ip();
    let open = [LISTENS, UNCONNECTED].contains(state);
    (port == address.port() && meets && open).then(|| format!("socket:[{inode}]"))
}

/// An address as the kernel prints it: words of four octets in the machine's order.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let octets: [u8; 16] = [word(0)?, word(8)?, word(16)?, word(24)?].concat().try_into().ok()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

fn has(process: u32, sockets: &HashSet<String>) -> bool {
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    open.filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|to| to.to_str().is_some_and(|to| sockets.contains(to)))
}

fn named(process: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    format!("{} (process {process})", name.trim_end().escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn whoever_has_a_port_is_named() {
        let own = std::process::id();
        let sees = |address: SocketAddr| {
            holders(address).iter().any(|held| held.ends_with(&format!("(process {own})")))
        };
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = udp.local_addr().unwrap();
        assert!(sees(at));
        assert!(!sees(SocketAddr::from(([127, 0, 0, 2], at.port()))), "another address");
        let tcp = TcpListener::bind("[::]:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        assert!(
            sees(SocketAddr::from((Ipv6Addr::LOCALHOST, port)))
                && sees(SocketAddr::from(([192, 0, 2, 1], port)))
        );
        drop((udp, tcp));
        assert!(!sees(at), "nobody has it any more");
    }
}
