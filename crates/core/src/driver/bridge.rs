//! Bridge networks: a bridge of the host, a pair of interfaces per endpoint, routing and translation by the
//! host. `docs/security.md` says in words what may pass; this is where the words become elements.

use super::Activation;
use crate::endpoint::{Endpoint, Wire};
use crate::mac::Mac;
use crate::name::IfName;
use crate::network::{Bridge, Inline, Network, Pool};
use crate::plan::{Guard, Key, Member, State, Value};
use crate::port::{Backend, HostAddr, Listen, PortRange, Protocol};
use crate::route::Static;
use crate::subnet::Family;
use ipnet::IpNet;
use std::net::IpAddr;

/// What must exist for a bridge network.
pub fn network(network: &Network, bridge: &Bridge, activation: &Activation) -> State {
    let owner = activation.owner(&network.name);
    let device = &bridge.device;
    let mac = activation.mac;
    let mut state = activation.essence(&network.name);
    let mut put = |key, value| state.insert(key, &owner, value);
    put(Key::BridgeUp(device.clone()), Value::Present);
    if let Some(vrf) = bridge.vrf.clone().filter(|_| !activation.foreign) {
        put(Key::BridgeVrf(device.clone(), vrf), Value::Present);
    }
    members(bridge).into_iter().for_each(|member| put(Key::Member(member), Value::Present));
    let gateway = bridge.gateway_if();
    let address = |net| match gateway == *device {
        true => Key::BridgeAddress(device.clone(), net),
        false => Key::VlanAddress(gateway.clone(), net),
    };
    bridge_addresses(bridge, mac).into_iter().for_each(|net| put(address(net), Value::Present));
    let vlans = vlans(bridge).into_iter();
    let vlans = vlans.filter(|(key, _)| !(activation.in_vlan && matches!(key, Key::BridgeVlan(..))));
    vlans.for_each(|(key, value)| put(key, value));
    resolver(bridge).into_iter().for_each(|(key, value)| put(key, value));
    state
}

/// What the kernel creates with the bridge, and loses only if a program deletes it: frames to the bridge are the
/// host's.
pub fn implied(network: &Network, activation: &Activation) -> State {
    let mut state = State::default();
    if !activation.foreign {
        let key = Key::OwnFdb(activation.device.clone(), activation.mac);
        state.insert(key, &activation.owner(&network.name), Value::Present);
    }
    state
}

/// That the bridge tells VLANs apart, and the interface in the one that the gateways are in.
fn vlans(bridge: &Bridge) -> Vec<(Key, Value)> {
    let Some(inline) = bridge.inline.filter(|inline| inline.filtering) else { return Vec::new() };
    let (device, gateway) = (&bridge.device, bridge.gateway_if());
    let mut objects = vec![(Key::VlanFiltering(device.clone()), Value::Present)];
    if let Some(id) = inline.vlan.filter(|_| gateway != *device) {
        objects.push((Key::BridgeVlan(device.clone(), id), Value::Present));
        objects.push((Key::Vlan(gateway), Value::Vlan { parent: device.clone(), id, up: true }));
    }
    objects
}

/// The bridge's hardware address: that of its first gateway, so that it stays the same when the bridge is
/// made anew.
pub(super) fn bridge_mac(network: &Network, bridge: &Bridge) -> Mac {
    let first = bridge.pools.first().map_or(IpAddr::from([0, 0, 0, 0]), |pool| pool.gateway);
    Mac::derived(network.mac_number(), first)
}

fn bridge_addresses(bridge: &Bridge, mac: Mac) -> Vec<IpNet> {
    if !bridge.is_routed() {
        return Vec::new();
    }
    let mut nets: Vec<_> = bridge.pools.iter().map(Pool::gateway_net).collect();
    if bridge.has(Family::V6) {
        nets.push(link_local(mac));
    }
    nets
}

fn link_local(mac: Mac) -> IpNet {
    IpNet::new_assert(mac.link_local().into(), 64)
}

/// Where questions to a gateway go that is asked for names, if they are answered at another port.
fn resolver(bridge: &Bridge) -> Vec<(Key, Value)> {
    const DNS: u16 = 53;
    let Some(port) = bridge.inline.and_then(|inline| inline.dns_port) else { return Vec::new() };
    let Ok(ports) = PortRange::one(DNS) else { return Vec::new() };
    let gateways = bridge.pools.iter().map(|pool| pool.gateway);
    let each = |ip: IpAddr| {
        [Protocol::Udp, Protocol::Tcp].map(|protocol| {
            let listen = Listen { protocol, host: HostAddr::One(ip), ports };
            (Key::Publish(listen), Value::Backend(Backend { ip, port }))
        })
    };
    gateways.flat_map(each).collect()
}

/// The network's places in the rule set.
fn members(bridge: &Bridge) -> Vec<Member> {
    let device = || bridge.gateway_if();
    if let Some(inline) = bridge.inline.filter(|inline| !inline.closed) {
        return open_members(bridge, inline);
    }
    let mut members = link_members(bridge, &device());
    members.extend(bridge.inline.filter(|inline| inline.apart).map(|_| Member::Apart(device())));
    // Without it members do not reach one another by way of the gateway either; the ports are kept apart besides.
    members.extend(bridge.icc.then(|| Member::Pair(device(), device())));
    // What comes in by a VRF's bridge comes in by the VRF once more (`l3mdev_ip_rcv`).
    let links = std::iter::once(device()).chain(bridge.vrf.clone());
    members.extend(
        links.flat_map(|link| bridge.pools.iter().map(move |pool| Member::Own(pool.subnet, link.clone()))),
    );
    members.extend(bridge.pools.iter().flat_map(|pool| subnet_members(bridge, pool)));
    let outbound = |pool: &Pool| {
        let ip = bridge.inline.filter(|_| bridge.masquerade)?.outbound(pool.subnet.family())?;
        Some(Member::Outbound(pool.subnet, ip))
    };
    members.extend(bridge.pools.iter().filter_map(outbound));
    members
}

/// An open network is in no set that keeps anybody out.
fn open_members(bridge: &Bridge, inline: Inline) -> Vec<Member> {
    let own = bridge.pools.iter().filter(|_| inline.routed);
    let device = || bridge.gateway_if();
    let mut members: Vec<_> = own.map(|pool| Member::Own(pool.subnet, device())).collect();
    let translated = bridge.pools.iter().filter(|_| bridge.masquerade);
    members.extend(translated.map(|pool| Member::Masquerade(pool.subnet)));
    members.extend(
        inline
            .apart
            .then(|| [Member::Apart(device()), Member::Pair(device(), device())])
            .into_iter()
            .flatten(),
    );
    members
}

/// The places of an interface that containers are behind.
pub(super) fn link_members(bridge: &Bridge, link: &IfName) -> Vec<Member> {
    let mut members = vec![Member::Downlink(link.clone())];
    members.extend(bridge.internal.then(|| Member::Internal(link.clone())));
    members.extend((bridge.internal && !bridge.host_access).then(|| Member::Closed(link.clone())));
    members.extend((!bridge.isolate && !bridge.internal).then(|| Member::Friend(link.clone())));
    members
}

/// The places of a subnet.
pub(super) fn subnet_members(bridge: &Bridge, pool: &Pool) -> Vec<Member> {
    let subnet = pool.subnet;
    let translated = bridge.masquerade && !bridge.internal;
    let mut members = vec![Member::Subnet(subnet)];
    members.extend(translated.then_some(Member::Masquerade(subnet)));
    members.extend((translated || bridge.internal).then_some(Member::Hidden(subnet)));
    members.extend((!bridge.isolate && !bridge.internal).then_some(Member::FriendSubnet(subnet)));
    members
}

/// What must exist for an endpoint of a bridge network.
pub fn endpoint(bridge: &Bridge, activation: &Activation, (endpoint, wire): (&Endpoint, &Wire)) -> State {
    let owner = endpoint.owner();
    let mut state = State::default();
    let mut put = |(key, value)| state.insert(key, &owner, value);
    if wire.guard {
        guards(wire).into_iter().for_each(|guard| put((Key::Guard(guard), Value::Present)));
    }
    host_side(bridge, activation, (endpoint, wire)).into_iter().for_each(&mut put);
    let local = wire.address(Family::V6).map(|_| link_local(wire.mac));
    sandbox_side((endpoint, wire), local).into_iter().for_each(&mut put);
    routes((endpoint, wire), local).into_iter().for_each(&mut put);
    put((Key::HostUp(wire.host_if.clone()), Value::Present));
    published(wire).into_iter().for_each(&mut put);
    state
}

/// What the port may send: its hardware address, its addresses, and those declared besides.
fn guards(wire: &Wire) -> Vec<Guard> {
    let port = || wire.host_if.clone();
    let own = wire.addresses.iter().map(IpNet::addr);
    let mut guards = vec![Guard::Port(port()), Guard::Mac(port(), wire.mac)];
    guards.extend(own.chain(wire.allow.iter().copied()).flat_map(|ip| address_guards(&port(), wire.mac, ip)));
    if wire.address(Family::V6).is_some() {
        guards.push(Guard::Ip6(port(), wire.mac.link_local()));
    }
    guards
}

fn address_guards(port: &IfName, mac: Mac, ip: IpAddr) -> Vec<Guard> {
    match ip {
        IpAddr::V4(ip) => vec![Guard::Arp(port.clone(), mac, ip), Guard::Ip4(port.clone(), ip)],
        IpAddr::V6(ip) => vec![Guard::Ip6(port.clone(), ip)],
    }
}

fn host_side(
    bridge: &Bridge,
    activation: &Activation,
    (endpoint, wire): (&Endpoint, &Wire),
) -> Vec<(Key, Value)> {
    let (host_if, device) = (&wire.host_if, &bridge.device);
    let veth = Value::Veth {
        sandbox: endpoint.sandbox().clone(),
        peer: endpoint.id.ifname.clone(),
        mac: wire.mac,
        mtu: wire.mtu,
        bridge: Some(device.clone()),
    };
    let port = Value::Port {
        fixed: !wire.extras.learns,
        isolated: !bridge.icc || wire.extras.isolated,
        hairpin: activation.hairpin || wire.extras.hairpin,
    };
    let mut objects = vec![
        (Key::Veth(host_if.clone()), veth),
        (Key::Port(host_if.clone()), port),
        (Key::Fdb(host_if.clone(), wire.mac), Value::Present),
    ];
    let vlans = wire.extras.vlans.clone();
    objects.extend(vlans.map(|vlans| (Key::PortVlans(host_if.clone()), Value::Vlans(vlans))));
    let gateway = bridge.gateway_if();
    let neighbour = |net: &IpNet| (Key::Neighbour(gateway.clone(), net.addr()), Value::Mac(wire.mac));
    objects.extend(wire.addresses.iter().filter(|_| bridge.is_routed()).map(neighbour));
    objects
}

/// The interface inside, up, with its addresses and one more.
pub(super) fn sandbox_side((endpoint, wire): (&Endpoint, &Wire), more: Option<IpNet>) -> Vec<(Key, Value)> {
    let (sandbox, ifname) = (endpoint.sandbox(), &endpoint.id.ifname);
    let mut objects = vec![
        (Key::SandboxLoopback(sandbox.clone()), Value::Present),
        (Key::SandboxUp(sandbox.clone(), ifname.clone()), Value::Present),
    ];
    objects.truncate(if wire.extras.down { 1 } else { 2 });
    let address = |net: IpNet| (Key::SandboxAddress(sandbox.clone(), ifname.clone(), net), Value::Present);
    objects.extend(wire.addresses.iter().copied().chain(more).map(address));
    objects
}

/// The default routes, and those asked for.
fn routes((endpoint, wire): (&Endpoint, &Wire), local: Option<IpNet>) -> Vec<(Key, Value)> {
    let defaults = wire.gateways.iter().map(|via| {
        let to = Family::of(*via).default_route();
        Static { to, via: Some(*via), dev: None, attributes: wire.extras.defaults }
    });
    defaults.chain(wire.made_routes(local)).map(|route| route.object(&endpoint.id)).collect()
}

/// The published ports, and again those that clients of the loopback address may use.
pub(super) fn published(wire: &Wire) -> Vec<(Key, Value)> {
    let pieces: Vec<_> = wire.publish.iter().flat_map(|p| p.pieces()).collect();
    let translated = pieces.iter().filter(|p| !p.listen.host.ip().is_loopback());
    let translated = translated.map(|p| (Key::Publish(p.listen), Value::Backend(p.backend)));
    let local = pieces.iter().filter(|p| p.listen.serves_loopback());
    let value = if wire.extras.held { Value::Held } else { Value::Backend };
    let local = local.map(|p| (Key::Loopback(p.listen), value(p.backend)));
    translated.chain(local).collect()
}
