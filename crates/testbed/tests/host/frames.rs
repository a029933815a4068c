//! An attacker, a victim, and what reaches the victim of what the attacker sends.

use qiao_testbed::frame::{Mac, contains, ethernet, ipv4, mac, udp};
use qiao_testbed::{Host, Place, Wire, stdout};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A container as its neighbours see it.
pub struct Member {
    pub place: Place,
    pub mac: Mac,
    pub ip: Ipv4Addr,
    pub ip6: Ipv6Addr,
    pub local: Ipv6Addr,
}

impl Member {
    pub fn attach(host: &Host, name: &str, options: &str) -> Self {
        let place = host.container(name);
        host.attach(&place, options);
        Self::of(place)
    }

    /// A container that is attached already.
    pub fn of(place: Place) -> Self {
        let text = place.stdout("ip -o addr show dev eth0");
        let address = |kind: &str, begins: &str| {
            let words: Vec<_> = text.split_whitespace().collect();
            let found = words.windows(2).find(|pair| pair[0] == kind && pair[1].starts_with(begins));
            found.map(|pair| pair[1].split('/').next().unwrap_or_default().to_owned())
        };
        let v6 = |begins| address("inet6", begins).map_or(Ipv6Addr::UNSPECIFIED, |ip| ip.parse().unwrap());
        Self {
            mac: mac(&place.stdout("cat /sys/class/net/eth0/address")),
            ip: address("inet", "").expect("an IPv4 address").parse().unwrap(),
            ip6: v6("fd"),
            local: v6("fe80"),
            place,
        }
    }

    /// The hardware address of its gateway: that of its port's bridge, or of its pair's other end.
    pub fn gateway(&self) -> Mac {
        let index = self.place.stdout("cat /sys/class/net/eth0/iflink");
        let links = stdout("ip -o link");
        let begin = format!("{}: ", index.trim());
        let port = links.lines().find_map(|line| line.strip_prefix(&begin)).expect("the other end");
        let name = port.split([':', '@']).next().expect("a name");
        let master = port.split_once(" master ").and_then(|(_, rest)| rest.split(' ').next());
        mac(&stdout(&format!("cat /sys/class/net/{}/address", master.unwrap_or(name))))
    }
}

/// Two members of a network, with a raw look at their interfaces.
pub struct Attack {
    pub attacker: Member,
    pub victim: Member,
    pub out: Wire,
    pub seen: Wire,
    count: u32,
}

impl Attack {
    /// `options` are the attacker's.
    pub fn new(host: &Host, options: &str) -> Self {
        host.ok("network create front --ipv6 --subnet 172.30.0.0/24 --subnet fd00:30::/64");
        let attacker = Member::attach(host, "attacker", &format!("--network front {options}"));
        let victim = Member::attach(host, "victim", "--network front");
        let (out, seen) = (host.wire(&attacker.place, "eth0"), host.wire(&victim.place, "eth0"));
        Self { attacker, victim, out, seen, count: 0 }
    }

    /// From the attacker's hardware address to the victim's.
    pub fn macs(&self) -> (Mac, Mac) {
        (self.attacker.mac, self.victim.mac)
    }

    /// Whether a frame reaches the victim. An honest frame follows it, which must arrive.
    pub fn arrives(&mut self, frame: &[u8]) -> bool {
        self.out.send(frame);
        self.until_honest().iter().any(|seen| seen == frame)
    }

    /// What has reached the victim until an honest frame that is sent now.
    pub fn until_honest(&mut self) -> Vec<Vec<u8>> {
        self.count += 1;
        let mark = format!("honest frame {}", self.count);
        let ips = (self.attacker.ip, self.victim.ip);
        let honest = ethernet(self.macs(), 0x0800, &ipv4(ips, 17, &udp(1000, 1000, mark.as_bytes())));
        self.out.send(&honest);
        self.seen.until(|frame| contains(frame, mark.as_bytes()))
    }
}

/// Whether frames between members of a bridge are shown to the rules for routed packets too, where the kernel
/// has br_netfilter at all.
pub fn bridge_netfilter(value: &str) {
    for name in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"] {
        let _ = std::fs::write(format!("/proc/sys/net/bridge/{name}"), value);
    }
}
