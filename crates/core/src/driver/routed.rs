//! Routed networks: a pair of interfaces and a route for each endpoint, and no bridge between them. Nothing is
//! shared that grows with their number. The gateways' addresses are on a bridge without ports: a device that
//! every kernel has which has bridge networks, and whose subnet leads nowhere else.

use super::Activation;
use super::bridge::{link_members, published, sandbox_side, subnet_members};
use crate::endpoint::{Endpoint, Wire};
use crate::network::{Bridge, Network, Pool};
use crate::plan::{Guard, Key, Member, State, Value};
use crate::route::{Attributes, Static};
use crate::subnet::{Family, Subnet};
use ipnet::IpNet;
use std::net::IpAddr;

/// What must exist for a routed network.
pub fn network(network: &Network, bridge: &Bridge, activation: &Activation) -> State {
    let owner = activation.owner(&network.name);
    let mut state = activation.essence(&network.name);
    let (mut members, mut addresses) = (Vec::new(), Vec::new());
    if bridge.inline.is_none() {
        members.extend(link_members(bridge, &bridge.device));
    }
    for pool in &bridge.pools {
        match bridge.inline {
            // Others may have the subnet too. What leads nowhere there is not ours to say.
            Some(inline) => {
                addresses.push(pool.gateway.into());
                members.extend(inline.apart.then_some(Member::Peers(pool.subnet, pool.subnet)));
            }
            None => {
                addresses.push(pool.gateway_net());
                members.extend(subnet_members(bridge, pool));
                members.push(Member::Peers(pool.subnet, peers(bridge, pool)));
                members.push(Member::Gateway(pool.subnet, pool.gateway));
            }
        }
    }
    members.into_iter().for_each(|member| state.insert(Key::Member(member), &owner, Value::Present));
    let address = |net| Key::BridgeAddress(bridge.device.clone(), net);
    addresses.into_iter().for_each(|net| state.insert(address(net), &owner, Value::Present));
    state
}

/// Where members may send to without anything else being said: to one another, or only to their gateway.
fn peers(bridge: &Bridge, pool: &Pool) -> Subnet {
    if bridge.icc { pool.subnet } else { Subnet::around(pool.gateway.into()) }
}

/// What must exist for an endpoint of a routed network.
pub fn endpoint(bridge: &Bridge, activation: &Activation, (endpoint, wire): (&Endpoint, &Wire)) -> State {
    let owner = endpoint.owner();
    let mut state = State::default();
    let mut put = |(key, value)| state.insert(key, &owner, value);
    let members = match bridge.inline {
        Some(_) => open_members(bridge, wire),
        None => link_members(bridge, &wire.host_if),
    };
    let members = members.into_iter().chain(homes(wire));
    members.for_each(|member| put((Key::Member(member), Value::Present)));
    if wire.guard {
        put((Key::Guard(Guard::Routed(wire.host_if.clone())), Value::Present));
        put((Key::Guard(Guard::Sender(wire.host_if.clone(), wire.mac)), Value::Present));
    }
    host_side((endpoint, wire)).into_iter().for_each(&mut put);
    sandbox_side((endpoint, wire), None).into_iter().for_each(&mut put);
    ways(bridge, (endpoint, wire)).into_iter().for_each(&mut put);
    let network = activation.open.iter().map(|(family, _)| family);
    let opened = network.filter(|family| wire.address(**family).is_some()).chain(&wire.extras.opened);
    let open = |family: &Family| (Key::Open(*family, wire.host_if.clone()), Value::Present);
    opened.map(open).for_each(&mut put);
    let asked = activation.names.iter().map(|(_, gateway)| *gateway);
    let asked = asked.filter(|gateway| wire.address(Family::of(*gateway)).is_some());
    asked.for_each(|gateway| put((Key::Names(wire.host_if.clone(), gateway), Value::Present)));
    put((Key::HostUp(wire.host_if.clone()), Value::Present));
    host_routes(bridge, wire).into_iter().for_each(&mut put);
    published(wire).into_iter().for_each(&mut put);
    state
}

/// The places of a port of an open network, each by its own address: another network may have the same subnet.
fn open_members(bridge: &Bridge, wire: &Wire) -> Vec<Member> {
    let mut members = Vec::new();
    for ip in wire.addresses.iter().map(IpNet::addr) {
        let alone = Subnet::around(ip.into());
        members.extend(bridge.masquerade.then_some(Member::Masquerade(alone)));
        members.extend(bridge.pool_of(ip).map(|pool| Member::Gateway(alone, pool.gateway)));
    }
    members.extend(wire.extras.apart.then(|| Member::Apart(wire.host_if.clone())));
    members
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
        mac: wire.first_mac(),
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
/// nobody would be asked for it. On an open network the door says what is reached by whom.
fn ways(bridge: &Bridge, (endpoint, wire): (&Endpoint, &Wire)) -> Vec<(Key, Value)> {
    let way = |to, via| Static { to, via: Some(via), dev: None, attributes: Attributes::default() };
    let subnets = bridge.pools.iter().filter(|_| bridge.inline.is_none());
    let subnets = subnets.map(|pool| way(pool.subnet.net(), pool.gateway));
    let defaults = wire.gateways.iter().map(|via| way(Family::of(*via).default_route(), *via));
    let (sandbox, ifname) = (endpoint.sandbox(), &endpoint.id.ifname);
    let neighbour = |via: IpAddr| {
        let key = Key::SandboxNeighbour(sandbox.clone(), ifname.clone(), via);
        (key, Value::Mac(wire.first_mac().host_end()))
    };
    let mut objects: Vec<_> = wire.extras.ways.iter().filter_map(|way| way.via).map(neighbour).collect();
    for route in subnets.chain(defaults).chain(wire.made_routes(None)) {
        objects.extend(route.via.map(neighbour));
        let (key, mut value) = route.object(&endpoint.id);
        if let Value::Route { via, onlink, .. } = &mut value {
            *onlink = via.is_some();
        }
        objects.push((key, value));
    }
    objects
}

/// The host's routes to the endpoint. It sends from the gateway's address, which members reach.
fn host_routes(bridge: &Bridge, wire: &Wire) -> Vec<(Key, Value)> {
    let route = |net: &IpNet| {
        let src = bridge.pool_of(net.addr()).map(|pool| pool.gateway);
        let attributes = Attributes::default();
        let value = Value::Route { dev: wire.host_if.clone(), via: None, onlink: false, src, attributes };
        (Key::HostRoute(net.addr().into()), value)
    };
    wire.addresses.iter().map(route).collect()
}
