//! `loopback`: the loopback interface of a container, up.

use super::Done;
use super::door::{Door, failure};
use qiao_doors::cni::{Address, Answer, Failure, Interface, Verb};
use qiao_kernel::NetnsHandle;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Runs.
pub fn run(door: &mut Door) -> Done {
    match door.call.verb {
        Verb::Add => add(door).map(Some),
        Verb::Check => {
            let is_up = open(door)?.is_loopback_up().map_err(|e| Failure::new(105, e.to_string()))?;
            if is_up { Ok(None) } else { Err(Failure::new(110, "the loopback interface is down")) }
        }
        _ => Ok(None), // it goes with its namespace
    }
}

fn open(door: &Door) -> Result<NetnsHandle, Failure> {
    let path = door.call.netns.as_deref().unwrap_or_default();
    NetnsHandle::open(path).map_err(|error| failure(error.into()))
}

fn add(door: &Door) -> Result<serde_json::Value, Failure> {
    open(door)?.bring_up_loopback().map_err(|error| Failure::new(105, error.to_string()))?;
    if door.config.prev.is_some() {
        return door.pass_on();
    }
    let interface = Interface {
        name: "lo".into(),
        mac: Some("00:00:00:00:00:00".into()),
        sandbox: door.call.netns.clone(),
        ..Interface::default()
    };
    let address = |ip: IpAddr, prefix| Address {
        net: ipnet::IpNet::new_assert(ip, prefix),
        gateway: None,
        interface: Some(0),
        rest: Default::default(),
    };
    let ips = vec![address(Ipv4Addr::LOCALHOST.into(), 8), address(Ipv6Addr::LOCALHOST.into(), 128)];
    Answer { interfaces: vec![interface], ips, ..Answer::default() }.to_json(door.config.version)
}
