//! Routed networks: a pair of interfaces and a route for each endpoint, and no bridge between them. Nothing is
//! shared that grows with their number. The gateways' addresses are on a bridge without ports: a device that
//! every kernel has which has bridge networks, and whose subnet leads nowhere else.

use super::Activation;
use super::bridge::{link_members, published, sandbox_side, subnet_members};
use crate::endpoint::{Endpoint, Wire};
use crate::network::{Bridge, Network, Pool};
use crate::owner::Owner;
use crate::plan::{Guard, Key, Member, State, Value};
use crate::route::Attributes;
use crate::subnet::{Family, Subnet};
use ipnet::IpNet;
use std::net::IpAddr;

/// What must exist for a routed network.
pub fn network(network: &Network, bridge: &Bridge, activation: &Activation) -> State {
    let owner = Owner::Network(network.name.clone());
    let mut state = activation.essence(&network.name);
    let mut members = link_members(bridge, &bridge.device);
    for pool in &bridge.pools {
        members.extend(subnet_members(bridge, pool));
        members.push(Member::Peers(pool.subnet, peers(bridge, pool)));
        members.push(Member::Gateway(pool.subnet, pool.gateway));
        let address = Key::BridgeAddress(bridge.device.clone(), pool.gateway_net());
        state.insert(address, &owner, Value::Present);
    }
    members.into_iter().for_each(|member| state.insert(Key::Member(member), &owner, Value::Present));
    state
}

/// Where members may send to without anything else being said: to one another, or only to their gateway.
fn peers(bridge: &Bridge, pool: &Pool) -> Subnet {
    if bridge.icc { pool.subnet } else { Subnet::around(pool.gateway.into()) }
}

/// What must exist for an endpoint of a routed network.
pub fn endpoint(bridge: &Bridge, (endpoint, wire): (&Endpoint, &Wire)) -> State {
    let owner = endpoint.owner();
    let mut state = State::default();
    let mut put = |(key, value)| state.insert(key, &owner, value);
    let members = link_members(bridge, &wire.host_if).into_iter().chain(homes(wire));
    members.for_each(|member| put((Key::Member(member), Value::Present)));
    if wire.guard {
        put((Key::Guard(Guard::Routed(wire.host_if.clone())), Value::Present));
        put((Key::Guard(Guard::Sender(wire.host_if.clone(), wire.mac)), Value::Present));
    }
    host_side((endpoint, wire)).into_iter().for_each(&mut put);
    sandbox_side((endpoint, wire), None).into_iter().for_each(&mut put);
    ways(bridge, (endpoint, wire)).into_iter().for_each(&mut put);
    put((Key::HostUp(wire.host_if.clone()), Value::Present));
    host_routes(bridge, wire).into_iter().for_each(&mut put);
    published(&wire.publish).into_iter().for_each(&mut put);
    state
}

/// What the port sends from: its own addresses, and those declared besides.
fn homes(wire: &Wire) -> impl Iterator<Item = Member> {
    let declared = wire.allow.iter().copied().filter(|_| wire.guard);
    let addresses = wire.addresses.iter().map(IpNet::addr).chain(declared);
    addresses.map(|ip| Member::Home(ip, wire.host_if.clone()))
}

fn host_side((endpoint, wire): (&Endpoint, &Wire)) -> Vec<(Key, Value)> {
    let host_if = || wire.host_if.clone();
    let veth = Value::Veth {
        sandbox: endpoint.sandbox().clone(),
        peer: endpoint.id.ifname.clone(),
        mac: wire.mac,
        mtu: wire.mtu,
        bridge: None,
    };
    let port = Value::PointToPoint { arp: false, enslaved: false };
    let mut objects = vec![(Key::Veth(host_if()), veth), (Key::Port(host_if()), port)];
    let neighbour = |net: &IpNet| (Key::Neighbour(host_if(), net.addr()), Value::Mac(wire.mac));
    objects.extend(wire.addresses.iter().map(neighbour));
    objects
}

/// The ways out: all of the subnet is reached by the gateway, whose hardware address is written down, since
/// nobody would be asked for it.
fn ways(bridge: &Bridge, (endpoint, wire): (&Endpoint, &Wire)) -> Vec<(Key, Value)> {
    let (sandbox, ifname) = (endpoint.sandbox(), &endpoint.id.ifname);
    let route = |net: IpNet, via: IpAddr| {
        let (dev, via) = (ifname.clone(), Some(via));
        (
            Key::Route(sandbox.clone(), net),
            Value::Route { dev, via, onlink: true, src: None, attributes: Attributes::default() },
        )
    };
    let mut objects = Vec::new();
    for pool in &bridge.pools {
        let gateway = Key::SandboxNeighbour(sandbox.clone(), ifname.clone(), pool.gateway);
        objects.push((gateway, Value::Mac(wire.mac.host_end())));
        objects.push(route(pool.subnet.net(), pool.gateway));
    }
    objects.extend(wire.gateways.iter().map(|via| route(Family::of(*via).default_route(), *via)));
    objects
}

/// The host's routes to the endpoint. It sends from the gateway's address, which members reach.
fn host_routes(bridge: &Bridge, wire: &Wire) -> Vec<(Key, Value)> {
    let route = |net: &IpNet| {
        let src = bridge.pool(Family::of(net.addr())).map(|pool| pool.gateway);
        let attributes = Attributes::default();
        let value = Value::Route { dev: wire.host_if.clone(), via: None, onlink: false, src, attributes };
        (Key::HostRoute(net.addr().into()), value)
    };
    wire.addresses.iter().map(route).collect()
}
