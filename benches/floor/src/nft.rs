//! One transaction of a container's elements into the table `inet floor`.

use crate::message::{Message, attribute, nested, text};

/// The table: the sets that qiao has elements of a container in.
pub const TABLE: &str = "table inet floor {
    set ports { type ifname; }
    set macs { type ifname . ether_addr; }
    set arps { type ifname . ether_addr . ipv4_addr; }
    set ip4s { type ifname . ipv4_addr; }
    map publish { type inet_proto . inet_service : ipv4_addr . inet_service; }
}";

const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const NFTABLES: u16 = 10 << 8;
const NEW_ELEMENT: u16 = NFTABLES | 12;
const DELETE_ELEMENT: u16 = NFTABLES | 14;

/// What a container has.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    /// The host's end of its pair.
    pub host: &'a str,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its address.
    pub ip: [u8; 4],
    /// The first port of the host that is published.
    pub port: u16,
    /// How many ports, every second from there on, each leading to port 80.
    pub ports: u16,
}

/// The transaction, and how many acknowledgements it gets.
pub fn transaction(elements: Elements<'_>, delete: bool) -> (Vec<Vec<u8>>, usize) {
    let mut name = elements.host.as_bytes().to_vec();
    name.resize(16, 0);
    let mac = [&elements.mac[..], &[0, 0]].concat();
    let (ip, name) = (&elements.ip[..], &name[..]);
    let single = |set: &str, fields: &[&[u8]]| element((set, delete), &[item(&fields.concat(), None)]);
    let publish: Vec<_> =
        (0..elements.ports).map(|n| published(&elements, elements.port + 2 * n, delete)).collect();
    let changes = [
        single("ports", &[name]),
        single("macs", &[name, &mac]),
        single("arps", &[name, &mac, ip]),
        single("ip4s", &[name, ip]),
        element(("publish", delete), &publish),
    ];
    let count = changes.len();
    (batch(changes.into()), count)
}

fn published(elements: &Elements<'_>, port: u16, delete: bool) -> Vec<u8> {
    const TCP: [u8; 4] = [6, 0, 0, 0];
    let padded = |port: u16| [&port.to_be_bytes()[..], &[0, 0]].concat();
    let backend = [&elements.ip[..], &padded(80)].concat();
    item(&[&TCP[..], &padded(port)].concat(), (!delete).then_some(&backend))
}

/// One element: its key, and its value in a map.
fn item(key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let data = |kind, bytes: &[u8]| nested(kind, &[attribute(1, bytes)]);
    let parts: Vec<_> =
        [Some(data(1, key)), value.map(|value| data(2, value))].into_iter().flatten().collect();
    nested(1, &parts)
}

fn element((set, delete): (&str, bool), items: &[Vec<u8>]) -> Vec<u8> {
    const INET: [u8; 4] = [1, 0, 0, 0];
    let (kind, flags) = if delete { (DELETE_ELEMENT, ACK) } else { (NEW_ELEMENT, ACK | CREATE) };
    let mut message = Message::new(kind, flags, &INET).with(1, &text("floor")).with(2, &text(set));
    message.0.extend(nested(3, items));
    message.finish()
}

fn batch(changes: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    const BEGIN: u16 = 16;
    const END: u16 = 17;
    const TO_NFTABLES: [u8; 4] = [0, 0, 0, 10];
    let bound = |kind| Message::new(kind, 0, &TO_NFTABLES).finish();
    [vec![bound(BEGIN)], changes, vec![bound(END)]].concat()
}
