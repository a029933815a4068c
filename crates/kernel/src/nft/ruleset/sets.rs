//! The sets and maps that containers and networks are elements of.

use super::build::Builder;
use qiao_nft::DataType::{EtherAddr, Ifname, InetProto, InetService, Ipv4Addr, Ipv6Addr, NfProto};
use qiao_nft::MapValue;

/// What a port may send.
pub fn bridge(table: &mut Builder) {
    table.set("ports", Ifname);
    table.set("macs", [Ifname, EtherAddr]);
    table.set("arps", [Ifname, EtherAddr, Ipv4Addr]);
    table.set("ip4s", [Ifname, Ipv4Addr]);
    table.set("ip6s", [Ifname, Ipv6Addr]);
}

/// The ports of routed networks: what is behind each, and where it may send to.
fn routed(table: &mut Builder) {
    table.set("routed", Ifname);
    table.set("senders", [Ifname, EtherAddr]);
    for (family, address) in [("4", Ipv4Addr), ("6", Ipv6Addr)] {
        table.set(&format!("homes{family}"), [address, Ifname]);
        table.intervals(&format!("peers{family}"), [address, address]);
        table.interval_map(&format!("gateways{family}"), address, MapValue::Value(address.into()));
    }
}

/// Networks, and published ports.
pub fn inet(table: &mut Builder) {
    for name in ["downlinks", "internal", "closed", "friends", "apart"] {
        table.set(name, Ifname);
    }
    table.set("pairs", [Ifname, Ifname]);
    routed(table);
    for (family, address) in [("4", Ipv4Addr), ("6", Ipv6Addr)] {
        table.intervals(&format!("subnets{family}"), address);
        table.intervals(&format!("own{family}"), [address, Ifname]);
        table.intervals(&format!("hidden{family}"), address);
        table.intervals(&format!("friends{family}"), address);
        table.intervals(&format!("masquerade{family}"), address);
        table.intervals(&format!("near{family}"), [address, address]);
        table.set(&format!("plain{family}"), address);
        table.intervals(&format!("except{family}"), [InetProto, address, InetService, address]);
        table.interval_map(&format!("outbound{family}"), address, MapValue::Value(address.into()));
        let to = MapValue::Value([address, InetService].into());
        table.map(&format!("publish{family}"), [InetProto, address, InetService], to.clone());
        table.map(&format!("publish_any{family}"), [InetProto, InetService], to);
        let to = MapValue::Value(address.into());
        table.interval_map(&format!("ranges{family}"), [InetProto, address, InetService], to.clone());
        table.interval_map(&format!("ranges_any{family}"), [InetProto, InetService], to);
    }
    table.map("no_transit", NfProto, MapValue::Verdict);
    table.set("transit", [NfProto, Ifname, Ifname]);
}
