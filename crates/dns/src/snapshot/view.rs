//! Whose names somebody sees, and by which network what he asks may leave.

use super::Snapshot;
use crate::zone::{ContainerId, Zone};
use std::rc::Rc;

/// The networks whose names somebody sees, the one that was asked first: a container in several sees those of all.
#[derive(Debug)]
pub struct View<'s> {
    snapshot: &'s Snapshot,
    own: &'s Zone,
    /// The member that asks; none for the host.
    member: Option<u32>,
    id: Option<ContainerId>,
    /// The places of all its networks, where it has several.
    all: Option<Rc<[u32]>>,
}

impl<'s> View<'s> {
    /// Of a member of a network, or the host.
    pub fn of(snapshot: &'s Snapshot, (at, member): (usize, Option<u32>)) -> Self {
        let own = &*snapshot.zones[at];
        let id = member.map(|member| own.id(member));
        let all = id.and_then(|id| snapshot.networks_of(id));
        Self { snapshot, own, member, id, all }
    }

    /// The networks.
    pub fn zones(&self) -> impl Iterator<Item = &'s Zone> {
        let zones = &self.snapshot.zones;
        let all = self.all.iter().flat_map(|all| all.iter());
        let others = all.map(|at| &*zones[*at as usize]).filter(|zone| !std::ptr::eq(*zone, self.own));
        std::iter::once(self.own).chain(others)
    }

    /// The first of the networks from which questions may leave, and the member's place in it; none where all are
    /// internal. Who is in another network besides an internal one reaches the outside anyway, and asks whichever
    /// gateway his resolver likes best.
    pub fn way_out(&self) -> Option<(&'s Zone, Option<u32>)> {
        if !self.own.internal {
            return Some((self.own, self.member));
        }
        let zone = self.zones().find(|zone| !zone.internal)?;
        Some((zone, self.id.and_then(|id| zone.member_of(id))))
    }
}

impl Snapshot {
    /// The places of a container's networks; none where there is only one. They are looked for once: there may be
    /// thousands of networks.
    fn networks_of(&self, id: ContainerId) -> Option<Rc<[u32]>> {
        if self.zones.len() < 2 {
            return None;
        }
        let look = || {
            let zones = self.zones.iter().enumerate().filter(|(_, zone)| zone.member_of(id).is_some());
            let all: Vec<u32> = zones.map(|(at, _)| at as u32).collect();
            (all.len() > 1).then(|| all.into())
        };
        self.networks.borrow_mut().entry(id).or_insert_with(look).clone()
    }
}
