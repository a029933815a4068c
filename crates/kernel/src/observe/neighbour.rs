//! The host's neighbours, and the forwarding entries of bridges.

use super::Host;
use crate::error::KernelError;
use crate::linux::Linux;
use crate::netlink::Answer;
use crate::rtnl::neighbour::{Forward, Neighbour};
use crate::rtnl::{Request, ask, ask_one, link, neighbour};
use qiao_core::Owner;
use qiao_core::plan::{Key, Observed, Ownership, Value};

impl Host<'_> {
    pub(super) fn neighbours(&self, linux: &mut Linux, observed: &mut Observed) -> Result<(), KernelError> {
        let asked: Vec<(&Key, Request)> =
            self.wanted.keys().filter_map(|key| Some((key, self.neighbour_request(key)?))).collect();
        let requests: Vec<Request> = asked.iter().map(|(_, request)| request.clone()).collect();
        for ((key, _), answer) in asked.into_iter().zip(ask(&mut linux.rtnl, &requests)?) {
            let owner = self.wanted.get(key).map(|object| &object.owner);
            let (Some(owner), Some(found)) = (owner, read_neighbour(answer)?) else { continue };
            let seen = match key {
                Key::Fdb(..) | Key::OwnFdb(..) => self.forwarding(linux, (key, owner), &found)?,
                _ => self.neighbour((key, owner), &found),
            };
            if let Some((ownership, value)) = seen {
                observed.insert(key.clone(), ownership, value);
            }
        }
        Ok(())
    }

    /// A permanent neighbour without our mark is foreign, on every bridge.
    fn neighbour(&self, (key, owner): (&Key, &Owner), found: &Neighbour) -> Option<(Ownership, Value)> {
        let Key::Neighbour(name, _) = key else { return None };
        let is_ours = found.ours && self.links.index(name).is_some();
        let ownership = if is_ours { Ownership::Marked(owner.clone()) } else { Ownership::Foreign };
        Some((ownership, found.value()))
    }

    /// A bridge has one entry for a hardware address. The entry may lead elsewhere: to another port of ours, to a
    /// port of another program, to the host.
    fn forwarding(
        &self,
        linux: &mut Linux,
        (key, owner): (&Key, &Owner),
        found: &Neighbour,
    ) -> Result<Option<(Ownership, Value)>, KernelError> {
        let (name, kind, entry) = match key {
            Key::Fdb(name, mac) => (name, "veth", Forward::Port(0, *mac)),
            Key::OwnFdb(name, mac) => (name, "bridge", Forward::Own(0, *mac)),
            _ => return Ok(None),
        };
        let Some(link) = self.links.get(name) else { return Ok(None) };
        if found.is(entry.at(link.index)) {
            return Ok(Some((self.links.hanging(link, kind, owner), Value::Present)));
        }
        let at = link::read(&ask_one(&mut linux.rtnl, &link::get_at(found.index))?).into_iter().next();
        let astray =
            !found.own && at.is_some_and(|at| self.links.ownership(&at, "veth", owner) != Ownership::Foreign);
        let ownership = if astray { self.links.hanging(link, kind, owner) } else { Ownership::Foreign };
        Ok(Some((ownership, Value::Number(found.index))))
    }

    fn neighbour_request(&self, key: &Key) -> Option<Request> {
        match key {
            Key::Neighbour(device, ip) => Some(neighbour::get(self.links.index(device)?, *ip)),
            Key::Fdb(port, mac) => self
                .links
                .get(port)
                .filter(|link| link.master.is_some() && self.is_in_place(port))
                .map(|link| neighbour::get_forward(Forward::Port(link.index, *mac))),
            Key::OwnFdb(bridge, mac) => self
                .links
                .get(bridge)
                .filter(|link| link.kind.as_deref() == Some("bridge"))
                .map(|link| neighbour::get_forward(Forward::Own(link.index, *mac))),
            _ => None,
        }
    }
}

/// A permanent neighbour or forwarding entry. A learned one has no owner.
fn read_neighbour(answer: Answer) -> Result<Option<Neighbour>, KernelError> {
    let found = match answer {
        Ok(messages) => neighbour::read(&messages).into_iter().next(),
        Err(error) if error.is_absent() => None,
        Err(error) => return Err(error),
    };
    Ok(found.filter(|found| found.permanent))
}
