//! The host's links, their ports and their neighbours.

use super::{failed, shape};
use crate::error::KernelError;
use crate::kernel::{ApplyError, Places};
use crate::lend::{self, Place};
use crate::linux::Linux;
use crate::reap;
use crate::rtnl::child::NewChild;
use crate::rtnl::link::{NewBridge, NewVeth};
use crate::rtnl::neighbour::Forward;
use crate::rtnl::route::Hop;
use crate::rtnl::{
    Mode, Request, address, ask, ask_one, child, link, merge, neighbour, route, setting, vlan,
};
use crate::sysctl::has_ipv6;
use qiao_core::endpoint::{Netns, PortVlans};
use qiao_core::network::MTU_MIN_V6;
use qiao_core::plan::{Key, Object, Op, Value};
use qiao_core::route::Attributes;
use qiao_core::{IfName, Owner, SandboxName};
use rustix::fd::AsRawFd;

/// Requests that wait to be sent, each with the operation it belongs to.
pub(super) struct Batch<'a> {
    pub(super) linux: &'a mut Linux,
    waiting: Vec<(&'a Op, Request)>,
}

/// Carries out a group.
pub fn apply(linux: &mut Linux, group: &[Op], places: &Places) -> Result<(), ApplyError> {
    let mut batch = Batch { linux, waiting: Vec::new() };
    for op in group {
        batch.take(op, places).map_err(|e| failed(op, e))??;
    }
    batch.send()?;
    // A success is reported when packets pass: the pending link events are run now, not when a worker has time.
    for op in group {
        let events = pending(op).into_iter();
        let run = |name| batch.linux.interfaces.force_link_event(name).map(drop);
        events.flatten().try_for_each(run).map_err(|e| failed(op, e))?;
    }
    Ok(())
}

/// The links that have events: one that comes up; a port that is put on another bridge, and that bridge, which begins
/// to send with its first port.
fn pending(op: &Op) -> [Option<&IfName>; 2] {
    match op {
        Op::Add { key: Key::HostUp(name), .. } => [Some(name), None],
        Op::Set { key: Key::Veth(name), to: Value::Veth { bridge: Some(bridge), .. }, .. } => {
            [Some(name), Some(bridge)]
        }
        _ => [None, None],
    }
}

fn gone() -> KernelError {
    KernelError::Errno { errno: libc::ENOENT, text: Some("the network namespace is gone".into()) }
}

pub(super) type Taken = Result<Result<(), ApplyError>, KernelError>;

impl<'a> Batch<'a> {
    pub(super) fn push(&mut self, op: &'a Op, requests: impl IntoIterator<Item = Request>) {
        for request in requests {
            let last = self.waiting.last_mut().map(|(_, last)| last);
            match last.and_then(|last| merge::merged(last, &request).map(|both| *last = both)) {
                Some(()) => {}
                None => self.waiting.push((op, request)),
            }
        }
    }

    /// Sends what waits. Deleting what is gone already has succeeded.
    pub(super) fn send(&mut self) -> Result<(), ApplyError> {
        let waiting = std::mem::take(&mut self.waiting);
        let Some((first, _)) = waiting.first() else { return Ok(()) };
        let requests = waiting.iter().map(|(_, request)| request);
        let answers = ask(&mut self.linux.rtnl, requests).map_err(|e| failed(first, e))?;
        for ((op, _), answer) in waiting.iter().zip(answers) {
            match answer {
                Err(error) if matches!(op, Op::Del { .. }) && error.is_absent() => {}
                Err(error) if error.errno() == Some(libc::EEXIST) => self.over_learned(op, error)?,
                Err(error) => return Err(failed(op, error)),
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Replaces a forwarding entry that the bridge has learned, or that leads to a port of ours which is being
    /// destroyed. An entry that is as wanted stays. Any other entry has an owner, the bridge itself for example, and
    /// is an error.
    fn over_learned(&mut self, op: &Op, error: KernelError) -> Result<(), ApplyError> {
        let (Key::Fdb(name, _) | Key::OwnFdb(name, _)) = op.key() else { return Err(failed(op, error)) };
        let index = self.linux.interfaces.index(name).map_err(|e| failed(op, e))?;
        let Some(entry) = index.and_then(|index| entry(op.key(), index)) else {
            return Err(failed(op, error));
        };
        let rtnl = &mut self.linux.rtnl;
        let answer = ask_one(rtnl, &neighbour::get_forward(entry)).map_err(|e| failed(op, e))?;
        let Some(found) = neighbour::read(&answer).into_iter().next() else { return Err(failed(op, error)) };
        if found.is(entry) {
            return Ok(());
        }
        let leaves = !found.own && reap::is_leaving(self.linux, found.index).map_err(|e| failed(op, e))?;
        if found.permanent && !leaves {
            return Err(failed(op, error));
        }
        let over = neighbour::forward(entry, Mode::Replace);
        ask_one(&mut self.linux.rtnl, &over).map(drop).map_err(|e| failed(op, e))
    }

    /// The index of a link. What waits goes first, if it makes the link or takes it away.
    pub(super) fn index(&mut self, name: &IfName) -> Result<Result<u32, ApplyError>, KernelError> {
        let is_about = |key: &Key| matches!(key, Key::Bridge(link) | Key::Veth(link) | Key::Vlan(link) | Key::Ifb(link) if link == name);
        if self.waiting.iter().any(|(op, _)| is_about(op.key()))
            && let Err(error) = self.send()
        {
            return Ok(Err(error));
        }
        let absent = KernelError::Errno { errno: libc::ENODEV, text: None };
        self.linux.interfaces.index(name)?.ok_or(absent).map(Ok)
    }

    fn take(&mut self, op: &'a Op, places: &Places) -> Taken {
        if let Key::Lent(sandbox, ifname) = op.key() {
            return self.lent(op, (sandbox, ifname), places);
        }
        match op {
            Op::Add { key, object } => self.add(op, (key, object), places),
            Op::Set { key: Key::Veth(name), owner, from, to } if !is_same_end(from, to) => self
                .del_link(op, name)?
                .map_or_else(|e| Ok(Err(e)), |()| self.veth(op, (name, owner, to), places)),
            Op::Set { key, to, .. } => self.set(op, key, to),
            Op::Del { key, .. } => self.del(op, key),
        }
    }

    fn add(&mut self, op: &'a Op, (key, object): (&'a Key, &'a Object), places: &Places) -> Taken {
        match (key, &object.value) {
            (Key::Bridge(name), Value::Bridge { mac, mtu }) => {
                self.push(
                    op,
                    [link::new_bridge(NewBridge { name, mac: *mac, mtu: *mtu, engine: self.linux.engine })],
                );
                // The kernel goes on behind a request that failed: if somebody else was faster, the mark would
                // make his bridge ours.
                if let Err(error) = self.send() {
                    return Ok(Err(error));
                }
                self.push(op, [link::mark(name, &object.owner.mark())]);
                self.push(op, quiet(name, *mtu));
            }
            (Key::Veth(name), value @ Value::Veth { .. }) => {
                return self.veth(op, (name, &object.owner, value), places);
            }
            (Key::Vlan(name), Value::Vlan { .. }) => return self.vlan(op, (name, object)),
            (Key::Child(sandbox, name), Value::Child { .. }) => {
                return self.child(op, (name, &object.value), places.get(sandbox));
            }
            (Key::BridgeUp(name) | Key::HostUp(name), _) => self.push(op, [link::up(name, true)]),
            _ => return self.set(op, key, &object.value),
        }
        Ok(Ok(()))
    }

    fn lent(&mut self, op: &'a Op, (sandbox, ifname): (&SandboxName, &IfName), places: &Places) -> Taken {
        if let Err(error) = self.send() {
            return Ok(Err(error));
        }
        let place = Place { owner: op.owner(), sandbox, ifname };
        let object = |value: &Value| match value {
            Value::Lent { lent, .. } => Some(lent.clone()),
            _ => None,
        };
        let done = match (op.after(), op.before()) {
            (Some(after), _) => object(&after.value).map(|lent| lend::lend(self.linux, place, &lent, places)),
            (None, before) => before
                .and_then(|before| object(&before.value))
                .map(|lent| lend::take_home(self.linux, place, &lent, places)),
        };
        Ok(done.unwrap_or(Ok(())).map_err(|error| failed(op, error)))
    }

    fn veth(
        &mut self,
        op: &'a Op,
        (host_if, owner, value): (&'a IfName, &'a Owner, &'a Value),
        places: &Places,
    ) -> Taken {
        let Value::Veth { sandbox, peer, mac, mtu, bridge } = value else {
            return Ok(Ok(()));
        };
        let bridge = match bridge.as_ref().map(|bridge| self.index(bridge)).transpose()?.transpose() {
            Ok(index) => index,
            Err(error) => return Ok(Err(error)),
        };
        let Some(place) = places.get(sandbox).map(|netns| self.linux.sandbox(netns)).transpose()?.flatten()
        else {
            return Err(gone());
        };
        place.indices.remove(peer.as_str());
        let netns = place.handle.as_raw_fd();
        let engine = self.linux.engine;
        let new = NewVeth { host_if, peer, netns, mac: *mac, mtu: *mtu, bridge, engine };
        self.push(op, [link::new_veth(new), link::mark(host_if, &owner.mark())]);
        self.push(op, quiet(host_if, *mtu));
        Ok(Ok(()))
    }

    fn vlan(&mut self, op: &'a Op, (name, object): (&'a IfName, &'a Object)) -> Taken {
        let Value::Vlan { parent, id, .. } = &object.value else { return Ok(Ok(())) };
        let parent = match self.index(parent)? {
            Ok(index) => index,
            Err(error) => return Ok(Err(error)),
        };
        let base = link::read(&ask_one(&mut self.linux.rtnl, &link::get_at(parent))?).into_iter().next();
        let mtu = base.map_or(MTU_MIN_V6, |base| base.mtu);
        self.push(op, [child::new_vlan(name, (parent, *id), self.linux.engine)]);
        // As with a bridge: what is behind it may be meant for it alone.
        if let Err(error) = self.send() {
            return Ok(Err(error));
        }
        self.push(op, [link::mark(name, &object.owner.mark())]);
        self.push(op, quiet(name, mtu));
        self.push(op, [link::up(name, true)]);
        Ok(Ok(()))
    }

    fn child(&mut self, op: &'a Op, (name, value): (&'a IfName, &'a Value), netns: Option<&Netns>) -> Taken {
        let Value::Child { parent, mode, mac, mtu, broadcasts, .. } = value else { return Ok(Ok(())) };
        let parent = match self.index(parent)? {
            Ok(index) => index,
            Err(error) => return Ok(Err(error)),
        };
        let Some(place) = netns.map(|netns| self.linux.sandbox(netns)).transpose()?.flatten() else {
            return Err(gone());
        };
        place.indices.remove(name.as_str());
        let netns = Some(place.handle.as_raw_fd());
        let new = NewChild {
            name,
            netns,
            parent,
            mode: *mode,
            mac: *mac,
            mtu: *mtu,
            broadcasts: *broadcasts,
            engine: self.linux.engine,
        };
        self.push(op, [child::new_child(new)]);
        Ok(Ok(()))
    }

    fn set(&mut self, op: &'a Op, key: &'a Key, value: &'a Value) -> Taken {
        if matches!(key, Key::Ifb(_) | Key::Shape(_) | Key::Redirect(_)) {
            return shape::make(self, op, (key, value));
        }
        self.push(op, other_end(op));
        let index = |name, batch: &mut Self| batch.index(name);
        let (name, make): (&IfName, Box<dyn Fn(u32) -> Request>) = match (key, value) {
            (Key::Bridge(name), Value::Bridge { mac, mtu }) => {
                self.push(op, [link::set_bridge(name, (*mac, *mtu))]);
                return Ok(Ok(()));
            }
            (Key::Port(name), Value::Port { fixed, isolated, hairpin }) => {
                self.push(op, [link::port(name, *fixed, (*isolated, *hairpin))]);
                return Ok(Ok(()));
            }
            (Key::Switch(name, which), _) => {
                self.push(op, [link::switch(name, (*which, true))]);
                return Ok(Ok(()));
            }
            (Key::Setting(which, name), Value::Number(number)) => {
                self.push(op, [setting::set(name, *which, (*number, *number))]);
                return Ok(Ok(()));
            }
            (Key::Vlan(name), Value::Vlan { up, .. }) => {
                self.push(op, [link::up(name, *up)]);
                return Ok(Ok(()));
            }
            (Key::Port(name), Value::PointToPoint { .. }) => {
                self.push(op, [link::point_to_point(name)]);
                return Ok(Ok(()));
            }
            (Key::Veth(name), Value::Veth { bridge: None, mtu, .. }) => {
                self.push(op, [link::set_mtu(name, *mtu)]);
                return Ok(Ok(()));
            }
            (Key::VlanFiltering(name), _) => {
                self.push(op, [vlan::filtering(name, true)]);
                return Ok(Ok(()));
            }
            (Key::PortVlans(name), Value::Vlans(vlans)) => return self.port_vlans(op, (name, vlans)),
            (Key::BridgeVrf(name, vrf), _) => (vrf, Box::new(|index| link::enslave(name, index))),
            (Key::BridgeVlan(name, id), _) => (name, Box::new(|index| vlan::own(index, *id, true))),
            (Key::HostRoute(net), Value::Route { dev, via, onlink, src, attributes }) => {
                let mode = mode(op);
                let attributes = *attributes;
                let hop = move |index| Hop { index, via: *via, onlink: *onlink, src: *src, attributes };
                (dev, Box::new(move |index| route::set(*net, hop(index), mode)))
            }
            (Key::Veth(name), Value::Veth { bridge: Some(bridge), mtu, .. }) => {
                (bridge, Box::new(move |index| link::set_master(name, index, *mtu)))
            }
            (Key::BridgeAddress(name, net) | Key::VlanAddress(name, net), _) => {
                (name, Box::new(|index| address::add(index, *net)))
            }
            (Key::Fdb(name, mac), _) => {
                let mode = mode(op);
                (name, Box::new(move |index| neighbour::forward(Forward::Port(index, *mac), mode)))
            }
            (Key::OwnFdb(name, mac), _) => {
                let mode = mode(op);
                (name, Box::new(move |index| neighbour::forward(Forward::Own(index, *mac), mode)))
            }
            (Key::Neighbour(name, ip), Value::Mac(mac)) => {
                (name, Box::new(|index| neighbour::set(index, *ip, *mac)))
            }
            _ => return Ok(Ok(())),
        };
        match index(name, self)? {
            Ok(index) => self.push(op, [make(index)]),
            Err(error) => return Ok(Err(error)),
        }
        Ok(Ok(()))
    }

    /// A new port has what its bridge gives it: VLAN 1, untagged, unless somebody chose another.
    fn port_vlans(&mut self, op: &'a Op, (name, vlans): (&'a IfName, &'a PortVlans)) -> Taken {
        let index = match self.index(name)? {
            Ok(index) => index,
            Err(error) => return Ok(Err(error)),
        };
        let had = vlan::read(&ask_one(&mut self.linux.rtnl, &vlan::get_all())?, index).unwrap_or_default();
        self.push(op, vlan::set_port(index, &had, vlans));
        Ok(Ok(()))
    }

    fn del(&mut self, op: &'a Op, key: &'a Key) -> Taken {
        let name = match key {
            Key::BridgeUp(name) | Key::HostUp(name) => {
                self.push(op, [link::up(name, false)]);
                return Ok(Ok(()));
            }
            Key::HostRoute(net) => {
                self.push(op, [route::delete(*net, Attributes::default())]);
                return Ok(Ok(()));
            }
            Key::VlanFiltering(name) => {
                self.push(op, [vlan::filtering(name, false)]);
                return Ok(Ok(()));
            }
            Key::BridgeVrf(name, _) => {
                self.push(op, [link::enslave(name, 0)]);
                return Ok(Ok(()));
            }
            Key::Switch(name, which) => {
                self.push(op, [link::switch(name, (*which, false))]);
                return Ok(Ok(()));
            }
            Key::Setting(which, name) => {
                let was = op.before().map_or(Value::Present, |object| object.value);
                let was = if let Value::Number(number) = was { number } else { 0 };
                self.push(op, [setting::give_back(name, *which, was)]);
                return Ok(Ok(()));
            }
            Key::Port(_) | Key::PortVlans(_) => return Ok(Ok(())),
            Key::Shape(_) | Key::Redirect(_) => return shape::delete(self, op, key),
            Key::Bridge(name) | Key::Veth(name) | Key::Vlan(name) | Key::Ifb(name) => {
                return self.del_link(op, name);
            }
            Key::BridgeAddress(name, _)
            | Key::VlanAddress(name, _)
            | Key::BridgeVlan(name, _)
            | Key::Fdb(name, _)
            | Key::OwnFdb(name, _)
            | Key::Neighbour(name, _) => name,
            _ => return Ok(Ok(())),
        };
        let index = match self.index(name) {
            Err(error) if error.is_absent() => return Ok(Ok(())),
            Err(error) => return Err(error),
            Ok(Err(error)) => return Ok(Err(error)),
            Ok(Ok(index)) => index,
        };
        match key {
            Key::BridgeAddress(_, net) | Key::VlanAddress(_, net) => {
                self.push(op, [address::delete(index, *net)]);
            }
            Key::BridgeVlan(_, id) => self.push(op, [vlan::own(index, *id, false)]),
            Key::Fdb(..) | Key::OwnFdb(..) => {
                self.push(op, entry(key, index).map(neighbour::delete_forward));
            }
            Key::Neighbour(_, ip) => self.push(op, [neighbour::delete(index, *ip)]),
            _ => {}
        }
        Ok(Ok(()))
    }

    fn del_link(&mut self, op: &'a Op, name: &IfName) -> Taken {
        if let Err(error) = self.send() {
            return Ok(Err(error));
        }
        Ok(reap::delete(self.linux, name).map_err(|e| failed(op, e)))
    }
}

/// The request that keeps the kernel from giving a new link IPv6 addresses. A link whose MTU is too small for IPv6
/// refuses it (`EAFNOSUPPORT`).
pub(super) fn quiet(name: &IfName, mtu: u32) -> Option<Request> {
    (mtu >= MTU_MIN_V6 && has_ipv6()).then(|| link::no_automatic_addresses(name))
}

/// An object that is added must not be there: it could have another owner.
fn mode(op: &Op) -> Mode {
    if matches!(op, Op::Set { .. }) { Mode::Replace } else { Mode::Create }
}

/// The forwarding entry that a key is, at the link of this index.
fn entry(key: &Key, index: u32) -> Option<Forward> {
    match key {
        Key::Fdb(_, mac) => Some(Forward::Port(index, *mac)),
        Key::OwnFdb(_, mac) => Some(Forward::Own(index, *mac)),
        _ => None,
    }
}

/// Whether a pair's other end is where it shall be. One that is not cannot be fetched from there, only made anew.
fn is_same_end(from: &Value, to: &Value) -> bool {
    let end = |value: &Value| match value {
        Value::Veth { sandbox, peer, .. } => Some((sandbox.clone(), peer.clone())),
        _ => None,
    };
    end(from) == end(to)
}

/// What gives a host's end the hardware address that follows from the other end's, where it has another one.
fn other_end(op: &Op) -> Option<Request> {
    let Op::Set { key: Key::Veth(name), from: Value::Veth { mac: was, .. }, to, .. } = op else {
        return None;
    };
    let Value::Veth { mac, bridge, .. } = to else { return None };
    (was != mac).then(|| link::set_mac(name, mac.other_end(bridge.is_some())))
}
