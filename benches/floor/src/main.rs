//! The least that attaching and detaching can cost: one process, nothing looked up, nothing remembered.
//!
//! `floor attach|detach NETNS HOST_IF INDEX BRIDGE NUMBER PORT PORTS`; NUMBER tells containers apart.

use qiao_floor::nft::{Elements, transaction};
use qiao_floor::socket::{NETFILTER, ROUTE, Socket, enter, index, link_event, namespace};
use qiao_floor::veth::{self, Pair};
use std::env;
use std::os::fd::AsRawFd;

const GATEWAY: [u8; 4] = [10, 65, 0, 1];
const LOOPBACK: u32 = 1;
const ETH0: u32 = 2;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let [act, netns, host, index_, bridge, number, port, ports] = words.as_slice() else {
        eprintln!("usage: floor attach|detach NETNS HOST_IF INDEX BRIDGE NUMBER PORT PORTS");
        std::process::exit(2);
    };
    let parse = |word: &String| word.parse::<u32>().unwrap_or_else(|_| qiao_floor::die(word));
    let [high, low] = (parse(number) as u16).to_be_bytes();
    let (mac, ip) = ([2, 65, 0, 0, high, low], [10, 65, high, low]);
    let elements = Elements { host, mac, ip, port: parse(port) as u16, ports: parse(ports) as u16 };
    let bridge = if act == "attach" { index(bridge) } else { 0 };
    let pair = Pair { host, index: parse(index_), bridge, mac, ip };
    if act == "attach" { attach(netns, pair, elements) } else { detach(netns, pair, elements) }
}

fn attach(netns: &str, pair: Pair<'_>, elements: Elements<'_>) {
    let (home, inside) = (namespace("/proc/self/ns/net"), namespace(netns));
    let host = Socket::open(ROUTE);
    let (messages, answers) = transaction(elements, false);
    Socket::open(NETFILTER).ask(&messages, answers);
    host.ask(&[veth::new(pair, inside.as_raw_fd()), veth::quiet(pair.index), veth::up(pair.index)], 3);
    enter(&inside);
    let sandbox = Socket::open(ROUTE);
    let lo = veth::up(LOOPBACK);
    sandbox.ask(&[lo, veth::quiet(ETH0), veth::up(ETH0), veth::address(pair.ip), veth::route(GATEWAY)], 5);
    link_event("eth0");
    enter(&home);
    link_event(pair.host);
}

/// The pair is only deleted where its namespace still exists.
fn detach(netns: &str, pair: Pair<'_>, elements: Elements<'_>) {
    let (messages, answers) = transaction(elements, true);
    Socket::open(NETFILTER).ask(&messages, answers);
    if std::path::Path::new(netns).exists() {
        Socket::open(ROUTE).ask(&[veth::delete(pair.index)], 1);
    }
}
