//! A kernel in memory that behaves like Linux as far as the engine can tell, with faults on demand: it fails,
//! or its caller is killed, at any point of any sequence. For tests; no root is needed.

mod change;
mod fault;
mod view;
mod world;

pub use fault::{Fault, Faults, Killed};
pub use world::{Namespace, World};

use crate::apply::{Part, failed, foundation, part, skip};
use crate::error::KernelError;
use crate::facts::Facts;
use crate::kernel::{ApplyError, HostLink, Kernel, Places, Reached, Routing, Via};

use crate::netns::OpenError;
use crate::sockets::InTheWay;
use fault::Act;
use ipnet::IpNet;
use qiao_core::endpoint::Netns;
use qiao_core::flows::Flows;
use qiao_core::forwarding::Forwarding;
use qiao_core::plan::{Key, Observed, Op, Plan, State, Sysctl, Value};
use qiao_core::port::Listen;
use qiao_core::solo::Select;
use qiao_core::subnet::Family;
use qiao_core::{Endpoint, IfName};
use std::cell::{RefCell, RefMut};
use std::collections::BTreeSet;
use std::rc::Rc;

/// One process's view of the fake kernel.
#[derive(Debug, Default)]
pub struct Fake {
    world: Rc<RefCell<World>>,
    trusted: Option<u32>,
    moved: bool,
    seen: Option<u32>,
}

impl Fake {
    /// The kernel as another process sees it: the same world, and nothing remembered.
    #[must_use]
    pub fn again(&self) -> Self {
        Self { world: Rc::clone(&self.world), trusted: None, moved: true, seen: None }
    }

    /// The world.
    pub fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    /// Passes a point that is not an operation.
    fn point(&self) -> Result<(), KernelError> {
        self.pass().map_err(|(error, _)| error)
    }

    /// Passes a point; the second part of an error says whether what is behind it goes on.
    fn pass(&self) -> Result<(), (KernelError, bool)> {
        let act = self.world().faults.pass();
        match act {
            Act::Go => Ok(()),
            Act::Meanwhile(what) => {
                what(&mut self.world());
                Ok(())
            }
            Act::Fail(error, rest) => Err((error, rest)),
        }
    }

    fn all(&mut self, ops: &[Op], places: &Places) -> Result<(), ApplyError> {
        for group in ops.chunk_by(|a, b| part(a) == part(b)) {
            match group.first().map(part) {
                Some(Part::Nft) => self.transaction(group, places)?,
                _ => self.message(group, places)?,
            }
        }
        Ok(())
    }

    /// One message: its operations one after the other, each for itself.
    fn message(&mut self, group: &[Op], places: &Places) -> Result<(), ApplyError> {
        let mut first = None;
        for op in group {
            let done = match self.pass() {
                Ok(()) => self.world().change(op, places).map_err(|errno| (errno_error(errno), true)),
                Err(fault) => Err(fault),
            };
            if let Err((error, rest)) = done {
                first = first.or(Some(failed(op, error)));
                // A bridge is made by itself: what is behind it may be meant for it alone.
                if !rest || matches!(op.key(), Key::Bridge(_)) {
                    break;
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// One transaction: all of its operations or none, and none if somebody was faster.
    fn transaction(&mut self, group: &[Op], places: &Places) -> Result<(), ApplyError> {
        for op in group {
            self.pass().map_err(|(error, _)| failed(op, error))?;
        }
        let mut world = self.world.borrow_mut();
        let Some(first) = group.first() else { return Ok(()) };
        if self.seen.is_some_and(|seen| seen != world.generation) {
            self.seen = None;
            return Err(failed(first, errno_error(libc::ERESTART)));
        }
        let mut after = world.clone();
        for op in group {
            after.change(op, places).map_err(|errno| failed(first, errno_error(errno)))?;
        }
        let before = world.generation;
        after.generation += 1;
        *world = after;
        self.seen = Some(world.generation);
        self.trusted = trusted_after(group, self.trusted, (before, world.generation));
        Ok(())
    }

    fn damage(&mut self) {
        let (generation, whole) = {
            let world = self.world();
            (world.generation, world.is_whole())
        };
        self.seen = Some(generation);
        self.moved |= self.trusted != Some(generation);
        self.trusted = whole.then_some(generation);
    }
}

fn trusted_after(group: &[Op], trusted: Option<u32>, (before, after): (u32, u32)) -> Option<u32> {
    let ruleset = group.iter().rev().find(|op| *op.key() == Key::Ruleset);
    match ruleset {
        Some(Op::Del { .. }) => None,
        Some(_) => Some(after),
        None => trusted.filter(|trusted| *trusted == before).map(|_| after),
    }
}

fn errno_error(errno: i32) -> KernelError {
    KernelError::Errno { errno, text: None }
}

impl Kernel for Fake {
    fn home(&mut self) -> u64 {
        self.world().home
    }

    fn observe(&mut self, wanted: &State, places: &Places) -> Result<Observed, KernelError> {
        self.point()?;
        if wanted.get(&Key::Ruleset).is_some() {
            self.damage();
        }
        let asked: BTreeSet<_> = wanted.keys().filter_map(Key::sandbox).collect();
        if asked.into_iter().any(|name| places.contains_key(name) && self.world().restless.contains(name)) {
            return Err(KernelError::Interrupted);
        }
        let observed = self.world().observe(wanted, places);
        Ok(observed)
    }

    fn survey(&mut self) -> Result<Observed, KernelError> {
        self.point()?;
        self.damage();
        let observed = self.world().survey();
        Ok(observed)
    }

    fn apply(&mut self, plan: &Plan, places: &Places) -> Result<(), ApplyError> {
        let ops = skip::needed(plan);
        let beside = if self.world().slow_foundation { foundation::length(&ops) } else { 0 };
        let (mut first, rest) = ops.split_at(beside);
        for group in rest.chunk_by(|a, b| part(a) == part(b)) {
            if group.first().is_some_and(|op| foundation::is_needed_by(&part(op))) {
                self.all(std::mem::take(&mut first), places)?;
            }
            self.all(group, places)?;
        }
        self.all(first, places)
    }

    fn forget(&mut self, flows: &BTreeSet<Flows>) -> Result<(), KernelError> {
        self.point()?;
        self.world().forgotten.extend(flows);
        Ok(())
    }

    fn announce(&mut self, _endpoint: &Endpoint, _from: Via<'_>) -> Result<(), KernelError> {
        self.point()?;
        self.world().announced += 1;
        Ok(())
    }

    fn netns(&mut self, path: &str) -> Result<Netns, OpenError> {
        self.point().map_err(OpenError::Failed)?;
        self.world().netns(path).ok_or(OpenError::Gone)
    }

    fn is_alive(&mut self, netns: &Netns) -> bool {
        self.world().is_alive(netns)
    }

    fn links_in(&mut self, netns: &Netns) -> Result<Vec<String>, KernelError> {
        self.point()?;
        let links = self.world().links_in(netns);
        Ok(links.into_iter().collect())
    }

    fn children_in(&mut self, netns: &Netns, parent: &IfName) -> Result<Vec<IfName>, KernelError> {
        self.point()?;
        Ok(self.world().children_in(netns, parent))
    }

    fn marks_in(&mut self, netns: &Netns) -> Result<Vec<String>, KernelError> {
        self.point()?;
        Ok(self.world().marks_in(netns))
    }

    fn link_index(&mut self, name: &IfName) -> Result<Option<u32>, KernelError> {
        self.point()?;
        Ok(self.world().link_index(name))
    }

    fn link(&mut self, name: &IfName) -> Result<Option<HostLink>, KernelError> {
        self.point()?;
        Ok(self.world().host_link(name))
    }

    fn link_in(&mut self, netns: &Netns, name: &IfName) -> Result<Option<HostLink>, KernelError> {
        self.point()?;
        Ok(self.world().link_in(netns, name))
    }

    fn device(&mut self, which: &Select) -> Result<Option<IfName>, KernelError> {
        self.point()?;
        Ok(match which {
            Select::Name(name) => Some(name.clone()),
            _ => None,
        })
    }

    fn routing(&mut self, netns: &Netns, name: &IfName) -> Result<Routing, KernelError> {
        self.point()?;
        Ok(self.world().routing(netns, name))
    }

    fn has_kind(&mut self, kind: &str) -> Result<bool, KernelError> {
        self.point()?;
        Ok(!self.world().lacks.contains(kind))
    }

    fn reached(
        &mut self,
        netns: &Netns,
        link: &IfName,
        addresses: &[IpNet],
    ) -> Result<Option<Reached>, KernelError> {
        self.point()?;
        Ok(self.world().reached(netns, link, addresses))
    }

    fn drops_forwarded(&mut self) -> Result<Vec<Family>, KernelError> {
        self.point()?;
        Ok(self.world().drops.iter().copied().collect())
    }

    fn drops_incoming(&mut self) -> Result<Vec<Family>, KernelError> {
        self.point()?;
        Ok(self.world().drops_incoming.iter().copied().collect())
    }

    fn in_the_way(&mut self, listen: Listen) -> Option<InTheWay> {
        let taken = self.world().sockets.iter().any(|socket| socket.conflicts(listen));
        taken.then(|| InTheWay::Socket(listen.ports.first()))
    }

    fn ephemeral_ports(&mut self) -> (u16, u16) {
        self.world().ephemeral
    }

    fn sysctl(&mut self, sysctl: &Sysctl) -> Result<Option<u32>, KernelError> {
        self.point()?;
        Ok(self.world().objects.get(&Key::Sysctl(sysctl.clone())).and_then(|found| match found.value {
            Value::Number(number) => Some(number),
            _ => None,
        }))
    }

    fn forwarding(&mut self) -> Result<Forwarding, KernelError> {
        self.point()?;
        Ok(self.world().forwarding.clone())
    }

    fn facts(&mut self) -> Result<Facts, KernelError> {
        self.point()?;
        let world = self.world();
        let made = world.objects.keys().filter_map(|key| match key {
            Key::Bridge(name) | Key::Veth(name) | Key::Vlan(name) => Some(name.to_string()),
            _ => None,
        });
        let links = world.links.iter().cloned().chain(made).collect();
        Ok(Facts { links, ..world.facts.clone() })
    }

    fn trust(&mut self, generation: Option<u32>) {
        (self.trusted, self.moved) = (generation, generation.is_none());
    }

    fn is_unmoved(&self) -> bool {
        !self.moved && self.seen.is_some()
    }

    fn generation(&self) -> Option<u32> {
        self.trusted
    }
}
