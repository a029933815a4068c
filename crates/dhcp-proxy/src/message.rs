//! What is said (`proxy.proto` of netavark 1.6 to 2.1).

use qiao_core::dhcp::Leased;
use serde::Serialize;
use std::net::Ipv4Addr;

/// What a container asks for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NetworkConfig {
    /// The interface of the host that its own is on.
    #[prost(string, tag = "1")]
    pub host_iface: String,
    /// Its interface.
    #[prost(string, tag = "2")]
    pub container_iface: String,
    /// The hardware address of that.
    #[prost(string, tag = "3")]
    pub container_mac_addr: String,
    /// The domain that the answer shall name; empty for the server's.
    #[prost(string, tag = "4")]
    pub domain_name: String,
    /// The name that the server is told.
    #[prost(string, tag = "5")]
    pub host_name: String,
    /// 0 for IPv4, 1 for IPv6.
    #[prost(int32, tag = "6")]
    pub version: i32,
    /// The path of its namespace.
    #[prost(string, tag = "7")]
    pub ns_path: String,
    /// Its id; empty when it is torn down.
    #[prost(string, tag = "8")]
    pub container_id: String,
}

/// A lease. Times are in seconds; addresses are text.
#[derive(Clone, PartialEq, Serialize, prost::Message)]
pub struct Lease {
    /// When it is renewed.
    #[prost(uint32, tag = "1")]
    pub t1: u32,
    /// When every server is asked.
    #[prost(uint32, tag = "2")]
    pub t2: u32,
    /// How long it is given for.
    #[prost(uint32, tag = "3")]
    pub lease_time: u32,
    /// The MTU in bytes; 0 where none is said.
    #[prost(uint32, tag = "4")]
    pub mtu: u32,
    /// The domain.
    #[prost(string, tag = "5")]
    pub domain_name: String,
    /// The hardware address that has it.
    #[prost(string, tag = "6")]
    pub mac_address: String,
    /// Whether it is one of DHCPv6: never.
    #[prost(bool, tag = "10")]
    pub is_v6: bool,
    /// The next server.
    #[prost(string, tag = "11")]
    pub siaddr: String,
    /// The address.
    #[prost(string, tag = "12")]
    pub yiaddr: String,
    /// The server.
    #[prost(string, tag = "16")]
    pub srv_id: String,
    /// The subnet's mask.
    #[prost(string, tag = "17")]
    pub subnet_mask: String,
    /// Not used.
    #[prost(string, tag = "18")]
    pub broadcast_addr: String,
    /// The name servers.
    #[prost(string, repeated, tag = "19")]
    pub dns_servers: Vec<String>,
    /// The routers.
    #[prost(string, repeated, tag = "20")]
    pub gateways: Vec<String>,
    /// The time servers: not asked for.
    #[prost(string, repeated, tag = "21")]
    pub ntp_servers: Vec<String>,
    /// The client's name: not asked for.
    #[prost(string, tag = "22")]
    pub host_name: String,
}

/// What `Clean` answers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OperationResponse {
    /// That it was done.
    #[prost(bool, tag = "1")]
    pub success: bool,
}

fn texts(ips: &[Ipv4Addr]) -> Vec<String> {
    ips.iter().map(ToString::to_string).collect()
}

impl Lease {
    /// What was leased. The keeper keeps the server's times to itself: told are those of RFC 2131 section 4.4.5.
    pub fn new(leased: &Leased, domain: &str) -> Self {
        let terms = &leased.terms;
        let seconds = terms.seconds.unwrap_or(u32::MAX);
        let server = terms.server.to_string();
        Self {
            t1: seconds / 2,
            t2: seconds - seconds / 8,
            lease_time: seconds,
            mtu: terms.mtu.unwrap_or(0),
            domain_name: Some(domain.to_owned())
                .filter(|d| !d.is_empty())
                .or(terms.domain.clone())
                .unwrap_or_default(),
            mac_address: leased.mac.to_string(),
            siaddr: server.clone(),
            srv_id: server,
            yiaddr: terms.address.addr().to_string(),
            subnet_mask: terms.address.netmask().to_string(),
            dns_servers: texts(&terms.dns),
            gateways: texts(&terms.routers),
            ..Self::default()
        }
    }
}
