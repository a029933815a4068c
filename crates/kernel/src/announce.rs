//! Telling neighbours where an address is now: a gratuitous ARP request (RFC 5227 section 3), an unsolicited
//! neighbour advertisement (RFC 4861 section 7.2.6).

use crate::error::KernelError;
use crate::kernel::Via;
use crate::linux::Linux;
use crate::sys::packet;
use ipnet::IpNet;
use qiao_core::endpoint::Wire;
use qiao_core::{Endpoint, Mac};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const BROADCAST: [u8; 6] = [0xff; 6];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// Announces an endpoint's addresses: to the other ports of its bridge, by the bridge itself, so that they reach
/// everyone but the endpoint; or to its neighbours, by its own interface.
pub fn announce(linux: &mut Linux, endpoint: &Endpoint, from: Via<'_>) -> Result<(), KernelError> {
    let Some(wire) = &endpoint.wire else { return Ok(()) };
    match from {
        Via::Bridge(bridge) => {
            let Some(index) = linux.interfaces.index(bridge)? else { return Ok(()) };
            packet::send(index, &frames(wire, wire.mac))
        }
        Via::Itself(mac) => {
            let Some(netns) = &endpoint.netns else { return Ok(()) };
            let Some(sandbox) = linux.sandbox(netns)? else { return Ok(()) };
            let index = sandbox.index(&endpoint.id.ifname)?;
            sandbox.handle.inside(|| packet::send(index, &frames(wire, mac)))
        }
    }
}

fn frames(wire: &Wire, mac: Mac) -> Vec<Vec<u8>> {
    wire.addresses.iter().map(|net| frame(mac, *net)).collect()
}

fn frame(mac: Mac, net: IpNet) -> Vec<u8> {
    match net.addr() {
        IpAddr::V4(ip) => gratuitous_arp(mac, ip),
        IpAddr::V6(ip) => unsolicited_advertisement(mac, ip),
    }
}

fn ethernet(to: [u8; 6], from: Mac, ethertype: u16) -> Vec<u8> {
    [&to[..], &from.octets(), &ethertype.to_be_bytes()].concat()
}

fn gratuitous_arp(mac: Mac, ip: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac.octets());
    frame.extend(ip.octets());
    frame.extend([0; 6]);
    frame.extend(ip.octets());
    frame
}

fn unsolicited_advertisement(mac: Mac, ip: Ipv6Addr) -> Vec<u8> {
    const ICMPV6: u8 = 58;
    const OVERRIDE: u8 = 0x20;
    let mut message = vec![136, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(ip.octets());
    message.extend([2, 1]); // target link-layer address, one unit of eight bytes
    message.extend(mac.octets());
    let sum = checksum(ip, ALL_NODES, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet(ALL_NODES_MAC, mac, 0x86dd);
    frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, 255]);
    frame.extend(ip.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

/// The checksum over the pseudo header and the message (RFC 4443 section 2.3).
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = (message.len() as u32).to_be_bytes();
    let pseudo = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, 58], message].concat();
    let sum: u32 = pseudo
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_their_lengths_and_sums() {
        let mac: Mac = "02:00:00:00:00:01".parse().unwrap();
        assert_eq!(gratuitous_arp(mac, Ipv4Addr::new(10, 0, 0, 2)).len(), 42);
        let frame = unsolicited_advertisement(mac, "fd00::2".parse().unwrap());
        assert_eq!(frame.len(), 86);
        let message = &frame[54..];
        assert_eq!(
            checksum("fd00::2".parse().unwrap(), ALL_NODES, message),
            0,
            "a sum over its own sum is zero"
        );
    }
}
