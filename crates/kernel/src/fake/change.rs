//! Changing the fake kernel: one operation at a time, refused as Linux refuses it.

use super::world::{Errno, World, in_sandbox, leads_over};
use crate::kernel::Places;
use qiao_core::plan::{Found, Key, Object, Op, Value};
use qiao_core::{IfName, Mac, Owner, SandboxName};

impl World {
    /// Carries out one operation.
    pub(super) fn change(&mut self, op: &Op, places: &Places) -> Result<(), Errno> {
        if matches!(op.owner(), Owner::Endpoint(id) if self.stubborn.contains(&id.sandbox)) {
            return Err(libc::EIO);
        }
        if self.loopback_taken && matches!(op.key(), Key::Loopback(_)) && op.after().is_some() {
            return Err(libc::EADDRINUSE);
        }
        match op {
            Op::Add { key, object } => self.add(key, object, places),
            Op::Set { key, owner, to, .. } => {
                self.set(key, &Object { owner: owner.clone(), value: to.clone() }, places)
            }
            Op::Del { key, .. } => self.del(key, places),
        }
    }

    fn add(&mut self, key: &Key, object: &Object, places: &Places) -> Result<(), Errno> {
        match key {
            Key::Ruleset
            | Key::BridgeAddress(..)
            | Key::VlanAddress(..)
            | Key::SandboxAddress(..)
            | Key::Route(..)
            | Key::Way(..)
            | Key::HostRoute(_)
                if self.objects.contains_key(key) =>
            {
                return Err(libc::EEXIST);
            }
            Key::Bridge(name) | Key::Veth(name) | Key::Vlan(name) | Key::Ifb(name) if self.has_link(name) => {
                return Err(libc::EEXIST);
            }
            _ => {}
        }
        match self.objects.get(key) {
            // An element that is there already is taken for made, unless it leads elsewhere (nft_add_set_elem).
            Some(found)
                if key.set().is_some() && found.value == object.value && !key.is_made_once(&object.owner) =>
            {
                Ok(())
            }
            Some(_) if key.set().is_some() => Err(libc::EEXIST),
            _ => self.make(key, object, places),
        }
    }

    /// Makes what has its parents.
    fn make(&mut self, key: &Key, object: &Object, places: &Places) -> Result<(), Errno> {
        match (key, &object.value) {
            (Key::Sysctl(_), value) => {
                let found = self.objects.get_mut(key).ok_or(libc::ENOENT)?;
                found.value = value.clone();
                return Ok(());
            }
            // There are no elements without it: a test may have taken it alone.
            (Key::Ruleset, _) => self.objects.retain(|key, _| key.set().is_none()),
            (Key::Veth(name), _) => return self.pair(name, object, places),
            (Key::Vlan(_), Value::Vlan { parent, .. }) if !self.has_link(parent) => return Err(libc::ENODEV),
            (Key::Lent(sandbox, link), Value::Lent { lent, .. }) => {
                let netns = self.home(sandbox, places).ok_or(libc::ENOENT)?;
                if self.links_in(&netns).contains(link.as_str()) {
                    return Err(libc::EEXIST);
                }
                if !self.links.remove(lent.device.as_str()) {
                    return Err(libc::ENODEV);
                }
            }
            (Key::Child(sandbox, link) | Key::Lone(sandbox, link), _) => {
                return self.child((key, object), (sandbox, link), places);
            }
            (
                Key::BridgeAddress(name, _)
                | Key::BridgeUp(name)
                | Key::VlanFiltering(name)
                | Key::BridgeVrf(name, _)
                | Key::OwnFdb(name, _)
                | Key::BridgeVlan(name, _),
                _,
            ) => {
                self.needs(&Key::Bridge(name.clone()))?;
            }
            (Key::VlanAddress(name, _), _) => self.needs(&Key::Vlan(name.clone()))?,
            (Key::Neighbour(name, _), _) if !self.has_link(name) => return Err(libc::ENODEV),
            (Key::HostRoute(_), Value::Route { dev, .. }) => {
                self.needs(&Key::Veth(dev.clone()))?;
                self.needs(&Key::HostUp(dev.clone())).map_err(|_| libc::ENETDOWN)?;
            }
            (Key::HostUp(name), _) => self.needs(&Key::Veth(name.clone()))?,
            (Key::Shape(name), _) if !self.has_end(name) => return Err(libc::ENODEV),
            (Key::Redirect(name), Value::Redirect { to }) if !self.has_end(name) || !self.has_link(to) => {
                return Err(libc::ENODEV);
            }
            // A bridge has one entry for each hardware address, and its own is there first.
            (Key::Fdb(port, mac), _) if self.is_bridges_own(port, *mac) => return Err(libc::EEXIST),
            // Whether it is a port at all: settings and entries of what is none are refused.
            (Key::Port(name) | Key::PortVlans(name) | Key::Fdb(name, _), _) => {
                self.needs(&Key::Port(name.clone()))?;
            }
            (Key::SandboxLoopback(sandbox) | Key::Rule(sandbox, _) | Key::Vrf(sandbox, _), _) => {
                self.home(sandbox, places).ok_or(libc::ENOENT)?;
            }
            (
                Key::SandboxAddress(sandbox, link, _)
                | Key::SandboxUp(sandbox, link)
                | Key::SandboxNeighbour(sandbox, link, _)
                | Key::SandboxMac(sandbox, link)
                | Key::Tuned(sandbox, link, _)
                | Key::Master(sandbox, link)
                | Key::NoAdvertisements(sandbox, link),
                _,
            ) => {
                self.needs_end(sandbox, link, places)?;
            }
            (Key::Route(sandbox, _), Value::Route { dev, via, onlink, .. }) => {
                self.needs_end(sandbox, dev, places)?;
                self.needs_way((sandbox, dev), via.filter(|_| !onlink))?;
            }
            (Key::Way(sandbox, _) | Key::Native(sandbox, ..), Value::Way { dev, via, origin, .. }) => {
                self.needs_end(sandbox, dev, places)?;
                self.needs_way((sandbox, dev), via.filter(|_| !origin.onlink))?;
            }
            _ if key.set().is_some() => self.needs(&Key::Ruleset)?,
            _ => {}
        }
        self.put(key, object);
        Ok(())
    }

    /// Whether the bridge of a port has this hardware address itself.
    fn is_bridges_own(&self, port: &IfName, mac: Mac) -> bool {
        let bridge = match self.objects.get(&Key::Veth(port.clone())).map(|found| &found.value) {
            Some(Value::Veth { bridge: Some(bridge), .. }) => bridge,
            _ => return false,
        };
        self.objects.contains_key(&Key::OwnFdb(bridge.clone(), mac))
    }

    fn needs(&self, parent: &Key) -> Result<(), Errno> {
        let missing = if *parent == Key::Ruleset { libc::ENOENT } else { libc::ENODEV };
        if self.objects.contains_key(parent) { Ok(()) } else { Err(missing) }
    }

    /// Whether a link is there; the host's end of another program's pair is known by its name.
    fn has_end(&self, name: &IfName) -> bool {
        self.has_link(name) || name.as_str().starts_with("port")
    }

    fn needs_end(&mut self, sandbox: &SandboxName, link: &IfName, places: &Places) -> Result<(), Errno> {
        let netns = self.home(sandbox, places).ok_or(libc::ENOENT)?;
        let found = self.insides().any(|end| end == (sandbox, link));
        if found || self.links_in(&netns).contains(link.as_str()) { Ok(()) } else { Err(libc::ENODEV) }
    }

    /// A gateway must be on the link, and the link up.
    fn needs_way(
        &self,
        (sandbox, dev): (&SandboxName, &IfName),
        via: Option<std::net::IpAddr>,
    ) -> Result<(), Errno> {
        let of_others = self
            .namespaces
            .values()
            .any(|n| self.homes.get(sandbox) == Some(&n.cookie) && n.links.contains(dev.as_str()));
        if !of_others && !self.objects.contains_key(&Key::SandboxUp(sandbox.clone(), dev.clone())) {
            return Err(libc::ENETDOWN);
        }
        let Some(via) = via else { return Ok(()) };
        let near = |key: &Key| matches!(key, Key::SandboxAddress(s, d, net) if (s, d) == (sandbox, dev) && net.contains(&via));
        if self.objects.keys().any(near) { Ok(()) } else { Err(libc::ENETUNREACH) }
    }

    fn child(
        &mut self,
        (key, object): (&Key, &Object),
        (sandbox, link): (&SandboxName, &IfName),
        places: &Places,
    ) -> Result<(), Errno> {
        let netns = self.home(sandbox, places).ok_or(libc::ENOENT)?;
        let there = self.links_in(&netns);
        let has_parent = match &object.value {
            Value::Child { parent, inside: true, .. } => there.contains(parent.as_str()),
            Value::Child { parent, .. } => self.has_link(parent),
            _ => true,
        };
        if !has_parent {
            return Err(libc::ENODEV);
        }
        if there.contains(link.as_str()) {
            return Err(libc::EEXIST);
        }
        self.put(key, object);
        Ok(())
    }

    fn pair(&mut self, name: &IfName, object: &Object, places: &Places) -> Result<(), Errno> {
        let Value::Veth { sandbox, peer, bridge, .. } = &object.value else { return Ok(()) };
        bridge.iter().try_for_each(|bridge| self.needs(&Key::Bridge(bridge.clone())))?;
        let netns = self.home(sandbox, places).ok_or(libc::ENOENT)?;
        if self.links_in(&netns).contains(peer.as_str()) {
            return Err(libc::EEXIST);
        }
        let is_port = |value: &Value| matches!(value, Value::Veth { bridge: on, .. } if bridge.is_some() && on == bridge);
        if self.objects.values().filter(|found| is_port(&found.value)).count() >= self.most_ports {
            return Err(libc::EXFULL);
        }
        self.put(&Key::Veth(name.clone()), object);
        self.new_port(name, object);
        Ok(())
    }

    /// A port begins with the kernel's defaults.
    fn new_port(&mut self, name: &IfName, object: &Object) {
        let value = match &object.value {
            Value::Veth { bridge: None, .. } => Value::PointToPoint { arp: true, enslaved: false },
            _ => Value::Port { fixed: false, isolated: false, hairpin: false },
        };
        self.put(&Key::Port(name.clone()), &Object { owner: object.owner.clone(), value });
    }

    fn set(&mut self, key: &Key, object: &Object, places: &Places) -> Result<(), Errno> {
        match (key, &object.value) {
            (Key::Ruleset, _) => {
                self.objects.retain(|key, _| key.set().is_none());
                self.put(key, object);
                Ok(())
            }
            (
                Key::Bridge(_) | Key::Vlan(_) | Key::Ifb(_) | Key::Child(..) | Key::Lone(..) | Key::Lent(..),
                _,
            ) => self.needs(key).map(|()| self.put(key, object)),
            (Key::Veth(name), Value::Veth { peer, .. })
                if self.pairs().any(|(host_if, _, is)| host_if == name && is != peer) =>
            {
                self.remove_link(name);
                self.pair(name, object, places)
            }
            (Key::Veth(name), Value::Veth { bridge: Some(bridge), .. }) => {
                self.needs(key)?;
                self.needs(&Key::Bridge(bridge.clone()))?;
                let master = |found: &Found| match &found.value {
                    Value::Veth { bridge, .. } => bridge.clone(),
                    _ => None,
                };
                let moved = self.objects.get(key).and_then(master).as_ref() != Some(bridge);
                self.put(key, object);
                if moved {
                    self.new_port(name, object);
                }
                Ok(())
            }
            _ if key.set().is_some() => {
                self.objects.remove(key).ok_or(libc::ENOENT)?;
                self.make(key, object, places)
            }
            _ => self.make(key, object, places),
        }
    }

    /// What is gone already is deleted, but for elements: a transaction with such a one is refused.
    fn del(&mut self, key: &Key, places: &Places) -> Result<(), Errno> {
        let is_lent = matches!(key, Key::Lent(..));
        if !is_lent && key.sandbox().is_some_and(|sandbox| self.home(sandbox, places).is_none()) {
            return Ok(());
        }
        match key {
            Key::Lent(sandbox, link) => {
                let found = self.objects.get(key).map(|found| found.value.clone());
                if let Some(Value::Lent { lent, .. }) = found {
                    self.links.insert(lent.device.to_string());
                }
                let end = Some((sandbox, link));
                self.objects.retain(|key, found| in_sandbox(key, &found.value) != end);
                return Ok(());
            }
            Key::Sysctl(_) | Key::Port(_) | Key::PortVlans(_) => return Ok(()),
            Key::Bridge(name) | Key::Veth(name) | Key::Vlan(name) | Key::Ifb(name) => {
                self.remove_link(name);
                return Ok(());
            }
            Key::Child(sandbox, link) | Key::Lone(sandbox, link) => {
                let end = Some((sandbox, link));
                self.objects.retain(|key, found| in_sandbox(key, &found.value) != end);
                return Ok(());
            }
            Key::Ruleset => self.objects.retain(|key, _| key.set().is_none()),
            Key::BridgeUp(name) | Key::HostUp(name) => self.goes_down(name),
            Key::SandboxUp(sandbox, link) => self.sandbox_goes_down(sandbox, link),
            _ => {}
        }
        let gone = self.objects.remove(key).is_none();
        let strict = *key == Key::Ruleset || key.set().is_some();
        if gone && strict { Err(libc::ENOENT) } else { Ok(()) }
    }

    /// A link that goes down loses its neighbours (neigh_ifdown), its routes (fib_sync_down_dev) and its IPv6
    /// addresses (addrconf_ifdown).
    fn goes_down(&mut self, name: &IfName) {
        self.objects.retain(|key, found| match key {
            Key::Neighbour(link, _) => link != name,
            Key::HostRoute(_) => !leads_over(&found.value, name),
            Key::BridgeAddress(link, net) => link != name || net.addr().is_ipv4(),
            _ => true,
        });
    }

    /// The same in a sandbox, where routes go too.
    fn sandbox_goes_down(&mut self, sandbox: &SandboxName, link: &IfName) {
        self.objects.retain(|key, found| match key {
            Key::SandboxAddress(.., net) if net.addr().is_ipv4() => true,
            Key::Child(..) | Key::Lone(..) | Key::Lent(..) | Key::NoAdvertisements(..) => true,
            _ => in_sandbox(key, &found.value) != Some((sandbox, link)),
        });
    }
}
